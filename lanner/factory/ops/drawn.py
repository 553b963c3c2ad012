"""Pictures that an operation makes up, each drawn once, several at a time, and kept in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanner.factory.files import keep
from lanner.factory.images import write_png
from lanner.factory.ops.work import Work
from lanner.factory.process_map import process_map


@dataclass(frozen=True)
class Drawn:
    """Colours uint8 (h, w, 3), a mask (h, w) of classes or of object numbers, and plain facts."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8] | NDArray[np.uint16]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Drawing:
    """A picture to be: how it is drawn (by any process), and the files it is kept in."""

    draw: Callable[[], Drawn]
    image: Path
    mask: Path
    facts: Path

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Image, mask and facts."""
        return self.image, self.mask, self.facts

    def read_facts(self) -> dict[str, Any]:
        """What is known of the picture."""
        facts: dict[str, Any] = json.loads(self.facts.read_text(encoding="utf-8"))
        return facts


def planned(
    work: Work, draw: Callable[[], Drawn], parts: Sequence[object], mask: str = "mask"
) -> Drawing:
    """A picture that follows from `parts`, see `Work.named`.

    Args:
        work: the operation at work.
        draw: draws it; processes are sent this.
        parts: everything that it follows from.
        mask: what its mask is called among them.
    """
    return Drawing(
        draw,
        work.named(".png", "rgb", *parts),
        work.named(".png", mask, *parts),
        work.named(".json", "facts", *parts),
    )


def draw_all(drawings: Sequence[Drawing], work: Work) -> None:
    """Draw what is not there yet, telling of progress and looking for cancel.

    Raises:
        OutputError: a file cannot be written.
        Cancelled: what is finished stays.
    """
    todo = [one for one in drawings if not all(path.exists() for path in one.files)]
    done, total = len(drawings) - len(todo), len(drawings)
    process_map(_draw, todo, lambda k: work.step(done + k, total))
    work.step(total, total)


def _draw(drawing: Drawing) -> None:
    result = drawing.draw()
    keep(partial(write_png, result.rgb), drawing.image)
    keep(partial(write_png, result.mask), drawing.mask)
    keep(partial(_write_facts, result.facts), drawing.facts)


def _write_facts(facts: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(dict(facts)), encoding="utf-8")
