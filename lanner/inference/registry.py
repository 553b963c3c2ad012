"""Released detectors: finding, listing and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.catalog import (
    Broken,
    Entry,
    check_release,
    listing,
    resolve,
    resolve_release,
)
from detectors.releases import SUFFIXES, releases
from lanner.core.config import config_sha256
from lanner.core.errors import ConfigError, WeightsError
from lanner.core.home import home
from lanner.core.job import DetectRequest
from lanner.inference.loaded import EnsembleKey, LoadedEnsembles, RequestKey
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
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
    """What a user may know of a detector; `problem` says why it cannot run, where it cannot.

    `releases` are those that are there, the newest first; `release` is the one described.
    """

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
    releases: tuple[str, ...] = ()


def list_detectors() -> tuple[DetectorInfo, ...]:
    """Every released detector at its default release, by name; a malformed file is one that cannot
    run.

    Raises:
        ConfigError: no configurations are installed.
    """
    sound, broken = listing(home())
    found = [*(_info(entry) for entry in sound), *(_unreadable(one) for one in broken)]
    return tuple(sorted(found, key=lambda one: one.name))


def find(detector: str) -> Entry:
    """The detector of a released name, of `NAME@RELEASE` or of a path to a YAML file.

    A name means the release that is its default now.

    Raises:
        UnknownDetectorError: no such name or release.
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


def describe_release(detector: str) -> DetectorInfo:
    """One release, under the name that asks for it: `NAME@RELEASE`, never a path.

    Raises:
        UnknownDetectorError: no such release.
        ConfigError: it is malformed.
    """
    return replace(_info(resolve_release(detector, home())), name=detector)


def pinned(detector: str) -> str:
    """The name that means the present default of a detector also after a change of the default.

    What names a release or a path stays as it is, and so does what `configs/` configures otherwise
    than it was released.

    Raises:
        LannerError: as of `find`.
    """
    entry = find(detector)
    name = f"{entry.config.name}@{entry.config.release}"
    if entry.asked != entry.config.name or entry.config.release not in releases(
        home(), entry.config.name
    ):
        return detector
    same = config_sha256(find(name).config) == config_sha256(entry.config)
    return name if same else detector


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
    wanted = EnsembleKey(
        config_sha256(entry.config), release.sha256, request.device, members, entry
    )
    asked = RequestKey(entry.asked or str(entry.path), request.device, members)
    ensemble = LOADED.get(asked, wanted)
    return LoadedDetector(ensemble, release.sha256, release.files, release.chain_files)


LOADED = LoadedEnsembles()
"""Those of this process."""


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
        releases=releases(entry.release_dir.parents[2], config.name),
    )


def properties_schema(detector: str) -> dict[str, Any]:
    """The JSON Schema of the properties of a detector's features.

    Raises:
        LannerError: there is no such detector, or its configuration is malformed.
    """
    from postprocess.chain import Chain

    return Chain.from_specs(find(detector).config.chain).schema.json_schema()
