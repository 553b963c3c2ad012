"""Where scene pixels lie on the Earth, and how far apart: nothing else transforms coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from lanner.core.errors import PlaceError

Floats = NDArray[np.float64]
LONLAT = "OGC:CRS84"
"""WGS 84 longitude, latitude: the frame of RFC 7946."""


@dataclass(frozen=True)
class Place:
    """The affine and CRS of a scene, and its ground sampling.

    Points are (n, 2) float arrays of scene pixels, x before y, integers on pixel corners.
    Without a CRS, metres come from `gsd` and directions from the scene's own up.

    Attributes:
        affine: scene pixels to CRS coordinates.
        crs: None where the scene has no place on the Earth.
        gsd: metres on the ground a pixel, along x and y.
        overruled: metres come from `gsd` although there is a CRS, which makes them others;
            coordinates and directions stay the CRS's.
    """

    affine: Affine
    crs: pyproj.CRS | None
    gsd: tuple[float, float]
    overruled: bool = False

    def to_crs(self, xy: ArrayLike) -> Floats:
        """Scene pixels to CRS coordinates, (n, 2) easting or longitude first."""
        return _apply(self.affine, _points(xy))

    def from_crs(self, xy: ArrayLike) -> Floats:
        """CRS coordinates, (n, 2) easting or longitude first, to scene pixels."""
        return _apply(~self.affine, _points(xy))

    def to_lonlat(self, xy: ArrayLike) -> Floats:
        """Scene pixels to WGS 84 longitude and latitude, (n, 2) degrees, longitude -180..180.

        Raises:
            PlaceError: no CRS, or a point outside what the CRS can express.
        """
        crs = self._known_crs()
        x, y = self.to_crs(xy).T
        lon, lat = _transformer(crs.to_wkt(), False).transform(x, y)
        out = np.column_stack([lon, lat]).astype(np.float64)
        bad = ~np.isfinite(out).all(axis=1) | (np.abs(out[:, 1]) > 90 + 1e-9)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise PlaceError(
                "CRS",
                crs.name,
                f"cannot hold the scene's coordinates ({x[first]:g}, {y[first]:g})",
                "correct the CRS with gdal_edit.py -a_srs EPSG:CODE SCENE",
            )
        # Only what lies outside is folded: the last bit of the rest must not change.
        lons = out[:, 0]
        outside = np.abs(lons) > 180
        lons[outside] = (lons[outside] + 180) % 360 - 180
        return out

    def from_lonlat(self, lonlat: ArrayLike) -> Floats:
        """WGS 84 longitude and latitude, (n, 2) degrees, to scene pixels (n, 2).

        Raises:
            PlaceError: no CRS.
        """
        crs = self._known_crs()
        lon, lat = _points(lonlat).T
        x, y = _transformer(crs.to_wkt(), True).transform(lon, lat)
        if crs.is_geographic:
            # A scene over the antimeridian goes on past 180; none is half the Earth wide.
            turn = 2 * np.pi / crs.axis_info[0].unit_conversion_factor
            x = x + turn * np.round((self.affine.c - x) / turn)
        return self.from_crs(np.column_stack([x, y]))

    def distance_m(self, xy_a: ArrayLike, xy_b: ArrayLike) -> Floats:
        """Metres on the ground between two sets of points, (n,); geodesic (Karney, 2013).

        Without a CRS, or where it is overruled, they are as many pixels of `gsd`.
        """
        if self.crs is None or self.overruled:
            delta = (_points(xy_b) - _points(xy_a)) * np.asarray(self.gsd)
            return np.asarray(np.hypot(delta[:, 0], delta[:, 1]), np.float64)
        return self._inverse(xy_a, xy_b)[1]

    def length_m(self, xy_line: ArrayLike) -> float:
        """Metres on the ground along a line of (n, 2) points; 0 for fewer than two."""
        line = _points(xy_line)
        if len(line) < 2:
            return 0.0
        return float(self.distance_m(line[:-1], line[1:]).sum())

    def azimuth_deg(self, xy_from: ArrayLike, xy_to: ArrayLike) -> Floats:
        """Direction at `xy_from` in degrees clockwise from true north, 0 <= a < 360, (n,).

        Without a CRS it is clockwise from the scene's own up (decreasing y).
        """
        if self.crs is None:
            delta = (_points(xy_to) - _points(xy_from)) * np.asarray(self.gsd)
            degrees = np.degrees(np.arctan2(delta[:, 0], -delta[:, 1]))
        else:
            degrees = self._inverse(xy_from, xy_to)[0]
        turned = np.asarray(degrees, np.float64) % 360
        return np.where(turned >= 360, 0.0, turned)  # -1e-17 % 360 is 360

    def _inverse(self, xy_a: ArrayLike, xy_b: ArrayLike) -> tuple[Floats, Floats]:
        """Forward azimuths (degrees) and distances (metres) on the WGS 84 ellipsoid."""
        a, b = self.to_lonlat(xy_a), self.to_lonlat(xy_b)
        azimuth, _, metres = _WGS84.inv(a[:, 0], a[:, 1], b[:, 0], b[:, 1])
        return np.asarray(azimuth, np.float64), np.asarray(metres, np.float64)

    def _known_crs(self) -> pyproj.CRS:
        if self.crs is None:
            raise PlaceError(
                "CRS",
                None,
                "the scene has none, so it has no longitude and latitude",
                "assign one with gdal_edit.py -a_srs EPSG:CODE SCENE",
            )
        return self.crs


_WGS84 = pyproj.Geod(ellps="WGS84")


@lru_cache(maxsize=64)
def _transformer(wkt: str, inverse: bool) -> pyproj.Transformer:
    """Between a CRS and longitude, latitude; built once, safe in threads (pyproj >= 3.1)."""
    ends = (LONLAT, wkt) if inverse else (wkt, LONLAT)
    return pyproj.Transformer.from_crs(*ends, always_xy=True)


def _points(xy: ArrayLike) -> Floats:
    return np.asarray(xy, np.float64).reshape(-1, 2)


def _apply(affine: Affine, xy: Floats) -> Floats:
    x, y = xy.T
    return np.column_stack(
        [affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f]
    )
