"""Released detectors: finding, listing and loading them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.catalog import SUFFIXES, Broken, Entry, check_release, listing, resolve
from lanner.core.config import config_sha256
from lanner.core.errors import ConfigError, WeightsError
from lanner.core.home import home
from lanner.core.job import DetectRequest
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
    from detectors.ensemble import Ensemble
    from lanner.inference.engine import Predictor


@dataclass(frozen=True)
class LoadedDetector:
    """What looks at tiles, and the checksums that pin it.

    `chain_files` are the files that the release brings for steps of the chain.
    """

    predictor: Predictor
    weights_sha256: str
    files: Mapping[str, str]
    chain_files: Mapping[str, PinnedFile] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkInfo:
    """One member of a detector; `weights_sha256` is empty where its weights are not there."""

    name: str
    kind: str
    weights_sha256: str


@dataclass(frozen=True)
class DetectorInfo:
    """What a user may know of a detector; `problem` says why it cannot run, where it cannot."""

    name: str
    release: str
    description: str
    classes: tuple[str, ...]
    output: str
    gsd: float
    gsd_range: tuple[float, float]
    bands: tuple[str, ...]
    members: tuple[str, ...]
    steps: tuple[str, ...]
    networks: tuple[NetworkInfo, ...]
    problem: str | None = None


def list_detectors() -> tuple[DetectorInfo, ...]:
    """Every released detector, by name; a malformed file is one that cannot run.

    Raises:
        ConfigError: no configurations are installed.
    """
    sound, broken = listing(home())
    found = [*(_info(entry) for entry in sound), *(_unreadable(one) for one in broken)]
    return tuple(sorted(found, key=lambda one: one.name))


def find(detector: str) -> Entry:
    """The detector of a released name or of a path to a YAML file.

    Raises:
        UnknownDetectorError: no such name.
        ConfigError: the file is missing or malformed.
    """
    if not detector.endswith(SUFFIXES):
        return resolve(detector, home())
    try:
        place: Path | None = home()
    except ConfigError:
        # A file of one's own may bring its own weights.
        place = None
    return resolve(detector, place)


def find_beside(folder: Path, detector: str) -> Entry:
    """A detector that a file in `folder` names: a YAML file from there, else a released one.

    Raises:
        UnknownDetectorError: no such name.
        ConfigError: the file is missing or malformed.
    """
    beside = folder / detector
    return find(str(beside) if beside.is_file() else detector)


def with_panchromatic(entry: Entry) -> tuple[Entry, ...]:
    """A detector, and the one that its scenes of a single band go to, where it names one.

    Raises:
        UnknownDetectorError, ConfigError: as of `find_beside`.
    """
    other = entry.config.panchromatic_detector
    return (entry,) if other is None else (entry, find_beside(entry.path.parent, other))


def load(entry: Entry, request: DetectRequest) -> LoadedDetector:
    """The ensemble of a detector with its weights checked; kept for the next request.

    Raises:
        WeightsError: weights missing, damaged, or of another architecture.
        ConfigError: unknown member or architecture key.
        DeviceError: no such device.
    """
    release = check_release(entry, request.members)
    members = None if request.members is None else tuple(request.members)
    wanted = _Wanted(config_sha256(entry.config), release.sha256, request.device, members, entry)
    with _LOADING:
        ensemble = _ensemble(wanted)
    return LoadedDetector(ensemble, release.sha256, release.files, release.chain_files)


@dataclass(frozen=True)
class _Wanted:
    config: str
    weights: str
    device: str
    members: tuple[str, ...] | None
    entry: Entry = field(compare=False)


_LOADING = threading.Lock()


@lru_cache(maxsize=4)
def _ensemble(wanted: _Wanted) -> Ensemble:
    from detectors.ensemble import Ensemble

    entry = wanted.entry
    return Ensemble(entry.config, entry.release_dir, wanted.device, wanted.members)


def _unreadable(broken: Broken) -> DetectorInfo:
    return DetectorInfo(
        name=broken.name,
        release="",
        description="",
        classes=(),
        output="",
        gsd=0.0,
        gsd_range=(0.0, 0.0),
        bands=(),
        members=(),
        steps=(),
        networks=(),
        problem=str(broken.error),
    )


def _info(entry: Entry) -> DetectorInfo:
    config = entry.config
    try:
        files, problem = check_release(entry).files, None
    except WeightsError as error:
        files, problem = {}, str(error)
    return DetectorInfo(
        name=config.name,
        release=config.release,
        description=config.description,
        classes=config.classes,
        output=config.output,
        gsd=config.gsd,
        gsd_range=config.gsd_range,
        bands=config.bands,
        members=tuple(m.name for m in config.members),
        steps=tuple(step.step for step in config.chain),
        networks=tuple(
            NetworkInfo(m.name, m.kind, files.get(m.weights, "")) for m in config.members
        ),
        problem=problem,
    )


def properties_schema(detector: str) -> dict[str, Any]:
    """The JSON Schema of the properties of a detector's features.

    Raises:
        LannerError: there is no such detector, or its configuration is malformed.
    """
    from postprocess.chain import Chain

    return Chain.from_specs(find(detector).config.chain).schema.json_schema()
