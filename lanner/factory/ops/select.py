"""Operation: which samples go on."""

from __future__ import annotations

import hashlib
from collections import Counter

from pydantic import Field

from lanner.core.config import Strict
from lanner.factory.ops.work import Samples, Work
from lanner.factory.samples import Sample


class Params(Strict):
    """What is kept.

    The rules hold for samples of `sources` (all where empty); others are kept as they are.
    `count` is the most of each source, the same ones for the same `seed`, and most of them stay
    when images are added. `drop` leaves out whole sources. Labels under `least_side` pixels are
    no objects for `least_labels`.
    """

    sources: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    least_px: int = Field(0, ge=0, description="shortest side of the image")
    most_px: int | None = Field(None, ge=1, description="longest side of the image")
    least_labels: int = Field(0, ge=0)
    least_side: float = Field(0.0, ge=0)
    count: int | None = Field(None, ge=0)
    seed: int = 1


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Keep some samples and record why others go.

    Raises:
        ConfigError: no such source.
    """
    work.require_sources((*params.sources, *params.drop), samples, "sources")
    taken: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for one in sorted(samples, key=lambda one: _order(one, params.seed)):
        reason = why_not(one, params)
        if reason is None and _ruled(one, params) and params.count is not None:
            taken[one.source] += 1
            if taken[one.source] > params.count:
                reason = f"is over the {params.count} of {one.source}"
        if reason is not None:
            reasons[one.id] = reason
    for one in samples:
        if one.id in reasons:
            work.note(one.id, f"dropped: {reasons[one.id]}")
    return tuple(one for one in samples if one.id not in reasons)


def why_not(sample: Sample, params: Params) -> str | None:
    """The first rule that a sample breaks by itself, in words; None where it is kept."""
    if sample.source in params.drop:
        return f"the source {sample.source} is left out"
    if not _ruled(sample, params):
        return None
    if params.splits and sample.split not in params.splits:
        return f"is of {sample.split or 'no split'}"
    if min(sample.width, sample.height) < params.least_px:
        return f"is {sample.width} x {sample.height}, under {params.least_px} px"
    if params.most_px is not None and max(sample.width, sample.height) > params.most_px:
        return f"is {sample.width} x {sample.height}, over {params.most_px} px"
    boxes = (one.box for one in sample.labels)
    big = sum(max(b[2] - b[0], b[3] - b[1]) >= params.least_side for b in boxes)
    if sample.role == "labelled" and big < params.least_labels:
        return f"has {big} objects, under {params.least_labels}"
    return None


def _ruled(sample: Sample, params: Params) -> bool:
    return not params.sources or sample.source in params.sources


def _order(sample: Sample, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{sample.id}".encode()).hexdigest()
