"""Detection metrics at IoU 0.5: COCO's average precision and the best or chosen F1."""

from __future__ import annotations

import numpy as np


def box_iou(a, b):
    """(n, m) IoU of two box arrays."""
    if len(a) == 0 or len(b) == 0:
        return np.zeros((len(a), len(b)))
    lt = np.maximum(a[:, None, :2], b[None, :, :2])
    rb = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (rb - lt).clip(0).prod(2)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(1)  # noqa: E731
    return inter / (area(a)[:, None] + area(b)[None] - inter).clip(1e-9)


def hits(boxes, scores, truth, iou=0.5):
    """Greedy matching by score: bool (n,) hit for each box, in score order, and that order."""
    order = np.argsort(-scores, kind="stable")
    overlap = box_iou(boxes[order], truth)
    free = np.ones(len(truth), bool)
    hit = np.zeros(len(order), bool)
    for i in range(len(order)):
        if len(truth) == 0:
            break
        row = np.where(free, overlap[i], -1)
        j = int(row.argmax())
        if row[j] >= iou:
            hit[i], free[j] = True, False
    return hit, order


def summary(images, iou=0.5):
    """AP and best F1 over [(boxes, scores, truth)]."""
    found = [hits(b, s, t, iou) for b, s, t in images]
    score = np.concatenate([s[o] for (_, s, _), (_, o) in zip(images, found, strict=True)])
    hit = np.concatenate([h for h, _ in found])
    total = sum(len(t) for *_, t in images)
    order = np.argsort(-score, kind="stable")
    score, hit = score[order], hit[order]
    tp = np.cumsum(hit)
    precision, recall = tp / np.arange(1, len(tp) + 1), tp / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101))
    ap = float(np.mean([envelope[i] if i < len(envelope) else 0.0 for i in at]))
    f1 = 2 * precision * recall / (precision + recall).clip(1e-9)
    best = int(f1.argmax())
    return {
        "ap50": ap,
        "f1": float(f1[best]),
        "at": float(score[best]),
        "precision": float(precision[best]),
        "recall": float(recall[best]),
        "score": score,
        "hit": hit,
        "total": total,
    }


def f1_at(result, threshold):
    """F1 at a chosen score threshold."""
    keep = result["score"] >= threshold
    tp = result["hit"][keep].sum()
    return 2 * tp / max(1, keep.sum() + result["total"])
