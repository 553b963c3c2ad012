"""Operation: labels mended, weighed down or taken out by rules, on the word of explore."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import DatasetError
from lanner.factory.images import read_mask, write_png
from lanner.factory.ops.explored import copies, require_unchanged, rule_of, strength
from lanner.factory.ops.moves import cut
from lanner.factory.ops.tile import renumbered
from lanner.factory.ops.work import Samples, Work, of_sources
from lanner.factory.project import SAMPLES
from lanner.factory.samples import IDS_UNKNOWN, Box, Label, Sample, read_samples
from lanner.factory.steps import explore
from lanner.factory.steps.explore.findings import DISAGREEMENT, Finding, read_findings, read_json
from lanner.factory.steps.explore.labels import BEYOND, TWICE, boxes_of, pairwise_iou


class Params(Strict):
    """What is done about each kind of anomaly; `ignore` leaves the place out of training.

    `out_of_image`, `zero_size`, `tiny` (under `tiny_px`) and `duplicate_labels` are judged here,
    on the labels as they come. The others go by explore's findings: `giant`; `duplicates` of
    images, of which one stays, of test or valid where there is one; and what a model
    doubts (`explore.model`): labels that lie beside their object (`reweight` by 1 minus the
    suspicion, `move` to where the model sees it), objects without a label, labels without an
    object. They are acted upon from a suspicion of `least`, or, with `confident`, of the mean
    score that confirmed labels of the class have (Northcutt et al., 2021).
    """

    out_of_image: Literal["clip", "drop", "keep"] = "clip"
    zero_size: Literal["drop", "keep"] = "drop"
    tiny: Literal["ignore", "drop", "keep"] = "keep"
    tiny_px: float = Field(3.0, gt=0)
    duplicate_labels: Literal["drop", "keep"] = "drop"
    giant: Literal["ignore", "drop", "keep"] = "ignore"
    duplicates: Literal["drop", "keep"] = "keep"
    near_duplicates: Literal["drop", "keep"] = "keep"
    shifted: Literal["reweight", "ignore", "move", "drop", "keep"] = "keep"
    missing: Literal["pseudo-label", "ignore", "keep"] = "keep"
    spurious: Literal["reweight", "ignore", "drop", "keep"] = "keep"
    least: float | Literal["confident"] = 0.5
    sources: tuple[str, ...] = ()


@dataclass
class _Plan:
    """What becomes of one sample's labels."""

    drop: dict[int, str] = field(default_factory=dict)
    weigh: dict[int, tuple[float, str]] = field(default_factory=dict)
    move: dict[int, Box] = field(default_factory=dict)
    add: list[tuple[Label, str]] = field(default_factory=list)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Mend labels; every change is noted with its reason.

    Raises:
        ConfigError: no such source.
        DatasetError: a rule needs a model's word and explore asked none, or what explore found
            is about images that were since cut, scaled or laid into a mosaic.
    """
    work.require_sources(params.sources, samples, "sources")
    by_sample, originals = _findings(work, params)
    levels = _levels(work, params)
    findings = [one for many in by_sample.values() for one in many]
    ruled = {one.id for one in of_sources(tuple(originals.values()), params.sources)}
    acted = [
        one for one in findings if one.sample in ruled and rule_of(one, params, levels) != "keep"
    ]
    require_unchanged(samples, acted, originals, _laid(work))
    gone = copies(samples, findings, params)
    out = []
    for sample in work.each(samples):
        if params.sources and sample.source not in params.sources:
            out.append(sample)
        elif sample.id in gone:
            work.note(sample.id, f"dropped: {gone[sample.id]}")
        else:
            plan = plan_of(sample, by_sample.get(sample.id, ()), originals, params, levels)
            out.append(_mended(sample, plan, params, work))
    return tuple(out)


def plan_of(
    sample: Sample,
    findings: Sequence[Finding],
    originals: Mapping[str, Sample],
    params: Params,
    levels: Mapping[str, float],
) -> _Plan:
    """What is to be done to one sample's labels.

    Args:
        sample: as it is now.
        findings: explore's, of this sample.
        originals: samples as explore saw them, by id: findings are held against their labels.
        params: the rules.
        levels: least suspicion by class; of `""` where the class is not there.
    """
    plan = _Plan()
    for k, one in enumerate(sample.labels):
        _judge(k, one, sample, params, plan)
    _twice(sample, params, plan)
    for finding in findings:
        rule, at = rule_of(finding, params, levels), _where(sample, finding, originals)
        if finding.kind == "missing":
            _add(plan, finding, rule)
        elif at is not None:
            _act(plan, at, rule, strength(finding), finding)
    return plan


def carried(
    ids: NDArray[Any], numbers: Mapping[int, int], unknown: Sequence[Box]
) -> NDArray[np.uint16]:
    """Object numbers after labels went, and boxes in which background is not known any more.

    Args:
        ids: (h, w) uint16.
        numbers: old to new, both from 1; what has no new number becomes unknown.
        unknown: boxes of objects without a mask.
    """
    out = renumbered(ids, dict(numbers))
    for box in unknown:
        x0, y0, x1, y1 = (max(0, int(v)) for v in np.round(box))
        part = out[y0:y1, x0:x1]
        part[part == 0] = IDS_UNKNOWN
    return out


def _judge(k: int, label: Label, sample: Sample, params: Params, plan: _Plan) -> None:
    x0, y0, x1, y1 = label.box
    inside = x1 > 0 and y1 > 0 and x0 < sample.width and y0 < sample.height
    over = max(-x0, -y0, x1 - sample.width, y1 - sample.height)
    if label.line is None and (x1 <= x0 or y1 <= y0):
        if params.zero_size == "drop":
            plan.drop[k] = f"is {x1 - x0:g} x {y1 - y0:g} px"
    elif over > 0 and params.out_of_image != "keep":
        if (
            (params.out_of_image == "drop" and over > BEYOND)
            or not inside
            or not cut(label, (0, 0, sample.width, sample.height), 0.5)
        ):
            plan.drop[k] = "lies beyond its image"
    elif label.line is None and min(x1 - x0, y1 - y0) < params.tiny_px:
        if params.tiny == "drop":
            plan.drop[k] = f"is under {params.tiny_px:g} px"
        elif params.tiny == "ignore":
            _weigh(plan, k, 0.0, f"is under {params.tiny_px:g} px")


def _twice(sample: Sample, params: Params, plan: _Plan) -> None:
    if params.duplicate_labels == "keep":
        return
    left = [k for k, one in enumerate(sample.labels) if k not in plan.drop and one.line is None]
    boxes = boxes_of([sample.labels[k] for k in left])
    iou = np.tril(pairwise_iou(boxes, boxes), -1)
    for row, k in enumerate(left):
        for column in np.flatnonzero(iou[row] > TWICE):
            other = left[column]
            if other not in plan.drop and sample.labels[other].label == sample.labels[k].label:
                plan.drop[k] = f"is label {other} again"
                break


def _act(plan: _Plan, k: int, rule: str, suspicion: float, finding: Finding) -> None:
    why = f"{finding.kind} ({suspicion:.2f})"
    if rule == "drop":
        plan.drop.setdefault(k, why)
    elif rule == "ignore":
        _weigh(plan, k, 0.0, why)
    elif rule == "reweight":
        _weigh(plan, k, round(1 - suspicion, 4), why)
    elif rule == "move" and finding.box is not None:
        plan.move[k] = finding.box


def _weigh(plan: _Plan, k: int, factor: float, why: str) -> None:
    """The least of the factors that rules ask for: what one ignores, none brings back."""
    if k not in plan.weigh or factor < plan.weigh[k][0]:
        plan.weigh[k] = (factor, why)


def _add(plan: _Plan, finding: Finding, rule: str) -> None:
    if rule == "keep" or finding.box is None or finding.of is None:
        return
    sure = rule == "pseudo-label"
    label = Label(finding.of, finding.box, weight=finding.score if sure else 0.0, flags=(rule,))
    plan.add.append((label, f"{rule}, missing ({finding.score:.2f})"))


def _where(sample: Sample, finding: Finding, originals: Mapping[str, Sample]) -> int | None:
    """Which of a sample's labels a finding is about; None where it is not there any more."""
    if finding.label is None or sample.id not in originals:
        return None
    meant = originals[sample.id].labels[finding.label]
    same = (
        k
        for k, one in enumerate(sample.labels)
        if one.box == meant.box and one.label == meant.label
    )
    return next(same, None)


def _mended(sample: Sample, plan: _Plan, params: Params, work: Work) -> Sample:
    labels: list[Label] = []
    numbers: dict[int, int] = {}
    frame = (0, 0, sample.width, sample.height)
    for k, one in enumerate(sample.labels):
        if k in plan.drop:
            work.note(sample.id, f"label {k} dropped: {plan.drop[k]}")
            continue
        new = one
        if k in plan.move:
            new = dataclasses.replace(new, box=plan.move[k], polygon=None)
            work.note(sample.id, f"label {k} moved to {_box_text(plan.move[k])}")
        parts: tuple[Label, ...] = (new,)
        if params.out_of_image == "clip" and _beyond(new.box, sample):
            parts = cut(new, frame, 0.5) or parts
            pieces = " and ".join(_box_text(part.box) for part in parts)
            work.note(sample.id, f"label {k} clipped to {pieces}")
        if k in plan.weigh:
            factor, why = plan.weigh[k]
            parts = tuple(
                dataclasses.replace(part, weight=round(part.weight * factor, 6)) for part in parts
            )
            work.note(sample.id, f"label {k} weighs {parts[0].weight:g}: {why}")
        numbers[k + 1] = len(labels) + 1
        labels += parts
    for new, why in plan.add:
        work.note(sample.id, f"label added at {_box_text(new.box)}: {why}")
        labels.append(new)
    if tuple(labels) == sample.labels:
        return sample
    loose = [one.box for one, _ in plan.add] + list(plan.move.values())
    return sample.but(labels=tuple(labels), ids=_ids(sample, numbers, loose, work))


def _ids(sample: Sample, numbers: dict[int, int], loose: Sequence[Box], work: Work) -> Path | None:
    source = sample.ids
    if source is None or (
        not loose
        and all(old == new for old, new in numbers.items())
        and len(numbers) == len(sample.labels)
    ):
        return source
    return work.file(
        ".png",
        partial(_write_ids, source, numbers, loose),
        source, sorted(numbers.items()), list(loose),
    )  # fmt: skip


def _write_ids(source: Path, numbers: dict[int, int], loose: Sequence[Box], path: Path) -> None:
    write_png(carried(read_mask(source), numbers, loose), path)


def _findings(work: Work, params: Params) -> tuple[dict[str, list[Finding]], dict[str, Sample]]:
    """Explore's findings by sample, and the samples as it saw them."""
    asked = [kind for kind in DISAGREEMENT if getattr(params, kind) != "keep"]
    if asked and work.project.config.explore.model is None:
        raise DatasetError(
            f"process.repair.{asked[0]}",
            getattr(params, asked[0]),
            "needs a model's word, and explore asked none",
            "name a detector in explore.model, or keep",
        )
    found: dict[str, list[Finding]] = {}
    for one in read_findings(work.project.need("explore", explore.FINDINGS)):
        found.setdefault(one.sample, []).append(one)
    originals = {one.id: one for one in read_samples(work.project.need("explore", SAMPLES))}
    return found, originals


def _levels(work: Work, params: Params) -> dict[str, float]:
    if params.least != "confident":
        return {"": float(params.least)}
    facts = read_json(work.project.need("explore", explore.AGREEMENT))
    return {"": 1.0, **facts["confident"]}


def _laid(work: Work) -> set[str]:
    """Sources whose images earlier operations laid into mosaics."""
    before = work.project.config.process[: work.number]
    return {one for op in before if op.op == "mosaic" for one in op.params.get("sources", ())}


def _beyond(box: Box, sample: Sample) -> bool:
    return box[0] < 0 or box[1] < 0 or box[2] > sample.width or box[3] > sample.height


def _box_text(box: Box) -> str:
    return ", ".join(f"{value:.1f}" for value in box)
