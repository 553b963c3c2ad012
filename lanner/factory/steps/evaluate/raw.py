"""Raw predictions: what each member saw on every image, kept so that the rest costs no network.

`predict` runs the networks once. `RawSet.detect` then does what `lanner detect` does with what
they said: vote calibration, fusion, placing, seams and the chain, for any thresholds, weights,
fusion and chain parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.calibration import AnyCurve, Calibration
from detectors.rasters import fuse_levels, fusion_facts
from detectors.views import Floats, Ints
from lanner.core.config import DetectorConfig, Member, config_sha256
from lanner.core.errors import DatasetError
from lanner.factory.files import WORKDIR
from lanner.factory.project import Project
from lanner.factory.samples import Sample, read_samples
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.fusing import at_least, check_variant, stacked
from lanner.factory.steps.evaluate.group import Detections, Group, roads
from lanner.factory.steps.evaluate.mosaic import STEPS, Layout, Picture
from lanner.factory.steps.evaluate.raster_steps import RasterChain, RasterState
from lanner.factory.steps.evaluate.steps import Memory, key_of, steps_until
from lanner.factory.steps.evaluate.truth import inside
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
    from postprocess.context import Context, DetectorFacts


@dataclass(frozen=True)
class MemberPredictions:
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
    `facts` what `predict.json` says; `files` those that a release brings for steps of its chain,
    where it is a release that is looked at. For other processes give `folder` to `load_raw` there:
    each holds what it did last for itself.
    """

    folder: Path
    config: DetectorConfig
    samples: tuple[Sample, ...]
    until: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, PinnedFile] = field(default_factory=dict)

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
            curve = calibration.of(tuple(one.name for one in config.members))
            return [self._traced(number, config, curve, frames) for number in wanted]
        steps = steps_until(config, self.until)
        if all(spec.step in STEPS for spec in steps):
            whole = self._group(range(len(self.samples)))
            found = whole.detect(config, calibration, steps, frames)
            return [found[number] for number in wanted]
        # A step of one's own may ask for the image it works on.
        return [
            self._group([number]).detect(config, calibration, steps, frames)[0] for number in wanted
        ]

    def member_predictions(self, member: Member) -> MemberPredictions:
        """What one member alone saw at its threshold, each object by the tile it belongs to."""
        whole = self._group(range(len(self.samples)))
        stack, layout = whole.stack, whole.layout
        number = stack.names.index(member.name)
        mine = (stack.member == number) & at_least(member, stack.scores)
        tile, image = stack.tile[mine], stack.image[stack.tile[mine]]
        boxes = stack.boxes[mine] + np.tile(stack.windows[tile, :2], 2)
        home = inside(boxes, whole.cores[tile])
        scale = np.asarray([p.plan.grid.scale for p in layout.pictures]).reshape(-1, 2)
        return MemberPredictions(
            image[home],
            (boxes * np.tile(scale[image], 2))[home],
            stack.scores[mine][home],
            stack.labels[mine][home],
        )

    def probability(self, number: int, config: DetectorConfig) -> Path:
        """The probability raster of one image: what the members say together."""
        key = self._facts[number].get("key", "")
        return fused(self.folder, self.samples[number].id, config.members, key)

    def forget_variants(self, config: DetectorConfig) -> None:
        """Remove what members say together in every variant but one; it is made again if asked."""
        if config.output == "raster" and len(config.members) > 1:
            for number, sample in enumerate(self.samples):
                kept = self.probability(number, config)
                for path in self.folder.glob(f"{store.stem(sample.id)}.*.fused.tif"):
                    if path != kept:
                        path.unlink(missing_ok=True)

    def _votes(self, number: int, config: DetectorConfig) -> dict[str, Path]:
        """The raster of each member's own word, where there are several."""
        name = store.stem(self.samples[number].id)
        several = config.members if len(config.members) > 1 else ()
        return {one.vote: self.folder / store.raster(name, one.name) for one in several}

    def place(self, number: int) -> Picture:
        """Place and tiles of one image."""
        return Picture(*store.placed(self._facts[number]))

    def metres(self, number: int) -> float:
        """Metres a pixel of one image: as it says, else as it was taken when it was predicted."""
        gsd = self.samples[number].gsd
        return sum(self.place(number).place.gsd) / 2 if gsd is None else gsd

    @cached_property
    def _facts(self) -> list[dict[str, Any]]:
        paths = [self.folder / f"{store.stem(sample.id)}.json" for sample in self.samples]
        facts = [store.read_facts(path) for path in paths]
        for path, one in zip(paths, facts, strict=True):
            if one is None:
                raise DatasetError("predictions", path, "is not there", store.AGAIN)
        return [one for one in facts if one is not None]

    @cached_property
    def _groups(self) -> dict[tuple[int, ...], Group]:
        return {}

    @cached_property
    def _rasters(self) -> RasterChain:
        # Some eight whole chains an image; most of what is held is small.
        room = 96 * max(len(self.samples), 1)
        return RasterChain(Memory(room, RasterState.forget))

    def _group(self, numbers: Sequence[int]) -> Group:
        key = tuple(numbers)
        if key not in self._groups:
            layout = Layout.of([self.place(number) for number in key])
            paths = [self.folder / f"{store.stem(self.samples[n].id)}.npz" for n in key]
            names = [one.name for one in self.config.members]
            stack = stacked(names, [store.read_views(path) for path in paths], layout)
            self._groups[key] = Group(layout, stack, self.files)
        return self._groups[key]

    def _traced(
        self, number: int, config: DetectorConfig, curve: AnyCurve, frames: bool
    ) -> Detections:
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
                rasters={"probability": raster, **self._votes(number, config)},
                calibrate=curve.apply,
                files=self.files,
            )

        fusion = fusion_facts(config.members)
        key = key_of(self.samples[number].id, fusion, curve.model_dump(mode="json"))
        state = self._rasters.run(steps_until(config, self.until), context_in, key, empty())
        return roads(state.objects, picture, raster, frames)


def _facts_of(config: DetectorConfig) -> DetectorFacts:
    from postprocess.context import DetectorFacts

    return DetectorFacts(config.name, config.release, "", config_sha256(config))


def fused(folder: Path, sample: str, members: Sequence[Member], key: str) -> Path:
    """The raster of what members say of a sample together, made where it is not there.

    Args:
        folder: of their predictions.
        sample: its id.
        members: those that are asked.
        key: of what was seen: weights that are trained again write the same rasters anew.
    """
    name = store.stem(sample)
    files = [folder / store.raster(name, one.name) for one in members]
    if len(files) == 1:
        return files[0]
    path = folder / f"{name}.{key_of(fusion_facts(members), key)[:12]}.fused.tif"
    if not path.exists():
        _fused_raster(files, members, path)
    return path


def _fused_raster(files: Sequence[Path], members: Sequence[Member], path: Path) -> None:
    """What the members' rasters, which lie on one grid, say together; valid where the last is."""
    import rasterio

    from lanner.core.files import replacing
    from tiling.access import writing_env

    rasters = []
    for file in files:
        with rasterio.open(file) as source:
            rasters.append(source.read())
            profile, names, mask = source.profile, source.descriptions, source.read_masks(1)
    fused = fuse_levels(members, rasters)
    profile = {**profile, "driver": "GTiff"}
    with (
        replacing(path, WORKDIR) as beside,
        writing_env(),
        rasterio.open(beside, "w", **profile) as out,
    ):
        out.write(fused)
        out.descriptions = names
        out.write_mask(mask)


def predict(
    project: Project, split: str, members: Mapping[str, Path], folder: Path, device: str = "auto"
) -> RawSet:
    """Run every member once over every sample of a split and keep what it saw.

    Images that are finished in `folder` are not done twice. `predict.json` there holds seconds
    of the networks and of the whole, megapixels, checksums and the images left out, with why:
    those that `lanner detect` would not take either, such as one without a valid pixel.

    Args:
        project: configuration; the samples are those that step dataset froze.
        split: which of them.
        members: weights file of each member of the detector.
        folder: where the predictions go.
        device: as in `DetectRequest`.

    Raises:
        DatasetError: the split has no samples, or none that the detector takes.
        WeightsError: weights missing or of another architecture.
        Cancelled: the caller went away; finished images stay.
    """
    from lanner.factory.steps.evaluate.networks import run_networks

    run_networks(project, split, members, folder, device)
    return load_raw(folder, project.config.evaluate.chain_until)


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


__all__ = ["Detections", "MemberPredictions", "RawSet", "load_raw", "predict"]
