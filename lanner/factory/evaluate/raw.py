"""Raw predictions: what each member saw on every image, kept so that the rest costs no network.

`predict` runs the networks once. `RawSet.detect` then does what `lanner detect` does with what
they said: vote calibration, fusion, placing, seams and the chain, for any thresholds, weights,
fusion and chain parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Calibration
from detectors.views import Floats, Ints
from lanner.config import DetectorConfig, Member, config_sha256
from lanner.errors import DatasetError
from lanner.factory.evaluate import store
from lanner.factory.evaluate.fusing import (
    FusedSet,
    Stack,
    at_least,
    check_variant,
    fused_set,
    placed_frame,
    stacked,
)
from lanner.factory.evaluate.mosaic import STEPS, Layout, MosaicContext, Picture, context_of
from lanner.factory.evaluate.steps import (
    Memory,
    RasterChain,
    RasterState,
    key_of,
    run_steps,
    steps_until,
)
from lanner.factory.evaluate.truth import inside
from lanner.factory.samples import Sample, read_samples
from lanner.factory.shop import Shop

if TYPE_CHECKING:
    import geopandas as gpd

    from postprocess.context import Context, DetectorFacts


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
class Sightings:
    """What one member saw: (n,) number of the image, (n, 4) boxes in its pixels, (n,) scores and
    numbers of the classes.
    """

    image: Ints
    boxes: Floats
    scores: Floats
    labels: Ints


@dataclass(frozen=True)
class RawSet:
    """Raw predictions of a set of images.

    `config` is the detector as it was when they were made; `samples` the images, in order;
    `until` the last step of the chain that is run (None: all; triage is run in any case);
    `facts` what `predict.json` says. For other processes give `folder` to `load_raw` there:
    each holds what it did last for itself.
    """

    folder: Path
    config: DetectorConfig
    samples: tuple[Sample, ...]
    until: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def detect(
        self,
        config: DetectorConfig,
        calibration: Calibration,
        index: Sequence[int] | None = None,
        frames: bool = False,
    ) -> list[Detections]:
        """What a variant of the detector says of every image, or of those of `index`.

        Args:
            config: a variant: its member thresholds (not below what was kept), weights, fusion
                and chain may differ, and members may be left out.
            calibration: curves of votes and of fused scores.
            index: numbers of images; None for all.
            frames: whether `Detections.frame` is wanted; slower.

        Raises:
            ConfigError: the variant needs what the networks were not asked (another network,
                sampling, tile, suppression, instances).
            StepError: a step failed.
        """
        check_variant(config, self.config)
        wanted = list(range(len(self.samples))) if index is None else list(index)
        if self.config.output == "raster":
            return [self._traced(number, config, frames) for number in wanted]
        steps = steps_until(config, self.until)
        if all(spec.step in STEPS for spec in steps):
            whole = self._group(range(len(self.samples)))
            found = whole.detect(config, calibration, steps, frames)
            return [found[number] for number in wanted]
        # A step of one's own may ask for the image it works on.
        return [
            self._group([number]).detect(config, calibration, steps, frames)[0] for number in wanted
        ]

    def sightings(self, member: Member) -> Sightings:
        """What one member alone saw at its threshold, each object by the tile it belongs to."""
        whole = self._group(range(len(self.samples)))
        stack, layout = whole.stack, whole.layout
        number = stack.names.index(member.name)
        mine = (stack.member == number) & at_least(member, stack.scores)
        tile, image = stack.tile[mine], stack.image[stack.tile[mine]]
        boxes = stack.boxes[mine] + np.tile(stack.windows[tile, :2], 2)
        home = inside(boxes, whole.cores[tile])
        scale = np.asarray([p.plan.grid.scale for p in layout.pictures]).reshape(-1, 2)
        return Sightings(
            image[home],
            (boxes * np.tile(scale[image], 2))[home],
            stack.scores[mine][home],
            stack.labels[mine][home],
        )

    def probability(self, number: int, config: DetectorConfig) -> Path:
        """The probability raster of one image: the members' mean by their weights."""
        name = store.stem(self.samples[number].id)
        weights = {one.name: one.weight for one in config.members}
        files = [self.folder / store.raster(name, member) for member in weights]
        if len(files) == 1:
            return files[0]
        path = self.folder / f"{name}.{key_of(weights)[:12]}.mean.tif"
        if not path.exists():
            _mean_raster(files, list(weights.values()), path)
        return path

    def place(self, number: int) -> Picture:
        """Place and tiles of one image."""
        return Picture(*store.placed(self._facts[number]))

    @cached_property
    def _facts(self) -> list[dict[str, Any]]:
        paths = [self.folder / f"{store.stem(sample.id)}.json" for sample in self.samples]
        facts = [store.read_facts(path) for path in paths]
        for path, one in zip(paths, facts, strict=True):
            if one is None:
                raise DatasetError("predictions", path, "is not there", "predict again")
        return [one for one in facts if one is not None]

    @cached_property
    def _groups(self) -> dict[tuple[int, ...], _Group]:
        return {}

    @cached_property
    def _rasters(self) -> RasterChain:
        room = 24 * max(len(self.samples), 1)
        return RasterChain(Memory(room, RasterState.forget))

    def _group(self, numbers: Sequence[int]) -> _Group:
        key = tuple(numbers)
        if key not in self._groups:
            layout = Layout.of([self.place(number) for number in key])
            paths = [self.folder / f"{store.stem(self.samples[n].id)}.npz" for n in key]
            names = [one.name for one in self.config.members]
            stack = stacked(names, [store.read_views(path) for path in paths], layout)
            self._groups[key] = _Group(layout, stack)
        return self._groups[key]

    def _traced(self, number: int, config: DetectorConfig, frames: bool) -> Detections:
        from postprocess.context import Context
        from postprocess.frame import empty

        picture, raster = self.place(number), self.probability(number, config)
        scene = self._facts[number]["scene"]

        def context_in(folder: Path) -> Context:
            return Context(
                scene_id=scene["id"],
                acquired=scene["acquired"],
                place=picture.place,
                grid=picture.plan.grid,
                plan=picture.plan,
                detector=_facts_of(config),
                workdir=folder,
                rasters={"probability": raster},
            )

        key = key_of(self.samples[number].id, {m.name: m.weight for m in config.members})
        state = self._rasters.run(steps_until(config, self.until), context_in, key, empty())
        return _roads(state.objects, picture, raster, frames)


@dataclass(frozen=True)
class _Group:
    """Images on one mosaic, and what was last done with them."""

    layout: Layout
    stack: Stack
    fused: Memory = field(default_factory=lambda: Memory(4))
    frames: Memory = field(default_factory=lambda: Memory(16))

    @cached_property
    def context(self) -> MosaicContext:
        """Surroundings of a chain over all of them."""
        from postprocess.context import DetectorFacts

        gsd = self.layout.pictures[0].plan.grid.gsd if self.layout.pictures else 1.0
        return context_of(self.layout, gsd, DetectorFacts("mosaic", "", "", ""))

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


def _roads(found: gpd.GeoDataFrame, picture: Picture, raster: Path, frames: bool) -> Detections:
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


def _facts_of(config: DetectorConfig) -> DetectorFacts:
    from postprocess.context import DetectorFacts

    return DetectorFacts(config.name, config.release, "", config_sha256(config))


def _mean_raster(files: Sequence[Path], weights: Sequence[float], path: Path) -> None:
    """The weighted mean of rasters that lie on one grid, valid where the first is."""
    import rasterio

    from postprocess.files import replacing
    from tiling.access import writing_env

    share = np.asarray(weights, np.float64) / sum(weights)
    total: Floats | float = 0.0
    for file, part in zip(files, share.tolist(), strict=True):
        with rasterio.open(file) as source:
            total = total + part * source.read().astype(np.float64)
            profile, names, mask = source.profile, source.descriptions, source.read_masks(1)
    profile = {**profile, "driver": "GTiff"}
    with replacing(path) as beside, writing_env(), rasterio.open(beside, "w", **profile) as out:
        out.write(np.rint(total).astype(np.uint8))
        out.descriptions = names
        out.write_mask(mask)


def predict(
    shop: Shop, split: str, members: Mapping[str, Path], folder: Path, device: str = "auto"
) -> RawSet:
    """Run every member once over every sample of a split and keep what it saw.

    Images that are finished in `folder` are not done twice. `predict.json` there holds seconds
    of the networks and of the whole, megapixels, checksums and the images left out, with why.

    Args:
        shop: configuration; the samples are those that step dataset froze.
        split: which of them.
        members: weights file of each member of the detector.
        folder: where the predictions go.
        device: as in `DetectRequest`.

    Raises:
        DatasetError: the split has no samples, or none that the detector takes.
        WeightsError: weights missing or of another architecture.
        Cancelled: the caller went away; finished images stay.
    """
    from lanner.factory.evaluate.predict import run_networks

    run_networks(shop, split, members, folder, device)
    return load_raw(folder, shop.config.evaluate.chain_until)


def load_raw(folder: Path, until: str | None = None) -> RawSet:
    """What `predict` left.

    Raises:
        DatasetError: missing or damaged.
    """
    facts = store.read_facts(folder / store.FACTS)
    if facts is None:
        raise DatasetError("predictions", folder, "are not there", "run: lanner factory evaluate")
    config = DetectorConfig.model_validate(facts["detector"])
    return RawSet(folder, config, read_samples(folder / store.SAMPLES), until, facts)


def fit_calibration(raw: RawSet, config: DetectorConfig, iou: float = 0.5) -> Calibration:
    """Curves of the votes, then of what is fused from calibrated votes (Platt, 1999).

    A raster detector's probabilities stay as they are.

    Args:
        raw: predictions of images that no member learned from.
        config: the variant.
        iou: least overlap with the truth of a right one.
    """
    from lanner.factory.evaluate.calibrate import fit

    return fit(raw, config, iou)
