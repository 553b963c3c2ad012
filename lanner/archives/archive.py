"""The archive's own files: every object once, in one GeoPackage and one Parquet data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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

SCENE = Column("scene", "text", "name of the scene in the batch")
SHARED = (
    Column("sightings", "json", "scenes that saw it: scene, id, confidence; the one told first"),
    Column("track_id", "text", "the same object on other dates (not told yet)"),
)
"""What the archive's features have before and after the columns of a scene's."""


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
    from pyproj import CRS

    from postprocess.chain import Chain
    from postprocess.pieces import write_geopackage, write_parquet

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
        schema = as_texts(Schema((SCENE, *columns.columns, *SHARED), columns.geometry))
        part = beside / PARQUET / f"layer={config.name}" / "features.parquet"
        part.parent.mkdir(parents=True)
        frames = _counted(_frames(placed, out), config.name, len(placed), cancel, tell)
        features[config.name] = write_parquet(frames, part, schema, CRS.from_epsg(4326))
        write_geopackage(part, beside / GPKG, config.name, schema, cancel)
    _drop_parts(records, out)
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


def load_libraries(detectors: Sequence[Entry]) -> None:
    """Import what `write_archive` does, which takes seconds, while others still work for it."""
    import pyogrio  # noqa: F401

    import lanner.archives.overlap  # noqa: F401
    import postprocess.pieces  # noqa: F401
    from postprocess.chain import Chain

    for entry in detectors:
        Chain.from_specs(entry.config.chain)


def _counted(
    frames: Iterator[gpd.GeoDataFrame],
    detector: str,
    scenes: int,
    cancel: Cancel,
    tell: Callable[[Progress], None],
) -> Iterator[gpd.GeoDataFrame]:
    """The frames, until the caller asks to stop."""
    for done, frame in enumerate(frames, 1):
        cancel.check()
        tell(Progress(f"archive: {detector}", done, scenes))
        yield frame


def _frames(records: Sequence[BatchRecord], out: Path) -> Iterator[gpd.GeoDataFrame]:
    """The features of each scene, each object once among those of scenes that overlap.

    Groups of these come by the name of their first scene, and scenes by theirs in each.
    """
    from lanner.archives.overlap import SceneFeatures, merged, overlapping_groups

    records = sorted(records, key=lambda one: one.scene.name)
    scenes = [
        SceneFeatures(
            one.scene.name,
            None if one.facts is None else one.facts.acquired,
            _footprint(one),
            partial(_features, one, out),
        )
        for one in records
    ]
    groups = overlapping_groups([(one.name, one.acquired, one.footprint) for one in scenes])
    for group in groups:
        yield from merged([scenes[k] for k in group])


def _features(record: BatchRecord, out: Path) -> gpd.GeoDataFrame:
    """What the detector of a record found in its scene, in longitude and latitude."""
    assert record.outcome is not None
    frame = read_part(part_of(out, record.outcome.key)).to_crs("EPSG:4326")
    frame.insert(0, SCENE.name, record.scene.name)
    return frame


def _footprint(record: BatchRecord) -> shapely.Polygon | None:
    ring = None if record.facts is None else record.facts.footprint
    return None if ring is None else shapely.Polygon(ring)


def _drop_parts(records: Sequence[BatchRecord], out: Path) -> None:
    """Take away what scenes left that were done again since, or are not there any more, and what
    killed processes left half-written.
    """
    names = {f"{one.outcome.key}.parquet" for one in records if one.outcome is not None}
    for path in (out / PARTS).glob("*"):
        if path.name not in names:
            path.unlink()
