"""Where a rendered scene lies. Kept apart from `tiling.place` on purpose: ground truth that
went through the code it is to judge would prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin

import numpy as np
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError

from lanner.core.errors import ConfigError
from lanner.synth.raster import F64
from lanner.synth.spec import RenderSpec

_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True)
class Georef:
    """Affine of scene pixels in a CRS, and metres on the ground a pixel along x and y."""

    epsg: int
    affine: Affine
    gsd: tuple[float, float]

    @cached_property
    def _lonlat(self) -> Transformer:
        return Transformer.from_crs(CRS.from_epsg(self.epsg), "OGC:CRS84", always_xy=True)

    def to_lonlat(self, xy: F64) -> F64:
        """(n, 2) scene pixels to longitude and latitude in degrees."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        t = self.affine
        x, y = t.a * xy[:, 0] + t.b * xy[:, 1] + t.c, t.d * xy[:, 0] + t.e * xy[:, 1] + t.f
        return np.stack(self._lonlat.transform(x, y), 1)

    def azimuth(self, a: F64, b: F64) -> float:
        """Degrees clockwise from true north of the way from pixel a to pixel b."""
        (lon0, lat0), (lon1, lat1) = self.to_lonlat(np.stack([a, b]))
        return float(_GEOD.inv(lon0, lat0, lon1, lat1)[0]) % 360.0

    def length(self, line: F64) -> float:
        """Metres on the ground along (n, 2) scene pixels."""
        lonlat = self.to_lonlat(line)
        return float(_GEOD.line_length(lonlat[:, 0], lonlat[:, 1]))


def georef(spec: RenderSpec) -> Georef:
    """Lay the scene's grid out in its CRS.

    CRS pixels are square. In EPSG:3857 they are stretched by latitude so that the ground
    gets `spec.gsd`; in a geographic CRS rows get it and columns are narrower on the ground.

    Raises:
        ConfigError: the EPSG code is unknown, no CRS of maps, or does not reach `lon`, `lat`.
    """
    zone = int((spec.lon + 180) // 6) % 60 + 1
    epsg = spec.epsg if spec.epsg is not None else (32600 if spec.lat >= 0 else 32700) + zone
    try:
        crs = CRS.from_epsg(epsg)
    except CRSError as error:
        raise ConfigError("epsg", epsg, "is not a CRS PROJ knows", "give another code") from error
    if not (crs.is_projected or crs.is_geographic):
        # Heights and distances from the Earth's centre: pixels would have no size on the ground.
        raise ConfigError("epsg", epsg, f"is no CRS of maps ({crs.type_name})", "give another code")
    x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(spec.lon, spec.lat)
    if not (np.isfinite(x) and np.isfinite(y)):
        raise ConfigError(
            "epsg",
            epsg,
            f"does not reach lon {spec.lon} lat {spec.lat}",
            "choose a CRS for that place",
        )
    if crs.is_geographic:
        step = spec.gsd / 111_132.0
    elif epsg == 3857:
        step = spec.gsd / cos(radians(spec.lat))
    else:
        step = spec.gsd / crs.axis_info[0].unit_conversion_factor
    t, down = radians(spec.rotation), -1.0 if not spec.south_up else 1.0
    affine = Affine(step * cos(t), step * down * sin(t), x, -step * sin(t), step * down * cos(t), y)
    plain = Georef(epsg, affine, (1.0, 1.0))
    x, y = spec.width / 2, spec.height / 2
    across = plain.length(np.array([(x - 50, y), (x + 50, y)])) / 100
    along = plain.length(np.array([(x, y - 50), (x, y + 50)])) / 100
    return Georef(epsg, affine, (across, along))
