"""Where releases lie, and which of them is the one to go on from."""

from __future__ import annotations

from pathlib import Path

from detectors.card import FILE as CARD
from detectors.releases import default_of, version_key
from lanner.core.config import DetectorConfig
from lanner.core.errors import LannerError
from lanner.factory.project import Project

RELEASE = "release"
"""Says, in place of a weights file, the one of the detector's last release."""

IMAGENET = "imagenet"
"""Says, in place of a weights file, the encoder's weights from ImageNet."""


def weights_home(detector_path: Path) -> Path:
    """The `weights/` folder beside a detector's file, or beside its `configs/` folder."""
    folder = detector_path.parent
    return (folder.parent if folder.name == "configs" else folder) / "weights"


def released(home: Path, detector: DetectorConfig) -> Path | None:
    """The release that a new one goes on from: of the same version, else the newest."""
    folders = [path.parent for path in (home / detector.name).glob(f"*/{CARD}")]
    folders = [path for path in folders if not path.name.startswith(".")]
    same = home / detector.name / detector.release
    if same in folders:
        return same
    return max(folders, key=lambda path: version_key(path.name), default=None)


def homes(project: Project) -> list[Path]:
    """Folders of releases, best first: the detector's own, and where they are installed."""
    from lanner.core.errors import ConfigError
    from lanner.core.home import weights_dir

    own = weights_home(project.detector_path)
    try:
        return [own, weights_dir()]
    except ConfigError:
        return [own]  # a detector of one's own needs no installed ones


def last_release(project: Project) -> Path | None:
    """The folder of the detector's release, its own or else an installed one; None without.

    The number in the detector's file may already be that of the next release.
    """
    detector = project.detector()
    return next(filter(None, (released(home, detector) for home in homes(project))), None)


def weights_of(
    project: Project, name: str, weights: str, where: str, refuse: type[LannerError]
) -> Path:
    """A weights file that a factory file names.

    Args:
        project: the factory.
        name: a file, relative to the factory file, or `RELEASE`.
        weights: the file's name in a release.
        where: the key that names it, for errors.
        refuse: the error to raise.

    Raises:
        LannerError: of the given kind, where the file is not there.
    """
    if name == RELEASE:
        folder = last_release(project)
        if folder is None or not (folder / weights).is_file():
            raise refuse(
                where,
                name,
                f"{project.detector().name} has no release with {weights}",
                "release the detector first, or leave it out",
            )
        return folder / weights
    path = (project.path.parent / name).resolve()
    if not path.is_file():
        raise refuse(
            where, name, f"no file {path}", "name a safetensors file, relative to the factory file"
        )
    return path


def other_default(home: Path, detector: DetectorConfig) -> str | None:
    """The release that the detector's name goes on to mean after this one was written.

    Args:
        home: the `weights/` folder that it was written to.
        detector: as it was released.

    Returns:
        None where its name means this one.
    """
    kept = default_of(home.parent, detector.name)
    return None if kept is None or kept.release == detector.release else kept.release


__all__ = [
    "IMAGENET",
    "RELEASE",
    "homes",
    "last_release",
    "other_default",
    "released",
    "weights_home",
    "weights_of",
]
