"""Measures of road detectors: of the mask, of the lines, and of getting along them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from detectors.calibration import Calibration
from detectors.views import Floats
from lanner.core.config import DetectorConfig, StepSpec
from lanner.factory.config import Evaluate
from lanner.factory.metrics.bootstrap import Statistic, f1, ratio
from lanner.factory.metrics.graphs import Lines, noded, places, spread
from lanner.factory.metrics.reliability import Reliability, reliability
from lanner.factory.metrics.roads import apls, topo
from lanner.factory.samples import Sample
from lanner.factory.steps.evaluate.measured import Measured, sums
from lanner.factory.steps.evaluate.raw import Detections, RawSet
from lanner.factory.steps.evaluate.steps import Memory
from lanner.factory.steps.evaluate.truth import road_mask
from postprocess.roads.relaxed import Relaxed, relaxed_lines, relaxed_masks

ROAD = 0.5
"""Probability from which on a pixel of the network's own mask is road."""

EVERY_PX = 1.0
"""Between the points at which a line is found right or wrong."""


@dataclass(frozen=True)
class MatchedLines:
    """The lines of one image: counts within reach, as `_by_line` gives them, their length."""

    graph: Relaxed
    lines: Floats
    kilometres: float


_JUDGED = Memory(4096)


def measure_roads(
    raw: RawSet,
    found: Sequence[Detections],
    config: DetectorConfig,
    settings: Evaluate,
    quick: bool,
) -> Measured:
    """Measures of one variant of a road detector; see `figures_of`.

    `f1`, `precision` and `recall` are those of the lines within `relax_px` (Mnih, 2013), as are
    the shares of lines that are right by their length; `mask_*` are of the probability from
    `ROAD` on.
    """
    pairs = list(zip(found, raw.samples, strict=True))
    judged = [judge(one, raw, k, settings.relax_px) for k, one in enumerate(found)]
    measured = pooled(judged, found)
    if quick:
        return measured
    masks, ways, walks = [], [], []
    for number, (one, sample) in enumerate(pairs):
        mine, gsd = _lines_of(one), raw.metres(number)
        truth, (road, known) = true_lines(sample, gsd), road_mask(sample)
        mask = raster_mask(raw, number, config, known.shape)
        # Of lines alone nobody knows how wide their roads are.
        has_widths = sample.mask is not None or not any(one.line for one in sample.labels)
        masks.append(relaxed_masks(mask, road, settings.relax_px, known if has_widths else ~known))
        ways.append(apls(mine, truth, 1 / gsd))
        walks.append(topo(mine, truth, 1 / gsd))
    statistics = {**measured.statistics, **_relaxed(masks, "mask_")}
    known_ways = [(0.0, 0.0) if np.isnan(way) else (way, 1.0) for way in ways]
    statistics["apls"] = ratio(*sums(known_ways, 2))
    matched, marbles, holes = sums([(t.matched, t.marbles, t.holes) for t in walks], 3)
    statistics["topo_f1"] = f1(matched, marbles, holes)
    statistics["topo_precision"] = ratio(matched, marbles)
    statistics["topo_recall"] = ratio(matched, holes)
    curves = {"reliability": _calibrated(judged).diagram()}
    return replace(measured, statistics=statistics, curves=curves)


def judged_lines(
    raw: RawSet, config: DetectorConfig, calibration: Calibration, settings: Evaluate
) -> Floats:
    """(4, n) of all lines of a variant: score, right share, judged length in pixels, accepted."""
    found = raw.detect(config, calibration)
    lines = [judge(one, raw, k, settings.relax_px).lines for k, one in enumerate(found)]
    return np.concatenate([np.empty((4, 0)), *lines], axis=1)


def judge(one: Detections, raw: RawSet, number: int, reach: float) -> MatchedLines:
    """The lines of one image against its truth; what was judged before is not judged again.

    Args:
        one: what was found.
        raw: predictions, with their samples' truth.
        number: of the image.
        reach: pixels within which a line is right.
    """
    sample, gsd, mine = raw.samples[number], raw.metres(number), _lines_of(one)
    key = (sample, gsd, reach, _digest(one))
    known: MatchedLines | None = _JUDGED.get(key)
    if known is None:
        truth, (_, valid) = true_lines(sample, gsd), road_mask(sample)
        known = MatchedLines(
            relaxed_lines(mine, truth, reach, valid),
            _by_line(mine, truth, one, valid, reach),
            float(shapely.length(mine).sum()) * gsd / 1000,
        )
        _JUDGED.put(key, known)
    return known


def _digest(one: Detections) -> str:
    """Checksum of lines, scores and decisions."""
    lines = shapely.to_wkb(_lines_of(one)).tolist()
    text = repr([lines, one.scores.tolist(), one.decisions])
    return hashlib.sha256(text.encode()).hexdigest()


def pooled(judged: Sequence[MatchedLines], found: Sequence[Detections] = ()) -> Measured:
    """The measures of `judge` over all images, in order."""
    graph, lines = [one.graph for one in judged], [one.lines for one in judged]
    statistics = {**_relaxed(graph, ""), **_relaxed(graph, "graph_")}
    statistics.update(_lines_decided(lines, len(judged)))
    statistics["ece"] = _calibrated(judged).error()
    counts = {
        "images": len(judged),
        "lines": sum(part.shape[1] for part in lines),
        "kilometres": round(sum(one.kilometres for one in judged), 3),
    }
    return Measured(len(judged), found, statistics, counts=counts)


def _calibrated(judged: Sequence[MatchedLines]) -> Reliability:
    score, share, length, image, _ = _pooled([one.lines for one in judged])
    return reliability(score, share, image.astype(np.int64), len(judged), length)


def _lines_of(one: Detections) -> Lines:
    return np.empty(0, object) if one.lines is None else one.lines


def raster_mask(
    raw: RawSet, number: int, config: DetectorConfig, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """(h, w) of the image: where the probability says road, the nearest grid pixel's."""
    import rasterio

    with rasterio.open(raw.probability(number, config)) as source:
        road = (source.read(1) >= ROAD * 255) & (source.read_masks(1) > 0)
    height, width = shape
    sx, sy = raw.place(number).plan.grid.scale
    rows = np.minimum(((np.arange(height) + 0.5) / sy).astype(int), road.shape[0] - 1)
    cols = np.minimum(((np.arange(width) + 0.5) / sx).astype(int), road.shape[1] - 1)
    result: NDArray[np.bool_] = road[np.ix_(rows, cols)]
    return result


@lru_cache(maxsize=512)
def true_lines(sample: Sample, gsd: float) -> Lines:
    """Centre lines of the truth in image pixels, cut where they meet.

    The labels' own lines where there are any, else the skeleton of the mask.
    """
    drawn = [shapely.LineString(one.line) for one in sample.labels if one.line is not None]
    if drawn:
        return noded(np.asarray(drawn, object))
    road, _ = road_mask(sample)
    return traced(road, gsd) if road.any() else np.empty(0, object)


def traced(road: NDArray[np.bool_], gsd: float) -> Lines:
    """Centre lines of a mask (h, w), by the steps that the chain uses."""
    from affine import Affine

    from postprocess.chain import Chain
    from postprocess.context import Context, DetectorFacts
    from postprocess.frame import empty
    from postprocess.roads.raster import Block, write_mask, writing
    from tiling.grid import Box, Grid
    from tiling.place import Place

    height, width = road.shape
    chain = Chain.from_specs([StepSpec(step="skeletonise"), StepSpec(step="trace")])
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        context = Context(
            scene_id="truth",
            acquired=None,
            place=Place(Affine.identity(), None, (gsd, gsd)),
            grid=Grid(width, height, (1.0, 1.0), gsd, width, height),
            plan=None,
            detector=DetectorFacts("truth", "", "", ""),
            workdir=Path(folder),
        )
        whole = Box(0, 0, width, height)
        with writing(context, "clean", "road") as out:
            write_mask(out, Block(0, 0, whole, whole), road)
        found = chain.apply(empty(), context).objects
    return np.asarray(found.geometry.values, object)


def _by_line(
    mine: Lines, truth: Lines, one: Detections, known: NDArray[np.bool_], reach: float
) -> Floats:
    """(4, lines): score, share that lies near the truth, judged length, whether accepted."""
    if not len(mine):
        return np.empty((4, 0))
    points = spread(mine, EVERY_PX)
    xy = places(mine, points)
    col, row = np.floor(xy).astype(np.int64).T
    height, width = known.shape
    judged = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    judged[judged] = known[row[judged], col[judged]]
    right = np.zeros(len(xy), bool)
    if len(truth):
        near = shapely.STRtree(truth).query(shapely.points(xy), predicate="dwithin", distance=reach)
        right[near[0]] = True
    length = np.bincount(points.line, judged, len(mine))
    share = np.bincount(points.line, judged & right, len(mine)) / np.maximum(length, 1)
    accepted = np.asarray([decision == "accept" for decision in one.decisions], np.float64)
    return np.stack([one.scores, share, length, accepted])


def _pooled(lines: Sequence[Floats]) -> Floats:
    """(5, n): as `_by_line` with the image after the length, of all images."""
    rows = [np.empty((5, 0))]
    for number, part in enumerate(lines):
        image = np.full((1, part.shape[1]), float(number))
        rows.append(np.concatenate([part[:3], image, part[3:]]))
    return np.concatenate(rows, axis=1)


def _lines_decided(lines: Sequence[Floats], images: int) -> dict[str, Statistic]:
    """Shares by length of what is accepted."""
    table = np.zeros((3, images))
    for number, (_, share, length, accepted) in enumerate(lines):
        table[:, number] = (
            length.sum(),
            (length * accepted).sum(),
            (length * accepted * share).sum(),
        )
    return {
        "accepted": ratio(table[1], table[0]),
        "accept_precision": ratio(table[2], table[1]),
        "review": ratio(table[0] - table[1], table[0]),
    }


def _relaxed(parts: Sequence[Relaxed], prefix: str) -> dict[str, Statistic]:
    """Relaxed F1, precision and recall of summed counts."""
    rows = [(p.found_right, p.found, p.truth_right, p.truth) for p in parts]
    found_right, found, truth_right, truth = sums(rows, 4)
    precision, recall = ratio(found_right, found), ratio(truth_right, truth)

    def harmonic(weights: Floats) -> Floats:
        p, r = precision(weights), recall(weights)
        # Nothing found where there is something, or the other way round, is 0.
        one_sided = np.isnan(p) != np.isnan(r)
        total = p + r
        value = np.divide(2 * p * r, total, out=np.zeros(len(total)), where=total > 0)
        return np.where(np.isnan(p) & np.isnan(r), np.nan, np.where(one_sided, 0.0, value))

    return {f"{prefix}f1": harmonic, f"{prefix}precision": precision, f"{prefix}recall": recall}
