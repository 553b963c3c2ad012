"""What one tile shows before the chain has run: provisional features, to be drawn meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from rasterio.features import shapes

from detectors.results import TileResult, decode
from postprocess.rfc7946 import mapping, rounded, to_lonlat
from tiling.grid import Tile, TilePlan
from tiling.place import Place

COARSER = 4
"""Grid pixels along a side of a pixel that a probability raster is drawn with."""

HALF = 128
"""Probability from which on a raster's pixel is drawn, of 255."""


def preview_texts(
    index: int, payload: bytes, plan: TilePlan, place: Place, classes: Sequence[str]
) -> Sequence[str]:
    """One compact GeoJSON Feature a candidate of a finished tile, in longitude and latitude, or in
    scene pixels where the scene has no CRS.

    Candidates in the halo are a neighbour's and left out; objects on a seam may come twice.

    Args:
        index: the tile's.
        payload: what the run's ledger keeps of it.
        plan: the run's.
        place: the scene's.
        classes: the detector's.

    Raises:
        PlaceError: the scene's CRS cannot be turned into longitude and latitude.
    """
    tile, result = plan[index], decode(payload)
    if result.probability is None:
        drawn, labels, scores = _objects(tile, result, classes)
    else:
        drawn, labels, scores = _areas(tile, result, classes)
    if not len(drawn):
        return []
    placed = shapely.transform(drawn, plan.grid.to_scene)
    final = rounded(placed, 2) if place.crs is None else to_lonlat(placed, place)
    return [
        json.dumps(
            {
                "type": "Feature",
                "id": f"preview-{index}-{n}",
                "geometry": mapping(shape),
                "properties": {
                    "id": f"preview-{index}-{n}",
                    "label": label,
                    "confidence": None if score is None else round(score, 4),
                    "provisional": True,
                },
            },
            separators=(",", ":"),
        )
        for n, (shape, label, score) in enumerate(zip(final, labels, scores, strict=True))
    ]


Drawn = tuple[Sequence[shapely.Polygon], Sequence[str], Sequence[float | None]]


def _objects(tile: Tile, result: TileResult, classes: Sequence[str]) -> Drawn:
    middle = (result.boxes[:, :2] + result.boxes[:, 2:]) / 2
    low = np.array([tile.core.x0, tile.core.y0])
    high = np.array([tile.core.x1, tile.core.y1])
    own = np.flatnonzero(((middle >= low) & (middle < high)).all(axis=1)).tolist()
    drawn = []
    for n in own:
        ring = result.outlines[n]
        shape = shapely.box(*result.boxes[n]) if ring is None else shapely.polygons(ring)
        drawn.append(shape if shape.is_valid else shapely.box(*result.boxes[n]))
    return (
        drawn,
        [classes[result.labels[n]] for n in own],
        [float(result.scores[n]) for n in own],
    )


def _areas(tile: Tile, result: TileResult, classes: Sequence[str]) -> Drawn:
    assert result.probability is not None and result.valid is not None
    x0, y0 = tile.core.x0 - tile.window.x0, tile.core.y0 - tile.window.y0
    core = np.s_[
        y0 : y0 + tile.core.y1 - tile.core.y0 : COARSER,
        x0 : x0 + tile.core.x1 - tile.core.x0 : COARSER,
    ]
    mask = (result.probability[0][core] >= HALF) & result.valid[core]
    to_grid = Affine(COARSER, 0, tile.core.x0, 0, COARSER, tile.core.y0)
    drawn = [
        shapely.geometry.shape(one)
        for one, _ in shapes(mask.astype(np.uint8), mask=mask, transform=to_grid)
    ]
    return drawn, [classes[0]] * len(drawn), [None] * len(drawn)
