"""Operation: cut-out objects, and photographs of them, pasted on images without any."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from lanner.config import Strict
from lanner.errors import ConfigError, DatasetError
from lanner.factory.images import read_rgb, write_png
from lanner.factory.process.masks_from_boxes import as_ids
from lanner.factory.process.paste import Composite, Cutout, composite, read_cutouts
from lanner.factory.process.work import Samples, Work, file_sha256
from lanner.factory.samples import Label, Sample

SOURCE = "composites"
_IMAGES = (".webp", ".png")


class Params(Strict):
    """What is pasted where.

    `cutouts` is a folder of images with alpha, one folder a type, relative to the data; beside
    them `photographs` holds the same files with their background. `backgrounds` are sources
    whose images without objects are pasted on; only those that are of the split `train` already,
    since of the others it is not known yet which will be tested on.
    `sides` are the objects' least and greatest length in pixels.
    """

    cutouts: str
    photographs: str | None = None
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
    top = (work.shop.data / params.cutouts).resolve()
    whole = None if params.photographs is None else (work.shop.data / params.photographs).resolve()
    files = sorted(path for path in top.rglob("*") if path.suffix.lower() in _IMAGES)
    shots = [] if whole is None else sorted(p for p in whole.rglob("*") if p.is_file())
    key = [params.model_dump(mode="json"), *map(file_sha256, [*files, *shots])]

    cutouts = cache(partial(read_cutouts, files, whole, top))
    if not files:
        cutouts()
    made = []
    for k in range(params.count):
        work.step(k, params.count)
        name = f"{params.source}/{k:05d}"
        ground = grounds[int(work.rng(f"{name}/ground").integers(len(grounds)))]

        chip = cache(partial(_paste, work.rng(name), cutouts, ground, params))
        parts = [*key, name, work.shop.config.seed, work.number, ground.image]
        image = work.made(".png", partial(_write_rgb, chip), "rgb", *parts)
        ids = work.made(".png", partial(_write_ids, chip), "ids", *parts)
        facts = work.made(".json", partial(_write_facts, chip), "facts", *parts)
        objects = json.loads(facts.read_text(encoding="utf-8"))
        labels = tuple(
            Label(params.label, tuple(map(float, box)), kind=kind)  # type: ignore[arg-type]
            for box, kind in zip(objects["boxes"], objects["kinds"], strict=True)
        )
        made.append(
            Sample(
                name, params.source, "train", image, params.size, params.size,
                labels=labels, ids=ids, weight=params.weight,
            )
        )  # fmt: skip
        work.note(name, f"{len(labels)} cut-outs on {ground.id}")
    work.step(params.count, params.count)
    return (*samples, *made)


def _paste(
    rng: np.random.Generator, cutouts: Callable[[], list[Cutout]], ground: Sample, params: Params
) -> Composite:
    background = read_rgb(ground.image)
    return composite(rng, cutouts(), background, params.size, params.most, params.sides)


def _write_rgb(chip: Callable[[], Composite], path: Path) -> None:
    write_png(chip().rgb, path)


def _write_ids(chip: Callable[[], Composite], path: Path) -> None:
    write_png(as_ids(chip().ids), path)


def _write_facts(chip: Callable[[], Composite], path: Path) -> None:
    facts = {"boxes": chip().boxes, "kinds": chip().kinds}
    path.write_text(json.dumps(facts), encoding="utf-8")
