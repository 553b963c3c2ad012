"""The archive's own files: every object once, in one GeoPackage and one Parquet data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from detectors.catalog import Entry
from lanner.archives.options import BatchOptions
from lanner.archives.records import BatchRecord
from lanner.archives.work import PARTS, WORK, as_texts, part_of, read_part
from lanner.core.files import replace
from lanner.core.job import Cancel, Progress
from lanner.core.schema import Column, Schema

if TYPE_CHECKING:
    import geopandas as gpd

GPKG, PARQUET = "features.gpkg", "features.parquet"
"""The archive's files."""

COLUMNS = (
    Column("scene", "text", "name of the scene in the batch"),
    Column("sightings", "json", "scenes that saw it: scene, id, confidence; the one told first"),
    Column("track_id", "text", "the same object on other dates (not told yet)"),
)
"""What the archive's features have beside those of a scene."""


@dataclass(frozen=True)
class WrittenArchive:
    """The archive's files, how many features of each detector they have, and notes for people."""

    files: tuple[Path, ...]
    features: dict[str, int]
    notes: tuple[str, ...]


def write_archive(
    records: Sequence[BatchRecord],
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    cancel: Cancel,
    tell: Callable[[Progress], None],
) -> WrittenArchive:
    """Write `features.gpkg` (a layer a detector) and `features.parquet/layer=NAME/`.

    Scenes without a CRS are in their own files alone: their features have no place. What was there
    is replaced once the new files are whole.

    Raises:
        OutputError: a file cannot be written.
        Cancelled: the caller asked to stop; the files that were there stay.
    """
    import geopandas as gpd
    import pandas as pd

    from postprocess.chain import Chain
    from postprocess.writers import empty_frame, write

    beside = out / WORK / "archive"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    features: dict[str, int] = {}
    homeless: set[str] = set()
    for name, entry in zip(options.detectors, detectors, strict=True):
        config = entry.config
        done = [one for one in records if one.detector == name and one.outcome is not None]
        placed = [one for one in done if one.facts is not None and one.facts.crs is not None]
        homeless |= {one.scene.name for one in done if one not in placed}
        columns = Chain.from_specs(config.chain).schema
        schema = as_texts(Schema((*COLUMNS, *columns.columns), columns.geometry))
        frames = []
        for k, frame in enumerate(_groups(placed, config.name, out)):
            cancel.check()
            tell(Progress(f"archive: {config.name}", k + 1, 0))
            frames.append(frame)
        whole = (
            gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs="EPSG:4326")
            if frames
            else empty_frame(schema, "EPSG:4326")
        )
        features[config.name] = len(whole)
        part = beside / PARQUET / f"layer={config.name}" / "features.parquet"
        part.parent.mkdir(parents=True)
        for path in (beside / GPKG, part):
            write((), whole, path, config.name, schema)
        part.with_suffix(".qml").unlink(missing_ok=True)
        _drop_parts(done, config.name, out)
    shutil.rmtree(out / PARQUET, ignore_errors=True)
    for path in sorted(beside.iterdir()):
        replace(path, out / path.name)
    shutil.rmtree(out / WORK, ignore_errors=True)
    notes: tuple[str, ...] = ()
    if homeless:
        notes = (
            f"{len(homeless)} scenes have no CRS: their features are in scenes/ alone, in pixels. "
            "A CRS that the files do not say can be given.",
        )
    return WrittenArchive((out / GPKG, out / PARQUET), features, notes)


def _groups(records: Sequence[BatchRecord], detector: str, out: Path) -> Iterator[gpd.GeoDataFrame]:
    """The features of scenes that overlap, each object once; one frame after the other."""
    from lanner.archives.overlap import SceneFeatures, merged, overlapping_groups

    records = sorted(records, key=lambda one: one.scene.name)
    shapes = [_footprint(one) for one in records]
    times = [None if one.facts is None else one.facts.acquired for one in records]
    scenes = list(zip((one.scene.name for one in records), times, shapes, strict=True))
    for group in overlapping_groups(scenes):
        some = []
        for k in group:
            record = records[k]
            assert record.outcome is not None
            frame = read_part(part_of(out, detector, record.outcome.key)).to_crs("EPSG:4326")
            frame.insert(0, "scene", record.scene.name)
            some.append(SceneFeatures(record.scene.name, times[k], shapes[k], frame))
        yield merged(some)


def _footprint(record: BatchRecord) -> shapely.Polygon | None:
    ring = None if record.facts is None else record.facts.footprint
    return None if ring is None else shapely.Polygon(ring)


def _drop_parts(records: Sequence[BatchRecord], detector: str, out: Path) -> None:
    """Take away what scenes left that were done again since, or are not there any more."""
    keys = {one.outcome.key for one in records if one.outcome is not None}
    for path in (out / PARTS / detector).glob("*.parquet"):
        if path.stem not in keys:
            path.unlink()
