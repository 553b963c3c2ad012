"""Tables of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lanner.cli.bench.bars import Bar
from lanner.cli.bench.rows import Row
from lanner.cli.bench.run import Report


def tables(report: Report) -> list[Table]:
    """Whole runs, the stages of each, and the bars."""
    return [whole(report.rows), *(stages(row) for row in report.rows), bars(report.bars)]


def whole(rows: Sequence[Row]) -> Table:
    """A row a setting, all of one detector."""
    first = rows[0]
    title = f"{first.detector} {first.release}, {' + '.join(first.members)}, {first.runs_on}"
    names = ("scene", "tiles", "thr.", "seconds", "Mpx/s", "bare s", "ratio", "ms/tile", "peak MB")
    table = Table(*names, title=title, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        table.add_row(
            f"{row.width}x{row.height}",
            str(row.tiles),
            str(row.threads),
            f"{row.seconds:.2f}",
            f"{row.mpx_per_s:.2f}",
            "-" if row.bare_s is None else f"{row.bare_s:.2f}",
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            f"{1000 * row.s_per_tile:.0f}",
            f"{row.peak_mb:.0f}",
        )
    return table


def stages(row: Row) -> Table:
    """Seconds and share of each stage of one setting, and what else there is to know."""
    table = Table(
        "stage",
        "seconds",
        "share",
        title=f"{row.width}x{row.height}, {row.tiles} tiles of {row.tile}, {row.threads} threads",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, stage in row.stages.items():
        table.add_row(Text(name), f"{stage.seconds:.3f}", f"{100 * stage.share:.1f} %")
    table.add_section()
    low, high = row.spread
    table.add_row("all", f"{row.seconds:.3f}", f"{low:.3f} to {high:.3f}")
    for name, spent in row.bare.items():
        table.add_row(Text(f"{name} alone"), f"{spent:.3f}", f"{100 * spent / row.seconds:.1f} %")
    table.add_row("before: imports, networks", f"{row.load_s:.3f}", "")
    table.add_section()
    table.add_row("grid Mpx/s", f"{row.grid_mpx_per_s:.2f}", "")
    table.add_row("model MB", f"{row.model_mb:.0f}", f"{100 * row.model_mb / row.peak_mb:.1f} %")
    if row.gpu_mb is not None:
        table.add_row("GPU MB", f"{row.gpu_mb:.0f}", "")
    return table


def bars(judged: Sequence[Bar]) -> Table:
    """Which bars are held."""
    table = Table("bar", "limit", "measured", "")
    table.columns[2].justify = "right"
    for bar in judged:
        value = "-" if bar.value is None else f"{bar.value:.3f}"
        table.add_row(Text(bar.name), bar.limit, value, Text(verdict(bar)))
    return table


def verdict(bar: Bar) -> str:
    """`held`, `not held`, or why that cannot be said."""
    if bar.held is None:
        return f"not judged: {bar.why}"
    return "held" if bar.held else "not held"
