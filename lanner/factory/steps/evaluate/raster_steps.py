"""Chains over rasters, image by image; a step that is given what it was given is not run again."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING

from lanner.core.config import StepSpec
from lanner.factory.steps.evaluate.cut import Cut, cut_of
from lanner.factory.steps.evaluate.mosaic import GAP
from lanner.factory.steps.evaluate.steps import Memory, key_of, link_of, text_of

if TYPE_CHECKING:
    import geopandas as gpd

    from postprocess.context import Context

READS: Mapping[str, tuple[str, ...]] = {
    "threshold": (),
    "clean": ("threshold",),
    "skeletonise": ("clean",),
    "trace": ("skeletonise",),
    "prune": ("clean",),
    "bridge": (),
    "smooth": (),
    "junctions": ("clean",),
    "measure": ("clean",),
    "classify": (),
    "airfields": (),
    "triage": (),
}
"""Steps that ask for nothing but objects, their probability, and these rasters of earlier steps."""

PIXELS = frozenset({"threshold", "clean", "skeletonise"})
"""Those that turn rasters into rasters: on a part of the grid every pixel comes out the same.
Of lines that cannot be said: coordinates with another origin are rounded elsewhere."""


@dataclass(frozen=True)
class RasterState:
    """Objects after a step, the folder with the rasters handed on so far, and what both hold."""

    objects: gpd.GeoDataFrame
    folder: Path
    content: str

    def forget(self) -> None:
        """Remove the rasters."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _room() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with its owner, or with the process."""
    folder = tempfile.TemporaryDirectory(prefix="lanner-")
    # A process of a pool ends without the interpreter's farewell, which alone would remove it.
    Finalize(folder, shutil.rmtree, (folder.name, True), exitpriority=0)
    return folder


@dataclass(frozen=True)
class RasterChain:
    """Chains over one image at a time, whose steps hand rasters on.

    Where all steps are those of `READS`, a step is known again by what it is given, not by how
    that was made: two thresholds that leave the same roads after `clean` share all that follows.
    Objects then carry no `steps`.
    """

    memory: Memory
    root: tempfile.TemporaryDirectory[str] = field(default_factory=_room)
    _after: dict[str, str] = field(default_factory=dict)
    _asked: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _cuts: dict[str, Cut | None] = field(default_factory=dict)

    def run(
        self,
        steps: Sequence[StepSpec],
        context_in: Callable[[Path], Context],
        key: str,
        objects: gpd.GeoDataFrame,
    ) -> RasterState:
        """State after all steps.

        Args:
            steps: the chain.
            context_in: surroundings with a folder to work in.
            key: what the image's rasters follow from.
            objects: what comes in.
        """
        lean = all(spec.step in READS for spec in steps)
        cut = self._cut(key, steps, context_in) if lean else None
        base = key_of(key, "raster", [spec.step for spec in steps], cut is not None)
        links = [text_of(spec) for spec in steps]
        state, done = self._furthest(RasterState(objects, self._folder(), base), links, 0)
        while done < len(steps):
            folder = self._folder()
            rest = [spec.step for spec in steps[done:]] if lean else None
            next_state = _stepped(state, links[done], context_in(folder), base, rest, cut)
            self._after[key_of(state.content, links[done])] = next_state.content
            if self.memory.get(state.content) is not state:
                state.forget()
            held = self._held(next_state, base, done + 1, links)
            # Another way may have led here before, and on from here.
            state, done = self._furthest(held, links, done + 1)
        return state

    def _furthest(
        self, state: RasterState, links: Sequence[str], done: int
    ) -> tuple[RasterState, int]:
        """The last state that is held on the way on from one after `done` steps, or that one."""
        content, last = state.content, (state, done)
        for number in range(done, len(links) + 1):
            held: RasterState | None = self.memory.get(content)
            if held is not None:
                last = (held, number)
            after = (
                None if number == len(links) else self._after.get(key_of(content, links[number]))
            )
            if after is None:
                break
            content = after
        if last[0] is not state and self.memory.get(state.content) is not state:
            state.forget()
        return last

    def _held(self, state: RasterState, base: str, done: int, links: Sequence[str]) -> RasterState:
        """A state, kept where chains part or end, or nothing is known of either yet."""
        known: RasterState | None = self.memory.get(state.content)
        if known is not None:
            state.forget()
            return known
        first = (base, done) not in self._asked
        asked = self._asked.setdefault((base, done), set())
        asked.update(links[done : done + 1])
        if first or len(asked) != 1:
            self.memory.put(state.content, state)
        return state

    def _cut(
        self, key: str, steps: Sequence[StepSpec], context_in: Callable[[Path], Context]
    ) -> Cut | None:
        if key not in self._cuts:
            folder = self._folder()
            self._cuts[key] = cut_of(context_in(folder), folder / "cut.tif")
        cut = self._cuts[key]
        return cut if cut is not None and _may_cut(steps, (GAP * cut.grid.gsd) ** 2) else None

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.root.name))


def _may_cut(steps: Sequence[StepSpec], least_m2: float) -> bool:
    """Whether steps on pixels come first, and what is cut off is too large to be filled as a hole.

    Args:
        steps: of `READS`.
        least_m2: area of the smallest piece that may be cut off.
    """
    late = [spec.step not in PIXELS for spec in steps]
    links = [link_of(text_of(spec)).links[0][1] for spec in steps if spec.step in PIXELS]
    return late == sorted(late) and all(getattr(one, "hole_m2", 0) < least_m2 for one in links)


def _stepped(
    state: RasterState,
    link: str,
    context: Context,
    base: str,
    rest: Sequence[str] | None,
    cut: Cut | None,
) -> RasterState:
    """One step on from a state.

    Args:
        state: before.
        link: the step and its parameters.
        context: surroundings, with a folder to work in.
        base: what the image's rasters follow from.
        rest: the names of this step and those after it where all are of `READS`, else None.
        cut: where steps of `PIXELS` look; None: everywhere.
    """
    folder = context.workdir
    for path in state.folder.glob("*.tif"):
        os.link(path, folder / path.name)
    part = cut if rest is not None and rest[0] in PIXELS else None
    here = context if part is None else part.context(context)
    objects = link_of(link).apply(state.objects, here).objects
    if rest is None:
        return RasterState(objects, folder, key_of(state.content, link))
    objects["steps"] = None
    read = {name for later in rest[1:] for name in READS[later]}
    for path in sorted(folder.glob("*.tif")):
        if path.stem not in read:
            path.unlink()
        elif part is not None and rest[1] not in PIXELS:
            part.paste(context, path.stem)
    return RasterState(objects, folder, _content(base, objects, folder))


def _content(base: str, objects: gpd.GeoDataFrame, folder: Path) -> str:
    """Checksum of all that later steps are given."""
    import shapely

    digest = hashlib.sha256(base.encode())
    for name in objects.columns:
        values = objects[name].to_numpy()
        digest.update(f"{name} {values.dtype} {len(values)}\n".encode())
        if values.dtype != object:
            digest.update(values.tobytes())
        elif name in ("geometry", "outline"):
            digest.update(repr(shapely.to_wkb(values).tolist()).encode())
        else:
            digest.update(repr(values.tolist()).encode())
    for path in sorted(folder.glob("*.tif")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
