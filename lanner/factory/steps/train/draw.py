"""Pictures of training: what the network sees, and how the loss went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lanner.factory.files import save_figure
from lanner.factory.images import write_png

if TYPE_CHECKING:
    from detectors.training.tasks import Batch, Task

Pixels = NDArray[np.uint8]

SIDE = 256
COLUMNS, ROWS = 6, 4

WANTED, IGNORED = (64, 224, 96), (160, 160, 160)
BOUNDARY, CENTRE, UNKNOWN = (255, 208, 0), (255, 64, 64), (64, 96, 255)


def draw_batches(task: Task, seed: int, path: Path) -> None:
    """A sheet of views of the first batches, with what is asked of the network drawn over them.

    Boxes and objects green, ignored ground grey, boundaries and centrelines yellow, centres
    red, unknown pixels blue.
    """
    from detectors.training.batches import Batches

    views: list[Pixels] = []
    batches = Batches(task, seed)
    number = 0
    while len(views) < COLUMNS * ROWS:
        views += draw_batch(batches[number])
        number += 1
    sheet = np.full((ROWS * SIDE, COLUMNS * SIDE, 3), 255, np.uint8)
    for k, view in enumerate(views[: COLUMNS * ROWS]):
        y, x = divmod(k, COLUMNS)
        sheet[y * SIDE : y * SIDE + SIDE, x * SIDE : x * SIDE + SIDE] = view
    write_png(sheet, path)


def draw_batch(batch: Batch) -> list[Pixels]:
    """Each view of a batch, uint8 (SIDE, SIDE, 3)."""
    import cv2

    out = []
    for k, image in enumerate(batch["images"].numpy()):
        rgb: Any = np.ascontiguousarray((image.transpose(1, 2, 0) * 255).round().astype(np.uint8))
        rgb[~batch["valid"][k].numpy()] //= 3
        if "target" in batch:
            _masks(rgb, {name: batch[name][k].numpy() for name in ("target", "judged")})
        for name, colour in (("ignored", IGNORED), ("boxes", WANTED), ("unknown", UNKNOWN)):
            for box in batch[name][k].numpy() if name in batch else ():
                x0, y0, x1, y1 = (round(float(v)) for v in box)
                cv2.rectangle(rgb, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
        shrink = rgb.shape[0] >= SIDE
        how = cv2.INTER_AREA if shrink else cv2.INTER_NEAREST
        out.append(np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=how), np.uint8))
    return out


def _masks(rgb: Pixels, one: dict[str, Any]) -> None:
    """Tint a view by its targets, in place."""
    target, judged = one["target"], one["judged"]
    if len(target) == 3:
        parts = [(target[0] == 1, WANTED), (target[1] == 1, BOUNDARY), (target[2] > 228, CENTRE)]
        unknown = (target[0] == 255) | ~judged
    else:
        parts = [(target[0] > 0.5, WANTED), (target[1] > 0.5, BOUNDARY)]
        unknown = ~judged
    for where, colour in [*parts, (unknown, UNKNOWN)]:
        rgb[where] = (rgb[where] * 0.5 + np.array(colour) * 0.5).astype(np.uint8)


def draw_curves(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Loss terms, held-out figures and learning rate against steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = {
        "loss": sorted({k for row in rows for k in row if _is_loss(k)}),
        "held out": sorted({k for row in rows for k in row if k.startswith("valid_")}),
        "learning rate": ["lr"],
    }
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axes, (name, keys) in zip(figure.subplots(1, 3), groups.items(), strict=True):
        axes.set(title=name, xlabel="step")
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 20 else "")
        if keys:
            axes.legend(fontsize="small")
    save_figure(figure, path, dpi=100)


def _is_loss(key: str) -> bool:
    return key not in ("step", "seconds", "lr") and not key.startswith("valid_")
