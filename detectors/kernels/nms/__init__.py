"""Greedy non-maximum suppression: of boxes that overlap, the best stays."""

from __future__ import annotations

from torch import Tensor

from detectors.kernels.nms import grid


def nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """Boxes that no better, kept box of their group overlaps too much.

    Of equal scores the lower index is the better one. Overlaps are counted in float32, one
    rounding an operation, so that every device keeps the same boxes. A box without area, or one
    that is not finite, overlaps nothing.

    Args:
        boxes: (n, 4) x0 y0 x1 y1.
        scores: (n,) of any size and sign.
        groups: (n,) int64, any numbers; boxes of different groups do not meet.
        iou: 0 to 1; a box goes where its intersection over union is more than this.

    Returns:
        (k,) int64 indices of what stays, best first, on the boxes' device.
    """
    if boxes.is_cuda:
        from detectors.kernels.nms import kernel

        return kernel.nms(boxes, scores, groups, iou)
    return grid.nms(boxes, scores, groups, iou)
