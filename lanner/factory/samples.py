"""What the factory works on: images with labels, whatever format they came in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lanner.core.errors import DatasetError
from lanner.factory.files import write_text

Box = tuple[float, float, float, float]
Ring = tuple[tuple[float, float], ...]
Role = Literal["labelled", "negative", "unlabelled"]

MASK_UNKNOWN = 255
IDS_UNKNOWN = 65535


@dataclass(frozen=True)
class Label:
    """One object of an image; coordinates in pixels, x right, y down, on pixel corners.

    `box` is x0, y0, x1, y1. `polygon` is the exact outline and `line` the centre line where the
    source gives one. `kind` is the type within the class (an ICAO designator). `weight` counts
    in training (0: ignore what is there). `flags` say what explore and process found or did.
    """

    label: str
    box: Box
    polygon: Ring | None = None
    line: Ring | None = None
    kind: str | None = None
    weight: float = 1.0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    `id` is unique in the factory (source/name). `split` is what the source says, None where it
    says nothing. `gsd` is metres a pixel on the ground, None where unknown; `place` lon, lat of
    the centre. `mask` is a PNG of classes (0 background, 1 first class ..., 255 unknown), `ids` a
    16-bit PNG of objects (0 background, k + 1 inside labels[k], 65535 unknown). `weight` is how
    often it is drawn, relative to others of its source. `origin` is the checksum of the image that
    this one was cut or converted from, None where it is as it was read.
    """

    id: str
    source: str
    split: str | None
    image: Path
    width: int
    height: int
    role: Role = "labelled"
    gsd: float | None = None
    place: tuple[float, float] | None = None
    labels: tuple[Label, ...] = ()
    mask: Path | None = None
    ids: Path | None = None
    weight: float = 1.0
    history: tuple[str, ...] = ()
    origin: str | None = None

    def but(self, **changes: Any) -> Sample:
        """The same with some fields changed."""
        return dataclasses.replace(self, **changes)


def write_samples(samples: Iterable[Sample], path: Path) -> None:
    """One JSON line a sample, in order; paths as they are.

    Raises:
        OutputError: it cannot be written.
    """
    lines = [json.dumps(_plain(sample), sort_keys=True) + "\n" for sample in samples]
    write_text("".join(lines), path)


def read_samples(path: Path) -> tuple[Sample, ...]:
    """What `write_samples` wrote.

    Raises:
        DatasetError: missing or damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(_sample(json.loads(line)) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            "samples", path, f"cannot be read ({error})", "run the step that writes it again"
        ) from error


def _plain(sample: Sample) -> dict[str, Any]:
    facts = dataclasses.asdict(sample)
    if sample.origin is None:
        # As files from before there was an origin have it, to the byte.
        del facts["origin"]
    for name in ("image", "mask", "ids"):
        facts[name] = None if facts[name] is None else str(facts[name])
    return facts


def _sample(facts: dict[str, Any]) -> Sample:
    labels = tuple(_label(one) for one in facts.pop("labels"))
    for name in ("image", "mask", "ids"):
        facts[name] = None if facts[name] is None else Path(facts[name])
    place = facts.pop("place")
    return Sample(
        **{**facts, "history": tuple(facts["history"])},
        labels=labels,
        place=None if place is None else (place[0], place[1]),
    )


def _label(facts: dict[str, Any]) -> Label:
    x0, y0, x1, y1 = facts.pop("box")
    polygon, line = _ring(facts.pop("polygon")), _ring(facts.pop("line"))
    flags = tuple(facts.pop("flags"))
    return Label(**facts, box=(x0, y0, x1, y1), polygon=polygon, line=line, flags=flags)


def _ring(points: list[list[float]] | None) -> Ring | None:
    return None if points is None else tuple((x, y) for x, y in points)
