"""Which class of the labels is which of ours, for the first factory file: by the labels themselves.

Nothing is guessed: names that are the same are the same class, one class of one is it, numbers
without names are in order. Anything else is asked for (`--classes THEIRS=OURS`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lanner.core.errors import ConfigError

ANY = "*"
_MOST_NAMES = 12
"""Classes of the labels that a message names."""


@dataclass(frozen=True)
class Theirs:
    """Classes that labels have.

    Attributes:
        names: as the reader calls them, in the order of their numbers.
        used: those that some label is of.
        numbered: whether there are numbers alone.
        where: the files that say so, for messages.
        columns: of vector files, the values of each column that might tell classes.
    """

    names: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    numbered: bool = False
    where: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """`classes` and `drop` of a source, the column that tells classes, and what to tell of them."""

    classes: Mapping[str, str]
    drop: tuple[str, ...] = ()
    column: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """One entry of `--classes`: our class, and the labels' where it is said."""

    ours: str
    theirs: str = ""


def wanted_classes(classes: Sequence[str]) -> tuple[Wanted, ...]:
    """Entries of `--classes`: `OURS` or `THEIRS=OURS`.

    Raises:
        ConfigError: one is no name, or is there twice.
    """
    value, out = ",".join(classes), []
    for one in classes:
        theirs, equals, ours = one.rpartition("=")
        theirs, ours = theirs.strip(), ours.strip()
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]*", ours) or (equals and not theirs):
            raise ConfigError("--classes", value, "names no class", "write it as tank,ship")
        out.append(Wanted(ours, theirs))
    if not out:
        raise ConfigError("--classes", value, "names no class", "write it as tank,ship")
    bare = [one.ours for one in out if not one.theirs]
    foreign = [one.theirs for one in out if one.theirs]
    mixed = {one.ours for one in out if one.theirs} & set(bare)
    if len(set(bare)) < len(bare) or len(set(foreign)) < len(foreign) or mixed:
        raise ConfigError("--classes", value, "names one twice", "name each once")
    return tuple(out)


def class_table(form: str, wanted: Sequence[Wanted], theirs: Theirs | None) -> Table:
    """Which class of the labels is which of ours.

    Args:
        form: format of the labels.
        wanted: by `wanted_classes`.
        theirs: classes of the labels; None where there are no labels yet.

    Raises:
        ConfigError: it cannot be told; the message shows the labels' classes and how to say it.
    """
    if theirs is None or form in ("masks", "images"):
        return _without_labels(form, wanted)
    if form == "geo":
        return _by_column(wanted, theirs)
    if theirs.numbered:
        return _by_number(wanted, theirs)
    return _by_name(wanted, theirs, "")


def _without_labels(form: str, wanted: Sequence[Wanted]) -> Table:
    """Without labels to look at."""
    if any(one.theirs for one in wanted):
        given = {one.theirs or one.ours: one.ours for one in wanted}
        return Table(given, column="class" if form == "geo" else "")
    names = [one.ours for one in wanted]
    if len(names) == 1:
        return Table({ANY: names[0]})
    if form == "yolo":
        table = {str(k): name for k, name in enumerate(names)}
        return Table(table, notes=(f"{_as_yaml(table)}: correct it where the labels have names",))
    same = {name: name for name in names}
    if form == "masks":
        values = ", ".join(f"{k} is {name}" for k, name in enumerate(names, 1))
        return Table(same, notes=(f"of the values in masks {values}",))
    if form == "images":
        return Table(same)
    if form == "geo":
        note = "classes are taken from a column called class: correct options.field"
        return Table(same, column="class", notes=(note,))
    return Table(same, notes=("classes are taken to be called so in the labels",))


def _by_number(wanted: Sequence[Wanted], theirs: Theirs) -> Table:
    if any(one.theirs for one in wanted):
        return _by_name(wanted, theirs, "")
    names = [one.ours for one in wanted]
    numbers = [int(one) for one in theirs.used]
    if len(names) == 1 and len(numbers) < 2:
        return Table({ANY: names[0]})
    if len(names) == 1 or max(numbers, default=0) >= len(names) or min(numbers, default=0) < 0:
        raise ConfigError(
            "--classes",
            ",".join(names),
            f"may be any of the labels' classes, which have numbers alone: {_some(theirs.used)}",
            "say which is which; others are left out: --classes "
            + ",".join(f"{one}={name}" for one, name in zip(theirs.used, names, strict=False)),
        )
    table = {str(k): name for k, name in enumerate(names)}
    return Table(table, notes=(f"{_as_yaml(table)}: in order, since the labels have no names",))


def _by_name(wanted: Sequence[Wanted], theirs: Theirs, column: str) -> Table:
    table, lost = {}, []
    for one in wanted:
        found = _same(one.theirs or one.ours, theirs.names)
        if found is None or found in table:
            lost.append(one)
        else:
            table[found] = one.ours
    only = theirs.used or theirs.names
    if len(wanted) == 1 and lost and not wanted[0].theirs and len(only) == 1:
        # One class of one.
        table, lost = {only[0]: wanted[0].ours}, []
    if lost:
        raise _asked(wanted, lost, theirs)
    drop = tuple(one for one in theirs.names if one not in table)
    note = f"of {theirs.where}: {_as_yaml(table)}"
    return Table(table, drop, column, (f"{note}; left out: {_some(drop)}" if drop else note,))


def _by_column(wanted: Sequence[Wanted], theirs: Theirs) -> Table:
    """Of vector files: the column that holds all the classes that are wanted."""
    keys = [one.theirs or one.ours for one in wanted]
    fits = [
        name
        for name, values in theirs.columns.items()
        if all(_same(key, values) is not None for key in keys)
    ]
    likely = [name for name in fits if _LIKE.search(name)]
    fits = likely if len(fits) > 1 and len(likely) == 1 else fits
    if len(fits) == 1:
        values = theirs.columns[fits[0]]
        here = Theirs(values, values, where=f"column {fits[0]} of {theirs.where}")
        return _by_name(wanted, here, fits[0])
    columns = "; ".join(f"{name}: {_some(values)}" for name, values in theirs.columns.items())
    if len(wanted) == 1 and not wanted[0].theirs and not fits:
        note = f"every feature is taken as {wanted[0].ours}"
        more = f"; where a column tells classes give options.field (columns {columns})"
        return Table({ANY: wanted[0].ours}, notes=(note + more,) if columns else ())
    if fits:
        raise ConfigError(
            "--classes",
            ",".join(keys),
            f"is in several columns of {theirs.where}: {', '.join(fits)}",
            "name one class now, and set classes and options.field in the factory file",
        )
    raise ConfigError(
        "--classes",
        ",".join(keys),
        f"no column of {theirs.where} holds {'all of them' if len(keys) > 1 else 'it'}"
        + (f" ({columns})" if columns else ""),
        "say which value is which: --classes " + ",".join(f"VALUE={one.ours}" for one in wanted),
    )


_LIKE = re.compile(r"class|cls|label|categor|type|kind", re.IGNORECASE)


def _asked(wanted: Sequence[Wanted], lost: Sequence[Wanted], theirs: Theirs) -> ConfigError:
    free = [one for one in theirs.names if _same(one, [w.theirs or w.ours for w in wanted]) is None]
    names = iter([*free, *(["THEIRS"] * len(lost))])
    missing = {id(one): f"{next(names)}={one.ours}" for one in lost}
    example = [missing.get(id(one), _entry(one)) for one in wanted]
    return ConfigError(
        "--classes",
        ",".join(_entry(one) for one in lost),
        f"{'are no classes' if len(lost) > 1 else 'is no class'} of {theirs.where}: there are "
        + _some(theirs.names),
        f"say which is which, as in --classes {','.join(example)} (others are left out)",
    )


def _entry(one: Wanted) -> str:
    return f"{one.theirs}={one.ours}" if one.theirs else one.ours


def _same(name: str, names: Sequence[str]) -> str | None:
    """The one of the names that is the same, but for capitals and what parts words."""
    if name in names:
        return name
    alike = [one for one in names if _plain(one) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _as_yaml(table: Mapping[str, str]) -> str:
    return ", ".join(f"{theirs} is {ours}" for theirs, ours in table.items())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (" ..." if len(names) > _MOST_NAMES else "")


__all__ = ["ANY", "Table", "Theirs", "Wanted", "class_table", "wanted_classes"]
