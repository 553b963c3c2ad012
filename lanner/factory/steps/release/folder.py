"""The release folder: made beside, checked, then put in the place of the old one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detectors.calibration import FILE as CALIBRATION
from detectors.calibration import Calibration
from detectors.card import FILE as CARD
from detectors.card import sha256_file
from lanner.core.config import DetectorConfig
from lanner.core.errors import ConfigError, OutputError
from tiling.pinned import PinnedFile

LARGEST = 30_000_000
"""Bytes of a file: what repositories and mirrors take without further ado."""


@dataclass(frozen=True)
class Target:
    """Where a release goes; `part` is made first and `old` is what was there before."""

    folder: Path

    @property
    def part(self) -> Path:
        """The folder that is made."""
        return self.folder.with_name(f".{self.folder.name}.part")

    @property
    def old(self) -> Path:
        """The release that is replaced, until the new one is there."""
        return self.folder.with_name(f".{self.folder.name}.old")


def stage(
    target: Target,
    detector: DetectorConfig,
    weights: Mapping[str, Path],
    calibration: Calibration,
    texts: Mapping[str, str],
    read: Mapping[str, PinnedFile],
) -> dict[str, str]:
    """Make the new folder beside the old one: weights, calibration, texts by file name, and copies
    of the files that steps of the chain read.

    Returns:
        The copies' names in the folder, by the name that a step asks for.

    Raises:
        ConfigError: a network names no plain file, or another one's, or two files that are read
            would have one name.
        OutputError: a file is too large or cannot be written, or other files lie where the release
            is to go.
    """
    _check_names(detector, weights)
    held = _held_as(read, {CARD, CALIBRATION, *texts, *(one.weights for one in detector.networks)})
    there = list(target.folder.iterdir()) if target.folder.is_dir() else []
    if there and target.folder / CARD not in there:
        raise OutputError(
            "release",
            target.folder,
            f"holds files and no {CARD}",
            "move them away, or give `release` in the detector's file another number",
        )
    for name, path in weights.items():
        if path.stat().st_size >= LARGEST:
            raise OutputError(
                "release",
                path,
                f"member {name} has {path.stat().st_size / 1e6:.1f} MB, {LARGEST / 1e6:.0f} MB "
                "are the most",
                "use a smaller encoder in `arch`",
            )
    try:
        if target.part.exists():
            shutil.rmtree(target.part)
        target.part.mkdir(parents=True)
        for member in detector.networks:
            shutil.copyfile(weights[member.name], target.part / member.weights)
        facts = calibration.model_dump(mode="json")
        (target.part / CALIBRATION).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        for name, text in texts.items():
            (target.part / name).write_text(text, encoding="utf-8")
        for name, file in held.items():
            shutil.copyfile(read[name].path, target.part / file)
    except OSError as error:
        raise OutputError(
            "release", target.folder, f"cannot be written ({error.strerror})", "free some space"
        ) from error
    return held


def _held_as(read: Mapping[str, PinnedFile], taken: set[str]) -> dict[str, str]:
    """What each file that is read is called in the release folder, by the name asked for."""
    held: dict[str, str] = {}
    for name, one in read.items():
        file = one.path.name
        same = [other for other, called in held.items() if called == file]
        if file in taken or any(read[other].sha256 != one.sha256 for other in same):
            raise ConfigError(
                "chain", name, f"would be another file's {file} in the release", "rename the file"
            )
        held[name] = file
    return held


def _check_names(detector: DetectorConfig, weights: Mapping[str, Path]) -> None:
    """Refuse a release in which one network's file would take the place of another's."""
    kept: dict[str, str] = {}
    for one in detector.networks:
        where, content = f"members.{one.name}.weights", sha256_file(weights[one.name])
        if Path(one.weights).name != one.weights:
            raise ConfigError(
                where, one.weights, "is not the name of a file alone", "leave its folder out"
            )
        if kept.setdefault(one.weights, content) != content:
            raise ConfigError(
                where,
                one.weights,
                "is another network's file as well, and they have learned different things",
                f"give it a file of its own, such as {one.name}.safetensors",
            )


def swap(target: Target, detector_path: Path, before: str, text: str) -> None:
    """Put the new folder and the detector's new text in their places, both or neither.

    Args:
        target: its `part` is whole.
        detector_path: the detector's file.
        before: what that file said when the release was begun, which the new text was made from.
        text: what it is to say.

    Raises:
        OutputError: one of them cannot be replaced, or the file was changed meanwhile; the old
            release and the file are as they were.
    """
    if detector_path.is_file() and detector_path.read_text(encoding="utf-8") != before:
        raise OutputError(
            "release",
            detector_path,
            "was changed while it was being released",
            "run the step again; file and old release are as they were",
        )
    beside = detector_path.with_name(f".{detector_path.name}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        if target.folder.exists():
            target.folder.rename(target.old)
        target.part.rename(target.folder)
        beside.replace(detector_path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if target.folder.exists() and not target.part.exists():
            target.folder.rename(target.part)
        if target.old.exists():
            target.old.rename(target.folder)
        raise OutputError(
            "release",
            target.folder,
            f"cannot be put in place ({error.strerror})",
            "check who owns weights/ and the detector's file; the old release is as it was",
        ) from error
    shutil.rmtree(target.old, ignore_errors=True)


def recover(target: Target) -> None:
    """Bring back a release that a kill left moved aside."""
    if target.old.exists() and not target.folder.exists():
        target.old.rename(target.folder)
    elif target.old.exists():
        shutil.rmtree(target.old)


__all__ = ["LARGEST", "Target", "recover", "stage", "swap"]
