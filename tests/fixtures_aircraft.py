"""Outlines of aircraft whose every measure is known, drawn at every angle, and measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from pyproj import CRS
from scipy import ndimage
from shapely import affinity
from skimage.measure import find_contours

from lanner.core.job import Cancel
from postprocess.aircraft import evidence, identify, orient, outline
from postprocess.aircraft.catalogue import read_catalogue
from postprocess.context import Context, DetectorFacts
from postprocess.frame import candidates
from tiling.grid import Grid
from tiling.place import Place

# kind: length, span, fuselage width and wing root over length, leading-edge sweep, wing's root
# over length, tip over root, tail span over span
KINDS = {
    "airliner": (40.0, 36.0, 0.10, 0.38, 30.0, 0.20, 0.30, 0.36),
    "transport": (30.0, 40.0, 0.14, 0.34, 2.0, 0.16, 0.60, 0.38),
    "business": (20.0, 19.0, 0.11, 0.46, 27.0, 0.18, 0.40, 0.42),
    "fighter": (19.0, 13.0, 0.14, 0.36, 43.0, 0.34, 0.20, 0.60),
    "light": (8.5, 11.0, 0.14, 0.30, 1.0, 0.19, 0.90, 0.34),
}


def silhouette(kind):
    """Fuselage, swept wings and tail in metres: nose at +x, length and span exact."""
    length, span, body, at, sweep, root, tip, tail = KINDS[kind]
    half, slope, chord = body * length / 2, np.tan(np.radians(sweep)), root * length
    side = [(0.5, 0), (0.48, 0.4), (0.43, 0.84), (0.36, 1), (-0.15, 1), (-0.44, 0.36), (-0.5, 0.12)]
    upper = [(x * length, y * half) for x, y in side]
    fuselage = shapely.Polygon(upper + [(x, -y) for x, y in reversed(upper)])

    def wing(lead, reach, inner, outer):
        back = lead - slope * reach
        return shapely.Polygon(
            [
                (lead, 0),
                (back, reach),
                (back - outer, reach),
                (lead - inner, 0),
                (back - outer, -reach),
                (back, -reach),
            ]
        )

    stab = tail * span / 2
    stab_root = 0.11 * length
    behind = max(slope * stab + stab_root / 2, stab_root)
    parts = [
        fuselage,
        wing((0.5 - at) * length, span / 2, chord, tip * chord),
        wing(behind - length / 2, stab, stab_root, stab_root / 2),
    ]
    if kind == "airliner":
        parts += [
            shapely.box(x - 1, y - 1, x + 3, y + 1)
            for y in (-6.0, 6.0)
            for x in ((0.5 - at) * length - slope * 6,)
        ]
    return shapely.union_all(parts)


def turned(shape, gsd, heading, at):
    """In grid pixels: heading clockwise from up, centred on `at`."""
    shape = affinity.rotate(shape, 90 - heading, origin=(0, 0))
    return affinity.translate(
        affinity.scale(shape, 1 / gsd, -1 / gsd, origin=(0, 0)), float(at[0]), float(at[1])
    )


def stairs(shape):
    """The rim of a pixel mask, along pixel sides."""
    x0, y0, x1, y1 = (int(v) for v in shape.bounds)
    to_grid = Affine.translation(x0 - 3, y0 - 3)
    mask = rasterio.features.rasterize(
        [shape], out_shape=(y1 - y0 + 7, x1 - x0 + 7), transform=to_grid, dtype="uint8"
    )
    found = rasterio.features.shapes(mask, mask=mask > 0, transform=to_grid, connectivity=8)
    return max((shapely.geometry.shape(g) for g, _ in found), key=lambda s: s.area)


def contour(shape):
    """The contour of a probability as a network gives it: covered area, a little blurred."""
    x0, y0, x1, y1 = (int(v) for v in shape.bounds)
    x0, y0, width, height, k = x0 - 3, y0 - 3, x1 - x0 + 7, y1 - y0 + 7, 4
    fine = rasterio.features.rasterize(
        [shape],
        out_shape=(height * k, width * k),
        dtype="uint8",
        transform=Affine(1 / k, 0, x0, 0, 1 / k, y0),
    )
    share = fine.astype(float).reshape(height, k, width, k).mean(axis=(1, 3))
    lines = find_contours(ndimage.gaussian_filter(share, 0.5), 0.5)
    ring = max(lines, key=len)[:, ::-1] + [x0 + 0.5, y0 + 0.5]
    return shapely.simplify(shapely.Polygon(ring), 0.25)


def context(gsd, affine=None, epsg=32633, own=None):
    """`own`: sampling of a scene that the grid is coarser than."""
    grid = Grid.over((400, 400), (gsd, gsd), gsd)
    affine = affine or Affine(gsd, 0, 5e5, 0, -gsd, 4.4e6)
    place = Place(affine, CRS.from_epsg(epsg), (own or gsd,) * 2)
    return Context("s", None, place, grid, None, DetectorFacts("a", "1", "w", "c"), workdir=None)


def frame(shapes, with_outlines=True):
    shapes = np.array(shapes, object)
    n = len(shapes)
    return candidates(
        shapely.bounds(shapes),
        scores=np.ones(n),
        votes=[{}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["aircraft"] * n,
        outlines=list(shapes) if with_outlines else None,
    )


def measured(shapes, where, with_outlines=True):
    found = outline.run(frame(shapes, with_outlines), where, outline.Params())
    return orient.run(found, where, orient.Params())


def flight(kind, gsd, draw, n=120, seed=0):
    """n views at every heading and sub-pixel place: measures and true headings."""
    rng = np.random.default_rng(seed)
    headings = (np.arange(n) + rng.uniform(0, 1, n)) * 360 / n
    base = silhouette(kind)
    shapes = [draw(turned(base, gsd, h, 200 + rng.uniform(0, 1, 2))) for h in headings]
    return measured(shapes, context(gsd)), headings


def off(found, headings):
    return np.abs((found["heading_deg"].to_numpy() - headings + 180) % 360 - 180)


CONFIGS = Path(__file__).resolve().parents[1] / "configs"
CATALOGUE = read_catalogue(CONFIGS / "types.yaml", CONFIGS / "taxonomy.yaml")
WHERE = Context(
    "s", None, None, None, None, DetectorFacts("a", "1", "w", "c"), None, cancel=Cancel()
)


def objects(*rows):
    """Rows of length, wingspan, their errors; where seen sweep, its error, wing's place, pods,
    filled share, its error, fuselage's width, its error, widest behind the wing.
    """
    n = len(rows)
    table = np.array([(*row, *[np.nan] * (13 - len(row))) for row in rows], float).reshape(n, 13)
    frame = candidates(
        [[0, 0, 9, 9]] * n,
        scores=np.ones(n),
        votes=[{"m": 1.0}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["aircraft"] * n,
    )
    own_columns = ("heading_deg", "axis_deg", "heading_confidence", "symmetry")
    names = [name for name in orient.MEASURES if name not in own_columns]
    for name, values in zip(names, table.T, strict=True):
        frame[name] = values
    return frame


def measures(rows):
    """Rows as of `objects` without pods, NaN where they end."""
    blank = np.full((len(rows), 12 - rows.shape[1]), np.nan)
    return evidence.Measures(*np.hstack([rows, blank]).T)


def identified(*rows, **params):
    return identify.run(objects(*rows), WHERE, identify.Params(**params))


def codes(found, row=0, top=5):
    return [entry["icao"] for entry in found["types"].iloc[row][:top]]


def share(types, name):
    """Probability of a family among the types told."""
    family = {facts.icao: facts.family for facts in CATALOGUE.types}
    return sum(one["probability"] for one in types if family[one["icao"]] == name)
