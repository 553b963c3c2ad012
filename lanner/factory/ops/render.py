"""Operation: rendered scenes with exact masks, as a source of their own."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lanner.core.config import Strict
from lanner.core.errors import ConfigError
from lanner.factory.ops import drawn
from lanner.factory.ops.drawn import Drawn
from lanner.factory.ops.masks_from_boxes import as_ids
from lanner.factory.ops.work import Samples, Work
from lanner.factory.samples import MASK_UNKNOWN, Box, Label, Ring, Sample

SOURCES = {"aircraft": "rendered", "roads": "rendered-roads", "towns": "rendered-towns"}
LABELS = {"aircraft": "aircraft", "roads": "road", "towns": "road"}
DARKEST = 1.45
"""Depth of shadows above which red would turn negative."""

HIDDEN = 4.0
"""A road narrower than this, in metres, is a track: too often unseen under trees to be judged."""


class Params(Strict):
    """What is rendered: `count` squares of `size` pixels, metres a pixel log-uniform in `gsd`.

    Roads are those of open country, towns those of towns. `least_m` is the width in metres that a
    road has at least in its mask, as labels draw them.
    For aircraft, `sun` is the range of its elevation in degrees and `shadow` that of the depth
    of shadows (1: usual, 1.4: nearly black). With `across` each picture shows one kind, mostly one
    that nobody built, whose longer of length and wingspan has that many pixels; `gsd` follows.
    """

    kind: Literal["aircraft", "roads", "towns"]
    count: int = Field(200, ge=1)
    size: int = Field(400, ge=64)
    gsd: tuple[float, float] = (0.6, 1.4)
    least_m: float = Field(7.0, gt=0)
    sun: tuple[float, float] = (30.0, 62.0)
    shadow: tuple[float, float] = (1.0, 1.0)
    across: tuple[float, float] | None = None
    label: str = ""
    source: str = ""
    weight: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _rising(self) -> Params:
        if not 0 < self.gsd[0] <= self.gsd[1]:
            raise ValueError(f"gsd {self.gsd} must rise from above 0")
        if not 5 <= self.sun[0] <= self.sun[1] <= 90:
            raise ValueError(f"sun {self.sun} must rise within 5 to 90 degrees")
        if not 0 <= self.shadow[0] <= self.shadow[1] <= DARKEST:
            raise ValueError(f"shadow {self.shadow} must rise within 0 to {DARKEST}")
        if self.across is not None and not 8 <= self.across[0] <= self.across[1] <= self.size:
            raise ValueError(f"across {self.across} must rise within 8 to {self.size} pixels")
        if self.across is not None and self.kind != "aircraft":
            raise ValueError("across is for aircraft only")
        return self


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Add a source of rendered scenes, all of the split train.

    Raises:
        ConfigError: a class that no source has, or a source that already has this name.
    """
    source = params.source or SOURCES[params.kind]
    label = params.label or LABELS[params.kind]
    value = work.class_value(label)
    if any(one.source == source for one in samples):
        raise ConfigError(
            "process.render.source", source, "is a source already", "choose another name"
        )
    # `across` came later: what was rendered without it keeps its files.
    key = params.model_dump(mode="json", exclude=None if params.across else {"across"})
    planned = {}
    for k in range(params.count):
        name = f"{source}/{k:05d}"
        gsd = round(float(np.exp(work.rng(f"{name}/gsd").uniform(*np.log(params.gsd)))), 4)
        draw = partial(DRAW[params.kind], work.rng(name), gsd, params, value)
        parts = [key, name, gsd, value, work.project.config.seed, work.number]
        planned[name] = gsd, drawn.planned(work, draw, parts)
    drawn.draw_all([drawing for _, drawing in planned.values()], work)
    pictures = []
    for name, (gsd, drawing) in planned.items():
        facts = drawing.read_facts()
        objects, metres = facts["objects"], facts.get("gsd", gsd)
        ids = drawing.mask if params.kind == "aircraft" else None
        pictures.append(
            Sample(
                name, source, "train", drawing.image, params.size, params.size, gsd=metres,
                labels=tuple(_label(label, one) for one in objects),
                ids=ids, mask=None if ids else drawing.mask, weight=params.weight,
            )
        )  # fmt: skip
        work.note(name, f"rendered at {metres:g} m with {len(objects)} objects")
    return (*samples, *pictures)


def aircraft(rng: np.random.Generator, gsd: float, params: Params, value: int) -> Drawn:
    """An airfield corner, object numbers as its mask, and `objects` with type and outline."""
    from lanner.synth.chips import render_aircraft_chip, render_closeup

    del value
    if params.across is None:
        chip = render_aircraft_chip(rng, params.size, gsd, params.sun, params.shadow)
    else:
        chip, gsd = render_closeup(rng, params.size, params.across, params.sun, params.shadow)
    ids = np.zeros((params.size, params.size), np.int32)
    objects = []
    for n, one in enumerate(chip.instances):
        x0, y0, x1, y1 = one.box
        ids[y0:y1, x0:x1][one.mask] = n + 1
        ring = np.asarray(one.polygon).round(2).tolist()
        objects.append({"box": list(one.box), "kind": one.icao, "polygon": ring})
    return Drawn(chip.rgb, as_ids(ids), {"objects": objects, "gsd": round(gsd, 4)})


def roads(rng: np.random.Generator, gsd: float, params: Params, value: int) -> Drawn:
    """A piece of country, its mask of classes with tracks unknown, and `objects` with lines."""
    from lanner.synth.road_chips import render_road_chip

    chip = render_road_chip(rng, params.size, gsd)
    road, track = np.zeros((2, params.size, params.size), np.uint8)
    objects = []
    for one in chip.roads:
        hidden = one.width < HIDDEN
        wide = one.width + 4 if hidden else max(0.8 * one.width, params.least_m)
        _stroke(track if hidden else road, np.asarray(one.line), wide / gsd)
        if not hidden:
            objects += [{"line": part, "kind": one.kind} for part in within(one.line, params.size)]
    mask = np.where(road > 0, value, np.where(track > 0, MASK_UNKNOWN, 0)).astype(np.uint8)
    return Drawn(chip.rgb, mask, {"objects": objects})


def towns(rng: np.random.Generator, gsd: float, params: Params, value: int) -> Drawn:
    """A piece of a town, a mask of classes of its streets, and `objects` with lines.

    Streets have their true width: freeways are many times wider than labels draw a road, and
    what is under their cars and markings is road all the same.
    """
    from lanner.synth.town_chips import render_town_chip

    chip = render_town_chip(rng, params.size, gsd)
    road, alley = chip.mask.astype(np.uint8), np.zeros_like(chip.mask, np.uint8)
    objects = []
    for one in chip.roads:
        if one.width < HIDDEN:
            _stroke(alley, np.asarray(one.line), (one.width + 4) / gsd)
            continue
        _stroke(road, np.asarray(one.line), max(one.width, params.least_m) / gsd)
        objects += [{"line": part, "kind": one.kind} for part in within(one.line, params.size)]
    mask = np.where(road > 0, value, np.where(alley > 0, MASK_UNKNOWN, 0)).astype(np.uint8)
    return Drawn(chip.rgb, mask, {"objects": objects})


DRAW = {"aircraft": aircraft, "roads": roads, "towns": towns}


def within(line: NDArray[np.float64], size: int) -> list[list[list[float]]]:
    """The parts of a line inside a square image, as lists of points, hundredths of a pixel."""
    cut = shapely.intersection(shapely.LineString(line), shapely.box(0, 0, size, size))
    parts = [one for one in shapely.get_parts(cut) if one.geom_type == "LineString"]
    return [shapely.get_coordinates(one).round(2).tolist() for one in parts if one.length > 1]


def _stroke(into: NDArray[np.uint8], line: NDArray[np.float64], wide: float) -> None:
    # Centres of pixels are whole numbers to OpenCV; three bits of fraction are kept.
    corners = np.round((line - 0.5) * 8).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(into, [corners], False, 1, max(1, round(wide)), cv2.LINE_8, 3)


def _label(name: str, facts: dict[str, Any]) -> Label:
    if "line" in facts:
        line: Ring = tuple((x, y) for x, y in facts["line"])
        xs, ys = zip(*line, strict=True)
        box: Box = (min(xs), min(ys), max(xs), max(ys))
        return Label(name, box, line=line, kind=facts["kind"])
    x0, y0, x1, y1 = map(float, facts["box"])
    ring: Ring = tuple((x, y) for x, y in facts["polygon"])
    return Label(name, (x0, y0, x1, y1), polygon=ring, kind=facts["kind"])
