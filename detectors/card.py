"""The card beside released weights: where they come from, how good they are, their checksums."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lanner.core.config import Strict
from lanner.core.errors import WeightsError
from tiling.pinned import PinnedFile

FILE = "card.yaml"
"""Its name in a release folder."""

GET_BACK = "get it back from the repository or package that it came with"
"""What helps where a file of a release is gone or damaged."""

SETTLED = 2_000_000_000
"""Nanoseconds after which a file that changes again gets another time, on any file system."""


class Data(Strict):
    """One data set that the weights learned from, and the words its owner asks for."""

    name: str
    source: str
    licence: str
    attribution: str


class Training(BaseModel):
    """What was run, in which state of the code; more facts may follow."""

    model_config = ConfigDict(extra="allow", frozen=True)
    command: str | tuple[str, ...]
    commit: str


class Card(Strict):
    """`card.yaml`. `files` maps each file of the release to its SHA-256, lower-case hex.

    `chain_files` are those of them that steps of the chain read: the name that a step asks for,
    and the file.
    """

    detector: str
    release: str
    description: str = ""
    licence: str = ""
    data: tuple[Data, ...]
    training: Training
    metrics: dict[str, Any]
    chain_files: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _files_are_listed(self) -> Card:
        for file in self.chain_files.values():
            if file not in self.files:
                raise ValueError(f"chain_files has {file}, which is not among files")
        return self


def load_card(folder: Path) -> Card:
    """Read the card of a release folder.

    Raises:
        WeightsError: no folder, no card, or a card that does not say what it must.
    """
    path = folder / FILE
    try:
        return _card_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            "weights",
            folder,
            f"has no {FILE}",
            f"{GET_BACK}, make it (lanner factory release), or name another in `release`",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise WeightsError(
            "weights", path, f"{where}: {first['msg']}", "correct the card"
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise WeightsError("weights", path, f"cannot be read ({error})", GET_BACK) from error


@lru_cache(maxsize=64)
def _card_of(text: str) -> Card:
    """What a card says; each scene of a batch asks for the same few."""
    return Card.model_validate(yaml.safe_load(text))


def check_files(folder: Path, card: Card, names: tuple[str, ...]) -> dict[str, str]:
    """Checksums of these files of a release, after comparing each with the card.

    Raises:
        WeightsError: a file is missing, not on the card, or not what the card says.
    """
    return {name: _checked(folder, card, name) for name in sorted(set(names))}


def chain_files(folder: Path, card: Card) -> dict[str, PinnedFile]:
    """The files of a release that steps of its chain read, by the name that they ask for.

    Raises:
        WeightsError: a file is missing or not what the card says.
    """
    checked = check_files(folder, card, tuple(card.chain_files.values()))
    return {
        name: PinnedFile(folder / file, checked[file]) for name, file in card.chain_files.items()
    }


def seal(folder: Path, facts: dict[str, Any]) -> Card:
    """Write the card of a release folder: the given facts and the checksums of its files.

    Args:
        folder: holds the weights and `calibration.json`.
        facts: every key of `Card` but `files`.

    Raises:
        WeightsError: the facts lack something a card must say.
    """
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != FILE)
    whole = {**facts, "files": {name: sha256_file(folder / name) for name in names}}
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=96)
    (folder / FILE).write_text(text, encoding="utf-8")
    return load_card(folder)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, lower-case hex; read again only when the file changes.

    Raises:
        OSError: it cannot be read.
    """
    path = path.absolute()
    stat = path.stat()
    if time.time_ns() - stat.st_mtime_ns < SETTLED:
        return _digest(path)
    return _kept(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=65536)
def _kept(path: Path, *_: int) -> str:
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _checked(folder: Path, card: Card, name: str) -> str:
    path = folder / name
    if name not in card.files:
        raise WeightsError(
            "weights", path, f"is not among the files of {FILE}", f"use one of {sorted(card.files)}"
        )
    try:
        found = sha256_file(path)
    except OSError as error:
        raise WeightsError(
            "weights",
            path,
            f"cannot be read ({error.strerror})",
            GET_BACK,
        ) from error
    if found != card.files[name].lower():
        raise WeightsError(
            "weights",
            path,
            f"has SHA-256 {found[:12]}, the card says {card.files[name][:12]}",
            f"{GET_BACK}; it is damaged or another's",
        )
    return found
