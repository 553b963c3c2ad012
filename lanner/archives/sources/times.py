"""Times as catalogues and people write them: ISO 8601, of which a day is a whole one."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

Period = tuple[datetime, datetime]
"""From its first moment to that after its last."""

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

_YEAR = re.compile(r"(\d{4})(?:-(\d{2}))?")
_OPEN = ("", "..")
_HOURS_AND_MINUTES = 4
"""Digits of a clock that says no seconds."""


def period(text: str) -> Period | None:
    """The time that a text means: a year, a month, a day, or what its last digit counts.

    Two of them with `/` between are everything from the first to the second; one of those may be
    `..`. Without a zone it is UTC.

    Returns:
        None for what is no time.
    """
    first, slash, last = text.strip().partition("/")
    if not slash:
        return _one(first)
    begins = (FIRST, LAST) if first.strip() in _OPEN else _one(first)
    ends = (FIRST, LAST) if last.strip() in _OPEN else _one(last)
    if begins is None or ends is None or begins[0] >= ends[1]:
        return None
    return begins[0], ends[1]


def _one(text: str) -> Period | None:
    text = text.strip().upper()
    try:
        if found := _YEAR.fullmatch(text):
            return _months(int(found[1]), int(found[2] or 0))
        try:
            day = date.fromisoformat(text)
        except ValueError:
            return _moment(text)
        first = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return first, _later(first, timedelta(days=1))
    except (ValueError, OverflowError):
        return None


def _months(year: int, month: int) -> Period:
    """A month; the whole year for 0."""
    first = datetime(year, month or 1, 1, tzinfo=UTC)
    if month in (0, 12):
        return first, LAST if year == LAST.year else datetime(year + 1, 1, 1, tzinfo=UTC)
    return first, datetime(year, month + 1, 1, tzinfo=UTC)


def _moment(text: str) -> Period:
    text = text.replace(":60", ":59")  # a leap second, which the library does not know
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if "." in text or "," in text:
        return moment, _later(moment, timedelta(microseconds=1))
    clock = re.split("[+-]", re.split("[T ]", text, maxsplit=1)[1])[0]
    seconds = sum(one.isdigit() for one in clock) > _HOURS_AND_MINUTES
    return moment, _later(moment, timedelta(seconds=1) if seconds else timedelta(minutes=1))


def _later(moment: datetime, more: timedelta) -> datetime:
    """A time after another; the last there is where that is too late to be written."""
    return LAST if moment > LAST - more else moment + more
