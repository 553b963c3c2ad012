"""From a detector's dense heads to the boxes that are sure enough."""

from __future__ import annotations

from torch import Tensor

from detectors.kernels.decode import reference
from detectors.kernels.decode.reference import Decoded


def decode(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: tuple[int, int], threshold: float
) -> Decoded:
    """Score, choose, decode (`detectors.retinanet.decode_boxes`) and clip, by tile.

    Args:
        logits: (n, a, classes) of any float type; what is not a number is never chosen.
        offsets: (n, a, 4) dx dy dw dh.
        anchors: (a, 4) x0 y0 x1 y1 pixels, shared by all tiles.
        size: height and width of a tile in pixels; boxes are clipped to it.
        threshold: least score.

    Returns:
        What reaches the threshold, by tile, then anchor, then class.
    """
    if logits.is_cuda:
        from detectors.kernels.decode import kernel

        return kernel.decode(logits, offsets, anchors, size, threshold)
    return reference.decode(logits, offsets, anchors, size, threshold)
