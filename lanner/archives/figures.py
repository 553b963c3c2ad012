"""What the records of a batch come to, by scene, detector, label and decision."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lanner.archives.records import BatchRecord, State
from lanner.archives.words import together

DECISIONS = ("accept", "review")
"""Those that every detector has, before any others."""

_LEFT: tuple[State, ...] = ("waiting", "running")
OTHER = "other"
"""Stages that are no column of their own."""


@dataclass(frozen=True)
class Totals:
    """What some records come to.

    `scenes` counts their states; `expected` of the `features` are right, give or take
    `expected_sd`; `seconds` is the time of all scenes together.
    """

    scenes: Mapping[str, int]
    features: int
    expected: float
    expected_sd: float
    megapixels: float
    seconds: float


@dataclass(frozen=True)
class LabelCounts:
    """One detector's features of one label, by decision."""

    detector: str
    label: str
    decisions: tuple[int, ...]

    @property
    def all(self) -> int:
        """Of every decision."""
        return sum(self.decisions)


@dataclass(frozen=True)
class SceneSum:
    """One scene with all its detectors: one state, and the features of those that are done."""

    name: str
    state: str
    features: int
    acquired: str | None


@dataclass(frozen=True)
class SlowScene:
    """A scene's seconds: in all, and by the stages that are columns."""

    record: BatchRecord
    seconds: float
    stages: tuple[float, ...]


def totals(records: Sequence[BatchRecord]) -> Totals:
    """What records come to; their scenes counted by state."""
    done = [one.outcome for one in records if one.outcome is not None]
    return Totals(
        scenes=Counter(one.state for one in scenes_of(records)),
        features=sum(one.features for one in done),
        expected=sum(one.expected for one in done),
        expected_sd=together([one.expected_sd for one in done]),
        megapixels=sum(one.megapixels for one in done),
        seconds=sum(sum(one.seconds.values()) for one in done),
    )


def scenes_of(records: Iterable[BatchRecord]) -> list[SceneSum]:
    """Every scene once, by name."""
    grouped: dict[str, list[BatchRecord]] = defaultdict(list)
    for one in records:
        grouped[one.scene.name].append(one)
    return [
        SceneSum(
            name=name,
            state=_state({one.state for one in grouped[name]}),
            features=sum(one.outcome.features for one in grouped[name] if one.outcome),
            acquired=acquired(grouped[name]),
        )
        for name in sorted(grouped)
    ]


def acquired(records: Iterable[BatchRecord]) -> str | None:
    """When a scene was taken: as it says itself, else as a catalogue does."""
    known = list(records)
    own = (one.facts.acquired for one in known if one.facts and one.facts.acquired)
    return next(own, None) or next((one.scene.acquired for one in known), None)


def _state(states: set[State]) -> str:
    """One state of several detectors': the one that wants the most attention."""
    if "failed" in states:
        return "failed"
    if states & set(_LEFT):
        return "waiting"
    return "done" if "done" in states else "skipped"


def decisions_of(records: Iterable[BatchRecord]) -> tuple[str, ...]:
    """Decisions that there are, in a fixed order."""
    found = {
        decision
        for one in records
        if one.outcome is not None
        for counts in one.outcome.counts.values()
        for decision in counts
    }
    return (*DECISIONS, *sorted(found - set(DECISIONS)))


def labels(records: Iterable[BatchRecord], decisions: Sequence[str]) -> list[LabelCounts]:
    """Features by detector and label, the most frequent label of a detector first."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in records:
        for label, counts in one.outcome.counts.items() if one.outcome else ():
            found[one.detector, label].update(counts)
    rows = [
        LabelCounts(detector, label, tuple(counts[name] for name in decisions))
        for (detector, label), counts in found.items()
    ]
    return sorted(rows, key=lambda row: (row.detector, -row.all, row.label))


def troubled(records: Iterable[BatchRecord]) -> list[BatchRecord]:
    """What failed, then what was skipped."""
    found = [one for one in records if one.state in ("failed", "skipped")]
    return sorted(found, key=lambda one: (one.state, one.scene.name, one.detector))


def error_kinds(records: Iterable[BatchRecord]) -> list[tuple[str, int]]:
    """Classes of errors, the most frequent first."""
    found = Counter(one.error.kind for one in troubled(records) if one.error is not None)
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def slowest(
    records: Iterable[BatchRecord], most: int, columns: int
) -> tuple[tuple[str, ...], list[SlowScene]]:
    """Scenes that took longest.

    Args:
        records: of the batch.
        most: scenes at most.
        columns: stages at most; the quickest ones are `OTHER` together.

    Returns:
        The stages, and of each scene its seconds by them.
    """
    took = [(one, one.outcome.seconds) for one in records if one.outcome and one.outcome.seconds]
    took.sort(key=lambda pair: (-sum(pair[1].values()), pair[0].scene.name, pair[0].detector))
    took = took[:most]
    spent: Counter[str] = Counter()
    for _, seconds in took:
        spent.update(seconds)
    ranked = sorted(spent, key=lambda stage: (-spent[stage], stage))
    kept = ranked if len(ranked) <= columns else ranked[: columns - 1]
    stages = tuple(kept) if len(kept) == len(ranked) else (*kept, OTHER)
    rows = []
    for one, seconds in took:
        known = [seconds.get(stage, 0.0) for stage in kept]
        whole = sum(seconds.values())
        rest = [max(0.0, whole - sum(known))] if len(stages) > len(kept) else []
        rows.append(SlowScene(one, whole, (*known, *rest)))
    return stages, rows


def notes(records: Iterable[BatchRecord]) -> list[tuple[str, int]]:
    """Sentences on how scenes were read, and how many scenes each is said of."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in records:
        for note in one.outcome.notes if one.outcome else ():
            found[note].add(one.scene.name)
    return sorted(((note, len(names)) for note, names in found.items()), key=lambda n: (-n[1], n))
