"""Union-find with a rule: no cluster holds two members of one kind (here: one tile)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clusters:
    """(n,) `roots`: the least member of each one's cluster."""

    roots: NDArray[np.int64]

    def groups(self) -> dict[int, list[int]]:
        """Members of each cluster by its root, in order."""
        groups: dict[int, list[int]] = {}
        for member, root in enumerate(self.roots.tolist()):
            groups.setdefault(root, []).append(member)
        return groups


def join(
    size: int, one: NDArray[np.int64], two: NDArray[np.int64], kinds: NDArray[np.int64]
) -> Clusters:
    """Join pairs in the order given, leaving out any that would put one kind twice in a cluster.

    `one` and `two` are (m,) member numbers below `size`, `kinds` (size,). Best pairs first makes
    this the greedy one-to-one matching between any two kinds.
    """
    parent = list(range(size))
    held: dict[int, set[int]] = {}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    kind = kinds.tolist()
    for i, j in zip(one.tolist(), two.tolist(), strict=True):
        a, b = sorted((root(i), root(j)))
        if a == b:
            continue
        mine, other = held.get(a, {kind[a]}), held.get(b, {kind[b]})
        if mine.isdisjoint(other):
            parent[b] = a
            held[a] = mine | other
    return Clusters(np.array([root(i) for i in range(size)], np.int64))
