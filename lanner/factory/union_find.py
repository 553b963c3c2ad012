"""Numbers joined into groups."""

from __future__ import annotations


class UnionFind:
    """Disjoint sets of the numbers below `count`, each alone at first."""

    def __init__(self, count: int) -> None:
        self._up = list(range(count))

    def root(self, k: int) -> int:
        """The least number of the group that a number is in."""
        while self._up[k] != k:
            self._up[k] = self._up[self._up[k]]
            k = self._up[k]
        return k

    def join(self, a: int, b: int) -> None:
        """Make the groups of two numbers one."""
        first, second = sorted((self.root(a), self.root(b)))
        self._up[second] = first
