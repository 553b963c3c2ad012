"""Weak masks from boxes: GrabCut (Rother et al., 2004), kept where the result fills its box."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Ids = NDArray[np.int32]
Floats = NDArray[Any]

WORK = 72
"""Side in pixels at which a box is segmented."""
UNKNOWN = -1
_FILL, _REACH = (0.13, 0.72), 0.66

Window = tuple[int, int, int, int]


def weak_masks(rgb: Pixels, boxes: Floats, guess: Floats | None = None) -> Ids:
    """Number the objects of an image from 1; `UNKNOWN` where a box gave no believable mask.

    Args:
        rgb: (h, w, 3) uint8.
        boxes: (n, 4) x0 y0 x1 y1 pixels.
        guess: (h, w) a network's probability of object, which starts GrabCut where given.

    Returns:
        (h, w) int32: 0 background, k + 1 inside object k.
    """
    h, w = rgb.shape[:2]
    out = np.zeros((h, w), np.int32)
    sizes = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1) if len(boxes) else np.empty(0)
    # Large ones first, so that a small object beside one is not swallowed.
    for k in np.argsort(-sizes, kind="stable"):
        mask, (wx0, wy0, wx1, wy1) = one_mask(rgb, boxes, int(k), guess)
        region = out[wy0:wy1, wx0:wx1]
        if mask is None:
            x0, y0, x1, y1 = (max(0, round(float(v))) for v in boxes[k])
            part = out[y0:y1, x0:x1]
            part[part == 0] = UNKNOWN
        else:
            region[mask & (region <= 0)] = k + 1
    return out


def one_mask(
    rgb: Pixels, boxes: Floats, k: int, guess: Floats | None = None
) -> tuple[NDArray[np.bool_] | None, Window]:
    """The mask of box `k` over a window around it, None where it is not believable.

    Args:
        rgb: (h, w, 3) uint8.
        boxes: (n, 4); those of others are kept out of the mask.
        k: index.
        guess: (h, w) probability, or None.

    Returns:
        (window height, window width) bool or None, and the window x0 y0 x1 y1.
    """
    h, w = rgb.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in boxes[k])
    side = max(x1 - x0, y1 - y0)
    if side < 3 or x1 <= 0 or y1 <= 0 or x0 >= w or y0 >= h:
        return None, (0, 0, 0, 0)
    m = 0.35 * side + 3
    window = (
        max(0, int(x0 - m)),
        max(0, int(y0 - m)),
        min(w, int(x1 + m) + 1),
        min(h, int(y1 + m) + 1),
    )
    wx0, wy0, wx1, wy1 = window
    scale = WORK / side
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    view = np.ascontiguousarray(rgb[wy0:wy1, wx0:wx1])
    crop = np.asarray(cv2.resize(view, None, fx=scale, fy=scale, interpolation=how), np.uint8)
    ch, cw = crop.shape[:2]
    here = _scaled(boxes[k], window, scale, (cw, ch), round_it=True)
    label = _start(crop, here)
    if label is None:
        return None, window
    if guess is not None:
        probability = cv2.resize(
            np.ascontiguousarray(guess[wy0:wy1, wx0:wx1], np.float32), (cw, ch)
        )
        _follow(label, np.asarray(probability), here)
    for j, other in enumerate(boxes):
        near = other[0] < wx1 and other[2] > wx0 and other[1] < wy1 and other[3] > wy0
        if j != k and near:
            ax0, ay0, ax1, ay1 = _scaled(other, window, scale, (cw, ch), round_it=False)
            cx, cy = (ax0 + ax1) // 2, (ay0 + ay1) // 2
            rx, ry = max(1, (ax1 - ax0) // 4), max(1, (ay1 - ay0) // 4)
            label[max(0, cy - ry) : cy + ry, max(0, cx - rx) : cx + rx] = cv2.GC_BGD
    if not ((label == cv2.GC_PR_FGD) | (label == cv2.GC_FGD)).any():
        return None, window
    back, fore = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    cv2.grabCut(crop, label, (0, 0, 1, 1), back, fore, 4, cv2.GC_INIT_WITH_MASK)
    mask = believable(label, here)
    if mask is None:
        return None, window
    small = cv2.resize(
        mask.astype(np.float32), (wx1 - wx0, wy1 - wy0), interpolation=cv2.INTER_AREA
    )
    return np.asarray(small > 0.5), window


def believable(label: Pixels, box: Window) -> Pixels | None:
    """The largest part that GrabCut kept; None when it does not fill its box sensibly.

    Args:
        label: (h, w) uint8 of cv2.GC_ values.
        box: x0 y0 x1 y1 pixels.

    Returns:
        (h, w) uint8 of 0 and 1, or None.
    """
    mask = ((label == cv2.GC_FGD) | (label == cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    bw, bh = max(1, box[2] - box[0]), max(1, box[3] - box[1])
    fill = stats[best, cv2.CC_STAT_AREA] / (bw * bh)
    reach = min(stats[best, cv2.CC_STAT_WIDTH] / bw, stats[best, cv2.CC_STAT_HEIGHT] / bh)
    if not (_FILL[0] < fill < _FILL[1] and reach >= _REACH):
        return None
    return np.asarray(parts == best, np.uint8)


def without_shadow(rgb: Pixels, ids: Ids, boxes: Floats) -> Ids:
    """Masks with `UNKNOWN` where an object's pixel could be its shadow: ground, only darker.

    GrabCut takes shadows in, and dark paint looks like them; what is neither clearly is left to
    the pictures whose masks are exact.

    Args:
        rgb: (h, w, 3) uint8.
        ids: (h, w) int32 of `weak_masks`.
        boxes: (n, 4) x0 y0 x1 y1 pixels.

    Returns:
        (h, w) int32.
    """
    out, h = ids.copy(), len(ids)
    soft = cv2.GaussianBlur(rgb, (0, 0), 0.7).astype(np.float32) + 8
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        m = 0.3 * max(x1 - x0, y1 - y0) + 3
        view = np.s_[max(0, int(y0 - m)) : min(h, int(y1 + m)), max(0, int(x0 - m)) : int(x1 + m)]
        own, ground = ids[view] == k + 1, ids[view] == 0
        if not own.any() or ground.sum() < 30:
            continue
        ratio = soft[view] / np.median(soft[view][ground], 0)
        level = ratio.mean(2)
        grey = (ratio.max(2) - ratio.min(2)) < 0.12 + 0.25 * level
        out[view][own & (level < 0.8) & grey] = UNKNOWN
    return out


def _start(crop: Pixels, box: Window) -> Pixels | None:
    """Where GrabCut begins: near the middle of the box, and unlike the ring around it."""
    x0, y0, x1, y1 = box
    label = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    inside = label[y0:y1, x0:x1]
    inside[:] = cv2.GC_PR_BGD
    ring = crop[label == cv2.GC_BGD].reshape(-1, 3).astype(np.float32)
    if len(ring) < 30 or not inside.size:
        return None
    yy, xx = np.mgrid[-1 : 1 : inside.shape[0] * 1j, -1 : 1 : inside.shape[1] * 1j]
    part = crop[y0:y1, x0:x1].astype(np.float32)
    far = np.abs(part - np.median(ring, 0)).max(2) / (ring.std(0).mean() + 6)
    likely = (np.hypot(xx, yy) < 0.75) & (far > min(1.2, float(np.quantile(far, 0.7))))
    inside[likely] = cv2.GC_PR_FGD
    return label


def _follow(label: Pixels, probability: Floats, box: Window) -> None:
    """Where GrabCut begins instead when a network has looked."""
    x0, y0, x1, y1 = box
    inside, sure = label[y0:y1, x0:x1], probability[y0:y1, x0:x1]
    inside[:] = cv2.GC_PR_BGD
    inside[sure > 0.7] = cv2.GC_PR_FGD
    inside[sure > 0.97] = cv2.GC_FGD
    inside[sure < 0.05] = cv2.GC_BGD


def _scaled(
    box: Floats, window: Window, scale: float, size: tuple[int, int], *, round_it: bool
) -> Window:
    origin = np.array([window[0], window[1], window[0], window[1]])
    moved = (np.asarray(box, np.float64) - origin) * scale
    whole = (moved.round() if round_it else moved).astype(int)
    x0, y0, x1, y1 = whole.clip(0, [size[0], size[1], size[0], size[1]]).tolist()
    return (x0, y0, x1, y1)
