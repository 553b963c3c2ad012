"""The report of explore: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lanner.factory import draw
from lanner.factory.pages import inside, jpeg, write_page
from lanner.factory.project import SAMPLES
from lanner.factory.samples import Sample
from lanner.factory.steps.explore import plots
from lanner.factory.steps.explore.findings import DISAGREEMENT, KINDS, Finding, Verdict
from lanner.factory.steps.explore.measure import Facts
from lanner.factory.steps.explore.sampling import Estimate

LISTED = 12
"""Pictures shown of each kind of anomaly."""
_SIDE = 220
_ROWS = 200


@dataclass(frozen=True)
class Story:
    """Everything that the report tells.

    `classes` counts what was read, by source, the source's class and ours ("": left out).
    """

    factory: str
    samples: Sequence[Sample]
    facts: Mapping[str, Facts]
    findings: Sequence[Finding]
    ranked: Sequence[Finding]
    verdicts: Sequence[Verdict]
    estimates: Mapping[str, Estimate]
    unchecked: str
    model: str
    worst: int
    classes: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def write_report(story: Story, path: Path) -> Path:
    """Write the report; the same story gives the same bytes. Returns `path`."""
    by_id = {one.id: one for one in story.samples}
    groups = list(_groups(story, by_id))
    named = {group["kind"] for group in groups}
    return write_page(
        str(__package__),
        path,
        factory=story.factory,
        files=[path.with_name(name) for name in ("findings.json", SAMPLES)],
        images=len(story.samples),
        labels=sum(len(one.labels) for one in story.samples),
        verdicts=[(one, KINDS[one.kind], one.kind in named) for one in story.verdicts],
        sources=_sources(story),
        classes=_classes(story),
        plots=_plots(story),
        estimates=[(name, one.sentence()) for name, one in story.estimates.items()],
        groups=groups,
        ranked=[(k + 1, _row(one, by_id)) for k, one in enumerate(story.ranked[: story.worst])],
        pictures=[_captioned(one, by_id) for one in _worst(story)],
        unchecked=story.unchecked,
        model=story.model,
    )


def example(finding: Finding, by_id: Mapping[str, Sample], side: int = _SIDE) -> draw.Pixels:
    """The picture of one finding: the place it is about, or the image beside its twin."""
    sample = by_id[finding.sample]
    if finding.box is None:
        pictures = [draw.picture(sample, side, draw.DrawOptions(masks=False))]
        if finding.other is not None and finding.other in by_id:
            pictures += [draw.picture(by_id[finding.other], side, draw.DrawOptions(masks=False))]
        return draw.sheet([draw.Cell(one) for one in pictures], 2, side)
    marks = [draw.Mark(finding.box, draw.WRONG)]
    if finding.label is not None and finding.kind in DISAGREEMENT:
        marks.insert(0, draw.Mark(sample.labels[finding.label].box, draw.DOUBTED))
    window = draw.around(finding.box, 0.9)
    return draw.picture(sample, side, draw.DrawOptions(True, False, window, tuple(marks)))


def rows(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Samples by source and split, in a fixed order; the key is what the report calls them."""
    found: dict[str, list[Sample]] = {}
    for one in sorted(samples, key=lambda one: (one.source, one.split or "")):
        found.setdefault(f"{one.source} {one.split or '(no split)'}", []).append(one)
    return found


def _sources(story: Story) -> list[dict[str, Any]]:
    out = []
    for name, group in rows(story.samples).items():
        known = [story.facts[one.id] for one in group if one.id in story.facts]
        gsds = sorted({round(one.gsd, 3) for one in group if one.gsd})
        out.append(
            {
                "name": name,
                "role": ", ".join(sorted({one.role for one in group})),
                "images": len(group),
                "labels": sum(len(one.labels) for one in group),
                "empty": sum(not one.labels for one in group),
                "size": _span([(one.width * one.height) ** 0.5 for one in group], ".0f"),
                "gsd": _span(gsds, ".2g") if gsds else {"middle": "unknown", "range": ""},
                "brightness": _span([one.brightness for one in known], ".0f"),
                "contrast": _span([one.contrast for one in known], ".0f"),
                "sharpness": _span([one.sharpness for one in known], ".0f"),
            }
        )
    return out


def _span(values: Sequence[float], form: str) -> dict[str, str]:
    """The median, and where nine tenths lie if that is not at one place."""
    if not len(values):
        return {"middle": "-", "range": ""}
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    same = f"{low:{form}}" == f"{high:{form}}"
    around = "" if same else f"{low:{form}} to {high:{form}}"
    return {"middle": f"{middle:{form}}", "range": around}


def _classes(story: Story) -> list[dict[str, Any]]:
    """What each class of a source became, in the order of sources; the most frequent first."""
    order = {source: k for k, source in enumerate(dict.fromkeys(one[0] for one in story.classes))}
    rows = sorted(
        story.classes.items(), key=lambda one: (order[one[0][0]], -one[1], one[0][1], one[0][2])
    )
    return [
        {
            "source": source,
            "theirs": "every feature" if theirs == "*" else theirs,
            "ours": ours,
            "read": _counted(count, story.units.get(source, "objects")),
        }
        for (source, theirs, ours), count in rows
    ]


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit if count != 1 else unit.removesuffix('s')}"


def _row(finding: Finding, by_id: Mapping[str, Sample]) -> dict[str, Any]:
    """A finding as a row of a list, with the file of its image where there is one."""
    sample = by_id.get(finding.sample)
    return {**asdict(finding), "file": None if sample is None else sample.image}


def _roles(groups: Mapping[str, Sequence[Sample]]) -> dict[str, Counter[str]]:
    """Images of each group by their role."""
    return {name: Counter(one.role for one in group) for name, group in groups.items()}


def _plots(story: Story) -> list[str]:
    groups = rows(story.samples)
    balance = {
        name: Counter(o.label for s in group for o in s.labels) for name, group in groups.items()
    }
    by_source: dict[str, list[Sample]] = {}
    for one in story.samples:
        by_source.setdefault(one.source, []).append(one)
    sides = {
        name: np.array([_side(o.box) for s in group for o in s.labels], np.float64)
        for name, group in by_source.items()
    }
    metres = {
        name: np.array([_side(o.box) * s.gsd for s in group if s.gsd for o in s.labels], np.float64)
        for name, group in by_source.items()
    }
    if any(balance.values()):
        drawn = [
            plots.bars("Objects by source, split and class", balance),
            plots.spreads("Longest side of boxes", "pixels", sides, log=True),
        ]
    else:
        # Masks alone have no objects to count.
        drawn = [plots.bars("Images by source and split", _roles(groups))]
    if any(len(one) for one in metres.values()):
        drawn.append(
            plots.spreads("Longest side of boxes, sampling known", "metres", metres, log=True)
        )
    for title, unit, name in (
        ("Brightness", "mean grey value", "brightness"),
        ("Contrast", "standard deviation of grey values", "contrast"),
        ("Sharpness", "variance of the Laplacian", "sharpness"),
    ):
        values = {
            source: np.array(
                [getattr(story.facts[o.id], name) for o in group if o.id in story.facts], np.float64
            )
            for source, group in by_source.items()
        }
        drawn.append(plots.spreads(title, unit, values, log=name == "sharpness"))
    if story.ranked:
        scores = [one.score for one in story.ranked]
        drawn.append(plots.curve("Disagreement with the model", "rank", scores, "suspicion"))
    return drawn


def _groups(story: Story, by_id: Mapping[str, Sample]) -> Iterable[dict[str, Any]]:
    for kind, facts in KINDS.items():
        found = [one for one in story.findings if one.kind == kind]
        if found and kind not in DISAGREEMENT:
            drawable = [one for one in found if one.sample in story.facts][:LISTED]
            yield {
                "kind": kind,
                "meaning": facts.meaning,
                "remedy": facts.remedy,
                "count": len(found),
                "rows": [_row(one, by_id) for one in found[:_ROWS]],
                "more": max(0, len(found) - _ROWS),
                "pictures": [_captioned(one, by_id) for one in drawable],
            }


def _worst(story: Story) -> list[Finding]:
    """The most suspicious, and those boxes without an object that are not among them."""
    first = list(story.ranked[: min(story.worst, 4 * LISTED)])
    lone = [one for one in story.ranked if one.kind == "spurious" and one not in first]
    return first + lone[: min(story.worst, LISTED)]


def _captioned(finding: Finding, by_id: Mapping[str, Sample]) -> dict[str, Any]:
    uri = inside(jpeg(example(finding, by_id)))
    caption = f"{finding.kind} {finding.score:.2f}: {finding.sample}"
    return {"uri": uri, "caption": caption, "file": by_id[finding.sample].image}


def _side(box: tuple[float, float, float, float]) -> float:
    return max(box[2] - box[0], box[3] - box[1])
