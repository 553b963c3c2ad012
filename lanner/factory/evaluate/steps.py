"""Chains run step by step in memory; what has not changed since the last time is not run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.config import DetectorConfig, StepSpec
from lanner.errors import ConfigError
from lanner.factory.evaluate.mosaic import GAP, Cut, cut_of

if TYPE_CHECKING:
    import geopandas as gpd

    from postprocess.chain import Chain
    from postprocess.context import Context

TRIAGE = "triage"


class Memory:
    """The last results of each kind, forgotten oldest first."""

    def __init__(self, room: int, forget: Callable[[Any], None] = lambda _: None) -> None:
        self._held: OrderedDict[Hashable, Any] = OrderedDict()
        self._room, self._forget = room, forget

    def get(self, key: Hashable) -> Any:
        """What is held under `key`, or None."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Hold `value`."""
        self._held[key] = value
        while len(self._held) > self._room:
            self._forget(self._held.popitem(last=False)[1])


def key_of(*parts: Any) -> str:
    """Checksum of plain data."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def steps_until(config: DetectorConfig, until: str | None) -> tuple[StepSpec, ...]:
    """The chain up to a step, and triage, which looks at scores and not at sizes.

    Raises:
        ConfigError: the chain has no such step.
    """
    names = [spec.step for spec in config.chain]
    if until is None:
        return config.chain
    if until not in names:
        raise ConfigError(
            "evaluate.chain_until", until, "is no step of the chain", f"use {', '.join(names)}"
        )
    end = names.index(until) + 1
    rest = tuple(spec for spec in config.chain[end:] if spec.step == TRIAGE)
    return config.chain[:end] + rest


def run_steps(
    objects: Callable[[], gpd.GeoDataFrame],
    steps: Sequence[StepSpec],
    context: Context,
    memory: Memory,
    key: str,
) -> gpd.GeoDataFrame:
    """Objects after all steps, from the last of them that is still known.

    Args:
        objects: makes what comes in.
        steps: the chain.
        context: surroundings.
        memory: where results are held.
        key: what `objects` follow from.
    """
    keys = [key_of(key, "objects")]
    for spec in steps:
        keys.append(key_of(keys[-1], spec.step, spec.params))
    done = next((i for i in range(len(keys) - 1, -1, -1) if memory.get(keys[i]) is not None), -1)
    if done < 0:
        memory.put(keys[0], objects())
        done = 0
    taken = memory.get(keys[done])
    for i in range(done, len(steps)):
        taken = _link(_text(steps[i])).apply(taken, context).objects
        memory.put(keys[i + 1], taken)
    return taken


@lru_cache(maxsize=4096)
def _link(text: str) -> Chain:
    """A chain of one step; kept, since looking a step up asks every installed package."""
    from postprocess.chain import Chain

    name, params = json.loads(text)
    return Chain.from_specs((StepSpec(step=name, **params),))


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


@dataclass(frozen=True)
class RasterChain:
    """Chains over one image at a time, whose steps hand rasters on.

    Where all steps are those of `READS`, a step is known again by what it is given, not by how
    that was made: two thresholds that leave the same roads after `clean` share all that follows.
    Objects then carry no `steps`.
    """

    memory: Memory
    root: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="lanner-")
    )
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
        links = [_text(spec) for spec in steps]
        state, done = self._furthest(RasterState(objects, self._folder(), base), links, 0)
        while done < len(steps):
            folder = self._folder()
            rest = [spec.step for spec in steps[done:]] if lean else None
            made = _stepped(state, links[done], context_in(folder), base, rest, cut)
            self._after[key_of(state.content, links[done])] = made.content
            if self.memory.get(state.content) is not state:
                state.forget()
            held = self._held(made, base, done + 1, links)
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

    def _held(self, made: RasterState, base: str, done: int, links: Sequence[str]) -> RasterState:
        """A state, kept where chains part or end, or nothing is known of either yet."""
        known: RasterState | None = self.memory.get(made.content)
        if known is not None:
            made.forget()
            return known
        first = (base, done) not in self._asked
        asked = self._asked.setdefault((base, done), set())
        asked.update(links[done : done + 1])
        if first or len(asked) != 1:
            self.memory.put(made.content, made)
        return made

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
    links = [_link(_text(spec)).links[0][1] for spec in steps if spec.step in PIXELS]
    return late == sorted(late) and all(getattr(one, "hole_m2", 0) < least_m2 for one in links)


def _text(spec: StepSpec) -> str:
    return json.dumps([spec.step, spec.params], sort_keys=True)


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
    objects = _link(link).apply(state.objects, here).objects
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
