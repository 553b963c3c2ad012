"""The networks by themselves: what they are shown in a run, shown to them again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from detectors.device import Compute, running
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel, Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

HELD_MB = 1500.0
"""Inputs that are held in memory at most, over all networks; of a larger scene its first tiles
are measured and the seconds scaled."""

BEFORE = ("open", "load", "normalise", "detect")
"""Stages of a run that come before the first one without tiles."""


@dataclass
class NetworkInputs:
    """What one network was shown: `tiles` of it counted, `inputs` (n, 3, tile, tile) kept."""

    tiles: int = 0
    inputs: list[Tensor] = field(default_factory=list)


@contextmanager
def watching(nets: dict[str, nn.Module], tell: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Tell of every input that a network is shown, until the block ends."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda net, args: tell(name, args[0])

    with ExitStack() as stack:
        for name, net in nets.items():
            stack.callback(net.register_forward_pre_hook(hook(name)).remove)
        yield


def record(
    nets: dict[str, nn.Module],
    tile: int,
    run: Callable[[Cancel, Callable[[Progress], None]], object],
) -> dict[str, NetworkInputs]:
    """Copies of what each network is shown of whole tiles, up to `HELD_MB` in all.

    Args:
        nets: by name.
        tile: side of a tile; other inputs are closer looks at single objects.
        run: a run that shows tiles to these networks; it is stopped when enough is held.
    """
    cancel, records = Cancel(), {name: NetworkInputs() for name in nets}
    room, turn = HELD_MB * 1e6 / max(1, len(nets)), Lock()

    def keep(name: str, inputs: Tensor) -> None:
        one = records[name]
        size = inputs.element_size() * inputs.numel()
        if tuple(inputs.shape[-2:]) != (tile, tile):
            return
        with turn:
            # Lanes are at different tiles: each network has its own room.
            if one.inputs and (len(one.inputs) + 1) * size > room:
                cancel.set()
                return
            one.inputs.append(inputs.clone())
            one.tiles += len(inputs)

    def stop_after(progress: Progress) -> None:
        if progress.stage not in BEFORE:
            cancel.set()

    with watching(nets, keep), suppress(Cancelled):
        run(cancel, stop_after)
    return records


def replay(net: nn.Module, inputs: list[Tensor], where: Compute) -> float:
    """Seconds that a network takes for inputs in memory, after one to warm up."""
    with running(where):
        net(inputs[0])
        wait(where)
        since = time.perf_counter()
        for one in inputs:
            net(one)
        wait(where)
        return time.perf_counter() - since


def wait(where: Compute) -> None:
    """Until the device has done what it was given."""
    if where.device.type == "cuda":
        import torch

        torch.cuda.synchronize(where.device)
