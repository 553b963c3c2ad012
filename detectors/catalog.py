"""Finds released detectors and their weights, and checks them. No torch here."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detectors import calibration
from detectors.card import Card, chain_files, check_files, load_card
from detectors.releases import (
    AT,
    DEFAULT,
    DETECTOR,
    SUFFIXES,
    default_of,
    release_dir,
    released_names,
    releases,
    split_name,
)
from lanner.core.config import DetectorConfig, Member, load_config
from lanner.core.errors import Argument, ConfigError, UnknownDetectorError, WeightsError
from tiling.pinned import PinnedFile


@dataclass(frozen=True)
class Entry:
    """A detector that can be named: its configuration and where its release should be.

    `asked` is what names it: `NAME`, `NAME@RELEASE` or a path.
    """

    config: DetectorConfig
    path: Path
    release_dir: Path
    asked: str = ""


@dataclass(frozen=True)
class Release:
    """Checked weights: every file is what the card says.

    `files` holds the checksums of the networks' files and of the calibration; `sha256` is one
    checksum over them all. `chain_files` are the files that steps of the chain read, by the name
    that they ask for.
    """

    folder: Path
    card: Card
    files: dict[str, str]
    sha256: str
    chain_files: dict[str, PinnedFile]


@dataclass(frozen=True)
class Broken:
    """A file that should be a detector and is none, by the name that it would be asked for."""

    name: str
    error: ConfigError


def entries(home: Path) -> tuple[Entry, ...]:
    """Every detector of `home` at its default release, by name.

    Detectors are what `configs/` holds (YAML files without members are none) and what has a
    default among the releases.

    Raises:
        ConfigError: a file there is malformed, two carry one name, or a default is not there.
    """
    sound, broken = listing(home)
    if broken:
        raise broken[0].error
    return sound


def listing(home: Path) -> tuple[tuple[Entry, ...], tuple[Broken, ...]]:
    """The same, and apart from them what is malformed: one draft must not stop the others."""
    by_name, lost = _configured(home)
    for name in released_names(home):
        try:
            default = default_of(home, name)
            if default is None or (name in lost and name in by_name):
                continue
            entry = _release(home, name, default.release, by_name.get(name))
        except ConfigError as error:
            lost[name] = error
            continue
        by_name[name] = replace(entry, asked=name)
        lost.pop(name, None)
    sound = tuple(by_name[name] for name in sorted(by_name.keys() - lost.keys()))
    return sound, tuple(Broken(name, lost[name]) for name in sorted(lost))


def _configured(home: Path) -> tuple[dict[str, Entry], dict[str, ConfigError]]:
    """The detectors of `home`/configs by name, and what is malformed there; a name that two files
    carry is in both.
    """
    paths = sorted(p for p in (home / "configs").glob("*") if p.suffix in SUFFIXES)
    by_name: dict[str, Entry] = {}
    malformed: dict[str, ConfigError] = {}
    twice: dict[str, ConfigError] = {}
    for path in paths:
        try:
            if not _is_detector(path):
                continue
            entry = _entry(path, home)
        except ConfigError as error:
            malformed[path.stem] = error
            continue
        name = entry.config.name
        other = by_name.setdefault(name, replace(entry, asked=name))
        if other.path != entry.path:
            files = f"is in both {other.path.name} and {entry.path.name}"
            twice[name] = ConfigError("name", name, files, "rename one")
    # A name of a file is asked for where no detector has it.
    lost = {name: malformed[name] for name in malformed.keys() - by_name.keys()}
    return by_name, {**lost, **twice}


def resolve_release(detector: str, home: Path) -> Entry:
    """The detector of `NAME@RELEASE`, as it was released.

    Raises:
        UnknownDetectorError: no such release, with those that are there.
        ConfigError: its `detector.yaml` is missing, malformed or another's.
    """
    name, release = split_name(detector)
    known = releases(home, name)
    if release not in known:
        if not known:
            # As of an unknown name; there may be a near one.
            name = resolve(name, home).config.name
        near = difflib.get_close_matches(release or "", known, n=1)
        raise UnknownDetectorError(
            Argument("detector"),
            detector,
            f"{name} has no release of that number; there are: {', '.join(known) or 'none'}",
            f"did you mean {name + AT + near[0]!r}?" if near else "choose one of these",
        )
    return replace(_release(home, name, release, _configured(home)[0].get(name)), asked=detector)


def resolve(detector: str, home: Path | None) -> Entry:
    """The detector of a released name, of `NAME@RELEASE`, or of a path to a YAML file.

    A file of one's own finds its weights in `weights/<name>/<release>/` beside it or beside its
    `configs/` folder, and else in `home`.

    Args:
        detector: as in `DetectRequest`.
        home: folder with `configs/` and `weights/`; None where there is none.

    Raises:
        UnknownDetectorError: no such name, with the nearest, or no such release.
        ConfigError: the file is missing or malformed, or two carry the name.
    """
    if detector.endswith(SUFFIXES):
        path = Path(detector)
        # In full: of a bare name the folder above would be the same folder again.
        here = Path(os.path.abspath(path)).parent
        places = [here, here.parent, *([home] if home else [])]
        candidates = [_entry(path, place) for place in places]
        # Where there is none, errors name the place that a release of it would go to.
        own = candidates[1] if here.name == "configs" else candidates[0]
        return next((entry for entry in candidates if entry.release_dir.is_dir()), own)
    if home is not None and split_name(detector)[1] is not None:
        return resolve_release(detector, home)
    sound, broken = listing(home) if home else ((), ())
    known = {entry.config.name: entry for entry in sound}
    if detector not in known:
        for one in broken:
            if one.name == detector:
                raise one.error
        names = ", ".join(known) or "none"
        near = difflib.get_close_matches(detector, known, n=1)
        raise UnknownDetectorError(
            Argument("detector"),
            detector,
            f"no detector has that name; there are: {names}",
            f"did you mean {near[0]!r}?" if near else "choose one, or give a path to a .yaml file",
        )
    return known[detector]


def choose(config: DetectorConfig, names: Sequence[str] | None) -> tuple[Member, ...]:
    """The members of these names, in the configuration's order; all for None.

    Raises:
        ConfigError: no name, or one that no member has.
    """
    if names is None:
        return config.members
    known = [m.name for m in config.members]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                Argument("members"),
                name,
                f"{config.name} has {', '.join(known)}",
                f"did you mean {near[0]!r}?" if near else "choose among them",
            )
    if not names:
        raise ConfigError(
            Argument("members"), "", "names no member", f"choose among {', '.join(known)}"
        )
    return tuple(m for m in config.members if m.name in names)


def check_release(entry: Entry, members: Sequence[str] | None = None) -> Release:
    """Compare the files that the configuration uses with the release's card.

    Args:
        entry: the detector.
        members: names of the members that will run; None for all.

    Raises:
        WeightsError: something is missing, unreadable or not what the card says.
    """
    config, folder = entry.config, entry.release_dir
    card = load_card(folder)
    if (card.detector, card.release) != (config.name, config.release):
        raise WeightsError(
            "weights",
            folder,
            f"the card is of {card.detector} {card.release}",
            f"put the release {config.release} of {config.name} there",
        )
    chosen = [m for m in config.members if members is None or m.name in members]
    used = [m.weights for m in chosen]
    if entry.path == folder / DETECTOR:
        # A release that is asked for by its number is what its card says, its configuration, too.
        check_files(folder, card, (DETECTOR,))
    if config.closer is not None and any(m.kind == "resunet" for m in chosen):
        used.append(config.closer.weights)
    files = check_files(folder, card, (*used, calibration.FILE))
    text = "\n".join(f"{sha}  {name}" for name, sha in sorted(files.items()))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Release(folder, card, files, sha256, chain_files(folder, card))


def _is_detector(path: Path) -> bool:
    """Whether a file of `configs/` describes a detector and not, say, a catalogue of types."""
    try:
        text = path.read_text(encoding="utf-8")
        return re.search(r"^members\s*:", text, re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "configs", path, f"cannot be read ({error})", "mend or remove the file"
        ) from error


def _entry(path: Path, home: Path) -> Entry:
    config = load_config(path)
    return Entry(config, path, release_dir(home, config.name, config.release), str(path))


def _release(home: Path, name: str, release: str, configured: Entry | None) -> Entry:
    """One release. That of `configs/` may be without a `detector.yaml`.

    Raises:
        ConfigError: it is not there, or its `detector.yaml` is missing, malformed or another's.
    """
    folder = release_dir(home, name, release)
    path = folder / DETECTOR
    if not path.is_file():
        if configured is not None and configured.config.release == release:
            return configured
        raise ConfigError(
            "release",
            f"{name}{AT}{release}",
            f"has no {DETECTOR}" if folder.is_dir() else "is not there",
            f"add it again (lanner models add), or choose another for {DEFAULT}: "
            f"lanner models default {name}{AT}RELEASE",
        )
    config = load_config(path)
    if (config.name, config.release) != (name, release):
        raise ConfigError(
            "release",
            f"{name}{AT}{release}",
            f"its {DETECTOR} is of {config.name} {config.release}",
            "put that release into the folder of its own name and number",
        )
    return Entry(config, path, folder, f"{name}{AT}{release}")
