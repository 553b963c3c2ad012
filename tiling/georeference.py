"""From what a raster says about its place to a `Place`, or to a refusal that says what to do."""

from __future__ import annotations

import math

import numpy as np
import pyproj
from affine import Affine
from pyproj.exceptions import CRSError as ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader

from lanner.core.errors import Argument, GsdError, PlaceError
from tiling.place import Place

EARTH_RADIUS = (6.3e6, 6.4e6)
"""Semi-major axes, in metres, that Earth's ellipsoids and spheres have."""
GCP_TOLERANCE = 0.5
"""Greatest residual, in pixels, of an affine put through ground control points."""
SHEAR_TOLERANCE = 5.0
"""Greatest departure, in degrees, of the pixel axes from a right angle on the ground."""
GSD_TOLERANCE = 0.01
"""Greatest share by which a given ground sampling may differ from the measured one and still be
taken for the same, rounded."""

_WARP = "warp it first: gdalwarp {how}-t_srs EPSG:CODE SCENE out.tif"
_GSD = "or give `gsd` in metres a pixel, to work in pixels only"


def place_of(
    dataset: DatasetReader, uri: str, gsd: float | None = None, crs: str | None = None
) -> Place:
    """The place of an open raster.

    Args:
        dataset: open raster.
        uri: its name, for messages.
        gsd: metres a pixel, given by the caller; then a scene that cannot be placed on the
            Earth is still taken, without a CRS. Where the CRS makes it another, what is given
            counts: sampling and all metres follow it, so that one feature has one scale.
        crs: the CRS of a file that says none, such as a JPEG with a world file; anything that
            rasterio takes for one.

    Raises:
        GsdError: `gsd` is no positive number.
        PlaceError: no CRS, no or degenerate affine, another planet, a local CRS, GCPs that no
            affine fits, RPCs only; and no `gsd` to do without.
    """
    if gsd is not None and not (math.isfinite(gsd) and gsd > 0):
        raise GsdError(
            Argument("gsd"), gsd, "is no ground sampling", "give metres a pixel, above 0"
        )
    size = (dataset.width, dataset.height)
    try:
        affine, known = _affine_and_crs(dataset, uri, crs)
        place = Place(affine, known, (1.0, 1.0))
        measured = ground_sampling(place, size)
    except _OtherWorldError:
        raise
    except PlaceError:
        if gsd is None or crs is not None:
            raise
        affine = dataset.transform
        return Place(affine if _usable(affine) else Affine.identity(), None, (gsd, gsd))
    if gsd is None:
        return Place(affine, known, measured)
    overruled = any(abs(gsd / own - 1) > GSD_TOLERANCE for own in measured)
    return Place(affine, known, (gsd, gsd), overruled)


def ground_sampling(place: Place, size: tuple[int, int]) -> tuple[float, float]:
    """Geodesic metres a pixel along x and y, around the centre of a scene of (width, height).

    Raises:
        PlaceError: the centre lies outside the CRS, or the pixel axes are sheared.
    """
    width, height = size
    cx, cy = width / 2, height / 2
    # A few pixels each way: long against rounding, short against the curve of the projection.
    rx, ry = min(width / 2, 16.0), min(height / 2, 16.0)
    west, east, north, south = (cx - rx, cy), (cx + rx, cy), (cx, cy - ry), (cx, cy + ry)
    along_x, along_y = place.distance_m([west, north], [east, south])
    gsd = (float(along_x) / (2 * rx), float(along_y) / (2 * ry))
    if min(gsd) <= 0:
        raise PlaceError(
            "affine",
            tuple(place.affine)[:6],
            "makes pixels of no size on the ground",
            "correct it with gdal_edit.py -a_ullr ULX ULY LRX LRY SCENE",
        )
    right, down = place.azimuth_deg([(cx, cy)] * 2, [east, south])
    shear = abs(abs((down - right + 180) % 360 - 180) - 90)
    if shear > SHEAR_TOLERANCE:
        raise PlaceError(
            "affine",
            tuple(place.affine)[:6],
            f"its pixel axes are {shear:.0f} degrees off a right angle on the ground",
            _WARP.format(how=""),
        )
    return gsd


class _OtherWorldError(PlaceError):
    """A known place that is not on the Earth: no ground sampling makes it usable."""


def _affine_and_crs(
    dataset: DatasetReader, uri: str, given: str | None
) -> tuple[Affine, pyproj.CRS]:
    """The file's own affine or one fitted to its GCPs, with an Earth CRS."""
    affine, raw = dataset.transform, dataset.crs
    points, gcp_crs = dataset.gcps
    if affine.is_identity and points:
        affine, raw = _fit(points, uri), gcp_crs
    elif affine.is_identity and dataset.rpcs is not None:
        raise PlaceError(
            "scene", uri, "is placed by RPCs only", _WARP.format(how="-rpc ") + ", " + _GSD
        )
    elif affine.is_identity:
        raise PlaceError(
            "scene",
            uri,
            "has no affine (no georeference)",
            "assign one with gdal_translate -a_srs EPSG:CODE -a_ullr "
            "ULX ULY LRX LRY SCENE out.tif, " + _GSD,
        )
    if given is not None:
        raw = _given_crs(given, raw, uri)
    if not raw:
        raise PlaceError(
            "scene",
            uri,
            "has no CRS",
            "assign one with gdal_edit.py -a_srs EPSG:CODE SCENE (the command line and Python take "
            "`crs` for it), " + _GSD,
        )
    if not _usable(affine):
        raise PlaceError(
            "affine",
            tuple(affine)[:6],
            "is degenerate (no area or not finite)",
            "correct it with gdal_edit.py -a_ullr ULX ULY LRX LRY SCENE, " + _GSD,
        )
    return affine, _earth_crs(raw, uri)


def _given_crs(given: str, own: CRS | None, uri: str) -> CRS:
    """The CRS that the caller names for a file that says none."""
    try:
        # By PROJ: GDAL would take a file or an address for one, and open it.
        crs = CRS.from_wkt(pyproj.CRS.from_user_input(given).to_wkt())
    except (ProjError, CRSError) as error:
        raise PlaceError(
            Argument("crs"), given, f"is no CRS ({error})", "give one such as EPSG:32633"
        ) from error
    if own and own != crs:
        raise PlaceError(
            Argument("crs"),
            given,
            f"is given, and {uri} says {own.to_string()[:60]}",
            "leave `crs` out, or correct the file: gdal_edit.py -a_srs EPSG:CODE SCENE",
        )
    return crs


def _usable(affine: Affine) -> bool:
    """Whether pixels have an area and the affine can be inverted."""
    numbers = tuple(affine)[:6]
    if not all(math.isfinite(n) for n in numbers):
        return False
    lengths = math.hypot(affine.a, affine.d) * math.hypot(affine.b, affine.e)
    return lengths > 0 and abs(affine.determinant) > 1e-9 * lengths


def _earth_crs(raw: CRS, uri: str) -> pyproj.CRS:
    """A horizontal CRS of the Earth.

    Raises:
        PlaceError: unknown, local, vertical or geocentric CRS.
        _OtherWorldError: a CRS of another planet.
    """
    remedy = "assign the true CRS with gdal_edit.py -a_srs EPSG:CODE SCENE, " + _GSD
    try:
        crs = pyproj.CRS.from_wkt(raw.to_wkt())
    except ProjError as error:
        raise PlaceError(
            "CRS", raw.to_string()[:80], f"is not understood ({error})", remedy
        ) from error
    if crs.is_compound:
        crs = crs.sub_crs_list[0]
    crs = crs.to_2d()
    base = crs.geodetic_crs
    if crs.is_engineering or crs.is_vertical or crs.is_geocentric or base is None:
        raise PlaceError(
            "CRS", crs.name, f"is a {crs.type_name}, which has no place on the map", remedy
        )
    radius = base.ellipsoid.semi_major_metre if base.ellipsoid is not None else 0.0
    if not EARTH_RADIUS[0] <= radius <= EARTH_RADIUS[1]:
        raise _OtherWorldError(
            "CRS",
            crs.name,
            f"is of another world (radius {radius / 1000:.0f} km) in {uri}",
            "give a scene of the Earth, or correct it with gdal_edit.py -a_srs EPSG:CODE SCENE",
        )
    return crs


def _fit(points: list[object], uri: str) -> Affine:
    """The least-squares affine through ground control points.

    Raises:
        PlaceError: too few points, or a residual above `GCP_TOLERANCE`.
    """
    remedy = _WARP.format(how="-tps ") + ", " + _GSD
    table = np.array([(p.col, p.row, p.x, p.y) for p in points], np.float64)  # type: ignore[attr-defined]  # rasterio is untyped
    pixels, ground = table[:, :2], table[:, 2:]
    centre, spread = pixels.mean(axis=0), max(float(np.ptp(pixels, axis=0).max()), 1.0)
    design = np.column_stack([(pixels - centre) / spread, np.ones(len(pixels))])
    if len(points) < 3 or np.linalg.matrix_rank(design, tol=1e-6) < 3:
        raise PlaceError("scene", uri, f"is placed by {len(points)} GCPs in no triangle", remedy)
    origin = ground.mean(axis=0)
    solution = np.linalg.lstsq(design, ground - origin, rcond=None)[0]
    (a, d), (b, e) = solution[0] / spread, solution[1] / spread
    c, f = solution[2] + origin - centre @ (solution[:2] / spread)
    affine = Affine(a, b, c, d, e, f)
    if not _usable(affine):
        raise PlaceError("scene", uri, "its GCPs give a degenerate affine", remedy)
    residual = Place(affine, None, (1.0, 1.0)).from_crs(ground) - pixels
    worst = float(np.hypot(residual[:, 0], residual[:, 1]).max())
    if worst > GCP_TOLERANCE:
        raise PlaceError(
            "scene", uri, f"no affine fits its GCPs (off by {worst:.1f} pixels)", remedy
        )
    return affine
