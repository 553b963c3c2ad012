"""Explore: what the data is like and what is wrong with it, before anything is learned from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lanner.core.job import Progress
from lanner.factory import draw
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.readers import read_source
from lanner.factory.samples import Sample, write_samples
from lanner.factory.steps.explore import duplicates, labels
from lanner.factory.steps.explore.examine import disagreement, empty_classes, examine
from lanner.factory.steps.explore.findings import (
    DISAGREEMENT,
    Finding,
    Verdict,
    check_limits,
    judge,
    require,
    write_findings,
    write_json,
)
from lanner.factory.steps.explore.report import Story, write_report
from lanner.factory.steps.explore.sampling import Estimate, estimate

FINDINGS = "findings.json"
REPORT = "report.html"
EXAMPLES = "examples.png"
AGREEMENT = "agreement.json"
SUSPICIOUS = {"shifted": 0.5, "missing": 0.5, "spurious": 0.3}
"""Score from which a disagreement is counted against the limits."""

__all__ = ["AGREEMENT", "EXAMPLES", "FINDINGS", "REPORT", "run"]


def run(project: Project) -> Outcome:
    """Read all sources, look for what is wrong, and write samples, findings and report.

    Raises:
        ConfigError: a limit names no kind of anomaly, or `process` an unknown operation.
        DatasetError: a source cannot be read, or a kind of anomaly is over its limit; the
            report is written before.
        LannerError: `explore.model` cannot be opened.
    """
    # Repair, an operation, reads what explore finds.
    from lanner.factory.steps import process

    settings = project.config.explore
    check_limits(settings.limits)
    # What the next step cannot do is told before all images are looked at.
    process.checked(project)
    classes: dict[tuple[str, str, str], int] = {}
    samples, found = read_sources(project, classes)
    examined = examine(project, samples)
    samples = tuple(one for one in samples if one.id in examined.facts)
    found += examined.findings
    found += empty_classes(samples)
    project.tell(Progress("compare images", 0, 1))
    found += duplicates.exact(samples, examined.facts)
    found += duplicates.near(samples, examined.facts, settings.near)
    found += duplicates.neighbours(samples, settings.near_m)
    project.tell(Progress("compare images", 1, 1))
    usual = labels.usual_sides(samples)
    for sample in samples:
        found += labels.check(sample, usual)
    doubts = disagreement(samples, examined)
    flagged = flag(samples, [*found, *doubts.findings[: settings.worst]])
    folder = project.step_dir("explore")
    write_samples(flagged, folder / SAMPLES)
    write_findings([*found, *doubts.findings], folder / FINDINGS)
    write_json({"confident": dict(doubts.confident)}, folder / AGREEMENT)
    verdicts = _verdicts(project, samples, found, doubts.findings)
    estimates = _estimates(samples)
    story = Story(
        project.config.factory,
        samples,
        examined.facts,
        found,
        doubts.findings,
        verdicts,
        estimates,
        doubts.unchecked,
        settings.model or "",
        settings.worst,
        classes,
        {one.name: "images" for one in project.config.sources if one.format == "masks"},
    )
    write_report(story, folder / REPORT)
    draw.contact_sheet(flagged, folder / EXAMPLES)
    require(verdicts, folder / REPORT)
    summary = {
        "images": len(samples),
        "objects": sum(len(one.labels) for one in samples),
        "anomalies": {one.kind: one.count for one in verdicts if one.count},
        "estimated gsd": {
            name: round(one.gsd, 3) for name, one in estimates.items() if one.gsd is not None
        },
    }
    return Outcome(summary, (folder / REPORT, folder / EXAMPLES))


def read_sources(
    project: Project, classes: dict[tuple[str, str, str], int] | None = None
) -> tuple[tuple[Sample, ...], list[Finding]]:
    """Samples of all sources in the configuration's order, and a finding for each skip.

    `classes` takes in what was read by source, the source's class and ours ("" where dropped).
    """
    samples: list[Sample] = []
    found = []
    for source in project.config.sources:
        project.cancel.check()
        read = read_source(project, source)
        samples += read.samples
        if classes is not None:
            for (theirs, ours), count in read.classes.items():
                classes[source.name, theirs, ours] = count
        for one in read.skipped:
            kind = "undecodable" if "does not decode" in one.why else one.kind
            found.append(Finding(kind, f"{source.name}/{one.what}", one.why))
    return tuple(samples), found


def flag(samples: Sequence[Sample], findings: Sequence[Finding]) -> tuple[Sample, ...]:
    """The samples with each label's flags naming the kinds found on it."""
    kinds: dict[tuple[str, int], list[str]] = {}
    for one in findings:
        if one.label is not None:
            kinds.setdefault((one.sample, one.label), []).append(one.kind)
    return tuple(
        sample.but(
            labels=tuple(
                dataclasses.replace(
                    label,
                    flags=tuple(dict.fromkeys((*label.flags, *kinds.get((sample.id, k), ())))),
                )
                for k, label in enumerate(sample.labels)
            )
        )
        for sample in samples
    )


def _verdicts(
    project: Project, samples: Sequence[Sample], found: Sequence[Finding], doubts: Sequence[Finding]
) -> tuple[Verdict, ...]:
    model = project.config.explore.model is not None
    counted = [*found, *(one for one in doubts if one.score >= SUSPICIOUS[one.kind])]
    return judge(
        counted,
        project.config.explore.limits,
        len(samples),
        sum(len(one.labels) for one in samples),
        () if model else (*DISAGREEMENT, "not_predicted"),
    )


def _estimates(samples: Sequence[Sample]) -> dict[str, Estimate]:
    """By source, for those with labelled images of unknown sampling."""
    unknown: dict[str, list[Sample]] = {}
    for one in samples:
        if one.gsd is None and one.role == "labelled":
            unknown.setdefault(one.source, []).append(one)
    return {name: estimate(group) for name, group in unknown.items()}
