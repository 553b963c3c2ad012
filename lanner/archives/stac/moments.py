"""When a scene was taken, in the words that STAC has for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lanner.archives.sources.times import period

EARLIEST = datetime(1858, 1, 1, tzinfo=UTC)
"""Nobody took a picture from the air before."""
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_MOMENT = timedelta(minutes=1)
"""A time that is told as closely as this is one time."""


def written(moment: datetime) -> str:
    """A time as STAC writes it: RFC 3339 in UTC, ending in Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def taken(acquired: str | None) -> dict[str, str | None]:
    """`datetime` of an item, or null and the range that it lies in.

    STAC demands one of the two. A day, or what is told no closer, is a range. Where nothing is
    told, the range is the widest that is true. When the scene was run is in no item: a run that
    was stopped and continued leaves the same bytes as one that was not.

    Args:
        acquired: as a scene or a catalogue says it, ISO 8601.
    """
    known = None if acquired is None else period(acquired)
    if known is None:
        return _range(EARLIEST, LATEST)
    first, after = known
    if after - first <= _MOMENT:
        return {"datetime": written(first)}
    start = max(first, EARLIEST)
    # Both ends of a range of STAC are within it.
    end = LATEST if after >= LATEST else after - timedelta(seconds=1)
    return _range(start, max(start, end))


def _range(start: datetime, end: datetime) -> dict[str, str | None]:
    return {"datetime": None, "start_datetime": written(start), "end_datetime": written(end)}
