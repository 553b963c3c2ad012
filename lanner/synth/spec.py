"""What to render: one frozen description, checked at birth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lanner.core.errors import ConfigError

Dtype = Literal["uint8", "uint16", "int16", "float32"]
Nodata = Literal["none", "value", "nan", "alpha", "mask", "sidecar"]

NODATA_VALUE: dict[str, float] = {"uint8": 0, "uint16": 0, "int16": -9999, "float32": -9999.0}
"""What marks a missing pixel where `nodata` is "value"."""


@dataclass(frozen=True)
class RenderSpec:
    """One scene.

    Attributes:
        width: pixels across, at least 16.
        height: pixels down, at least 16.
        gsd: metres a pixel on the ground (along y where the CRS is geographic), 0.1 to 30.
        seed: everything random follows from it; same seed, same place at any gsd.
        epsg: CRS; None takes the WGS 84 UTM zone of `lon`, `lat`.
        lon: longitude of the outer corner of the first pixel, degrees.
        lat: its latitude, -80 to 84.
        rotation: degrees by which the grid is turned clockwise from its CRS's north.
        south_up: rows run northward.
        georeferenced: False leaves CRS and affine out of the file (the truth still knows).
        pixel_is_point: write the GeoTIFF key that says so; the place is the same.
        dtype: of the samples. uint16 resembles raw counts, int16 scaled and float32 plain
            reflectance; all hold the same picture, scaled linearly.
        bands: 1 panchromatic, 3 red green blue, 4 with near infrared.
        nodata: how missing pixels are marked: a value, NaN (float32), an alpha band (uint8,
            uint16), an internal mask or a .msk file beside.
        nodata_wedge: leave a slanted corner of the swath missing (needs a `nodata` kind).
        aircraft: how many in view, at most as many as there is apron for; None: a busy day.
        roads: draw the road network.
        clouds: share of the scene under cloud, 0 to 0.9.
        tiled: 512 x 512 blocks instead of strips.
        compress: "deflate", "zstd" or "none".
        acquired: when the camera looked, YYYY:MM:DD HH:MM:SS, written as the file's date.
    """

    width: int
    height: int
    gsd: float = 0.5
    seed: int = 0
    epsg: int | None = None
    lon: float = 11.78
    lat: float = 48.36
    rotation: float = 0.0
    south_up: bool = False
    georeferenced: bool = True
    pixel_is_point: bool = False
    dtype: Dtype = "uint8"
    bands: Literal[1, 3, 4] = 3
    nodata: Nodata = "none"
    nodata_wedge: bool = False
    aircraft: int | None = None
    roads: bool = True
    clouds: float = 0.0
    tiled: bool = True
    compress: Literal["deflate", "zstd", "none"] = "deflate"
    acquired: str = "2024:05:14 10:31:07"

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            _within(name, getattr(self, name), 16, 200_000)
        _within("gsd", self.gsd, 0.1, 30)
        _within("lat", self.lat, -80, 84)
        _within("lon", self.lon, -180, 180)
        _within("clouds", self.clouds, 0, 0.9)
        _within("seed", self.seed, 0, 2**31 - 1)
        _among("dtype", self.dtype, tuple(NODATA_VALUE))
        _among("bands", self.bands, (1, 3, 4))
        _among("nodata", self.nodata, ("none", "value", "nan", "alpha", "mask", "sidecar"))
        _among("compress", self.compress, ("deflate", "zstd", "none"))
        if self.aircraft is not None:
            _within("aircraft", self.aircraft, 0, 100_000)
        if self.nodata == "nan" and self.dtype != "float32":
            raise ConfigError(
                "nodata",
                "nan",
                f"cannot be stored in {self.dtype}",
                "use dtype float32 or another nodata kind",
            )
        if self.nodata == "alpha" and self.dtype not in ("uint8", "uint16"):
            raise ConfigError(
                "nodata",
                "alpha",
                f"is no mask to GDAL in {self.dtype}",
                "use dtype uint8 or uint16 or another nodata kind",
            )
        if self.nodata_wedge and self.nodata == "none":
            raise ConfigError(
                "nodata_wedge",
                True,
                "has nothing to be marked with",
                "choose nodata value, nan, alpha, mask or sidecar",
            )


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(name, value, f"is not between {low} and {high}", "choose one that is")


def _among(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        listed = ", ".join(str(k) for k in known)
        raise ConfigError(name, value, "is not known", f"choose one of {listed}")
