"""An image as readers have it: it was decoded once, and what its labels are counted in is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lanner.factory.readers.frames import Turned


@dataclass(frozen=True)
class Image:
    """An image that decodes: its path, size, and where a raster says so its place.

    `turned` says how EXIF turns it, None where it does not. `origin` is the checksum of the file
    that `path` was written from, None where that is the image as it was found.
    """

    path: Path
    name: str
    width: int
    height: int
    gsd: float | None = None
    place: tuple[float, float] | None = None
    turned: Turned | None = None
    origin: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pixels that its labels are counted in."""
        return (self.width, self.height) if self.turned is None else self.turned.size


__all__ = ["Image"]
