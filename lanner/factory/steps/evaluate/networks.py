"""Every network over every image, once; what they said is kept."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.card import sha256_file
from lanner.core.config import DetectorConfig
from lanner.core.errors import (
    BandError,
    DatasetError,
    GsdError,
    PlaceError,
    SceneError,
    WeightsError,
)
from lanner.core.job import Progress
from lanner.factory.images import read_mask, read_rgb
from lanner.factory.orientation import UPRIGHT, orientation
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import MASK_UNKNOWN, Sample, read_samples, write_samples
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.fusing import LOW

if TYPE_CHECKING:
    from detectors.member_predictions import MemberPredictions
    from tiling.grid import TilePlan
    from tiling.reader import TileImage, TileReader
    from tiling.scene import Scene

WHITE, WHITE_SHARE = 250, 0.5
"""An unknown area that is mostly this bright in every band is missing image, not ground."""

_REFUSED = (BandError, GsdError, PlaceError, SceneError)
"""What `lanner detect` says of a scene that it does not take."""

Pretended = bool | dict[str, float]
"""Whether, and for which sources as what, an unknown ground sampling is pretended."""


@dataclass(frozen=True)
class SamplePredictor:
    """Networks ready to look at samples, and the folder where what they say is kept."""

    config: DetectorConfig
    predictor: MemberPredictions
    folder: Path
    pretend: Pretended
    checksums: Mapping[str, str]
    key: str

    @staticmethod
    def ready(
        config: DetectorConfig,
        members: Mapping[str, Path],
        folder: Path,
        pretend: Pretended,
        device: str = "auto",
    ) -> SamplePredictor:
        """Load the networks.

        Args:
            config: the detector.
            members: weights file of each of its members.
            folder: where predictions are kept, and found again.
            pretend: as in the factory file's `evaluate.pretend_gsd`.
            device: as in `DetectRequest`.

        Raises:
            WeightsError: weights missing or of another architecture.
            DeviceError: no such device.
        """
        from detectors.member_predictions import MemberPredictions

        checksums = {one.name: _checksum(one.name, members) for one in config.members}
        predictor = MemberPredictions.load(_keeping(config), members, device)
        folder.mkdir(parents=True, exist_ok=True)
        key = _key(_keeping(config), checksums, predictor.identity, pretend)
        return SamplePredictor(config, predictor, folder, pretend, checksums, key)

    def refusal(self, sample: Sample) -> str | None:
        """Why an image cannot be shown to this detector; None where it can."""
        gsd = ground_sampling(sample, self.config, self.pretend)
        if gsd is None and sample.place is None:
            return "its ground sampling is not known"
        if gsd is not None and not self.config.takes(gsd):
            low, high = self.config.gsd_range
            return f"{gsd:g} m pixels are not within {low:g} to {high:g} m"
        return None

    def predict(self, sample: Sample) -> dict[str, Any]:
        """Predictions of one image, made now or found; says where they lie on the ground."""
        return _one(sample, self)


def run_networks(
    project: Project, split: str, members: Mapping[str, Path], folder: Path, device: str
) -> None:
    """See `lanner.factory.steps.evaluate.raw.predict`."""
    config = project.detector()
    every = read_samples(project.need("dataset", SAMPLES))
    samples = [one for one in every if one.split == split and one.role != "unlabelled"]
    if not samples:
        raise DatasetError("split", split, "has no samples", "name another split in evaluate")
    started = time.monotonic()
    work = SamplePredictor.ready(
        config, members, folder, project.config.evaluate.pretend_gsd, device
    )
    (folder / store.FACTS).unlink(missing_ok=True)
    done, left_out, seconds, pixels = [], {}, [0.0, 0.0], 0
    for count, sample in enumerate(samples):
        project.cancel.check()
        project.tell(Progress(f"predict {split}", count, len(samples)))
        reason = work.refusal(sample)
        if reason is not None:
            left_out[sample.id] = reason
            continue
        try:
            facts = work.predict(sample)
        except _REFUSED as error:  # one bad image does not stop the others; it is told
            left_out[sample.id] = error.problem
            continue
        seconds[0] += facts["seconds"]["networks"]
        seconds[1] += facts["seconds"]["whole"]
        pixels += facts["pixels"]
        done.append(sample)
    project.tell(Progress(f"predict {split}", len(samples), len(samples)))
    if not done:
        reason = next(iter(left_out.values()))
        raise DatasetError(
            "split",
            split,
            f"has no image that {config.name} takes: {reason}",
            "give images as the detector's file asks; for their ground sampling see pretend_gsd",
        )
    write_samples(done, folder / store.SAMPLES)
    store.write_json(
        {
            "split": split,
            "detector": config.model_dump(mode="json"),
            "weights": dict(work.checksums),
            "runs_on": work.predictor.identity,
            "key": work.key,
            "left_out": left_out,
            "megapixels": round(pixels / 1e6, 6),
            "seconds": {
                "networks": round(seconds[0], 3),
                "whole": round(seconds[1], 3),
                "now": round(time.monotonic() - started, 3),
            },
        },
        folder / store.FACTS,
    )


def _keeping(config: DetectorConfig) -> DetectorConfig:
    """The same detector that tells of fainter boxes."""
    members = tuple(
        one.model_copy(update={"threshold": min(one.threshold, LOW)})
        if one.kind == "retinanet"
        else one
        for one in config.members
    )
    return config.model_copy(update={"members": members})


def _checksum(name: str, members: Mapping[str, Path]) -> str:
    if name not in members:
        raise WeightsError("weights", name, "none are given", "train this member first")
    try:
        return sha256_file(Path(members[name]))
    except OSError as error:
        raise WeightsError(
            "weights", members[name], f"cannot be read ({error.strerror})", "train it again"
        ) from error


def _key(
    config: DetectorConfig, checksums: Mapping[str, str], identity: str, pretend: Pretended
) -> str:
    """Checksum of what kept predictions of a detector depend on, the image apart."""
    facts = config.model_dump(mode="json")
    facts["closer"] = None  # it looks at what is found, later
    for name in ("fusion", "chain", "release", "description", "panchromatic_detector"):
        facts.pop(name)
    for one in facts["members"]:
        for name in ("weight", "weights", "override_above"):
            one.pop(name)
    text = json.dumps([facts, dict(checksums), identity, pretend, LOW], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def ground_sampling(sample: Sample, config: DetectorConfig, pretend: Pretended) -> float | None:
    """Metres a pixel as far as it is known or pretended."""
    if sample.gsd is not None or not pretend:
        return sample.gsd
    return pretend.get(sample.source, config.gsd) if isinstance(pretend, dict) else config.gsd


def _one(sample: Sample, work: SamplePredictor) -> dict[str, Any]:
    """Predictions of one image, made now or found."""
    name = store.stem(sample.id)
    key = hashlib.sha256(
        json.dumps(
            [work.key, sample.id, sha256_file(sample.image), sample.gsd, _mask_key(sample, work)]
        ).encode()
    ).hexdigest()
    facts = store.read_facts(work.folder / f"{name}.json")
    # What was found damaged is deleted by hand, as the message says, and made again.
    if facts is not None and facts["key"] == key and all(f.exists() for f in _files(name, work)):
        return facts
    started = time.monotonic()
    with _opened(sample, work) as (scene, plan, reader):
        if work.config.output == "raster":
            spent = _rasters(name, plan, scene, reader, work)
            for old in work.folder.glob(f"{name}.*.fused.tif"):
                old.unlink()
        else:
            spent = _boxes(name, plan, reader, work)
        facts = {
            "key": key,
            "pixels": plan.grid.width * plan.grid.height,
            "seconds": {
                "networks": round(spent, 3),
                "whole": round(time.monotonic() - started, 3),
            },
            **store.geometry(scene, plan),
        }
    store.write_json(facts, work.folder / f"{name}.json")
    return facts


def _files(name: str, work: SamplePredictor) -> list[Path]:
    """Where what the members said of one image lies."""
    if work.config.output == "raster":
        return [work.folder / store.raster(name, one.name) for one in work.config.members]
    return [work.folder / f"{name}.npz"]


def _mask_key(sample: Sample, work: SamplePredictor) -> str | None:
    if work.config.output != "raster" or sample.mask is None:
        return None
    return sha256_file(sample.mask)


@contextmanager
def _opened(sample: Sample, work: SamplePredictor) -> Iterator[tuple[Scene, TilePlan, TileReader]]:
    """The scene, its tiles, and what reads them, as `lanner detect` makes them."""
    from lanner.inference.run import tile_plan
    from tiling.normalise import require_valid, scene_stretch
    from tiling.reader import TileReader

    config = work.config
    with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
        scene = _scene(sample, work, Path(folder))
        plan = tile_plan(scene, config, None)
        require_valid(scene, config.bands)
        stretch = scene_stretch(scene, config.bands, config.normalise)
        yield scene, plan, TileReader(scene, plan, config.bands, stretch)


def _scene(sample: Sample, work: SamplePredictor, folder: Path) -> Scene:
    """The image itself where tiling lets it in, else a GeoTIFF of its pixels."""
    from tiling.scene import open_scene

    gsd = ground_sampling(sample, work.config, work.pretend)
    holes = _missing(sample) if work.config.output == "raster" else None
    # Scenes are read as they are stored, and labels are of the image as EXIF turns it.
    if holes is None and orientation(sample.image) == UPRIGHT:
        try:
            return _let_in(sample, gsd)
        except SceneError:
            # A format of its own (WebP): what cannot be decoded at all is told below.
            pass
    path = folder / f"{store.stem(sample.id)}.tif"
    _write_tiff(read_rgb(sample.image), holes, path)
    return open_scene(path, gsd=gsd)


def _let_in(sample: Sample, gsd: float | None) -> Scene:
    from tiling.scene import open_scene

    if sample.place is not None:
        try:
            return open_scene(sample.image)
        except PlaceError:
            if gsd is None:
                raise
    return open_scene(sample.image, gsd=gsd)


def _missing(sample: Sample) -> NDArray[np.bool_] | None:
    """(h, w) where the image holds nothing: large unknown areas in white; None if nowhere."""
    if sample.mask is None:
        return None
    from scipy import ndimage

    unknown = read_mask(sample.mask) == MASK_UNKNOWN
    if not unknown.any():
        return None
    white = (read_rgb(sample.image) >= WHITE).all(axis=2)
    parts, count = ndimage.label(unknown)
    share = ndimage.mean(white, parts, np.arange(1, count + 1))
    empty = np.concatenate([[False], np.asarray(share) >= WHITE_SHARE])[parts]
    return empty if empty.any() else None


def _write_tiff(rgb: NDArray[np.uint8], holes: NDArray[np.bool_] | None, path: Path) -> None:
    import rasterio

    from tiling.access import writing_env

    height, width = rgb.shape[:2]
    with (
        writing_env(),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=3,
            dtype="uint8",
            photometric="RGB",
        ) as out,
    ):
        out.write(np.moveaxis(rgb, 2, 0))
        if holes is not None:
            out.write_mask(~holes)


def _chunks(reader: TileReader, work: SamplePredictor) -> Iterator[list[TileImage]]:
    predictor = work.predictor
    return reader.chunks(
        range(len(reader.plan)), predictor.batch, not predictor.compute.shares_cores
    )


def _boxes(name: str, plan: TilePlan, reader: TileReader, work: SamplePredictor) -> float:
    spent, tiles = 0.0, []
    for images in _chunks(reader, work):
        before = time.monotonic()
        views = work.predictor.views(images)
        spent += time.monotonic() - before
        tiles += [
            (image.tile.index, image.valid, tile_views)
            for image, tile_views in zip(images, views, strict=True)
        ]
    store.write_views(tiles, work.folder / f"{name}.npz")
    return spent


def _rasters(
    name: str, plan: TilePlan, scene: Scene, reader: TileReader, work: SamplePredictor
) -> float:
    from lanner.inference.tiles import trusted
    from tiling.blend import Blender

    spent, channels = 0.0, work.predictor.channels
    with ExitStack() as stack:
        blenders = [
            stack.enter_context(
                Blender(
                    work.folder / store.raster(name, one.name),
                    plan,
                    len(channels),
                    tuple(channels),
                    scene.place,
                )
            )
            for one in work.config.members
        ]
        for images in _chunks(reader, work):
            before = time.monotonic()
            tile_rasters = work.predictor.rasters(images)
            spent += time.monotonic() - before
            for image, results in zip(images, tile_rasters, strict=True):
                inside = image.valid & trusted(plan, image.tile)
                for blender, result in zip(blenders, results, strict=True):
                    if result.probability is None:
                        blender.add(image.tile, None, None)
                    else:
                        values = result.probability.astype(np.float32) / np.float32(255)
                        blender.add(image.tile, values, inside)
    return spent
