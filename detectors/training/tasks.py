"""What a network learns: the batches it is shown and what it is told of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from detectors.training.pictures import Album
from detectors.training.views import Pool

Batch = dict[str, Any]
"""`images` float32 (n, 3, s, s) 0..1 and `valid` bool (n, s, s) always; the rest is the task's."""


class Meter(Protocol):
    """Collects answers over batches and says how good they are."""

    def add(self, outputs: Any, batch: Batch) -> None:
        """Take one batch's answers in."""

    def value(self) -> float:
        """0 (bad) .. 1 (good) of all so far."""


class Task(Protocol):
    """One way to train a network.

    `terms` are the loss terms and their usual weights, `metric` the name of the meter's value.
    """

    terms: ClassVar[Mapping[str, float]]
    metric: ClassVar[str]

    @property
    def album(self) -> Album:
        """Its pictures."""

    @property
    def pool(self) -> Pool:
        """How they are drawn."""

    def objects(self) -> int:
        """How much there is to learn from (objects, or pictures with some foreground)."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """A random batch, on the CPU."""

    def losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """Each of `terms`, a scalar of float32 that gradients flow through."""

    def meter(self) -> Meter:
        """An empty meter."""
