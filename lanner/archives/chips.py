"""Pictures of single detections for the report: the surest of each scene, and what is doubted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.catalog import Entry
from lanner.archives.options import BatchOptions
from lanner.archives.records import BatchRecord
from lanner.archives.report import Chip
from lanner.archives.work import part_of, read_part
from lanner.core.errors import LannerError

COUNT = 36
"""Pictures of a sheet."""

ROOM, LEAST = 1.6, 24
"""Side of a picture over the object's, and pixels of the scene that it shows at least."""

SIDE = 112
"""Pixels of a picture."""

Pixels = NDArray[np.uint8]


def contact_sheet(
    records: Sequence[BatchRecord], detectors: Sequence[Entry], options: BatchOptions, out: Path
) -> list[Chip]:
    """Pictures of detections, as many of each scene and decision as there is room for.

    A scene that cannot be read any more has none.
    """
    chosen = []
    for name, entry in zip(options.detectors, detectors, strict=True):
        if entry.config.output != "objects":
            continue
        for record in records:
            if record.detector == name and record.outcome is not None:
                # The best of every scene first, then the second best; an archive has too many to
                # keep all of them at once.
                chosen += _of_scene(record, out)
                chosen.sort(key=lambda one: (one[0], one[1].scene.name))
                del chosen[COUNT:]
    chips = []
    for _, record, facts in chosen:
        png = _picture(record, facts["box_px"], options)
        if png is not None:
            chips.append(
                Chip(record.scene.name, facts["label"], facts["confidence"], facts["decision"], png)
            )
    return chips


def _of_scene(record: BatchRecord, out: Path) -> list[tuple[int, BatchRecord, dict[str, Any]]]:
    """The surest and the most doubtful of one scene in turns, with their place in that order."""
    assert record.outcome is not None
    frame = read_part(part_of(out, record.outcome.key))
    frame = frame[["label", "confidence", "decision", "box_px"]].sort_values(
        "confidence", ascending=False, kind="stable"
    )
    rows: list[dict[str, Any]] = [
        {**row, "box_px": json.loads(row["box_px"])} for row in frame.head(COUNT).to_dict("records")
    ]
    doubted = [row for row in rows if row["decision"] != "accept"]
    sure = [row for row in rows if row["decision"] == "accept"]
    turns = [row for pair in zip(sure, doubted, strict=False) for row in pair]
    rest = [*sure[len(doubted) :], *doubted[len(sure) :]]
    return [(place, record, row) for place, row in enumerate([*turns, *rest])]


def _picture(record: BatchRecord, box: Sequence[float], options: BatchOptions) -> bytes | None:
    """A PNG of what is around a box of scene pixels."""
    from PIL import Image
    from rasterio.windows import Window

    from tiling.access import opened
    from tiling.scene import open_scene

    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0, LEAST / ROOM) * ROOM / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    request = options.request(record.scene, record.detector)
    try:
        scene = open_scene(record.scene.uri, gsd=request.gsd, crs=request.crs)
        names = ("red", "green", "blue") if "red" in scene.bands else scene.bands[:1] * 3
        with opened(record.scene.uri) as dataset:
            pixels = dataset.read(
                scene.band_indices(tuple(names)),
                window=Window(x - half, y - half, 2 * half, 2 * half),
                out_shape=(3, SIDE, SIDE),
                boundless=True,
            )
    except LannerError:
        return None
    held = BytesIO()
    Image.fromarray(_stretched(pixels)).save(held, "PNG")
    return held.getvalue()


def _stretched(pixels: NDArray[Any]) -> Pixels:
    """(h, w, 3) of 8 bits, stretched over what is seen."""
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = np.percentile(values, [1, 99])
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    out: Pixels = np.rint(255 * scaled).astype(np.uint8).transpose(1, 2, 0)
    return out
