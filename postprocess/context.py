"""What a step may know besides its objects: the scene's place, the grid, rasters, provenance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import ConfigError, StepError
from lanner.core.home import configs_dir
from lanner.core.job import Cancel
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
    import shapely

    from tiling.grid import Grid, TilePlan, Xy
    from tiling.place import Place


Mark = tuple[int, ...]
"""What tells a file from one that takes its place later, even of the same bytes."""


@dataclass(frozen=True)
class DetectorFacts:
    """Which detector spoke: name, release and the checksums that pin it."""

    name: str
    version: str
    weights_sha256: str
    config_sha256: str


@dataclass(frozen=True)
class CloserLook:
    """What a closer look at one object showed: `outline` in grid pixels (None: nothing), and the
    ground sampling `gsd` in metres of the picture.
    """

    outline: shapely.Polygon | None
    gsd: float


def untold(done: int, total: int) -> None:
    """Where nobody asks how far a step is."""


class Closer(Protocol):
    """Looks at single objects of the scene again, larger; who it is knows the networks."""

    def outlines(
        self,
        boxes: NDArray[np.float64],
        wanted: NDArray[np.bool_],
        object_px: float,
        gain: float,
        enlarge: float,
        threshold: float,
        tell: Callable[[int, int], None] = untold,
    ) -> list[CloserLook | None]:
        """One look a box of (n, 4) grid pixels; None where it would not be finer by `gain`.

        Args:
            boxes: x0 y0 x1 y1.
            wanted: (n,) which boxes are worth it; of the others only the sampling is said.
            object_px: side that the box is shown with, as far as `enlarge` allows.
            gain: least ratio of the grid's ground sampling to the closer one.
            enlarge: most pixels of a picture, along a side, to one of the scene.
            threshold: least object probability of an object's pixel.
            tell: told how many of how many wanted looks are done, at first and after each.
        """


@dataclass(frozen=True)
class Context:
    """The frozen surroundings of one chain run.

    `rasters` maps a name to a GeoTIFF on the grid (uint8, 255 = probability 1). `workdir` is an
    existing folder that outlives the run: snapshots go there, and a step hands a raster on by
    writing it to `handed_on(name)`; a later step finds either kind with `raster(name)`. Files of
    `left_over` are no step's of this run, as long as no step writes them anew. `closer` is None
    where there is no scene or no network to look at it again with. `files` are those that steps
    read, by the name that they ask for (see `file`). `calibrate` turns scores that
    a step makes itself, such as a line's, into probabilities; None: they are. `members` names
    the networks that looked, where that is known. A step that takes long calls
    `tell(done, total)` now and then.
    Coordinates given to `distance_m`, `length_m` and `azimuth_deg` are grid pixels.
    """

    scene_id: str
    acquired: str | None
    place: Place
    grid: Grid
    plan: TilePlan | None
    detector: DetectorFacts
    workdir: Path
    rasters: Mapping[str, Path] = field(default_factory=dict)
    cancel: Cancel = field(default_factory=Cancel, compare=False)
    closer: Closer | None = field(default=None, compare=False)
    calibrate: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = field(
        default=None, compare=False
    )
    members: tuple[str, ...] = ()
    left_over: Mapping[Path, Mark] = field(default_factory=dict, compare=False)
    tell: Callable[[int, int], None] = field(default=untold, compare=False)
    files: Mapping[str, PinnedFile] = field(default_factory=dict, compare=False)

    def file(self, name: str) -> Path:
        """Where the file lies that a parameter of a step names: in the release, where the release
        brings it, else at that path, relative to `configs/`.

        Raises:
            ConfigError: it was changed since the chain was begun.
        """
        if name not in self.files:
            return configs_dir() / name
        held = self.files[name]
        if not held.unchanged():
            raise ConfigError(
                "chain", held.path, "was changed while the chain was running", "run it again"
            )
        return held.path

    def handed_on(self, name: str) -> Path:
        """Where a step writes the raster `name` for the steps after it."""
        return self.workdir / f"{name}.tif"

    def raster(self, name: str) -> Path:
        """The grid raster `name`: one handed on by an earlier step, else the detector's.

        Raises:
            StepError: no such raster, naming those there are.
        """
        mine = self.handed_on(name)
        if mine.is_file() and not self._is_left_over(mine):
            return mine
        if name in self.rasters:
            return self.rasters[name]
        raise StepError(
            "raster",
            name,
            f"no detector or earlier step made it; there are {sorted({*self.rasters, *self.made})}",
            "put the step that makes it before this one",
        )

    @property
    def made(self) -> list[str]:
        """Names of the rasters that steps have handed on."""
        return sorted(name for name, path in self._files().items() if not self._is_left_over(path))

    def begun(self, made: Collection[str]) -> Context:
        """The same at the beginning of a run: of the files there are, steps handed on `made`."""
        old = {path: _mark(path) for name, path in self._files().items() if name not in made}
        return replace(self, left_over=old)

    def _files(self) -> dict[str, Path]:
        paths = [path for path in self.workdir.rglob("*.tif") if path.is_file()]
        return {path.relative_to(self.workdir).with_suffix("").as_posix(): path for path in paths}

    def _is_left_over(self, path: Path) -> bool:
        return self.left_over.get(path) == _mark(path)

    def distance_m(self, start: Xy, end: Xy) -> NDArray[np.float64]:
        """Geodesic metres between (n, 2) grid pixel points, (n,)."""
        metres = self.place.distance_m(self.grid.to_scene(start), self.grid.to_scene(end))
        return np.asarray(metres, np.float64)

    def length_m(self, line: Xy) -> float:
        """Geodesic metres along one line of (n, 2) grid pixel points."""
        return float(self.place.length_m(self.grid.to_scene(line)))

    def azimuth_deg(self, start: Xy, end: Xy) -> NDArray[np.float64]:
        """Geodesic azimuth in degrees clockwise from true north, (n,), of each start to end."""
        azimuth = self.place.azimuth_deg(self.grid.to_scene(start), self.grid.to_scene(end))
        return np.asarray(azimuth, np.float64)


def _mark(path: Path) -> Mark:
    """Of the file and, where it is a link, of the link."""
    both = path.stat(), path.lstat()
    return tuple(
        value
        for stat in both
        for value in (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    )
