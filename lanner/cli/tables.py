"""Tables that the command line prints."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lanner.core.errors import TABLE, ErrorStatus, LannerError

if TYPE_CHECKING:
    from detectors.install import ReleaseInfo
    from lanner.inference.registry import DetectorInfo


def summary_tables(summary: Mapping[str, Any], written: Sequence[Path]) -> list[Table]:
    """What was found, how long it took and where it is.

    Args:
        summary: `DetectResult.summary`: `counts` {label: {decision: n}}, `seconds` {stage: s},
            `megapixels` seen by the detector; other keys are not shown.
        written: the files, in the order asked.
    """
    return [
        _counts(summary.get("counts", {})),
        _seconds(summary.get("seconds", {}), summary.get("megapixels")),
        _files(written),
    ]


def _counts(counts: Mapping[str, Mapping[str, int]]) -> Table:
    decisions = sorted({decision for row in counts.values() for decision in row})
    table = Table("found", *decisions, "all", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for label in sorted(counts):
        row = counts[label]
        table.add_row(Text(label), *(str(row.get(d, 0)) for d in decisions), str(sum(row.values())))
    if not counts:
        table.add_row("nothing", "0")
    return table


def _seconds(seconds: Mapping[str, float], megapixels: float | None) -> Table:
    table = Table("stage", "seconds")
    table.columns[1].justify = "right"
    for stage, spent in seconds.items():
        table.add_row(Text(stage), f"{spent:.1f}")
    whole = sum(seconds.values())
    table.add_section()
    table.add_row("all", f"{whole:.1f}")
    if megapixels is not None and whole > 0:
        table.add_row("Mpx/s", f"{megapixels / whole:.2f}")
    return table


def _files(written: Iterable[Path]) -> Table:
    table = Table("written", "size")
    table.columns[0].overflow = "fold"
    table.columns[1].justify = "right"
    for path in written:
        table.add_row(Text(str(path)), _size_of(path))
    return table


def _size_of(path: Path) -> str:
    """Its size; nothing for a pipe, or for what somebody has taken away since."""
    return _size(path.stat().st_size) if path.is_file() else ""


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


def detectors_table(detectors: Sequence[DetectorInfo]) -> Table:
    """A row a detector, its facts below one another; one that cannot run says why."""
    table = Table("detector", "facts", show_lines=True)
    for one in detectors:
        low, high = one.gsd_range
        facts = Table.grid(padding=(0, 1))
        # As Text: a message may hold what rich would take for markup.
        for name, value in {
            "": one.description,
            "finds": ", ".join(one.classes),
            "works at": one.gsd and f"{one.gsd:g} m a pixel, accepts {low:g} to {high:g} m",
            "bands": ", ".join(one.bands),
            "networks": ", ".join(
                f"{net.name} {net.weights_sha256[:12]}".strip() for net in one.networks
            ),
            "chain": " > ".join(one.steps),
            "releases": ", ".join(one.releases) if len(one.releases) > 1 else "",
            "cannot run": one.problem,
        }.items():
            if value:  # little is known of a file that cannot be read
                facts.add_row(Text(name), Text(value))
        table.add_row(Text(f"{one.name}\n{one.release}"), facts)
    return table


def releases_table(releases: Sequence[ReleaseInfo]) -> Table:
    """A row a release; a star marks the default."""
    table = Table("detector", "release", "", "added", "size", "problem")
    table.columns[4].justify = "right"
    for one in releases:
        table.add_row(
            Text(one.name),
            Text(one.release),
            "*" if one.default else "",
            one.added[:10],
            _size(one.bytes),
            Text(one.problem or ""),
        )
    return table


def meaning(kind: type[LannerError]) -> str:
    """First sentence of an error's docstring, on one line."""
    text = " ".join((inspect.getdoc(kind) or "").split())
    return text.split(". ")[0].rstrip(".")


def error_rows() -> list[tuple[str, str, ErrorStatus]]:
    """Every error as (name, meaning, status), in the order of their exit codes."""
    rows = [(kind.__name__, meaning(kind), status) for kind, status in TABLE.items()]
    return sorted(rows, key=lambda row: (row[2].exit, row[0]))


def errors_table() -> Table:
    """The table of lanner.core.errors for the terminal."""
    table = Table("error", "exit", "HTTP", "gRPC", "meaning")
    table.columns[0].no_wrap = True
    for name, text, status in error_rows():
        table.add_row(name, str(status.exit), str(status.http), status.grpc, text)
    return table
