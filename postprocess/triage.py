"""Accept, review or leave out: by calibrated confidence against what precision asks."""

from __future__ import annotations

from collections.abc import Iterator

import geopandas as gpd
import numpy as np
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.schema import Column
from postprocess.context import Context
from postprocess.frame import column

COLUMNS = (
    Column("confidence", "number", "calibrated: of objects with 0.8 about 80 % are right"),
    Column("decision", "text", "accept: sure enough to be used; review: wants a look"),
    Column("reason", "text", "why it wants a look"),
    Column("review_reasons", "json", "the same, one by one"),
)


class Params(Strict):
    """`accept_at`: least calibrated confidence that is accepted, the one at which the detector
    reached its target precision when it was calibrated. `floor`: what is below is not worth a
    person's look and is left out; with it enough of what goes to review was right when the
    detector was calibrated. The rest are reasons to have a person
    look even so: `review_box_only` objects without an outline, `largest_relative_sd` of length or
    wingspan, `least_votes` members that saw it, `review_cut` objects cut off by the scene's tiles.
    """

    accept_at: float = Field(ge=0, le=1)
    floor: float = Field(0.0, ge=0, le=1)
    least_votes: int = Field(1, ge=0)
    review_box_only: bool = True
    review_cut: bool = True
    largest_relative_sd: float = Field(0.2, gt=0)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Set `confidence` (score to 4 decimals), `decision` ('accept' or 'review'),
    `review_reasons` (list of text, empty when accepted), `reason` (the same as one text), and
    `rejected` below the floor.

    Serves any chain: a reason that speaks of a column the objects lack does not apply.
    """
    result = objects.copy()
    confidence = np.round(np.clip(objects["score"].to_numpy(np.float64), 0.0, 1.0), 4)
    reasons: list[list[str]] = [[] for _ in range(len(objects))]
    for rows, reason in _reasons(objects, confidence, params):
        for row in np.flatnonzero(rows).tolist():
            reasons[row].append(reason)
    result["confidence"] = confidence
    result["decision"] = column(["review" if why else "accept" for why in reasons])
    result["review_reasons"] = column(reasons)
    result["reason"] = column(["; ".join(why) or None for why in reasons])
    below = f"confidence below {params.floor:g}, not worth a look"
    low = (confidence < params.floor).tolist()
    result["rejected"] = column(
        [was or (below if out else None) for was, out in zip(objects["rejected"], low, strict=True)]
    )
    accepted = f"accept at {params.accept_at:g}"
    result["note"] = column([f"review: {'; '.join(why)}" if why else accepted for why in reasons])
    return result


def _reasons(
    objects: gpd.GeoDataFrame, confidence: np.ndarray, params: Params
) -> Iterator[tuple[np.ndarray, str]]:
    # A confidence that is missing is below any threshold.
    yield ~(confidence >= params.accept_at), f"confidence below {params.accept_at:g}"
    if params.least_votes > 0:
        votes = np.array([len(vote or {}) for vote in objects["votes"]], np.int64)
        yield votes < params.least_votes, f"seen by fewer than {params.least_votes} members"
    if params.review_cut:
        yield objects["cut"].to_numpy() != 0, "its end was not seen"
    if params.review_box_only and "outline_source" in objects.columns:
        yield (objects["outline_source"] == "box").to_numpy(bool), "no outline"
    for name in ("length_m", "wingspan_m"):
        spread = f"{name[:-2]}_sd_m"
        if name in objects.columns and spread in objects.columns:
            relative = objects[spread].to_numpy(np.float64) / np.maximum(
                objects[name].to_numpy(np.float64), 1e-9
            )
            yield relative > params.largest_relative_sd, f"{name[:-2]} is uncertain"
