"""Measures of detectors of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from detectors.matching import Floats, match, overlaps
from lanner.core.config import DetectorConfig
from lanner.factory.config import Evaluate
from lanner.factory.metrics import precision as ap
from lanner.factory.metrics.bootstrap import Statistic, f1, ratio
from lanner.factory.metrics.reliability import reliability
from lanner.factory.metrics.types import TypeRanks, deepest, levels, rank_types
from lanner.factory.samples import Label, Sample
from lanner.factory.steps.evaluate.measured import Measured, sums
from lanner.factory.steps.evaluate.raw import Detections
from lanner.factory.steps.evaluate.truth import objects_of, truth_of
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
    from postprocess.aircraft.catalogue import Catalogue

CURVE_POINTS = 200
TYPES_PRECISION = 0.95


@dataclass(frozen=True)
class MatchedDetection:
    """One detection or one missed object of one image.

    `outcome` is hit, false, ignored or missed; `row` the number of the detection, -1 for a
    missed object; `truth` the object that it is; `iou` their overlap (of a false one the
    largest with any object).
    """

    image: int
    outcome: str
    row: int
    label: str
    box: tuple[float, ...]
    score: float
    decision: str
    truth: Label | None
    iou: float


def judged(
    found: Sequence[Detections], samples: Sequence[Sample], classes: Sequence[str], iou: float
) -> list[MatchedDetection]:
    """Every detection and every missed object, image by image, class by class."""
    result = []
    for image, (one, sample) in enumerate(zip(found, samples, strict=True)):
        for name in classes:
            rows = [i for i, label in enumerate(one.labels) if label == name]
            result += _judged(image, one, rows, name, objects_of(sample, name), iou)
    return result


def _judged(
    image: int,
    one: Detections,
    rows: list[int],
    name: str,
    objects: Sequence[Label],
    least: float,
) -> list[MatchedDetection]:
    boxes, scores = one.boxes[rows], one.scores[rows]
    real = np.asarray([label.box for label in objects], np.float64).reshape(-1, 4)
    regions = np.asarray([label.weight <= 0 for label in objects], bool)
    matches = match(boxes, scores, real, np.asarray([least]), None, regions)
    iou = overlaps(boxes, real, np.zeros(len(real), bool))
    result = []
    for k, row in enumerate(rows):
        which, ignored = int(matches.truth[0, k]), bool(matches.ignored[0, k])
        best = float(iou[k].max()) if len(objects) else 0.0
        result.append(
            MatchedDetection(
                image,
                "ignored" if ignored else "hit" if which >= 0 else "false",
                row,
                name,
                tuple(boxes[k].tolist()),
                float(scores[k]),
                one.decisions[row],
                objects[which] if which >= 0 else None,
                float(iou[k, which]) if which >= 0 else best,
            )
        )
    hit = set(matches.truth[0].tolist())
    for number, label in enumerate(objects):
        if number not in hit and not regions[number]:
            far = float(iou[:, number].max()) if len(rows) else 0.0
            result.append(
                MatchedDetection(image, "missed", -1, name, label.box, 0.0, "", label, far)
            )
    return result


def measure_objects(
    found: Sequence[Detections],
    samples: Sequence[Sample],
    config: DetectorConfig,
    settings: Evaluate,
    quick: bool,
    files: Mapping[str, PinnedFile] | None = None,
) -> Measured:
    """Measures of boxes, scores, decisions, outlines and types; see `figures_of`.

    `files` are those that a release brings for steps of its chain.
    """
    at = [_pools(found, samples, name, np.asarray([settings.iou])) for name in config.classes]
    every = judged(found, samples, config.classes, settings.iou)
    right, claims, real = (np.sum([ap.per_image(pool)[i] for pool in at], axis=0) for i in range(3))
    half = at
    if settings.iou != 0.5:
        half = [_pools(found, samples, name, np.asarray([0.5])) for name in config.classes]
    calibrated = _reliability(every, len(samples))
    statistics: dict[str, Statistic] = {
        "f1": f1(right, claims, real),
        "precision": ratio(right, claims),
        "recall": ratio(right, real),
        "f1_half": _f1_from(every, len(samples), real, 0.5),
        "ap50": ap.mean_statistic(half),
        "ece": calibrated.error(),
        **_decided(every, len(samples), real),
    }
    best, where = _best(at)
    values = {"best_f1": best, "best_f1_at": where}
    counts: dict[str, int | float] = {
        "images": len(samples),
        "objects": int(real.sum()),
        "found": int(claims.sum()),
        "right": int(right.sum()),
        "ignored": sum(one.outcome == "ignored" for one in every),
    }
    if quick:
        return Measured(len(samples), found, statistics, values=values, counts=counts)
    sized = {}
    whole = [_pools(found, samples, name, ap.COCO_IOU) for name in config.classes]
    statistics["map"] = ap.mean_statistic(whole)
    for size, area in ap.AREAS.items():
        part = [_pools(found, samples, name, ap.COCO_IOU, area) for name in config.classes]
        statistics[f"map_{size}"] = ap.mean_statistic(part)
        if "size" in settings.slices:
            sized[size] = _of_size(found, samples, config, settings.iou, area)
    curves: dict[str, Any] = {
        "precision_recall": {
            name: _curve(pool) for name, pool in zip(config.classes, at, strict=True)
        },
        "reliability": calibrated.diagram(),
    }
    statistics.update(_outlines(every, found, len(samples)))
    types = _types(every, found, config, files or {})
    if types is not None:
        known, images = types
        statistics.update(_guesses(known, images, len(samples)))
        curves["taxonomy"] = levels(known)
        values["types_level"] = deepest(known, TYPES_PRECISION)
    return Measured(len(samples), found, statistics, sized, values, curves, counts)


def _pools(
    found: Sequence[Detections],
    samples: Sequence[Sample],
    name: str,
    thresholds: Floats,
    area: tuple[float, float] | None = None,
) -> ap.Pool:
    mine = []
    for one in found:
        rows = np.asarray([label == name for label in one.labels], bool)
        mine.append((one.boxes[rows], one.scores[rows]))
    return ap.pool(mine, [truth_of(sample, name) for sample in samples], thresholds, area)


def _of_size(
    found: Sequence[Detections],
    samples: Sequence[Sample],
    config: DetectorConfig,
    iou: float,
    area: tuple[float, float],
) -> dict[str, Statistic]:
    pools = [_pools(found, samples, name, np.asarray([iou]), area) for name in config.classes]
    half = pools
    if iou != 0.5:
        half = [_pools(found, samples, name, np.asarray([0.5]), area) for name in config.classes]
    right, claims, real = (
        np.sum([ap.per_image(pool)[i] for pool in pools], axis=0) for i in range(3)
    )
    return {
        "objects": lambda weights: weights @ real,
        "f1": f1(right, claims, real),
        "precision": ratio(right, claims),
        "recall": ratio(right, real),
        "ap50": ap.mean_statistic(half),
    }


def _reliability(every: Sequence[MatchedDetection], images: int) -> Any:
    counted = [one for one in every if one.outcome in ("hit", "false")]
    return reliability(
        np.asarray([one.score for one in counted], np.float64),
        np.asarray([one.outcome == "hit" for one in counted], np.float64),
        np.asarray([one.image for one in counted], np.int64),
        images,
    )


def _decided(every: Sequence[MatchedDetection], images: int, real: Floats) -> dict[str, Statistic]:
    """Shares of what is accepted and of what is left to a person."""
    table = np.zeros((3, images))
    for one in every:
        if one.outcome in ("hit", "false"):
            accepted = one.decision == "accept"
            table[0, one.image] += 1
            table[1, one.image] += accepted
            table[2, one.image] += accepted and one.outcome == "hit"
    return {
        "accepted": ratio(table[1], table[0]),
        "accept_precision": ratio(table[2], table[1]),
        "accept_recall": ratio(table[2], real),
        "accept_f1": f1(table[2], table[1], real),
        "review": ratio(table[0] - table[1], table[0]),
    }


def _f1_from(
    every: Sequence[MatchedDetection], images: int, real: Floats, score: float
) -> Statistic:
    """F1 of what is scored at least so."""
    table = np.zeros((2, images))
    for one in every:
        if one.outcome in ("hit", "false") and one.score >= score:
            table[:, one.image] += (one.outcome == "hit", 1)
    return f1(table[0], table[1], real)


def _best(pools: Sequence[ap.Pool]) -> tuple[float | None, float | None]:
    """Best F1 over thresholds, of all classes together."""
    whole = ap.Pool(
        np.concatenate([pool.scores for pool in pools]),
        np.concatenate([pool.hit for pool in pools], axis=1),
        np.concatenate([pool.counts for pool in pools], axis=1),
        np.concatenate([pool.image for pool in pools]),
        np.sum([pool.objects for pool in pools], axis=0),
    ).sorted()
    value, at = ap.best_f1(whole)
    return (None, None) if np.isnan(value) else (round(value, 6), round(at, 6))


def _curve(pool: ap.Pool) -> dict[str, list[float]]:
    """At most `CURVE_POINTS` points, evenly along the detections."""
    scores, precision, recall = ap.curve(pool)
    rows = np.unique(np.linspace(0, max(len(scores) - 1, 0), CURVE_POINTS).astype(int))
    rows = rows[: len(scores)]
    return {
        name: np.round(values[rows], 6).tolist()
        for name, values in (("score", scores), ("precision", precision), ("recall", recall))
    }


def _outlines(
    every: Sequence[MatchedDetection], found: Sequence[Detections], images: int
) -> Mapping[str, Statistic]:
    """Mean overlap of outlines with the truth's, of hits whose true outline is known."""
    hits = [
        one
        for one in every
        if one.outcome == "hit" and one.truth is not None and one.truth.polygon is not None
    ]
    hits = [one for one in hits if found[one.image].frame is not None]
    if not hits:
        return {}
    table = np.zeros((2, images))
    for one in hits:
        frame = found[one.image].frame
        assert frame is not None and one.truth is not None  # chosen so above
        mine = shapely.make_valid(frame.geometry.iloc[one.row])
        real = shapely.make_valid(shapely.Polygon(one.truth.polygon))
        union = shapely.area(shapely.union(mine, real))
        shared = shapely.area(shapely.intersection(mine, real))
        table[:, one.image] += (shared / union if union > 0 else 0.0, 1.0)
    return {"mask_iou": ratio(table[0], table[1])}


def _types(
    every: Sequence[MatchedDetection],
    found: Sequence[Detections],
    config: DetectorConfig,
    files: Mapping[str, PinnedFile],
) -> tuple[TypeRanks, list[int]] | None:
    """What was told of hits whose type is known, and their images; None where nothing was."""
    hits = []
    for one in every:
        frame = found[one.image].frame
        if one.outcome != "hit" or one.truth is None or one.truth.kind is None or frame is None:
            continue
        if "types" in frame.columns:
            hits.append((one, frame.iloc[one.row], one.truth.kind))
    if not hits:
        return None
    catalogue = _catalogue(config, files)
    facts = {one.icao: one for one in catalogue.types}
    paths = []
    for _, _, kind in hits:
        if kind in facts:
            names = [catalogue.families[node].name for node in catalogue.path(facts[kind].family)]
            paths.append([*names, facts[kind].name])
        else:
            paths.append([])
    ranks = rank_types(
        [[guess["icao"] for guess in row["types"]] for _, row, _ in hits],
        [list(row["taxonomy"]["path"]) for _, row, _ in hits],
        [kind for *_, kind in hits],
        paths,
    )
    return ranks, [one.image for one, *_ in hits]


def _catalogue(config: DetectorConfig, files: Mapping[str, PinnedFile]) -> Catalogue:
    """The one that the detector's own step `identify` reads."""
    from postprocess.aircraft.catalogue import read_catalogue
    from postprocess.aircraft.identify import Params
    from postprocess.chain_files import find_files

    options = next((spec.params for spec in config.chain if spec.step == "identify"), {})
    params = Params.model_validate(options)
    found = find_files((params.catalogue, params.taxonomy), files)
    return read_catalogue(found[params.catalogue].path, found[params.taxonomy].path)


def _guesses(ranks: TypeRanks, image: Sequence[int], images: int) -> dict[str, Statistic]:
    rows = [(float(rank == 0), float(0 <= rank < 5), 1.0) for rank in ranks.rank.tolist()]
    first, five, count = sums(rows, 3)
    by = [
        np.asarray(np.bincount(image, values, images), np.float64)
        for values in (first, five, count)
    ]
    return {"types_top1": ratio(by[0], by[2]), "types_top5": ratio(by[1], by[2])}
