"""What a killed run goes on from: network, average, optimiser, step, generator, sums of the log."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from detectors.training.weights import write
from lanner.core.errors import TrainingError

LAST = "last.ckpt"


@dataclass
class State:
    """Everything that a step changes, apart from the network, its average and the optimiser.

    `step` counts finished steps; `seconds` are spent so far; `best` is the best metric (-1: none)
    and `best_step` when it was reached; `sums` and `count` are what the next line of the log has
    so far.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_step: int = 0
    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)


def save_checkpoint(folder: Path, key: str, state: State, parts: dict[str, Any]) -> None:
    """Write `last.ckpt` beside the old one, then rename.

    Args:
        folder: of the member.
        key: of what the run follows from; a checkpoint of another key is not gone on from.
        state: small facts.
        parts: state dictionaries by name.

    Raises:
        OutputError: it cannot be written; the old one stays.
    """
    buffer = io.BytesIO()
    facts = {**vars(state), "sums": dict(state.sums)}
    torch.save({"key": key, "state": facts, "torch": torch.get_rng_state(), **parts}, buffer)
    write(folder / LAST, buffer.getvalue())


def load_checkpoint(folder: Path, key: str) -> tuple[State, dict[str, Any]] | None:
    """The state and parts of `last.ckpt`; None without one of this key.

    Raises:
        TrainingError: it is damaged.
    """
    path = folder / LAST
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        mine = found.pop("key") == key
        state = State(**found.pop("state"))
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
        raise TrainingError(
            "checkpoint", path, f"cannot be read ({error})", "remove it to start this member again"
        ) from error
    return (state, found) if mine else None
