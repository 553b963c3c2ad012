"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import sqrt

from lanner.archives.sources.times import period

Z90 = 1.6448536
"""Standard deviations to each side that hold 90 % of a normal distribution."""
_FEW = 10
"""Expected numbers below this have a decimal."""


def number(value: float, digits: int = 0) -> str:
    """With commas between thousands."""
    return f"{value:,.{digits}f}"


def plural(count: int, one: str) -> str:
    """A number and its noun."""
    return f"{number(count)} {one if count == 1 else one + 's'}"


def expected(value: float, sd: float) -> str:
    """How many are right, and half of the 90 % interval: `312 ± 14`."""
    digits = 1 if value < _FEW else 0
    return f"{number(value, digits)} ± {number(Z90 * sd, digits)}"


def interval(value: float, sd: float, most: int) -> str:
    """The 90 % interval of how many of `most` are right."""
    low, high = max(0.0, value - Z90 * sd), min(float(most), value + Z90 * sd)
    digits = 1 if value < _FEW else 0
    return f"{number(low, digits)} to {number(high, digits)}"


def together(deviations: list[float]) -> float:
    """Standard deviation of the sum of independent numbers."""
    return sqrt(sum(one * one for one in deviations))


def duration(seconds: float) -> str:
    """Seconds as a short text: `4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 59.95:  # what rounds to a minute is one
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes as a short text: `3.4 MB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def begin(text: str | None) -> datetime | None:
    """The first moment of a time; None for what is none."""
    found = None if text is None else period(text)
    return None if found is None else found[0]


def when(text: str | None) -> str:
    """A time to the minute, in UTC; a day where no more is told; the text where it is no time."""
    found = None if text is None else period(text)
    if found is None:
        return text or ""
    first, after = found
    if after - first <= timedelta(minutes=1):
        return f"{first:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d}" if after - first <= timedelta(days=1) else str(text)


def lasted(started: str | None, ended: str | None) -> str:
    """How long it took from one time to another; empty where that is not known."""
    first, last = begin(started), begin(ended)
    if first is None or last is None or last < first:
        return ""
    return duration((last - first).total_seconds())
