"""Figures of a detector on a set of raw predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.calibration import Calibration
from lanner.core.config import DetectorConfig
from lanner.factory.config import Evaluate
from lanner.factory.metrics.bootstrap import Floats, Statistic, draws, estimate
from lanner.factory.steps.evaluate.measured import Measured, groups, within
from lanner.factory.steps.evaluate.raw import RawSet

SLICED = ("f1", "precision", "recall", "ap50")


def figures_of(
    raw: RawSet,
    config: DetectorConfig,
    calibration: Calibration,
    settings: Evaluate,
    quick: bool = False,
) -> dict[str, Any]:
    """All figures of one variant on one set, as plain JSON data, floats to 6 decimals.

    Figures by name, each `{"value": x}` or, with a bootstrap interval over images,
    `{"value": x, "low": a, "high": b}`; None where nothing can be said. For objects: `map`
    (COCO), `map_small`, `map_medium`, `map_large`, `ap50`; `f1`, `precision` and `recall` of
    everything that is reported, `f1_half` of what is scored 0.5 or more; `best_f1` of any
    threshold and that threshold, `best_f1_at`; `ece`, the calibration error after fusion;
    `accepted` and `review`, shares of what is reported; `accept_precision`, `accept_recall` and
    `accept_f1` of what is accepted, the operating point where no person looks; `mask_iou`,
    `types_top1`, `types_top5` and `types_level` where the truth knows them. For roads: `f1`,
    `precision`, `recall` (and `graph_*`) of the lines and `mask_*` of the mask within `relax_px`,
    `apls`, `topo_f1`, `topo_precision`, `topo_recall`, and `ece`, `accepted`, `review`,
    `accept_precision` by length.

    Args:
        raw: predictions, with their samples' truth.
        config: the variant.
        calibration: its curves.
        settings: section evaluate of the factory file.
        quick: values alone, without intervals, slices and curves (and without `map*`,
            `mask_*`, `apls` and `topo*`): what a search needs.

    Returns:
        `{"figures": ..., "slices": {by: {group: figures}}, "curves": ..., "counts": ...}`;
        quick ones only `figures` and `counts`.
    """
    return figures_as_data(measure(raw, config, calibration, settings, quick), raw, settings, quick)


def statistics_of(
    raw: RawSet, config: DetectorConfig, calibration: Calibration, settings: Evaluate
) -> dict[str, Statistic]:
    """The figures as functions of how often each image counts, for paired comparisons.

    See `lanner.factory.metrics.bootstrap.paired`; images are those of `raw.samples`, in order.
    """
    return dict(measure(raw, config, calibration, settings).statistics)


def measure(
    raw: RawSet,
    config: DetectorConfig,
    calibration: Calibration,
    settings: Evaluate,
    quick: bool = False,
) -> Measured:
    """Detect with one variant and compare with the truth."""
    if config.output == "raster":
        from lanner.factory.steps.evaluate.network import measure_roads

        found = raw.detect(config, calibration, frames=not quick)
        return measure_roads(raw, found, config, settings, quick)
    from lanner.factory.steps.evaluate.objects import measure_objects

    found = raw.detect(config, calibration, frames=not quick)
    return measure_objects(found, raw.samples, config, settings, quick, raw.files)


def figures_as_data(
    measured: Measured, raw: RawSet, settings: Evaluate, quick: bool = False
) -> dict[str, Any]:
    """Figures of a measurement as plain data; see `figures_of`."""
    weights = None if quick else draws(measured.images, settings.bootstrap)
    figures = {
        name: estimate(statistic, measured.images, weights)
        for name, statistic in measured.statistics.items()
    }
    figures.update({name: {"value": value} for name, value in measured.values.items()})
    result: dict[str, Any] = {
        "figures": dict(sorted(figures.items())),
        "counts": dict(measured.counts),
    }
    if quick:
        return result
    result["slices"] = _slices(measured, raw, settings, weights)
    result["curves"] = dict(measured.curves)
    return result


def _slices(
    measured: Measured, raw: RawSet, settings: Evaluate, weights: Floats | None
) -> dict[str, Any]:
    slices: dict[str, Any] = {}
    for by in settings.slices:
        if by == "size":
            slices[by] = {
                size: {
                    name: estimate(statistic, measured.images, weights)
                    for name, statistic in statistics.items()
                }
                for size, statistics in measured.sized.items()
            }
            continue
        slices[by] = {}
        for group, images in groups(raw.samples, by).items():
            # Draws of a group of one image hold that image or nothing.
            some = weights if np.sum(images) > 1 else None
            slices[by][group] = {
                "images": {"value": float(np.sum(images))},
                **{
                    name: estimate(within(measured.statistics[name], images), measured.images, some)
                    for name in SLICED
                    if name in measured.statistics
                },
            }
    return slices
