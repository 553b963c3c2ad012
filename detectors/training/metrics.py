"""Cheap figures for choosing a checkpoint; the ones that are reported come from `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.matching import Bools, Floats, average_precision, match

Boxes = NDArray[np.float32]
HALF: Floats = np.array([0.5])


@dataclass
class BoxMeter:
    """AP50 over batches, the mean of the classes that occur.

    `found` holds scores and whether right of each image's counted boxes, by class; `totals` the
    objects.
    """

    found: dict[int, list[tuple[Floats, Bools]]] = field(default_factory=dict)
    totals: dict[int, int] = field(default_factory=dict)

    def image(self, views: Any, truth: Boxes, classes: NDArray[np.int64], ignored: Boxes) -> None:
        """Take one image in: `views` has boxes, scores and labels; what lies half in an ignored
        area (k, 4) and is no object counts neither way.
        """
        labels, scores = np.asarray(views.labels), np.asarray(views.scores, np.float64)
        for label in sorted({*classes.tolist(), *labels.tolist()}):
            mine, own = labels == label, classes == label
            real = np.concatenate([truth[own], ignored]).astype(np.float64)
            area = np.arange(len(real)) >= np.count_nonzero(own)
            boxes = np.asarray(views.boxes, np.float64)[mine]
            matches = match(boxes, scores[mine], real, HALF, regions=area)
            counted = ~matches.ignored[0]
            self.totals[label] = self.totals.get(label, 0) + int(np.count_nonzero(own))
            marks = (scores[mine][counted], matches.hit[0][counted])
            self.found.setdefault(label, []).append(marks)

    def value(self) -> float:
        """AP50; 0 where there are no objects."""
        each = []
        for label, total in sorted(self.totals.items()):
            if total:
                scores, right = (
                    np.concatenate(one) for one in zip(*self.found[label], strict=True)
                )
                hit = right[np.argsort(-scores, kind="stable")]
                once = np.ones((1, len(hit)))
                each.append(float(average_precision(hit, once, np.array([float(total)]))[0]))
        return float(np.mean(each)) if each else 0.0


@dataclass
class PixelMeter:
    """F1 of foreground pixels over batches."""

    both: int = 0
    positive: int = 0
    true: int = 0

    def pixels(self, logits: Tensor, truth: Tensor, judged: Tensor) -> None:
        """Take logits, bool truth and bool judged of one shape in."""
        positive = (logits > 0) & judged
        true = truth & judged
        self.both += int(torch.count_nonzero(positive & true))
        self.positive += int(torch.count_nonzero(positive))
        self.true += int(torch.count_nonzero(true))

    def value(self) -> float:
        """F1; 0 where there is neither truth nor claim."""
        return 2 * self.both / max(1, self.positive + self.true)
