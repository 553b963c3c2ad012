"""Small training pictures of roads with exact masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lanner.synth import raster, roads, sensor, texture
from lanner.synth.country import Country
from lanner.synth.roads import Road
from lanner.synth.sketch import Sketch, Sun, ribbon
from lanner.synth.sky import make_sky

Mask = NDArray[np.bool_]


class RoadChip(NamedTuple):
    """`rgb` (s, s, 3) uint8; `mask` (s, s) bool of roads in true width, also under trees;
    `centreline` (s, s) bool about one and a half pixels wide; the roads in chip pixels.
    """

    rgb: NDArray[np.uint8]
    mask: Mask
    centreline: Mask
    roads: tuple[Road, ...]


def render_road_chip(rng: np.random.Generator, size: int, gsd: float) -> RoadChip:
    """A random piece of country, village or forest and its roads.

    Args:
        rng: source of everything random; equal states give equal chips.
        size: side in pixels.
        gsd: metres a pixel; sensible from 0.2 to 2.

    Returns:
        Picture and exact truth; see `RoadChip`. `width` of its roads is in metres still.
    """
    extent = size * gsd
    spacing = float(np.exp(rng.uniform(np.log(110), np.log(700))))
    country = Country(int(rng.integers(2**31)), spacing, gsd)
    sketch = Sketch(Sun.random(rng))
    x, y = rng.uniform(-2e4, 2e4, 2)
    # Whole pixels, so that the texture's own grid and the chip's agree.
    corner = (int(x / gsd), int(y / gsd))
    frame = (corner[0] * gsd, corner[1] * gsd, corner[0] * gsd + extent, corner[1] * gsd + extent)
    net = country.lay(sketch, frame, lambda _: False)
    near = [
        r
        for r in net
        if (r.line.max(0) > np.array(frame[:2]) - 30).all()
        and (r.line.min(0) < np.array(frame[2:]) + 30).all()
    ]
    roads.draw(sketch, near, rng, country.climate, gsd)
    roads.traffic(sketch, near, rng)
    for road in near:
        if rng.random() < 0.35:
            roads.alley(sketch, road, rng, country.climate, float(rng.uniform(8, 30)))
    picture = sketch.done()
    flat = picture.render((corner[0] - 1, corner[1] - 1), (size + 2, size + 2), (1 / gsd, 1 / gsd))
    light = sensor.blur(flat, float(rng.uniform(0.0, 0.28)))
    if rng.random() < 0.08:
        sky = make_sky(
            (size, size),
            (gsd, gsd),
            sketch.sun,
            int(rng.integers(2**31)),
            float(rng.uniform(0.02, 0.3)),
            False,
        )
        sky.veil(light, (0, 0))
    rgb = sensor.random_develop(light, texture.noise()[0], rng)
    mask = covered([ribbon(r.line, r.width) for r in near], corner, size, gsd)
    centre = covered([ribbon(r.line, 1.5 * gsd) for r in near], corner, size, gsd)
    origin = np.array(corner, np.float64)
    return RoadChip(
        rgb, mask, centre, tuple(Road(r.line / gsd - origin, r.kind, r.width) for r in near)
    )


def covered(rings: list[raster.F64], corner: tuple[int, int], size: int, gsd: float) -> Mask:
    """(size, size) bool of pixels at least half within one of the rings (n, 2) in metres;
    `corner` is the first pixel.
    """
    cover = np.zeros((size, size), np.float32)
    if rings:
        start = np.concatenate([[0], np.cumsum([len(r) for r in rings])])
        raster.cover(
            cover,
            np.concatenate(rings),
            start,
            np.arange(len(rings)),
            np.ones(len(rings), np.float32),
            np.array([corner[0], corner[1], 1 / gsd, 1 / gsd]),
        )
    return cover >= 0.5
