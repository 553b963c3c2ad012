"""What explore finds wrong: one record an anomaly, and how many of them are let pass."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.files import write_text
from lanner.factory.samples import Box

Light = Literal["green", "amber", "red", "grey"]
Per = Literal["image", "label"]


@dataclass(frozen=True)
class Kind:
    """A check: what its anomalies are counted against, and what it means in plain words."""

    per: Per
    meaning: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "undecodable": Kind("image", "images that do not decode", "fetch them again or take them out"),
    "skipped": Kind("image", "entries of a source that were skipped", "mend the source's files"),
    "unreadable_labels": Kind(
        "image",
        "images left out since labels of theirs cannot be read",
        "mend the label files at the lines named",
    ),
    "adjusted": Kind(
        "image",
        "entries of a source that were read otherwise than they are written",
        "look whether that is right, in the pictures",
    ),
    "empty_class": Kind("label", "classes without a single object", "correct the class table"),
    "duplicates": Kind("image", "images stored more than once", "keep one of each"),
    "near_duplicates": Kind("image", "images that look the same", "keep one of each"),
    "duplicates_across_splits": Kind(
        "image", "the same image in different splits", "take it out of the training split"
    ),
    "near_duplicates_across_splits": Kind(
        "image", "images of different splits that look the same", "put them into one split"
    ),
    "spatial_leakage": Kind(
        "image",
        "images of different splits that show the same or neighbouring ground",
        "split by blocks (dataset.split.by: block)",
    ),
    "out_of_image": Kind("label", "boxes that reach beyond their image", "repair: clip them"),
    "zero_size": Kind("label", "boxes without width or height", "repair: drop them"),
    "tiny": Kind("label", "boxes under 3 pixels wide or high", "repair: drop or ignore them"),
    "giant": Kind("label", "boxes far larger than any others", "repair: drop or ignore them"),
    "duplicate_labels": Kind("label", "objects labelled twice", "repair: de-duplicate"),
    "shifted": Kind("label", "boxes beside their object, by a model", "look at the worst"),
    "missing": Kind("label", "objects without a box, by a model", "look at the worst"),
    "spurious": Kind("label", "boxes without an object, by a model", "look at the worst"),
    "not_predicted": Kind("image", "images that the model cannot look at", "see the detail"),
}
"""Every kind of anomaly, in the order of the report."""

DISAGREEMENT = ("shifted", "missing", "spurious")
"""Kinds that rest on a model's word: ranked by score, worth looking at, not all wrong."""


@dataclass(frozen=True)
class Finding:
    """One anomaly.

    `label` is the index of the label in the sample (None for an image, or for an object that has
    none); `score` 0..1 says how sure it is; `box` is where, in pixels (where the model sees the
    object, if one was asked); `of` the class; `other` the sample that a duplicate goes with.
    """

    kind: str
    sample: str
    detail: str
    label: int | None = None
    score: float = 1.0
    box: Box | None = None
    of: str | None = None
    other: str | None = None


@dataclass(frozen=True)
class Verdict:
    """One line of the summary: how many anomalies of a kind, how many may be, and its light."""

    kind: str
    count: int
    limit: float | None
    allowed: int | None
    light: Light


def check_limits(limits: Mapping[str, float]) -> None:
    """Make sure that limits are set for kinds that exist.

    Raises:
        ConfigError: unknown kind (with the nearest), or a negative limit.
    """
    for name, value in limits.items():
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(KINDS)}"
            raise ConfigError("explore.limits", name, "is no kind of anomaly", remedy)
        if value < 0:
            raise ConfigError(f"explore.limits.{name}", value, "is negative", "give 0 or more")


def judge(
    findings: Sequence[Finding],
    limits: Mapping[str, float],
    images: int,
    labels: int,
    unchecked: Iterable[str] = (),
) -> tuple[Verdict, ...]:
    """A verdict on every kind.

    Args:
        findings: all of them.
        limits: counts, or shares below 1 of all images or labels, by kind.
        images: number of images that shares are of.
        labels: number of labels that shares are of.
        unchecked: kinds that were not looked for.

    Returns:
        In the order of `KINDS`: green without any, amber where some were found, red over the
        limit, grey where nothing was looked for.
    """
    counts, left_out = Counter(one.kind for one in findings), set(unchecked)
    out = []
    for name, kind in KINDS.items():
        limit, count = limits.get(name), counts[name]
        whole = images if kind.per == "image" else labels
        allowed = None if limit is None else _allowed(limit, whole)
        light: Light = "amber" if count else "green"
        if name in left_out:
            light = "grey"
        if allowed is not None and count > allowed:
            light = "red"
        out.append(Verdict(name, count, limit, allowed, light))
    return tuple(out)


def _allowed(limit: float, whole: int) -> int:
    """How many a limit lets pass, of so many."""
    # 0.29 * 100 is 28.999999999999996.
    return math.floor(round(limit * whole, 6) if 0 < limit < 1 else limit)


def require(verdicts: Iterable[Verdict], report: Path) -> None:
    """Fail on the first kind that is over its limit.

    Raises:
        DatasetError: names the kind, the count, the limit and what to do.
    """
    for one in verdicts:
        if one.light == "red":
            raise DatasetError(
                f"explore.limits.{one.kind}",
                f"{one.limit:g}",
                f"{one.count} found, {one.allowed} allowed: {KINDS[one.kind].meaning}",
                f"{KINDS[one.kind].remedy}; see {report}",
            )


def write_findings(findings: Iterable[Finding], path: Path) -> None:
    """All findings as one JSON list, as they come."""
    facts = [dataclasses.asdict(one) for one in findings]
    write_json(facts, path)


def write_json(facts: Any, path: Path) -> None:
    """Indented JSON with sorted keys, written beside and renamed."""
    write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", path)


def read_findings(path: Path) -> tuple[Finding, ...]:
    """What `write_findings` wrote.

    Raises:
        DatasetError: missing or damaged.
    """
    listed = read_json(path)
    try:
        return tuple(
            Finding(**{**one, "box": None if one["box"] is None else tuple(one["box"])})
            for one in listed
        )
    except (KeyError, TypeError) as error:
        raise DatasetError(
            "findings", path, f"is damaged ({error})", "run explore again"
        ) from error


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        DatasetError: missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            "explore", path, f"cannot be read ({error})", "run explore again"
        ) from error
