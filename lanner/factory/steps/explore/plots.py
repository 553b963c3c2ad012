"""The report's plots, as SVG text that is the same for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

COLOURS = ("#2a6f97", "#e07a2f", "#3f8f4f", "#a23b72", "#8c6d1f", "#5b5ea6", "#4b4b4b")


def bars(title: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """Counts by group (a row each) and class (a colour each); SVG text."""
    figure = _figure(max(1.6, 0.36 * len(counts) + 1.1))
    axes = figure.subplots()
    names = sorted({name for row in counts.values() for name in row})
    left = np.zeros(len(counts))
    for k, name in enumerate(names):
        values = np.array([row.get(name, 0) for row in counts.values()], np.float64)
        axes.barh(list(counts), values, left=left, color=COLOURS[k % len(COLOURS)], label=name)
        left += values
    for row, total in enumerate(left):
        axes.text(total, row, f" {total:,.0f}", va="center", fontsize=8)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    if names:
        axes.legend(fontsize=7, frameon=False, loc="lower right")
    return _done(figure, axes, title, "")


def spreads(title: str, unit: str, values: Mapping[str, Floats], log: bool = False) -> str:
    """Distributions side by side: a line of histogram a group, shares of the whole; SVG text."""
    figure = _figure(2.7)
    axes = figure.subplots()
    full = {name: one[np.isfinite(one)] for name, one in values.items()}
    full = {name: one[one > 0] if log else one for name, one in full.items()}
    full = {name: one for name, one in full.items() if len(one)}
    if full:
        low = min(float(one.min()) for one in full.values())
        high = max(float(one.max()) for one in full.values())
        edges = _edges(low, high, log)
        for k, (name, one) in enumerate(full.items()):
            share = np.histogram(one.clip(edges[0], edges[-1]), edges)[0] / len(one)
            axes.stairs(share, edges, color=COLOURS[k % len(COLOURS)], label=name, linewidth=1.4)
        axes.legend(fontsize=7, frameon=False)
    if log:
        axes.set_xscale("log")
    axes.set_ylabel("share", fontsize=8)
    return _done(figure, axes, title, unit)


def curve(title: str, unit: str, scores: Sequence[float], what: str) -> str:
    """Falling scores over their rank; SVG text."""
    figure = _figure(2.2)
    axes = figure.subplots()
    axes.plot(np.arange(1, len(scores) + 1), scores, color=COLOURS[0], linewidth=1.4)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel(what, fontsize=8)
    return _done(figure, axes, title, unit)


def _edges(low: float, high: float, log: bool) -> Floats:
    if high <= low:
        low, high = low * 0.9 - 1e-6, high * 1.1 + 1e-6
    if log:
        return np.asarray(np.geomspace(max(low, 1e-6), high, 41))
    return np.asarray(np.linspace(low, high, 41))


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, height), layout="constrained")


def _done(figure: Figure, axes: Axes, title: str, unit: str) -> str:
    import matplotlib as mpl

    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    out = io.StringIO()
    # The salt and the missing date make equal figures equal bytes.
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()[out.getvalue().index("<svg") :]
