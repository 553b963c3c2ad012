"""What explore told, held against samples as they are now: rules, copies, and what has changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from lanner.core.errors import DatasetError
from lanner.factory.samples import Sample
from lanner.factory.steps.explore.disagree import SPURIOUS
from lanner.factory.steps.explore.findings import DISAGREEMENT, Finding
from lanner.factory.union_find import UnionFind

if TYPE_CHECKING:
    from lanner.factory.ops.repair import Params

_KEEP_FIRST = ("test", "valid")
_ACROSS = "_across_splits"


def rule_of(finding: Finding, params: Params, levels: Mapping[str, float]) -> str:
    """What a finding of explore asks for; `keep` where it is not acted upon.

    Args:
        finding: of any kind.
        params: the rules.
        levels: least suspicion by class; of `""` where the class is not there.
    """
    if finding.kind in DISAGREEMENT:
        level = levels.get(finding.of or "", levels.get("", 1.0))
        return str(getattr(params, finding.kind)) if strength(finding) >= level else "keep"
    if finding.kind == "giant" or _twin(finding):
        return str(getattr(params, finding.kind.removesuffix(_ACROSS)))
    return "keep"


def strength(finding: Finding) -> float:
    """How sure a disagreement is, 0..1 whatever its kind."""
    return min(1.0, finding.score / SPURIOUS) if finding.kind == "spurious" else finding.score


def copies(
    samples: Sequence[Sample], findings: Sequence[Finding], params: Params
) -> dict[str, str]:
    """Samples to drop because another shows the same, with the reason.

    Explore holds each copy against one other, so its findings are joined: of all that are the
    same one stays, the first of test, where there is none of valid, else the first at all.
    """
    pairs = [
        (one.sample, one.other)
        for one in findings
        if one.other is not None and _twin(one) and rule_of(one, params, {}) == "drop"
    ]
    numbers = {name: k for k, name in enumerate(dict.fromkeys(chain.from_iterable(pairs)))}
    groups = UnionFind(len(numbers))
    for copy, other in pairs:
        groups.join(numbers[copy], numbers[other])
    kept: dict[int, Sample] = {}
    gone: dict[str, str] = {}
    for one in sorted((one for one in samples if one.id in numbers), key=_rank):
        best = kept.setdefault(groups.root(numbers[one.id]), one)
        if best is not one:
            gone[one.id] = f"the same as {best.id} ({best.split or 'no split'})"
    return gone


def require_unchanged(
    samples: Sequence[Sample],
    findings: Sequence[Finding],
    originals: Mapping[str, Sample],
    mosaics: Collection[str],
) -> None:
    """Make sure that the images that findings are about are there as explore saw them.

    What was left out since needs no repair.

    Args:
        samples: as they are now.
        findings: those that are acted upon.
        originals: samples as explore saw them, by id.
        mosaics: sources that were laid into mosaics.

    Raises:
        DatasetError: one was cut, scaled or laid into a mosaic.
    """
    there = {one.id: one for one in samples}
    cut_up = {head for name in there if name not in originals for head in _heads(name)}
    for finding in findings:
        for was in (
            originals[name] for name in (finding.sample, finding.other or "") if name in originals
        ):
            now = there.get(was.id)
            if now is None:
                changed = was.id in cut_up or was.source in mosaics
            else:
                changed = not _twin(finding) and (now.width, now.height) != (was.width, was.height)
            if changed:
                raise DatasetError(
                    "process.repair",
                    was.id,
                    f"is not as explore saw it when it found {finding.kind}: it was cut, scaled "
                    "or laid into a mosaic",
                    "put repair before tile, resample and mosaic, or let it keep "
                    f"{finding.kind.removesuffix(_ACROSS)}",
                )


def _twin(finding: Finding) -> bool:
    return finding.kind.removesuffix(_ACROSS) in ("duplicates", "near_duplicates")


def _heads(name: str) -> Iterator[str]:
    """What a sample may have been called before an operation put something behind its id."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _rank(sample: Sample) -> int:
    """Which of several copies is kept: the lowest."""
    return _KEEP_FIRST.index(sample.split) if sample.split in _KEEP_FIRST else len(_KEEP_FIRST)
