"""Chains run step by step in memory; what has not changed since the last time is not run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.config import DetectorConfig, StepSpec
from lanner.errors import ConfigError

if TYPE_CHECKING:
    import geopandas as gpd

    from postprocess.chain import Chain
    from postprocess.context import Context

TRIAGE = "triage"


class Memory:
    """The last results of each kind, forgotten oldest first."""

    def __init__(self, room: int, forget: Callable[[Any], None] = lambda _: None) -> None:
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._room, self._forget = room, forget

    def get(self, key: str) -> Any:
        """What is held under `key`, or None."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: str, value: Any) -> None:
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
        taken = _link(json.dumps([steps[i].step, steps[i].params])).apply(taken, context).objects
        memory.put(keys[i + 1], taken)
    return taken


@lru_cache(maxsize=4096)
def _link(text: str) -> Chain:
    """A chain of one step; kept, since looking a step up asks every installed package."""
    from postprocess.chain import Chain

    name, params = json.loads(text)
    return Chain.from_specs((StepSpec(step=name, **params),))


@dataclass(frozen=True)
class RasterState:
    """Objects after a step, and the folder with the rasters handed on so far."""

    objects: gpd.GeoDataFrame
    folder: Path

    def forget(self) -> None:
        """Remove the rasters."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class RasterChain:
    """Chains over one image at a time, whose steps hand rasters on."""

    memory: Memory
    root: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="lanner-")
    )

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
        keys = [key_of(key, "raster")]
        for spec in steps:
            keys.append(key_of(keys[-1], spec.step, spec.params))
        done = next((i for i in range(len(keys) - 1, -1, -1) if self.memory.get(keys[i])), -1)
        if done < 0:
            self.memory.put(keys[0], RasterState(objects, self._folder()))
            done = 0
        state: RasterState = self.memory.get(keys[done])
        for i in range(done, len(steps)):
            folder = self._folder()
            for path in state.folder.glob("*.tif"):
                os.link(path, folder / path.name)
            link = _link(json.dumps([steps[i].step, steps[i].params]))
            state = RasterState(link.apply(state.objects, context_in(folder)).objects, folder)
            self.memory.put(keys[i + 1], state)
        return state

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.root.name))
