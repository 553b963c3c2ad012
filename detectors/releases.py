"""Releases of a detector side by side, and which of them its name alone means.

`weights/<detector>/<release>/` is one release: `NAME@RELEASE` names it. `NAME` alone means the one
that `weights/<detector>/default.yaml` says, and without that file the one of `configs/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError, model_validator

from detectors.card import FILE as CARD
from lanner.core.config import Strict, read_yaml
from lanner.core.errors import ConfigError
from lanner.core.files import hidden

SUFFIXES = (".yaml", ".yml")

DETECTOR = "detector.yaml"
"""The detector as it was released, in its release folder."""

DEFAULT = "default.yaml"
"""Says which release is a detector's default, beside its releases."""

AT = "@"
"""Between the name of a detector and that of a release."""


class Change(Strict):
    """One change of a default: when (UTC, ISO 8601), to which release, and how."""

    at: str
    release: str
    by: Literal["add", "default", "rollback"]


class Default(Strict):
    """`default.yaml`: the default release, those that it took the place of (the last one last), and
    every change.
    """

    release: str
    former: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _is_a_release(self) -> Default:
        for one in (self.release, *self.former):
            if not is_release(one):
                raise ValueError(f"{one!r} is no release")
        return self


@dataclass(frozen=True)
class DefaultChange:
    """What becomes of a default: `before` is None where there was none."""

    name: str
    before: str | None
    after: str


def split_name(detector: str) -> tuple[str, str | None]:
    """The name of a detector and the release that it is asked for by, None where by none."""
    name, at, release = detector.partition(AT)
    return name, release if at else None


def is_name(text: str) -> bool:
    """Whether a detector may have that name: never a path."""
    return re.fullmatch(r"[a-z][a-z0-9_-]*", text) is not None


def is_release(text: str) -> bool:
    """Whether a folder of that name may hold a release: none above, and none that is hidden."""
    whole = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", text)
    # What ends like a YAML file would be taken for one where a detector is named.
    return whole is not None and not text.endswith(SUFFIXES)


def release_dir(home: Path, name: str, release: str) -> Path:
    """Where a release lies."""
    return home / "weights" / name / release


def releases(home: Path, name: str) -> tuple[str, ...]:
    """The releases of a detector that are there, the newest first."""
    if not is_name(name):
        return ()
    cards = (home / "weights" / name).glob(f"*/{CARD}")
    found = [card.parent.name for card in cards if is_release(card.parent.name)]
    return tuple(sorted(found, key=version_key, reverse=True))


def released_names(home: Path) -> tuple[str, ...]:
    """Detectors with a release or a default in `home`, by name."""
    weights = home / "weights"
    found = {path.parent.parent.name for path in weights.glob(f"*/*/{CARD}")}
    found |= {path.parent.name for path in weights.glob(f"*/{DEFAULT}")}
    return tuple(sorted(filter(is_name, found)))


def version_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts 1.10.0 above 1.9.0, and 1.9.0 above 1.9.0-rc1, which comes before it."""
    parts = re.findall(r"\d+|[^\d.]+", text)
    end = (0, 1, "")
    return (*((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts), end)


def default_of(home: Path, name: str) -> Default | None:
    """What `default.yaml` of a detector says; None where there is none.

    Raises:
        ConfigError: it is malformed.
    """
    path = home / "weights" / name / DEFAULT
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "default", path, f"cannot be read ({error})", "mend or remove the file"
        ) from error
    return _default_in(text, path)


@lru_cache(maxsize=64)
def _default_in(text: str, path: Path) -> Default:
    """What such a text says; every request asks for the same few."""
    try:
        return Default.model_validate(read_yaml(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        problem = f"{where}: {first['msg']}"
    except yaml.YAMLError as error:
        problem = f"is not valid YAML ({error})"
    raise ConfigError("default", path, problem, "mend or remove the file")


def write_default(
    home: Path,
    change: DefaultChange,
    former: tuple[str, ...],
    by: Literal["add", "default", "rollback"],
) -> None:
    """Put `default.yaml` of a detector in its place, whole.

    Args:
        home: folder with `weights/`.
        change: what becomes of the default.
        former: what a rollback can go back to from now on, the last one last.
        by: what changed it.

    Raises:
        OSError: it cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = default_of(home, change.name)
    whole = Default(
        release=change.after,
        former=former,
        changes=(
            *(before.changes if before else ()),
            Change(at=now, release=change.after, by=by),
        ),
    )
    path = home / "weights" / change.name / DEFAULT
    beside = hidden(path)
    try:
        facts = whole.model_dump(mode="json")
        beside.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
