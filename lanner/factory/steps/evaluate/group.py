"""Images on one mosaic: candidates, chain, and what comes out of it, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Calibration
from detectors.views import Floats
from lanner.core.config import DetectorConfig
from lanner.factory.steps.evaluate.fusing import FusedSet, Stack, fused_set, placed_frame
from lanner.factory.steps.evaluate.mosaic import Layout, MosaicContext, Picture, context_of
from lanner.factory.steps.evaluate.steps import Memory, key_of, run_steps
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class Detections:
    """What a detector says of one image; coordinates in pixels of the image.

    `boxes` (n, 4) x0 y0 x1 y1, `scores` (n,) calibrated, best first, `labels` n classes,
    `decisions` n of 'accept' and 'review'. `frame` holds the rows with every column of the chain
    (geometry and outline in image pixels) where asked for. Raster detectors give `lines`, (n,)
    LineStrings in image pixels, and `mask`, the probability raster on the detector's grid.
    """

    boxes: Floats
    scores: Floats
    labels: tuple[str, ...]
    decisions: tuple[str, ...]
    frame: gpd.GeoDataFrame | None = field(default=None, compare=False)
    lines: NDArray[np.object_] | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Group:
    """Images on one mosaic, the files that a chain reads, and what was last done with them."""

    layout: Layout
    stack: Stack
    files: Mapping[str, PinnedFile] = field(default_factory=dict)
    fused: Memory = field(default_factory=lambda: Memory(4))
    frames: Memory = field(default_factory=lambda: Memory(16))

    @cached_property
    def context(self) -> MosaicContext:
        """Surroundings of a chain over all of them."""
        from postprocess.context import DetectorFacts

        gsd = self.layout.pictures[0].plan.grid.gsd if self.layout.pictures else 1.0
        context = context_of(self.layout, gsd, DetectorFacts("mosaic", "", "", ""))
        return replace(context, files=self.files)

    @cached_property
    def cores(self) -> Floats:
        """(tiles, 4) cores of all tiles, on the grid of their image."""
        cores = [t.core for picture in self.layout.pictures for t in picture.plan]
        sides = [(c.x0, c.y0, c.x1, c.y1) for c in cores]
        return np.asarray(sides, np.float64).reshape(-1, 4)

    def detect(
        self,
        config: DetectorConfig,
        calibration: Calibration,
        steps: Sequence[Any],
        frames: bool,
    ) -> list[Detections]:
        """What a variant says of each image, in its pixels; see `RawSet.detect`."""
        members = [
            [one.name, one.weight, one.threshold, calibration.of_vote(one.name).model_dump()]
            for one in config.members
        ]
        key = key_of(members, config.fusion.model_dump())
        curve = calibration.of(tuple(one.name for one in config.members))

        def objects() -> gpd.GeoDataFrame:
            fused: FusedSet | None = self.fused.get(key)
            if fused is None:
                fused = fused_set(self.stack, config, calibration)
                self.fused.put(key, fused)
            return placed_frame(self.stack, fused, config, curve)

        whole = key_of(key, curve.model_dump())
        return self._split(run_steps(objects, steps, self.context, self.frames, whole), frames)

    def _split(self, found: gpd.GeoDataFrame, frames: bool) -> list[Detections]:
        """By image, in its pixels, best first."""
        image = self.stack.image[found["tile"].to_numpy(np.int64)]
        origin = self.layout.origins[image]
        scale = np.asarray([p.plan.grid.scale for p in self.layout.pictures], np.float64)
        scale = scale.reshape(-1, 2)[image]
        boxes = (_boxes(found) - np.tile(origin, 2)) * np.tile(scale, 2)
        scores = found["score"].to_numpy(np.float64)
        order = np.lexsort((*boxes.T[::-1], -scores, image))
        labels, decisions = found["label"].tolist(), _decisions(found)
        ends = np.searchsorted(image[order], np.arange(len(self.layout.pictures) + 1))
        result = []
        for number, (start, end) in enumerate(pairwise(ends.tolist())):
            rows = order[start:end]
            frame = None
            if frames:
                frame = _moved(
                    found.iloc[rows],
                    self.layout.origins[number],
                    self.layout.pictures[number].plan.grid.scale,
                )
            result.append(
                Detections(
                    boxes[rows],
                    scores[rows],
                    tuple(labels[i] for i in rows.tolist()),
                    tuple(decisions[i] for i in rows.tolist()),
                    frame,
                )
            )
        return result


def _boxes(found: gpd.GeoDataFrame) -> Floats:
    """(n, 4): as detected where `outline` kept that, else the bounds."""
    import shapely

    if "box" in found.columns:
        return np.asarray(found["box"].tolist(), np.float64).reshape(-1, 4)
    shapes = np.asarray(found.geometry.values, object)
    return np.asarray(shapely.bounds(shapes), np.float64).reshape(-1, 4)


def _decisions(found: gpd.GeoDataFrame) -> list[str]:
    return found["decision"].tolist() if "decision" in found else ["review"] * len(found)


def _moved(rows: gpd.GeoDataFrame, origin: Floats, scale: tuple[float, float]) -> gpd.GeoDataFrame:
    """The rows with geometry and outline in image pixels."""
    import geopandas
    import shapely

    result = rows.reset_index(drop=True)
    for name in ("geometry", "outline"):
        shapes = np.asarray(result[name].values, object)
        points = shapely.get_coordinates(shapes)
        moved = shapely.set_coordinates(shapes.copy(), (points - origin) * np.asarray(scale))
        result[name] = geopandas.GeoSeries(moved, index=result.index)
    return result


def roads(found: gpd.GeoDataFrame, picture: Picture, raster: Path, frames: bool) -> Detections:
    """The lines of one image in its pixels, best first.

    Args:
        found: rows of the chain, on the grid.
        picture: place and tiles of the image.
        raster: its probability raster.
        frames: whether `Detections.frame` is wanted.
    """
    import shapely

    rows = _moved(found, np.zeros(2), picture.plan.grid.scale)
    shapes = np.asarray(rows.geometry.values, object)
    boxes = np.asarray(shapely.bounds(shapes), np.float64).reshape(-1, 4)
    scores = rows["score"].to_numpy(np.float64)
    order = np.lexsort((*boxes.T[::-1], -scores))
    labels, decisions = rows["label"].tolist(), _decisions(rows)
    return Detections(
        boxes[order],
        scores[order],
        tuple(labels[i] for i in order.tolist()),
        tuple(decisions[i] for i in order.tolist()),
        rows.iloc[order].reset_index(drop=True) if frames else None,
        shapes[order],
        raster,
    )
