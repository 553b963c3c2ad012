"""Weighted box fusion: boxes of several members become objects that keep each member's vote.

Solovyev, Wang, Gabruseva, 2021, "Weighted boxes fusion: Ensembling boxes from different object
detection models". Two departures: a member's vote is its best box of a cluster (so a member
that stutters does not lower the score), and how much a missing member costs is a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.kernels.fuse.grid import clusters, overlapping
from detectors.views import Floats, Ints, Outline, Views, iou_rows
from lanner.core.config import Fusion


@dataclass(frozen=True)
class Fused:
    """Objects of one tile, best first.

    `boxes` (n, 4) in tile pixels, `scores` (n,) before calibration, `labels` (n,), `votes`
    (n, members) with NaN where a member saw nothing, `outlines` n rings or None.
    """

    boxes: Floats
    scores: Floats
    labels: Ints
    votes: Floats
    outlines: tuple[Outline | None, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: Ints) -> Fused:
        """The objects of these rows, in this order."""
        outlines = tuple(self.outlines[i] for i in rows.tolist())
        return Fused(
            self.boxes[rows], self.scores[rows], self.labels[rows], self.votes[rows], outlines
        )


def fuse(views: Sequence[Views], weights: Sequence[float], fusion: Fusion) -> Fused:
    """Join what the members saw on one tile.

    A fused box is the mean of its boxes weighted by score times member weight; its score is the
    weighted mean of the votes, lowered for the members that saw nothing (see `Fusion`). Its
    outline is that of its instance that overlaps it most.

    Args:
        views: one per member.
        weights: the members' weights, in the same order.
        fusion: thresholds and the cost of a missing member.
    """
    boxes = np.concatenate([v.boxes for v in views])
    scores = np.concatenate([v.scores for v in views])
    labels = np.concatenate([v.labels for v in views])
    member = np.repeat(np.arange(len(views)), [len(v) for v in views])
    outlines = [ring for v in views for ring in v.outlines]
    say = scores * np.asarray(weights, np.float64)[member]
    # Ties break by place, then by member, so that the order of rows that came in is no matter,
    # not even to the last bit of a sum.
    order = np.lexsort((member, *boxes.T[::-1], labels, -say))
    boxes, scores, labels, member = boxes[order], scores[order], labels[order], member[order]
    say, outlines = say[order], [outlines[i] for i in order.tolist()]
    cluster = clusters(boxes, say, labels, fusion.iou)
    cluster = _rejoin(cluster, boxes, say, labels, member, fusion.cross_member_iou)
    count = int(cluster.max()) + 1 if len(cluster) else 0
    fused = _means(cluster, boxes, say, count)
    votes = np.full((count, len(views)), -1.0)
    np.maximum.at(votes, (cluster, member), scores)
    votes[votes < 0] = np.nan
    label = np.zeros(count, np.int64)
    label[cluster] = labels
    rings = _outlines(fused, cluster, boxes, outlines)
    result = Fused(fused, _score(votes, weights, fusion.missing_vote_penalty), label, votes, rings)
    best = np.lexsort((*fused.T[::-1], label, -result.scores))
    return result.take(best[result.scores[best] >= fusion.min_score])


def _rejoin(
    cluster: Ints, boxes: Floats, say: Floats, labels: Ints, member: Ints, least: float
) -> Ints:
    """Join pairs of clusters without a common member that overlap most; renumber from 0.

    A box and an instance of one object can differ by more than two of a member's own boxes may:
    an instance that missed a wing is still that object.
    """
    if not len(cluster):
        return cluster
    count = int(cluster.max()) + 1
    there = np.zeros((count, int(member.max()) + 1), bool)
    there[cluster, member] = True
    label = np.empty(count, np.int64)
    label[cluster] = labels
    mean = _means(cluster, boxes, say, count)
    one, two = overlapping(mean)
    iou = iou_rows(mean[one], mean[two])
    common = (there[one] & there[two]).any(axis=-1)
    may = (iou > least) & ~common & (label[one] == label[two])
    one, two, iou = one[may], two[may], iou[may]
    head = np.arange(count)
    for k in np.lexsort((two, one, -iou)).tolist():
        a, b = int(one[k]), int(two[k])
        if head[a] == a and head[b] == b and not (there[a] & there[b]).any():
            head[b] = a
            there[a] |= there[b]
    result: Ints = np.unique(head[cluster], return_inverse=True)[1].astype(np.int64)
    return result


def _means(cluster: Ints, boxes: Floats, say: Floats, count: int) -> Floats:
    """Mean box of each cluster, weighted by `say`."""
    # A score of nothing still has a place.
    heavy = np.maximum(say, 1e-12)
    total = np.bincount(cluster, heavy, count)
    columns = [np.bincount(cluster, heavy * side, count) / total for side in boxes.T]
    return np.stack(columns, axis=-1).reshape(-1, 4)


def _score(votes: Floats, weights: Sequence[float], missing: float) -> Floats:
    weight = np.asarray(weights, np.float64)
    there = ~np.isnan(votes)
    present = there @ weight
    mean = np.where(there, votes, 0.0) @ weight / np.maximum(present, 1e-12)
    score: Floats = mean * (1.0 - missing * (1.0 - present / weight.sum()))
    return score


def _outlines(
    fused: Floats, cluster: Ints, boxes: Floats, outlines: Sequence[Outline | None]
) -> tuple[Outline | None, ...]:
    """The ring of each cluster's instance that overlaps the fused box most."""
    drawn = np.flatnonzero([ring is not None for ring in outlines])
    fit = iou_rows(boxes[drawn], fused[cluster[drawn]])
    chosen = np.full(len(fused), -1, np.int64)
    # Worst first, so that the best is written last.
    rising = drawn[np.lexsort((-drawn, fit))]
    chosen[cluster[rising]] = rising
    return tuple(outlines[i] if i >= 0 else None for i in chosen.tolist())
