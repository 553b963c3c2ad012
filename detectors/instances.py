"""From a Res-UNet's object, boundary and centre probabilities to single objects. No torch here.

Seeds are the peaks of the centre channel; a watershed (Meyer, 1991) floods the object pixels
from them with the boundary channel as ridge, so that touching objects part where the network
saw their border.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours
from skimage.segmentation import watershed

from detectors.views import Outline, Views, no_views
from lanner.core.config import Instances
from tiling.compiled import compiled

CHANNELS = ("object", "boundary", "centre")
"""Outputs that a Res-UNet of an `objects` detector must have, in any order."""


def instances(probability: NDArray[np.float32], threshold: float, params: Instances) -> Views:
    """Single objects of one tile.

    The score is the mean object probability inside, halved where no centre was seen. The
    outline is the probability's contour at `threshold`, with sub-pixel precision, against the
    background, and the watershed line against a neighbour; the box is the outline's.

    Args:
        probability: (3, h, w) as `CHANNELS`; 0 where not valid.
        threshold: least object probability of an object's pixel.
        params: seeds, least area, simplification.
    """
    obj, boundary, centre = probability
    inside = obj >= threshold
    if not inside.any():
        return no_views()
    labels, count = _flood(obj, boundary, centre, inside, params)
    rows = np.flatnonzero(inside)
    which = labels.ravel()[rows] - 1
    area = np.bincount(which, minlength=count)
    mean = np.bincount(which, obj.ravel()[rows], count) / np.maximum(area, 1)
    peak = np.zeros(count)
    np.maximum.at(peak, which, centre.ravel()[rows])
    score = mean * (0.5 + 0.5 * peak)
    keep, rings = [], []
    for i, where in enumerate(ndimage.find_objects(labels)):
        if where is None or area[i] < params.min_area:
            continue
        ring = _contour(obj, labels, i + 1, where, threshold, params.simplify)
        if ring is not None:
            keep.append(i)
            rings.append(ring)
    if not keep:
        return no_views()
    boxes = np.stack([np.concatenate([ring.min(0), ring.max(0)]) for ring in rings])
    return Views.of(boxes, score[keep], outlines=rings)


def _flood(
    obj: NDArray[np.float32],
    boundary: NDArray[np.float32],
    centre: NDArray[np.float32],
    inside: NDArray[np.bool_],
    params: Instances,
) -> tuple[NDArray[np.int32], int]:
    """Instance numbers from 1, 0 outside; parts of the mask without a seed are one object each."""
    parts, many = ndimage.label(inside, np.ones((3, 3)))
    peaks, near = _tops(
        np.ascontiguousarray(centre), np.ascontiguousarray(inside), params.peak, params.spacing
    )
    hills, count = ndimage.label(near, np.ones((3, 3)))
    seeds = np.where(peaks, hills, 0)
    seeded = np.zeros(many + 1, bool)
    seeded[parts[seeds > 0]] = True
    seeded[0] = True
    alone = ~seeded[parts]
    bare = np.cumsum(~seeded)
    seeds[alone] = count + bare[parts[alone]]
    ridge = boundary + (1.0 - obj)
    flooded = watershed(ridge, seeds, mask=inside, connectivity=2)  # type: ignore[no-untyped-call]
    return flooded.astype(np.int32), count + int(bare[-1])


@compiled
def _tops(centre, inside, least, spacing):  # type: ignore[no-untyped-def]  # compiled
    """Seeds of objects and what lies around them: two (h, w) bool.

    A seed is the highest pixel within `spacing` of itself, at least `least` and inside. Only few
    pixels are that high, so looking around each is quicker than filtering the whole tile.
    """
    height, width = centre.shape
    peaks, near = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    before = spacing // 2
    after = spacing - 1 - before
    for y in range(height):
        for x in range(width):
            top = centre[y, x]
            if not (inside[y, x] and top >= least):
                continue
            highest = True
            for j in range(max(y - spacing, 0), min(y + spacing + 1, height)):
                for i in range(max(x - spacing, 0), min(x + spacing + 1, width)):
                    if centre[j, i] > top:
                        highest = False
                        break
                if not highest:
                    break
            if highest:
                peaks[y, x] = True
                # Rounding can leave two equal tops on one hill: those this near are one seed.
                for j in range(max(y - after, 0), min(y + before + 1, height)):
                    for i in range(max(x - after, 0), min(x + before + 1, width)):
                        near[j, i] = True
    return peaks, near


def _contour(
    obj: NDArray[np.float32],
    labels: NDArray[np.int32],
    number: int,
    where: tuple[slice, slice],
    threshold: float,
    simplify: float,
) -> Outline | None:
    """The largest ring around one instance, in tile pixels; None when nothing is left of it."""
    rows = slice(max(where[0].start - 1, 0), where[0].stop + 1)
    cols = slice(max(where[1].start - 1, 0), where[1].stop + 1)
    crop, mine = obj[rows, cols], labels[rows, cols] == number
    # Outside, the true probability places the contour between pixels; a neighbour's is wiped.
    field = np.zeros((crop.shape[0] + 2, crop.shape[1] + 2), crop.dtype)
    field[1:-1, 1:-1] = np.where(mine | (crop < threshold), crop, 0.0)
    lines = find_contours(field, threshold)  # type: ignore[no-untyped-call]
    origin = np.array([cols.start - 0.5, rows.start - 0.5])
    rings = [line[:, ::-1] + origin for line in lines if len(line) >= 4]
    if not rings:
        return None
    polygons = shapely.polygons([shapely.linearrings(ring) for ring in rings])
    shape = polygons[int(np.argmax(shapely.area(polygons)))]
    shape = shapely.simplify(shape, simplify, preserve_topology=True)
    if not shapely.is_valid(shape):
        shape = shapely.make_valid(shape)
        pieces = shapely.get_parts(shape)
        pieces = pieces[shapely.get_type_id(pieces) == shapely.GeometryType.POLYGON]
        if not len(pieces):
            return None
        shape = pieces[int(np.argmax(shapely.area(pieces)))]
    ring = shapely.get_coordinates(shapely.get_exterior_ring(shape))
    return ring if len(ring) >= 4 else None
