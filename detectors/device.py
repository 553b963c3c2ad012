"""Where the networks run, and in which number format."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from lanner.core.errors import Argument, DeviceError, DeviceMemoryError, DeviceNameError
from lanner.core.machine import keep_memory

T = TypeVar("T")

CUDA_BATCH = 16
"""Tiles a pass on a GPU, until memory says less."""

THREADS = torch.get_num_threads()
"""That torch computes with on a CPU, before any worker sets its own share."""

MOST_LANES = 4
"""Tiles that cores look at side by side: each needs memory for a network's layers."""

CUDA_LANES = 2
"""Passes under way at once on a GPU."""


@dataclass(frozen=True)
class Compute:
    """A device, the format convolutions run in (None: float32), and tiles a pass.

    On a CPU a pass takes one tile: oneDNN may choose another way to sum for another batch
    size, and a pass of several is no faster there.
    """

    device: torch.device
    autocast: torch.dtype | None
    batch: int
    threads: int = THREADS

    @property
    def shares_cores(self) -> bool:
        """Whether networks run on the cores that also read tiles."""
        return self.device.type != "cuda"

    @property
    def workers(self) -> int:
        """Threads that may look at once, each at tiles of its own.

        On a CPU a tile a core is quicker than every core at one tile, where cores wait for each
        other at every layer (`benchmarks/workers.py`).
        """
        if self.device.type == "cuda":
            return CUDA_LANES
        return min(self.threads, MOST_LANES) if self.device.type == "cpu" else 1

    @property
    def share(self) -> int:
        """Threads that one worker computes with."""
        return max(1, self.threads // self.workers)

    @property
    def identity(self) -> str:
        """What results depend on besides configuration and weights."""
        return f"{self.name} torch {torch.__version__}"

    @property
    def name(self) -> str:
        """Device kind and format, such as `cpu bfloat16`: results may differ between names."""
        kind = str(self.autocast or torch.float32).removeprefix("torch.")
        return f"{self.device.type} {kind}"


def _power_of_two(threads: int) -> int:
    """The largest not above `threads`: by 3 or 6 threads oneDNN adds some layers up in another
    order, which float32 shows.
    """
    return 1 << (threads.bit_length() - 1)


def compute(device: str) -> Compute:
    """The device that `auto`, `cpu`, `cuda`, `cuda:N` or `mps` means on this machine.

    Raises:
        DeviceNameError: no name of a device.
        DeviceError: not on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        keep_memory()
        if _fast_bfloat16():
            return Compute(torch.device("cpu"), torch.bfloat16, 1)
        return Compute(torch.device("cpu"), None, 1, _power_of_two(THREADS))
    if re.fullmatch(r"cuda(:\d+)?", device):
        count = torch.cuda.device_count()
        index = int(device.partition(":")[2] or 0)
        if index >= count:
            raise DeviceError(
                Argument("device"),
                device,
                f"this machine shows {count} CUDA devices",
                "set `device` to cpu or auto",
            )
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
        return Compute(torch.device("cuda", index), half, CUDA_BATCH)
    if device == "mps" and torch.backends.mps.is_available():
        return Compute(torch.device("mps"), None, 1)
    argument = Argument("device")
    if device == "mps":
        raise DeviceError(argument, device, "is not on this machine", "use cpu or auto")
    raise DeviceNameError(
        argument, device, "is no name of a device", "use auto, cpu, cuda, cuda:N or mps"
    )


@contextmanager
def running(where: Compute, threads: int | None = None) -> Iterator[None]:
    """Inference without gradients, in the device's format, choosing kernels the same way always.

    Args:
        where: the device.
        threads: that this thread's networks compute with on a CPU; None: as it is.
    """
    with (
        computing(threads if where.device.type == "cpu" else None),
        torch.inference_mode(),
        torch.autocast(where.device.type, where.autocast, enabled=where.autocast is not None),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


@contextmanager
def computing(threads: int | None) -> Iterator[None]:
    """With so many threads; torch counts them thread by thread."""
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Streams:
    """A CUDA stream for each thread, so that one's copies go on beside another's kernels."""

    def __init__(self, where: Compute) -> None:
        self._where = where
        self._local = threading.local()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Work of this thread goes to its own stream; other devices have none."""
        if self._where.device.type != "cuda":
            yield
            return
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._where.device)  # type: ignore[no-untyped-call]
            # The weights were put there by the stream of another thread.
            self._local.stream.wait_stream(torch.cuda.default_stream(self._where.device))
        with torch.cuda.stream(self._local.stream):
            yield


class Passes:
    """Cuts inputs into passes of a fixed size; halves it when the device's memory is short."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def run(self, inputs: Sequence[Tensor], predict: Callable[..., list[T]]) -> list[T]:
        """What `predict` says of each of the inputs, in order.

        A pass that is not full is filled up with zeros, so that a tile's result does not hang
        on how many came with it.

        Args:
            inputs: tensors of (n, ...) that are cut alike.
            predict: the tensors cut to (batch, ...), to one result each.

        Raises:
            DeviceMemoryError: memory is short even for one input.
        """
        results: list[T] = []
        while len(results) < len(inputs[0]):
            # Another thread may halve it meanwhile.
            batch = self.batch
            here = slice(len(results), len(results) + batch)
            parts = [tensor[here] for tensor in inputs]
            count = len(parts[0])
            try:
                results.extend(predict(*(_filled(part, batch) for part in parts))[:count])
            except torch.OutOfMemoryError as error:
                if batch == 1:
                    raise DeviceMemoryError(
                        Argument("device"),
                        str(inputs[0].device),
                        "ran out of memory on a single tile",
                        "give a smaller `tile`, or set `device` to cpu",
                    ) from error
                self.batch = min(self.batch, batch // 2)
                torch.cuda.empty_cache()
        return results


def _filled(part: Tensor, batch: int) -> Tensor:
    """(batch, ...): `part` and zeros."""
    lack = batch - len(part)
    return torch.cat([part, part.new_zeros(lack, *part.shape[1:])]) if lack else part


def _fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; where it does not, it is slower."""
    # Older releases of torch do not say; float32 is right there too, only slower.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(
        bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16")
    )
