"""Operation: cut-out objects, and photographs of them, pasted on images without any."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from lanner.core.config import Strict
from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.images import read_rgb
from lanner.factory.ops import drawn
from lanner.factory.ops.drawn import Drawn
from lanner.factory.ops.masks_from_boxes import as_ids
from lanner.factory.ops.paste import Cutout, composite, read_cutouts
from lanner.factory.ops.paths import DataPath
from lanner.factory.ops.work import Samples, Work, file_sha256
from lanner.factory.samples import Label, Sample

SOURCE = "composites"
_IMAGES = (".webp", ".png")

_Cutouts = tuple[tuple[Path, ...], Path | None, Path, tuple[str, ...]]
"""What `read_cutouts` takes, and checksums of all files: they may change while a process lives."""


class Params(Strict):
    """What is pasted where.

    `cutouts` is a folder of images with alpha, one folder a type, relative to the data; beside
    them `photographs` holds the same files with their background. `backgrounds` are sources
    whose images without objects are pasted on; only those that are of the split `train` already,
    since of the others it is not known yet which will be tested on.
    `sides` are the objects' least and greatest length in pixels. `skip` names types that are
    left out, so that something is told of them afterwards.
    """

    cutouts: DataPath
    skip: tuple[str, ...] = ()
    photographs: DataPath | None = None
    backgrounds: tuple[str, ...] = Field(min_length=1)
    count: int = Field(200, ge=1)
    size: int = Field(320, ge=64)
    most: int = Field(9, ge=1)
    sides: tuple[float, float] = (12.0, 100.0)
    label: str = "aircraft"
    source: str = SOURCE
    weight: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _rising(self) -> Params:
        if not 4 <= self.sides[0] <= self.sides[1]:
            raise ValueError(f"sides {self.sides} must rise from at least 4")
        return self


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Add a source of composites with exact masks, all of the split train.

    Raises:
        ConfigError: no such source, or one that already has this name.
        DatasetError: no cut-outs, or no background without objects.
    """
    work.class_value(params.label)
    if any(one.source == params.source for one in samples):
        raise ConfigError(
            "process.composites.source", params.source, "is a source already", "choose another name"
        )
    work.require_sources(params.backgrounds, samples, "backgrounds")
    grounds = [
        one
        for one in samples
        if one.source in params.backgrounds
        and one.role != "unlabelled"
        and not one.labels
        and one.split == "train"
    ]
    if not grounds:
        raise DatasetError(
            "process.composites.backgrounds",
            ", ".join(params.backgrounds),
            "hold no image without objects in the split train",
            "name a source of negatives, and give it splits, as {train: .}",
        )
    top = (work.project.data / params.cutouts).resolve()
    whole = (
        None if params.photographs is None else (work.project.data / params.photographs).resolve()
    )
    files = sorted(path for path in top.rglob("*") if path.suffix.lower() in _IMAGES)
    missing = sorted(set(params.skip) - {path.parent.name for path in files})
    if files and missing:
        raise ConfigError(
            "process.composites.skip",
            ", ".join(missing),
            "is no folder of the cut-outs",
            f"name one of {', '.join(sorted({path.parent.name for path in files}))}",
        )
    files = [path for path in files if path.parent.name not in params.skip]
    shots = [] if whole is None else sorted(p for p in whole.rglob("*") if p.is_file())
    sums = tuple(map(file_sha256, [*files, *shots]))
    key = [params.model_dump(mode="json"), *sums]

    if not files:
        read_cutouts(files, whole, top)
    cutouts: _Cutouts = (tuple(files), whole, top, sums)
    planned = {}
    for k in range(params.count):
        name = f"{params.source}/{k:05d}"
        ground = grounds[int(work.rng(f"{name}/ground").integers(len(grounds)))]
        draw = partial(_paste, work.rng(name), cutouts, ground.image, params)
        parts = [*key, name, work.project.config.seed, work.number, ground.image]
        planned[name] = ground, drawn.planned(work, draw, parts, mask="ids")
    drawn.draw_all([drawing for _, drawing in planned.values()], work)
    pictures = []
    for name, (ground, drawing) in planned.items():
        objects = drawing.read_facts()
        labels = tuple(
            Label(params.label, tuple(map(float, box)), kind=kind)  # type: ignore[arg-type]
            for box, kind in zip(objects["boxes"], objects["kinds"], strict=True)
        )
        pictures.append(
            Sample(
                name, params.source, "train", drawing.image, params.size, params.size,
                labels=labels, ids=drawing.mask, weight=params.weight,
            )
        )  # fmt: skip
        work.note(name, f"{len(labels)} cut-outs on {ground.id}")
    return (*samples, *pictures)


def _paste(rng: np.random.Generator, cutouts: _Cutouts, background: Path, params: Params) -> Drawn:
    picture = composite(
        rng, _read(cutouts), read_rgb(background), params.size, params.most, params.sides
    )
    return Drawn(picture.rgb, as_ids(picture.ids), {"boxes": picture.boxes, "kinds": picture.kinds})


@lru_cache(1)
def _read(cutouts: _Cutouts) -> list[Cutout]:
    """Once a process."""
    files, whole, top, _ = cutouts
    return read_cutouts(files, whole, top)
