"""Figures of a detector on a set of raw predictions."""

from __future__ import annotations

from typing import Any

from detectors.calibration import Calibration
from lanner.config import DetectorConfig
from lanner.factory.config import Evaluate
from lanner.factory.evaluate.raw import RawSet


def figures_of(
    raw: RawSet,
    config: DetectorConfig,
    calibration: Calibration,
    settings: Evaluate,
    quick: bool = False,
) -> dict[str, Any]:
    """All figures of one variant on one set, as plain JSON data, floats to 6 decimals.

    Figures by name, each `{"value": x}` or, with a bootstrap interval over images,
    `{"value": x, "low": a, "high": b}`: for objects `map`, `ap50`, `f1`, `precision`, `recall`
    (at the operating point: everything that is reported), `best_f1`, `best_f1_at`, `ece`,
    `accepted` (share of objects), `accept_precision`, `review` (share); for roads `mask_f1`,
    `graph_f1`, `apls`, `topo` and their parts; `types_top1`, `types_top5`, `mask_iou` where the
    truth knows them.

    Args:
        raw: predictions, with their samples' truth.
        config: the variant.
        calibration: its curves.
        settings: section evaluate of the factory file.
        quick: values alone, without intervals, slices and curves: what a search needs.

    Returns:
        `{"figures": ..., "slices": ..., "curves": ..., "counts": ...}`; quick ones only
        `figures` and `counts`.
    """
    raise NotImplementedError
