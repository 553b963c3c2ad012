"""How well types are told: the first guess, the first five, and the level that is sure enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.matching import Bools, Ints


@dataclass(frozen=True)
class TypeRanks:
    """What was said of n found objects whose type is known.

    `rank` (n,) place of the true type among those told, from 0, -1 where it is not told. `right`
    and `given` (levels, n): whether the level's family was told (level 0 is the root), and
    whether it is the true one.
    """

    rank: Ints
    given: Bools
    right: Bools


def rank_types(
    types: Sequence[Sequence[str]],
    paths: Sequence[Sequence[str]],
    truth: Sequence[str],
    true_paths: Sequence[Sequence[str]],
) -> TypeRanks:
    """Compare what was told with the truth, object by object.

    Args:
        types: designators told of each, best first.
        paths: names from the root of the taxonomy down to the deepest that was sure.
        truth: true designators.
        true_paths: names from the root down to the true type.
    """
    rank = [
        list(some).index(name) if name in some else -1
        for some, name in zip(types, truth, strict=True)
    ]
    levels = max((len(path) for path in paths), default=0)
    given = np.zeros((levels, len(truth)), bool)
    right = np.zeros((levels, len(truth)), bool)
    for k, (path, true) in enumerate(zip(paths, true_paths, strict=True)):
        for level, name in enumerate(path):
            given[level, k] = True
            right[level, k] = level < len(true) and true[level] == name
    return TypeRanks(np.asarray(rank, np.int64), given, right)


def levels(ranks: TypeRanks) -> list[dict[str, float]]:
    """By level: `given`, the share of objects that it was told of, and its `precision`."""
    count = max(len(ranks.rank), 1)
    return [
        {
            "level": level,
            "given": round(int(ranks.given[level].sum()) / count, 6),
            "precision": round(
                int(ranks.right[level].sum()) / max(int(ranks.given[level].sum()), 1), 6
            ),
        }
        for level in range(len(ranks.given))
    ]


def deepest(ranks: TypeRanks, precision: float = 0.95) -> int | None:
    """The deepest level that is right so often, with every level above it; None if none is."""
    best = None
    for level, facts in enumerate(levels(ranks)):
        if not ranks.given[level].any() or facts["precision"] < precision:
            break
        best = level
    return best
