"""How long, how fast and on what a network is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from detectors.device import compute
from lanner.core.errors import ConfigError, DeviceError


@dataclass(frozen=True)
class Settings:
    """One training run.

    `lr` rises over `warmup` steps and falls as half a cosine; the encoder learns at `encoder_rate`
    times that (Howard and Ruder, 2018, "discriminative" rates); `ema` is the decay of the averaged
    weights; `loss` overrides the weights of loss terms. A checkpoint is left every
    `checkpoint_every` steps. Every `valid_every` steps (0: only at the end) `valid_batches`
    batches of held-out views are looked at. `precision` is auto, bf16 or fp32; `devices` auto,
    cpu, cpu:N (N processes), cuda, cuda:I,J or a number of GPUs; `threads` of the CPU (None: as
    torch has it); `workers` processes that make batches.
    """

    steps: int
    lr: float = 8e-4
    encoder_rate: float = 1.0
    weight_decay: float = 0.05
    warmup: int = 100
    ema: float = 0.998
    loss: Mapping[str, float] = field(default_factory=dict)
    checkpoint_every: int = 200
    valid_every: int = 0
    valid_batches: int = 6
    precision: str = "auto"
    devices: str = "auto"
    threads: int | None = None
    workers: int = 1
    seed: int = 1

    @property
    def log_every(self) -> int:
        """Steps a line of the log."""
        return max(1, min(50, self.steps // 20))


@dataclass(frozen=True)
class Hardware:
    """What Lightning is told: accelerator, devices, strategy and precision."""

    accelerator: str
    devices: int | list[int]
    strategy: str
    precision: str

    @property
    def rank(self) -> int:
        """Which of them this process is, from 0."""
        return int(os.environ.get("LOCAL_RANK", "0")) if self.world > 1 else 0

    @property
    def world(self) -> int:
        """Processes that train together."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)


def hardware(devices: str, precision: str) -> Hardware:
    """Read `Settings.devices` and `Settings.precision` against this machine.

    Raises:
        ConfigError: not understood.
        DeviceError: not on this machine.
    """
    kind, _, which = devices.partition(":")
    there = torch.cuda.device_count()
    if kind == "auto":
        kind = "cuda" if there else "cpu"
    if kind.isdecimal():
        kind, which = "cuda", ",".join(str(k) for k in range(int(kind)))
    numbers = [part for part in which.split(",") if part]
    if kind not in ("cpu", "cuda") or not all(part.isdecimal() for part in numbers):
        raise ConfigError(
            "train.devices", devices, "is not understood", "use auto, cpu, cuda, cuda:0,1 or 2"
        )
    if kind == "cpu" and numbers and int(numbers[0]) < 1:
        raise ConfigError("train.devices", devices, "is no process", "use cpu or cpu:2")
    chosen: int | list[int]
    if kind == "cpu":
        chosen = int(numbers[0]) if numbers else 1
        count = chosen
    else:
        chosen = [int(part) for part in numbers] or list(range(there))
        count = len(chosen)
        if not chosen or max(chosen) >= there:
            raise DeviceError(
                "train.devices", devices, f"this machine shows {there} CUDA devices", "use auto"
            )
    return Hardware(kind, chosen, "ddp" if count > 1 else "auto", _precision(kind, precision))


def _precision(kind: str, precision: str) -> str:
    """Lightning's word for the number format: bfloat16 where it is quick, else float32."""
    if precision == "auto":
        quick = compute("cpu" if kind == "cpu" else "cuda").autocast is torch.bfloat16
        precision = "bf16" if quick else "fp32"
    return "bf16-mixed" if precision == "bf16" else "32-true"
