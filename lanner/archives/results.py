"""What a run, a batch or a file of features holds, scene by scene, to be compared with another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lanner.archives.causes import (
    CONFIG,
    DETECTOR,
    NAME,
    RELEASE,
    WEIGHTS,
    RunFacts,
    facts_of,
)
from lanner.archives.ledger import FILE as LEDGER
from lanner.archives.ledger import BatchLedger
from lanner.archives.records import BatchRecord
from lanner.archives.work import part_of, read_part, upright
from lanner.core.errors import ConfigError
from lanner.inference import manifest

if TYPE_CHECKING:
    import geopandas as gpd

FILES = (".gpkg", ".geojson", ".json", ".fgb", ".parquet")
"""Endings of files of features."""

_CHANGES = "changes"
"""Layer of a GeoPackage that holds no features, but what became of some."""

_FACTS = {
    NAME: "scene_id",
    DETECTOR: "detector",
    RELEASE: "detector_version",
    WEIGHTS: "weights_sha256",
    CONFIG: "config_sha256",
}
"""What features say of the run that they are of."""


@dataclass(frozen=True)
class SceneResult:
    """What one detector found in one scene.

    Attributes:
        scene: its name; empty where a file does not say one.
        detector: who found it.
        facts: what it was made from.
        sha256: checksum of the features, or whatever else is the same only where they are; None
            where nothing is known.
        read: gives the features, in the scene's CRS, or in scene pixels where it has none.
    """

    scene: str
    detector: str
    facts: RunFacts
    sha256: str | None
    read: Callable[[], gpd.GeoDataFrame] = field(repr=False, compare=False)


@dataclass(frozen=True)
class RunResults:
    """What a RUN holds: `scenes` by name and detector, and the names of those without a result."""

    path: Path
    kind: Literal["run", "batch", "file"]
    scenes: tuple[SceneResult, ...]
    unfinished: tuple[str, ...] = ()


def results_of(path: Path) -> RunResults:
    """What there is in a run folder, the folder of a batch or a file of features.

    Raises:
        ConfigError: it is none of these, or a run that has not ended.
        OutputError: the ledger of a batch cannot be read.
    """
    if path.is_dir() and (path / LEDGER).is_file():
        return _of_batch(path)
    if path.is_dir() and (path / manifest.FILE).is_file():
        return _of_run(path)
    if path.suffix.lower() in FILES and path.exists():
        return _of_file(path)
    raise ConfigError(
        "run",
        path,
        "is no run folder, no batch and no file of features" if path.exists() else "is not there",
        f"give a folder of a run or batch, or a file that ends in one of {', '.join(FILES)}",
    )


def finished_run(folder: Path) -> dict[str, Any]:
    """The manifest of a run that has ended.

    Raises:
        ConfigError: it is damaged, or the run has not ended.
    """
    try:
        facts = manifest.read_manifest(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "run", folder, f"its {manifest.FILE} cannot be read ({error})", "give a run folder"
        ) from error
    if manifest.RUN not in facts:
        raise ConfigError(
            "run",
            folder,
            f"its {manifest.FILE} holds no result: the run was stopped, or is of an older Lanner",
            "run the same command again in that folder; it goes on and keeps what is needed",
        )
    return facts


def run_facts(facts: Mapping[str, Any]) -> RunFacts:
    """What a run was made from, of the manifest of one that has ended."""
    run = facts[manifest.RUN]
    return facts_of(facts, run["config"], run["scene"])


def read_result(folder: Path) -> gpd.GeoDataFrame:
    """The features that a run came to.

    Raises:
        ConfigError: they are gone or damaged.
    """
    path = folder / manifest.RESULT
    return _read(path, partial(_from_parquet, path))


def _of_run(folder: Path) -> RunResults:
    facts = finished_run(folder)
    run = facts[manifest.RUN]
    one = SceneResult(
        run["scene"]["id"],
        facts["detector"]["name"],
        run_facts(facts),
        run["result"]["features_sha256"],
        partial(read_result, folder),
    )
    return RunResults(folder, "run", (one,))


def _of_batch(folder: Path) -> RunResults:
    with BatchLedger(folder / LEDGER, None) as ledger:
        records = ledger.records()
        found = [_of_row(record, ledger, folder) for record in records if record.outcome]
    left = {record.scene.name for record in records if record.outcome is None}
    return RunResults(folder, "batch", tuple(found), tuple(sorted(left)))


def _of_row(record: BatchRecord, ledger: BatchLedger, folder: Path) -> SceneResult:
    assert record.outcome is not None
    summary = ledger.summary(record.scene.name, record.detector)
    return SceneResult(
        record.scene.name,
        summary["detector"]["name"],
        facts_of(summary, ledger.config(summary["detector"]["config_sha256"])),
        summary["features_sha256"],
        partial(read_part, part_of(folder, record.outcome.key)),
    )


def _of_file(path: Path) -> RunResults:
    """Every layer of features is one result, whatever scenes it is of."""
    found = []
    for layer, read in _layers(path):
        frame = _read(path, read)
        known = {what: _only(frame, column) for what, column in _FACTS.items()}
        values = {what: value for what, value in known.items() if value is not None}
        found.append(
            SceneResult(
                values.get(NAME, ""),
                values.get(DETECTOR, layer),
                RunFacts(values),
                None,
                partial(_read, path, read),
            )
        )
    if not found:
        raise ConfigError(
            "run", path, "holds no layer of features", "give a file that Lanner wrote"
        )
    return RunResults(path, "file", tuple(found))


def _only(frame: gpd.GeoDataFrame, column: str) -> str | None:
    """The value of a column that all features share; None where there is none."""
    values = set(frame[column].dropna()) if column in frame else set()
    return str(values.pop()) if len(values) == 1 else None


_Reader = Callable[[], "gpd.GeoDataFrame"]


def _layers(path: Path) -> list[tuple[str, _Reader]]:
    """Layers of features in a file, and how each is read."""
    ending = path.suffix.lower()
    if ending in (".geojson", ".json"):
        return [("", partial(_from_texts, path))]
    if ending == ".parquet" and path.is_dir():
        # The data set of an archive has a folder a detector.
        return [
            (folder.name.partition("=")[2], partial(_from_parquet, folder))
            for folder in sorted(path.glob("layer=*"))
        ]
    if ending == ".parquet":
        return [("", partial(_from_parquet, path))]
    import pyogrio

    try:
        layers = pyogrio.list_layers(path).tolist()
    except (RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error
    return [
        (str(name), partial(_by_gdal, path, str(name)))
        for name, kind in layers
        if kind is not None and name != _CHANGES and not str(name).endswith("_candidates")
    ]


def _read(path: Path, read: _Reader) -> gpd.GeoDataFrame:
    """What a reader gives, if it holds features.

    Raises:
        ConfigError: as said.
    """
    try:
        frame = read()
    except (RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error
    if len(frame) and not {"label", "confidence"} <= {*frame.columns}:
        raise ConfigError(
            "run",
            path,
            "holds other features than Lanner's: no label and confidence",
            "give a file that Lanner wrote",
        )
    return frame


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError("run", path, f"cannot be read ({error})", "give a file that Lanner wrote")


def _from_texts(path: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd

    from postprocess.writers import PIXELS

    collection = json.loads(path.read_text(encoding="utf-8"))
    crs = None if PIXELS in collection else "EPSG:4326"
    if not collection["features"]:
        return gpd.GeoDataFrame({"label": [], "confidence": []}, geometry=[], crs=crs)
    return gpd.GeoDataFrame.from_features(collection["features"], crs=crs)


def _from_parquet(path: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd

    return upright(gpd.read_parquet(path))


def _by_gdal(path: Path, layer: str) -> gpd.GeoDataFrame:
    import pyogrio

    return upright(pyogrio.read_dataframe(path, layer=layer))
