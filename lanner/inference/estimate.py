"""Runs of a detector that say which ground sampling a scene has, and whether a given one fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from lanner.core.config import DetectorConfig
from lanner.core.errors import Argument, GsdError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.ground_sampling import (
    ENOUGH,
    GsdEstimate,
    Sizes,
    contradicting,
    estimate_gsd,
    rungs,
)
from lanner.inference.registry import LoadedDetector
from lanner.inference.run import Found, find_objects
from lanner.inference.stages import Stages
from postprocess.chain import Chain
from tiling.scene import open_scene

COARSER, VIEW_PX = (2.0, 4.0), 800
"""Where a given sampling finds nothing, one so much coarser is tried, in a view of this side at
most: a look that costs less than a tile."""


def estimated(
    config: DetectorConfig,
    open_predictor: Callable[[], LoadedDetector],
    request: DetectRequest,
    cancel: Cancel,
    stages: Stages,
) -> GsdEstimate:
    """The ground sampling of a scene, from the sizes of what a detector finds in it.

    Raises:
        GsdError: the detector does not know how large its objects are, none is found, or the
            estimate is none that the detector takes.
        LannerError: the scene cannot be used.
    """
    if not Chain.from_specs(config.chain).judges_sizes:
        raise GsdError(
            Argument("gsd"),
            "auto",
            f"{config.name} does not know the sizes of what it finds",
            "give `gsd` in metres a pixel",
        )
    scene = open_scene(request.scene, gsd=config.gsd, crs=request.crs)
    assumed = list(rungs(max(scene.width, scene.height), config.gsd, config.gsd_range))

    def views() -> Iterator[Sizes]:
        for done, gsd in enumerate(assumed):
            stages.tell("estimate", done, len(assumed))
            yield _sizes_at(gsd, config, open_predictor, request, cancel)

    estimate = estimate_gsd(views())
    stages.tell("estimate", len(assumed), len(assumed))
    low, high = config.gsd_range
    if estimate is None:
        raise GsdError(
            Argument("gsd"),
            "auto",
            f"nothing was found at {low:g} to {high:g} m that it could be estimated from",
            "give `gsd` in metres a pixel",
        )
    if not config.takes(estimate.gsd):
        raise GsdError(
            Argument("gsd"),
            "auto",
            f"what was found fits {estimate.gsd:g} m a pixel ({estimate.low:g} to "
            f"{estimate.high:g}), {config.name} takes {low:g} to {high:g} m",
            "give a finer scene, or `gsd` if you know better"
            if estimate.gsd > high
            else "give a coarser scene, or `gsd` if you know better",
        )
    return estimate


def gsd_notes(
    found: Found,
    config: DetectorConfig,
    open_predictor: Callable[[], LoadedDetector],
    request: DetectRequest,
    cancel: Cancel,
) -> tuple[str, ...]:
    """One sentence where what was found contradicts the ground sampling that it was found at.

    Sizes say so where there are objects; where a given sampling shows none, a small scene is
    looked at once more as if its pixels were larger.
    """
    if not found.chain.judges_sizes:
        return ()
    gsd = float(np.sqrt(np.prod(found.context.place.gsd)))
    sizes = _sizes(found, gsd, config)
    source = "of the file" if request.gsd is None else "given"
    other = contradicting(sizes)
    if other is not None:
        return (
            f"{other.objects} objects have sizes that fit {other.gsd:g} m a pixel far better than "
            f"the {gsd:.3g} m {source}: check the ground sampling.",
        )
    if request.gsd is None or len(sizes.heard):
        return ()
    grid = found.manifest.plan.grid
    least, most = COARSER
    factor = min(most, config.gsd_range[1] / gsd, VIEW_PX / max(grid.width, grid.height))
    if factor < least:
        return ()
    coarser = gsd * factor
    more = len(_sizes_at(coarser, config, open_predictor, request, cancel).heard)
    if more < ENOUGH:
        return ()
    return (
        f"No object can be measured at the {gsd:.3g} m a pixel given, {more} can at "
        f"{coarser:.3g} m: check the ground sampling.",
    )


def _sizes_at(
    gsd: float,
    config: DetectorConfig,
    open_predictor: Callable[[], LoadedDetector],
    request: DetectRequest,
    cancel: Cancel,
) -> Sizes:
    assumed = replace(request, gsd=gsd, estimate_gsd=False, run_dir=None, tile=None)
    quiet = Stages(lambda _: None)
    return find_objects(
        config,
        open_predictor,
        assumed,
        cancel,
        quiet,
        lambda found: _sizes(found, gsd, config),
        Chain.measuring,
    )


def _sizes(found: Found, gsd: float, config: DetectorConfig) -> Sizes:
    """Sizes of all that was measured, what was rejected for its size included."""
    objects, rejected = found.done.objects, found.done.rejected
    by_size = [step.name for step, _ in found.chain.links if step.by_size]
    gone = rejected[rejected["rejected_by"].isin(by_size)]
    every = pd.concat([objects, gone], ignore_index=True) if len(gone) else objects
    sides = every.reindex(columns=["length_m", "wingspan_m"]).to_numpy(np.float64)
    heard = every.copy()
    return Sizes(
        gsd,
        every["score"].to_numpy(np.float64),
        sides / config.gsd,
        lambda rows, factors: found.chain.size_likelihood(heard.iloc[rows], found.context, factors),
    )
