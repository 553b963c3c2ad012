"""Chains run step by step in memory; what has not changed since the last time is not run again."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lanner.core.config import DetectorConfig, StepSpec
from lanner.core.errors import ConfigError

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

    Triage leaves nothing out here: objects that are not worth a look are scored too.

    Raises:
        ConfigError: the chain has no such step.
    """
    chain = tuple(_without_floor(spec) for spec in config.chain)
    names = [spec.step for spec in chain]
    if until is None:
        return chain
    if until not in names:
        raise ConfigError(
            "evaluate.chain_until", until, "is no step of the chain", f"use {', '.join(names)}"
        )
    end = names.index(until) + 1
    return chain[:end] + tuple(spec for spec in chain[end:] if spec.step == TRIAGE)


def _without_floor(spec: StepSpec) -> StepSpec:
    if spec.step != TRIAGE:
        return spec
    return StepSpec(step=spec.step, **{**spec.params, "floor": 0.0})


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
        taken = link_of(text_of(steps[i])).apply(taken, context).objects
        memory.put(keys[i + 1], taken)
    return taken


@lru_cache(maxsize=4096)
def link_of(text: str) -> Chain:
    """A chain of one step; kept, since looking a step up asks every installed package."""
    from postprocess.chain import Chain

    name, params = json.loads(text)
    return Chain.from_specs((StepSpec(step=name, **params),))


def text_of(spec: StepSpec) -> str:
    """A step and its parameters, as `link_of` takes them."""
    return json.dumps([spec.step, spec.params], sort_keys=True)
