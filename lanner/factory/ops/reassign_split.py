"""Operation: part of one split goes to another, such as most of a large validation split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import ConfigError
from lanner.factory.ops.work import Samples, Work


class Params(Strict):
    """Of the samples of `source` in `split`, in the order of their ids, every `every`-th goes `to`
    another split, the first among them; with `move: others` those stay and the others go.
    """

    source: str
    split: str
    to: str
    every: int = Field(5, ge=2)
    move: Literal["every", "others"] = "every"


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Hand samples over and record each.

    Raises:
        ConfigError: no such source, or it has no sample in that split.
    """
    work.require_sources((params.source,), samples, "source")
    group = sorted(
        (one for one in samples if one.source == params.source and one.split == params.split),
        key=lambda one: one.id,
    )
    if not group:
        raise ConfigError(
            "split",
            params.split,
            f"{params.source} has no sample in it",
            "name one of the splits in its `splits`",
        )
    moved = {one.id for one in group[:: params.every]}
    if params.move == "others":
        moved = {one.id for one in group} - moved
    for one in group:
        if one.id in moved:
            work.note(one.id, f"handed over: from {params.split} to {params.to}")
    return tuple(one.but(split=params.to) if one.id in moved else one for one in samples)
