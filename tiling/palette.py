"""Colours of a raster that stores numbers of a palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader


@dataclass(frozen=True)
class Palette:
    """What each number stands for.

    Attributes:
        colours: (3, n) uint8, red, green and blue of each number; n covers the numbers' type.
        opaque: (n,) bool, whether pixels of that number hold data.
    """

    colours: NDArray[np.uint8]
    opaque: NDArray[np.bool_]

    @classmethod
    def of(cls, dataset: DatasetReader) -> Palette | None:
        """That of an open raster or overview whose first band is one of palette numbers."""
        if ColorInterp.palette not in dataset.colorinterp[:1]:
            return None
        table = dataset.colormap(1)
        count = 1 << 8 * np.dtype(dataset.dtypes[0]).itemsize
        colours, opaque = np.zeros((3, count), np.uint8), np.zeros(count, np.bool_)
        for number, (*colour, alpha) in table.items():
            colours[:, number], opaque[number] = colour, alpha > 0
        # Some software leaves the alphas at 0, which then say nothing.
        return cls(colours, opaque if opaque.any() else np.ones(count, np.bool_))

    @property
    def is_gray(self) -> bool:
        """Whether every colour is a gray."""
        return bool((self.colours == self.colours[0]).all())

    def expand(
        self, numbers: NDArray[Any], indices: tuple[int, ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Colours of numbers.

        Args:
            numbers: (h, w).
            indices: which colours: 1 red, 2 green, 3 blue.

        Returns:
            (len(indices), h, w) uint8 and (h, w) bool, where they hold data.
        """
        channels = [index - 1 for index in indices]
        return self.colours[channels][:, numbers], self.opaque[numbers]
