"""Releases put beside others, made the default, taken back and removed.

Whoever detects meanwhile finds a release whole or not at all: it is made in a hidden folder beside,
compared with its card, and renamed into its place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from detectors.card import FILE as CARD
from detectors.card import Card, check_files, load_card
from detectors.catalog import Entry, check_release, listing, resolve, resolve_release
from detectors.releases import (
    AT,
    DETECTOR,
    Default,
    DefaultChange,
    default_of,
    is_release,
    release_dir,
    released_names,
    releases,
    split_name,
    write_default,
)
from detectors.unpack import unpack
from lanner.core.config import load_config
from lanner.core.errors import Argument, ConfigError, LannerError, OutputError, WeightsError
from lanner.core.files import hidden
from lanner.core.home import VARIABLE


@dataclass(frozen=True)
class ReleaseInfo:
    """One release: `added` is when its card was put there (UTC, ISO 8601; empty where there is
    none), `bytes` the size of its files, `problem` why it cannot run, where it cannot.
    """

    name: str
    release: str
    default: bool
    added: str
    bytes: int
    problem: str | None = None


@dataclass(frozen=True)
class Added:
    """A release that is there now; `new` says whether it was put there, `default` whether it is the
    one that its detector's name means.
    """

    name: str
    release: str
    folder: Path
    new: bool
    default: bool


def list_releases(home: Path) -> tuple[ReleaseInfo, ...]:
    """Every release, by detector, the newest first; each is compared with its card.

    A default that is not there, or a malformed file, is one with a problem.
    """
    sound, broken = listing(home)
    defaults = {entry.config.name: entry.config.release for entry in sound}
    found = []
    for name in sorted({*released_names(home), *defaults}):
        there = releases(home, name)
        default = defaults.get(name)
        missing = [default] if default is not None and default not in there else []
        for release in (*missing, *there):
            found.append(_info(home, name, release, release == default))
    found += [ReleaseInfo(one.name, "", False, "", 0, str(one.error)) for one in broken]
    return tuple(sorted(found, key=lambda one: one.name))


def add(home: Path, source: Path) -> Added:
    """Put a release beside the others of its detector.

    The first release of a detector becomes its default. A release that is there already stays as
    it is; where its files are damaged they are replaced.

    Args:
        home: folder with `configs/` and `weights/`.
        source: a release folder, or a .zip or .tar.gz of one.

    Raises:
        WeightsError: it holds no release, or its files are not what its card says; or there is
            another release of that number.
        ConfigError: its `detector.yaml` is malformed, or of a newer version of Lanner.
        OutputError: it cannot be put there.
    """
    if not source.is_dir():
        try:
            source.open("rb").close()
        except OSError as error:
            raise ConfigError(
                "release",
                source,
                f"cannot be read ({error.strerror})",
                "give a release folder, or a .zip or .tar.gz of one",
            ) from error
    with _writing(home):
        (home / "weights").mkdir(exist_ok=True)
        unpacked = hidden(home / "weights" / "release")
        try:
            folder = source if source.is_dir() else unpack(source, unpacked)
            return _add(home, folder, source)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def set_default(home: Path, detector: str) -> DefaultChange:
    """Make a release the one that its detector's name means, once its files are compared with its
    card.

    Args:
        home: folder with `configs/` and `weights/`.
        detector: `NAME@RELEASE`.

    Raises:
        UnknownDetectorError: no such release.
        ConfigError: no release is named, or its `detector.yaml` is malformed.
        WeightsError: its files are not what its card says.
        OutputError: it cannot be written down.
    """
    name, release = _asked(detector)
    check_whole(resolve_release(detector, home))
    before = _default(home, name)
    change = DefaultChange(name, before, release)
    if before != release:
        kept = default_of(home, name)
        former = kept.former if kept else ()
        with _writing(home):
            write_default(home, change, (*former, *([before] if before else [])), "default")
    return change


def roll_back(home: Path, name: str) -> DefaultChange:
    """Go back to the default that the present one took the place of.

    Done again it goes back further. `default.yaml` keeps every change.

    Raises:
        ConfigError: there is none to go back to.
        WeightsError: its files are not what its card says.
        OutputError: it cannot be written down.
    """
    kept = default_of(home, name) or Default(release="0")
    there = releases(home, name)
    former = [one for one in kept.former if one in there]
    if not former:
        resolve(name, home)  # an unknown name is told as one
        raise ConfigError(
            "name",
            name,
            "has no former default that is still there",
            f"choose one by lanner models default {name}{AT}RELEASE; there are: "
            f"{', '.join(there) or 'none'}",
        )
    release = former[-1]
    check_whole(resolve_release(f"{name}{AT}{release}", home))
    change = DefaultChange(name, kept.release, release)
    with _writing(home):
        write_default(home, change, tuple(former[:-1]), "rollback")
    return change


def remove(home: Path, detector: str) -> Path:
    """Remove a release that is not the default.

    Args:
        home: folder with `configs/` and `weights/`.
        detector: `NAME@RELEASE`.

    Returns:
        Where it was.

    Raises:
        UnknownDetectorError: no such release.
        ConfigError: no release is named, or it is the default.
        OutputError: it cannot be removed.
    """
    name, release = _asked(detector)
    if release not in releases(home, name):
        resolve_release(detector, home)
    if _default(home, name) == release:
        raise ConfigError(
            "release",
            detector,
            "is the default",
            f"make another one the default first: lanner models default {name}{AT}RELEASE",
        )
    folder = release_dir(home, name, release)
    with _writing(home):
        gone = hidden(folder)
        # Renamed first: who looks for it meanwhile finds all of it or nothing.
        folder.rename(gone)
        shutil.rmtree(gone)
    return folder


def check_whole(entry: Entry) -> Card:
    """Compare every file of a release with its card.

    Raises:
        WeightsError: one is missing, unreadable or not what the card says.
    """
    card = check_release(entry).card
    check_files(entry.release_dir, card, tuple(card.files))
    return card


def _add(home: Path, folder: Path, source: Path) -> Added:
    card = _card_of(folder, source)
    name, release = card.detector, card.release
    target = release_dir(home, name, release)
    default = _default(home, name)
    text = (folder / CARD).read_bytes()
    is_new = True
    if target.exists():
        if not _is_same_card(target, text):
            raise WeightsError(
                "release",
                f"{name}{AT}{release}",
                "is there already, with other files",
                f"give the release another number, or remove that one first: "
                f"lanner models remove {name}{AT}{release}",
            )
        with suppress(WeightsError):
            check_files(target, card, tuple(card.files))
            is_new = False
    if is_new:
        _put(folder, target, card, text)
    if default is None:
        write_default(home, DefaultChange(name, None, release), (), "add")
    return Added(name, release, target, is_new, default in (None, release))


def _card_of(folder: Path, source: Path) -> Card:
    """The card of a folder that holds a whole release."""
    card = load_card(folder)
    odd = [one for one in card.files if Path(one).name != one or one.startswith(".")]
    if odd or DETECTOR not in card.files or not is_release(card.release):
        raise WeightsError(
            "release",
            source,
            f"its {CARD} lists {odd[0]!r}, which is no file beside it"
            if odd
            else f"its {CARD} lists no {DETECTOR}, or names no release",
            "give a folder that lanner factory release wrote, or an archive of one",
        )
    check_files(folder, card, tuple(card.files))
    config = load_config(folder / DETECTOR)
    if (config.name, config.release) != (card.detector, card.release):
        raise WeightsError(
            "release",
            source,
            f"its {CARD} is of {card.detector} {card.release}, its {DETECTOR} of {config.name} "
            f"{config.release}",
            "ask who made it for a whole one",
        )
    return card


def _put(folder: Path, target: Path, card: Card, text: bytes) -> None:
    """Copy what the card lists, compare the copies, and rename them into their place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part, old = hidden(target), hidden(target)
    try:
        part.mkdir()
        for name in card.files:
            shutil.copyfile(folder / name, part / name)
        (part / CARD).write_bytes(text)
        check_files(part, card, tuple(card.files))
        if target.exists():
            target.rename(old)
        part.rename(target)
    except OSError:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _is_same_card(folder: Path, text: bytes) -> bool:
    path = folder / CARD
    return path.is_file() and path.read_bytes() == text


def _default(home: Path, name: str) -> str | None:
    """The default release of a detector; None where nothing has that name.

    Where its default is not there, or malformed, its name: it is to be replaced.
    """
    sound, broken = listing(home)
    found = {entry.config.name: entry.config.release for entry in sound}
    if name not in found and any(one.name == name for one in broken):
        kept = None
        with suppress(ConfigError):
            kept = default_of(home, name)
        return "" if kept is None else kept.release
    return found.get(name)


def _info(home: Path, name: str, release: str, is_default: bool) -> ReleaseInfo:
    folder = release_dir(home, name, release)
    detector = f"{name}{AT}{release}"
    added, size, problem = "", 0, None
    try:
        changed = (folder / CARD).stat().st_mtime
        added = datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
        size = sum(one.stat().st_size for one in folder.iterdir() if one.is_file())
        check_whole(resolve(name, home) if is_default else resolve_release(detector, home))
    except OSError:
        problem = f"{folder} is not there"
    except LannerError as error:
        problem = str(error)
    return ReleaseInfo(name, release, is_default, added, size, problem)


def _asked(detector: str) -> tuple[str, str]:
    name, release = split_name(detector)
    if not release:
        raise ConfigError(
            Argument("detector"),
            detector,
            "names no release",
            f"give {name}{AT}RELEASE, as lanner models list has them",
        )
    return name, release


@contextmanager
def _writing(home: Path) -> Iterator[None]:
    """Tell what helps where the home cannot be written to.

    Raises:
        OutputError: it cannot.
    """
    try:
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
        yield
    except OSError as error:
        raise OutputError(
            "home",
            home,
            f"cannot be written to ({error.strerror or error})",
            f"copy it to a folder of your own, which {VARIABLE} then names, or free some space",
        ) from error


__all__ = [
    "Added",
    "DefaultChange",
    "ReleaseInfo",
    "add",
    "check_whole",
    "list_releases",
    "remove",
    "roll_back",
    "set_default",
]
