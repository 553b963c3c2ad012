"""A closer look at single objects: cut out of the scene, enlarged, shown to the Res-UNet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import floor, log2
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from lanner.core.machine import thread_each
from lanner.inference.looks import LookTask, decode_ring, encode_ring
from postprocess.context import CloserLook, untold
from tiling.grid import Box

if TYPE_CHECKING:
    from detectors.views import Look, Outline
    from lanner.core.job import Cancel
    from tiling.grid import Grid
    from tiling.ledger import NamedLedger
    from tiling.normalise import Stretch
    from tiling.sample import GridSampler
    from tiling.scene import Scene

Floats = NDArray[np.float64]
Each = Callable[[Callable[[int], bool], Sequence[int]], Generator[bool, None, None]]
Announce = Callable[[Sequence[LookTask]], None]
SIDES = (96, 128, 160, 192, 224)
"""Sides in pixels that the picture of one object may have, multiples of the network's stride."""
ROOM = 1.35
"""Side of the picture over that of the object, where `SIDES` allow it: on rendered close-ups wider
ones gave no better outlines, and finer pixels did."""
STEPS = 2
"""Levels of ground sampling an octave: few enough that pictures of one scene share their grid."""


@dataclass(frozen=True)
class _Shot:
    """The picture of one object: where it is on a finer grid, and the box (4,) in its pixels."""

    grid: Grid
    sampler: GridSampler
    window: Box
    box: Floats

    def read(self, stretch: Stretch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Its pixels, 0..1, and which are valid."""
        # What cannot be read the tiles have noted.
        raw, valid = self.sampler.read(self.window, set())
        return stretch.apply(raw, valid), valid

    def placed(self, ring: Outline, to: Grid) -> shapely.Polygon | None:
        """A ring in its pixels as a polygon on another grid; None where it is not valid there."""
        corner = np.array([self.window.x0, self.window.y0])
        polygon = shapely.polygons(to.from_scene(self.grid.to_scene(ring + corner)))
        return polygon if polygon.is_valid else None


class SceneCloser:
    """Looks at objects of one scene again; for one thread. Close it to close its file handles.

    An object's outline follows from the scene and its box alone, not from tiles or neighbours in
    the batch.

    Args:
        scene: the scene.
        bands: names of the bands that the networks take.
        grid: the run's grid; boxes and outlines are in its pixels.
        stretch: the scene's normalisation.
        look: `Ensemble.outline`, or what answers like it.
        cancel: looked at before every object.
        open_ledger: gives the ledger of the objects that have been looked at, of a key that
            stands for all of the above.
        each: calls a function with each of some things, as `lanner.inference.engine.on_engine`.
        announce: told which looks the ledger lacks, before the first of them; what it raises is
            raised.
    """

    def __init__(  # noqa: PLR0913
        self,
        scene: Scene,
        bands: tuple[str, ...],
        grid: Grid,
        stretch: Stretch,
        look: Look,
        cancel: Cancel,
        open_ledger: Callable[[], NamedLedger],
        *,
        each: Each = thread_each,
        announce: Announce = lambda _: None,
    ) -> None:
        self._scene, self._bands, self._grid = scene, bands, grid
        self._stretch, self._look, self._cancel = stretch, look, cancel
        self._open_ledger = open_ledger
        self._each = each
        self._announce = announce
        self._samplers: dict[int, tuple[Grid, GridSampler]] = {}

    def outlines(
        self,
        boxes: Floats,
        wanted: NDArray[np.bool_],
        object_px: float,
        gain: float,
        enlarge: float,
        threshold: float,
        tell: Callable[[int, int], None] = untold,
    ) -> list[CloserLook | None]:
        """As `postprocess.context.Closer` says.

        Raises:
            Cancelled: the caller went away; what is in the ledger stays.
            OutputError: the ledger cannot be used.
            SceneError: the scene cannot be read there.
        """
        levels = [self._level(box, object_px, gain, enlarge) for box in boxes]
        looks = [
            None if level is None else CloserLook(None, self._sampler(level)[0].gsd)
            for level in levels
        ]
        shots = [
            (n, self._shot(box, level))
            for n, (box, level) in enumerate(zip(boxes, levels, strict=True))
            if level is not None and wanted[n]
        ]
        self._cancel.check()
        if not shots:
            return looks
        x0, y0, x1, y1 = boxes.T.tolist()
        tasks = [
            LookTask((x0[n], y0[n], x1[n], y1[n]), object_px, gain, enlarge, threshold)
            for n, _ in shots
        ]
        rings = self._rings([shot for _, shot in shots], tasks, tell)
        for (n, shot), ring in zip(shots, rings, strict=True):
            if ring is not None:
                looks[n] = CloserLook(shot.placed(ring, self._grid), shot.grid.gsd)
        return looks

    def payloads(self, tasks: Sequence[LookTask]) -> list[tuple[str, bytes]]:
        """What the looks that another run announced show, by name, as its ledger keeps it.

        Raises:
            Cancelled: the caller went away.
            SceneError: the scene cannot be read there.
        """
        shots = []
        for task in tasks:
            box = np.asarray(task.box)
            level = self._level(box, task.object_px, task.gain, task.enlarge)
            assert level is not None, "announced looks gain something"
            shots.append(self._shot(box, level))
        found: dict[int, bytes] = {}

        def see(n: int) -> bool:
            if self._cancel.is_set():
                return False
            found[n] = encode_ring(self._ring(shots[n], tasks[n].threshold))
            return True

        with closing(self._each(see, range(len(tasks)))) as answers:
            for _ in answers:
                self._cancel.check()
        self._cancel.check()
        return [(task.name, found[n]) for n, task in enumerate(tasks)]

    def close(self) -> None:
        """Close the file handles."""
        for _, sampler in self._samplers.values():
            sampler.close()
        self._samplers.clear()

    def _rings(
        self,
        shots: Sequence[_Shot],
        tasks: Sequence[LookTask],
        tell: Callable[[int, int], None],
    ) -> list[Outline | None]:
        """What is seen on each picture: kept in the ledger by its name, or looked at now."""
        names = [task.name for task in tasks]
        with self._open_ledger() as ledger:
            left = [n for n, name in enumerate(names) if not ledger.done(name)]
            done = len(shots) - len(left)
            tell(done, len(shots))
            self._announce([tasks[n] for n in left])

            def see(n: int) -> bool:
                # By its own thread: a slow object holds back none that others have finished.
                if self._cancel.is_set():
                    return False
                ledger.put(names[n], encode_ring(self._ring(shots[n], tasks[n].threshold)))
                return True

            with closing(self._each(see, left)) as answers:
                for finished in answers:
                    if finished:
                        done += 1
                        tell(done, len(shots))
            self._cancel.check()
            return [decode_ring(ledger.get(name)) for name in names]

    def _ring(self, shot: _Shot, threshold: float) -> Outline | None:
        """What is seen on one picture; any thread may ask."""
        pixels, valid = shot.read(self._stretch)
        return self._look(pixels, valid, shot.box, threshold)

    def _level(self, box: Floats, object_px: float, gain: float, enlarge: float) -> int | None:
        """Steps of 2 ** (1 / STEPS) finer than the grid; None where that gains too little."""
        side = max(box[2] - box[0], box[3] - box[1], 1.0)
        finest = enlarge * self._grid.gsd / max(self._scene.gsd)
        level = round(STEPS * log2(object_px / side))
        level = min(level, floor(STEPS * log2(max(finest, 1e-9)) + 0.25))
        return level if 2 ** (level / STEPS) >= gain else None

    def _shot(self, box: Floats, level: int) -> _Shot:
        grid, sampler = self._sampler(level)
        near = grid.from_scene(self._grid.to_scene(box.reshape(2, 2)))
        side = next((s for s in SIDES if s >= ROOM * np.ptp(near, axis=0).max()), SIDES[-1])
        x0, y0 = (floor(v) - side // 2 for v in near.mean(axis=0))
        window = Box(x0, y0, x0 + side, y0 + side)
        return _Shot(grid, sampler, window, (near - [x0, y0]).ravel())

    def _sampler(self, level: int) -> tuple[Grid, GridSampler]:
        from tiling.sample import GridSampler

        if level not in self._samplers:
            grid = self._scene.grid(self._grid.gsd * 2 ** (-level / STEPS))
            fill = self._stretch.fill
            self._samplers[level] = grid, GridSampler(self._scene, grid, self._bands, fill=fill)
        return self._samplers[level]
