"""Bars: features by the day that scenes were taken, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import floor, log10

from lanner.archives.figures import SceneSum
from lanner.archives.words import begin, number, plural

WIDTH, HEIGHT = 1080.0, 210.0
_LEFT, _BOTTOM, _TOP = 56.0, 30.0, 12.0
_MOST_DAYS, _MOST_MONTHS = 120, 120
"""Bars; of a longer time they are months, then years."""
_LABELS = 7
"""Texts along an axis at most."""
_THINNEST = 1.5


@dataclass(frozen=True)
class Bar:
    """A rectangle in pixels, and what it tells."""

    x: float
    y: float
    width: float
    height: float
    tip: str


@dataclass(frozen=True)
class Tick:
    """A text on an axis, in pixels along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Bars over an axis. `unit` is what one bar counts over; `floor` is where they stand."""

    title: str
    unit: str
    width: float
    height: float
    left: float
    floor: float
    bars: tuple[Bar, ...]
    along: tuple[Tick, ...]
    up: tuple[Tick, ...]


def over_time(scenes: Sequence[SceneSum]) -> Chart | None:
    """Features of scenes that are done by when they were taken; None where no time is known."""
    found: dict[date, tuple[int, int]] = {}
    for one in scenes:
        moment = begin(one.acquired) if one.state == "done" else None
        if moment is not None and moment.year > 1:  # a time that only its end is told of
            features, count = found.get(moment.date(), (0, 0))
            found[moment.date()] = features + one.features, count + 1
    if not found:
        return None
    unit = _unit(min(found), max(found))
    grouped: dict[date, tuple[int, int]] = {}
    for day, (features, count) in found.items():
        before = grouped.get(_first(day, unit), (0, 0))
        grouped[_first(day, unit)] = before[0] + features, before[1] + count
    first, slots = min(grouped), _between(min(grouped), max(grouped), unit) + 1
    top = _round_up(max(features for features, _ in grouped.values()))
    # A single day is a bar, not a wall.
    step = (WIDTH - _LEFT) / max(slots, 12)
    bars = tuple(
        _bar(
            _LEFT + _between(first, day, unit) * step,
            step,
            features / top,
            f"{_name(day, unit)}: {plural(features, 'feature')} in {plural(count, 'scene')}",
        )
        for day, (features, count) in sorted(grouped.items())
    )
    every = -(-slots // _LABELS)
    along = tuple(
        Tick(round(_LEFT + (k + 0.5) * step, 1), _name(_after(first, k, unit), unit))
        for k in range(0, slots, every)
    )
    return _chart(f"Features by {unit} of acquisition", unit, bars, along, top)


def histogram(detector: str, counts: Sequence[int]) -> Chart:
    """How many features have which confidence, in bins of equal width from 0 to 1."""
    bins = max(1, len(counts))
    top = _round_up(max(counts, default=0))
    width = WIDTH / 2
    step = (width - _LEFT) / bins
    bars = tuple(
        _bar(
            _LEFT + k * step,
            step,
            count / top,
            f"{k / bins:.2f} to {(k + 1) / bins:.2f}: {plural(count, 'feature')}",
        )
        for k, count in enumerate(counts)
        if count
    )
    along = tuple(
        Tick(round(_LEFT + part * (width - _LEFT), 1), f"{part:g}")
        for part in (0, 0.25, 0.5, 0.75, 1)
    )
    return _chart(detector, "bin", bars, along, top, width)


def histograms(scores: Mapping[str, Sequence[int]]) -> list[Chart]:
    """One of each detector that has any feature."""
    return [histogram(name, counts) for name, counts in sorted(scores.items()) if sum(counts)]


def _chart(
    title: str,
    unit: str,
    bars: tuple[Bar, ...],
    along: tuple[Tick, ...],
    top: int,
    width: float = WIDTH,
) -> Chart:
    step = _step(top)
    up = tuple(Tick(_height(n / top), number(n)) for n in range(0, top + 1, step))
    return Chart(title, unit, width, HEIGHT, _LEFT, HEIGHT - _BOTTOM, bars, along, up)


def _height(share: float) -> float:
    return round(HEIGHT - _BOTTOM - share * (HEIGHT - _BOTTOM - _TOP), 1)


def _bar(left: float, step: float, share: float, tip: str) -> Bar:
    """A bar in its slot; one of nothing is a line on the floor: there was a look."""
    width = max(step * 0.82, min(step, _THINNEST))
    y = min(_height(share), HEIGHT - _BOTTOM - _THINNEST)
    return Bar(
        round(left + (step - width) / 2, 2),
        y,
        round(width, 2),
        round(HEIGHT - _BOTTOM - y, 1),
        tip,
    )


def _round_up(value: int) -> int:
    """The first line above all bars."""
    step = _step(value)
    return max(1, -(-value // step)) * step


def _step(value: int) -> int:
    """From line to line: 1, 2 or 5 times a power of ten, of which four at most make a number."""
    power = int(10 ** floor(log10(max(value, 1))))
    steps = (k * power // 10 for k in (1, 2, 5, 10, 20, 50) if k * power % 10 == 0)
    return next(step for step in steps if step and step * 4 >= value)


def _unit(first: date, last: date) -> str:
    if (last - first).days < _MOST_DAYS:
        return "day"
    return "month" if _between(first, last, "month") < _MOST_MONTHS else "year"


def _first(day: date, unit: str) -> date:
    if unit == "day":
        return day
    return day.replace(day=1) if unit == "month" else day.replace(month=1, day=1)


def _between(first: date, day: date, unit: str) -> int:
    """Slots from one to another."""
    if unit == "day":
        return (day - first).days
    years = day.year - first.year
    return years * 12 + day.month - first.month if unit == "month" else years


def _after(first: date, slots: int, unit: str) -> date:
    if unit == "day":
        return first + timedelta(days=slots)
    if unit == "year":
        return first.replace(year=first.year + slots)
    months = first.month - 1 + slots
    return first.replace(year=first.year + months // 12, month=months % 12 + 1)


def _name(day: date, unit: str) -> str:
    return day.isoformat()[: {"day": 10, "month": 7, "year": 4}[unit]]
