"""How causes and changes are shown on the terminal, by `lanner diff` and `lanner replay`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from lanner.archives.causes import Cause
    from lanner.archives.differences import Change

SHOWN = 20
"""Rows of a table; --json has them all."""


def show_causes(console: Console, causes: Sequence[Cause], first: str, second: str) -> None:
    """What differs of what two results were made from."""
    from lanner.archives.causes import brief

    if not causes:
        return
    several = len({scene for one in causes for scene in one.scenes}) > 1
    table = Table("made from", first, second, *(["scenes"] if several else []))
    for one in causes[:SHOWN]:
        row = [Text(one.what), Text(brief(one.first)), Text(brief(one.second))]
        table.add_row(*row, *([str(len(one.scenes))] if several else []))
    console.print(table)
    _rest(console, len(causes))


def show_counts(
    console: Console,
    counts: Mapping[str, Mapping[str, int]],
    sizes: Mapping[str, tuple[int, int]],
    first: str,
    second: str,
) -> None:
    """What became of the objects, a row a label."""
    from lanner.archives.differences import COUNTED

    headings = [_named(what, first, second) for what in COUNTED]
    table = Table("objects", first, second, *headings)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, row in counts.items():
        numbers = (*sizes[label], *(row.get(what, 0) for what in COUNTED))
        table.add_row(Text(label), *(str(number) for number in numbers))
    if not counts:
        table.add_row("nothing", "0", "0")
    console.print(table)


def show_changes(console: Console, changes: Sequence[Change], first: str, second: str) -> None:
    """The first of the changes, a line each."""
    for change in changes[:SHOWN]:
        console.print(_line(change, first, second), markup=False, highlight=False, soft_wrap=True)
    _rest(console, len(changes))


def _named(what: str, first: str, second: str) -> str:
    """What is counted, by the names that two results go by."""
    from lanner.archives.differences import ONLY_FIRST, ONLY_SECOND

    names = {ONLY_FIRST: f"only {first}", ONLY_SECOND: f"only {second}"}
    return names.get(what, what)


def _rest(console: Console, count: int) -> None:
    if count > SHOWN:
        console.print(f"and {count - SHOWN} more; --json lists them all", highlight=False)


def _line(change: Change, first: str, second: str) -> str:
    known = change.second or change.first
    assert known is not None
    where = f" in {change.scene}" if change.scene else ""
    return f"{known.label} {known.id}{where}: {'; '.join(_parts(change, first, second))}"


def _parts(change: Change, name: str, other: str) -> Iterator[str]:
    first, second = change.first, change.second
    for kind in change.kinds:
        if first is None or second is None:
            known = first or second
            assert known is not None
            sure = _number(known.confidence)
            yield f"{_named(kind, name, other)}, {known.decision}, confidence {sure}"
        elif kind == "moved":
            yield f"moved {change.moved_m:.2f} m"
        elif kind == "reshaped":
            yield f"reshaped, overlap {change.overlap:.2f}"
        elif kind == "relabelled":
            if first.label != second.label:
                yield f"{first.label} → {second.label}"
            if first.type != second.type:
                yield f"type {first.type or 'none'} → {second.type or 'none'}"
        elif kind == "decision":
            yield f"{first.decision} → {second.decision}"
        else:
            yield f"confidence {_number(first.confidence)} → {_number(second.confidence)}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
