"""Weak masks from boxes: GrabCut (Rother et al., 2004), kept where the result fills its box."""

from __future__ import annotations

import cv2
import numpy as np

WORK = 72
"""Side in pixels at which a box is segmented."""


def weak_masks(rgb, boxes, guess=None):
    """Number the objects of an image from 1; -1 where a box gave no believable mask.

    `guess` (h, w) is an earlier network's object probability: it starts GrabCut where given.

    Returns:
        int32 (h, w): 0 background, k+1 inside object k, -1 unknown.
    """
    out = np.zeros(rgb.shape[:2], np.int32)
    order = np.argsort([-(b[2] - b[0]) * (b[3] - b[1]) for b in boxes])
    for k in order:
        x0, y0, x1, y1 = boxes[k]
        mask, window = one_mask(rgb, boxes, int(k), guess)
        wx0, wy0, wx1, wy1 = window
        region = out[wy0:wy1, wx0:wx1]
        if mask is None:
            bx0, by0, bx1, by1 = (round(v) for v in (x0, y0, x1, y1))
            part = out[max(0, by0) : by1, max(0, bx0) : bx1]
            part[part == 0] = -1
        else:
            region[mask & (region <= 0)] = k + 1
    return out


def one_mask(rgb, boxes, k, guess=None):
    """(bool mask over window, window) of one box; None for the mask when not believable."""
    h, w = rgb.shape[:2]
    x0, y0, x1, y1 = boxes[k]
    side = max(x1 - x0, y1 - y0)
    m = 0.35 * side + 3
    wx0, wy0 = max(0, int(x0 - m)), max(0, int(y0 - m))
    wx1, wy1 = min(w, int(x1 + m) + 1), min(h, int(y1 + m) + 1)
    window = (wx0, wy0, wx1, wy1)
    scale = WORK / side
    crop = cv2.resize(
        rgb[wy0:wy1, wx0:wx1],
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA,
    )
    ch, cw = crop.shape[:2]
    bx = (np.array([x0 - wx0, y0 - wy0, x1 - wx0, y1 - wy0]) * scale).round().astype(int)
    bx = bx.clip(0, [cw, ch, cw, ch])
    label = np.full((ch, cw), cv2.GC_BGD, np.uint8)
    inside = label[bx[1] : bx[3], bx[0] : bx[2]]
    inside[:] = cv2.GC_PR_BGD
    yy, xx = np.mgrid[-1 : 1 : inside.shape[0] * 1j, -1 : 1 : inside.shape[1] * 1j]
    likely = np.hypot(xx, yy) < 0.75
    # Unlike the ring around the box, and near its middle: probably aircraft.
    ring = crop[label == cv2.GC_BGD].reshape(-1, 3).astype(np.float32)
    if len(ring) < 30:
        return None, window
    part = crop[bx[1] : bx[3], bx[0] : bx[2]].astype(np.float32)
    far = np.abs(part - np.median(ring, 0)).max(2) / (ring.std(0).mean() + 6)
    if guess is None:
        inside[likely & (far > min(1.2, np.quantile(far, 0.7)))] = cv2.GC_PR_FGD
    else:
        seen = cv2.resize(guess[wy0:wy1, wx0:wx1], (cw, ch), interpolation=cv2.INTER_LINEAR)
        seen = seen[bx[1] : bx[3], bx[0] : bx[2]]
        inside[seen > 0.7] = cv2.GC_PR_FGD
        inside[seen > 0.97] = cv2.GC_FGD
        inside[seen < 0.05] = cv2.GC_BGD
    for j, (ox0, oy0, ox1, oy1) in enumerate(boxes):
        if j != k and ox0 < wx1 and ox1 > wx0 and oy0 < wy1 and oy1 > wy0:
            a = (
                (np.array([ox0 - wx0, oy0 - wy0, ox1 - wx0, oy1 - wy0]) * scale)
                .astype(int)
                .clip(0, [cw, ch, cw, ch])
            )
            cx, cy = (a[0] + a[2]) // 2, (a[1] + a[3]) // 2
            rx, ry = max(1, (a[2] - a[0]) // 4), max(1, (a[3] - a[1]) // 4)
            label[max(0, cy - ry) : cy + ry, max(0, cx - rx) : cx + rx] = cv2.GC_BGD
    if not (label == cv2.GC_PR_FGD).any():
        return None, window
    back, fore = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    try:
        cv2.grabCut(crop, label, None, back, fore, 4, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None, window
    mask = believable(label, bx)
    if mask is None:
        return None, window
    small = cv2.resize(
        mask.astype(np.float32), (wx1 - wx0, wy1 - wy0), interpolation=cv2.INTER_AREA
    )
    return small > 0.5, window


def believable(label, box):
    """The largest part that GrabCut kept, uint8; None when it does not fill its box sensibly."""
    mask = ((label == cv2.GC_FGD) | (label == cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    bw, bh = max(1, box[2] - box[0]), max(1, box[3] - box[1])
    fill = stats[best, cv2.CC_STAT_AREA] / (bw * bh)
    reach = min(stats[best, cv2.CC_STAT_WIDTH] / bw, stats[best, cv2.CC_STAT_HEIGHT] / bh)
    return (parts == best).astype(np.uint8) if 0.13 < fill < 0.72 and reach >= 0.66 else None


def without_shadow(rgb, ids, boxes):
    """Masks with -1 where an object's pixel could be its shadow: ground, only darker.

    GrabCut takes shadows in, and dark paint looks like them; what is neither clearly is left to
    the pictures whose masks are exact.
    """
    out = ids.copy()
    h = ids.shape[0]
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
        out[view][own & (level < 0.8) & grey] = -1
    return out
