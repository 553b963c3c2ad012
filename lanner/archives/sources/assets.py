"""Which asset of a STAC item is its scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lanner.archives.scenes import SceneFilter
from lanner.archives.sources.endings import ending

_VISUAL = "visual"
_DATA = "data"
_TYPES = ("image/tiff", "image/geotiff", "image/vnd.stac.geotiff", "image/jp2", "image/jpx")
_ENDINGS = (".tif", ".tiff", ".jp2")
_BANDS = ("bands", "eo:bands", "raster:bands")
_BAND_NAMES = ("name", "common_name", "eo:common_name")


def choose(assets: Mapping[str, Any], chosen: SceneFilter) -> str | None:
    """Key of the asset to take; None where there is none.

    The first of `chosen.assets` that there is; without those the first raster (GeoTIFF or JPEG
    2000) with the role `visual`, or called so, then with the role `data`, then with no role.
    One whose metadata lists its bands must have those of `chosen.bands`.
    """
    keys = chosen.assets or _by_role(assets)
    for key in keys:
        if _href(assets.get(key)) is not None and _has_bands(assets[key], chosen.bands):
            return key
    return None


def href_of(asset: Mapping[str, Any]) -> str:
    """Where an asset is, as its item has it."""
    return _href(asset) or ""


def _href(asset: Any) -> str | None:
    href = asset.get("href") if isinstance(asset, Mapping) else None
    return href if isinstance(href, str) else None


def _by_role(assets: Mapping[str, Any]) -> list[str]:
    """Keys of rasters, best first."""
    ranked = [
        (rank, number, key)
        for number, (key, asset) in enumerate(assets.items())
        if (rank := _rank(key, asset)) is not None
    ]
    return [key for _, _, key in sorted(ranked)]


def _rank(key: str, asset: Any) -> int | None:
    if not isinstance(asset, Mapping) or not _is_raster(asset):
        return None
    roles = asset.get("roles")
    roles = {str(one) for one in roles} if isinstance(roles, list | tuple) else set()
    if _VISUAL in roles:
        return 0
    if key == _VISUAL and (_DATA in roles or not roles):
        return 1
    if _DATA in roles:
        return 2
    return None if roles else 3


def _is_raster(asset: Mapping[str, Any]) -> bool:
    kind = asset.get("type")
    if isinstance(kind, str) and kind:
        return kind.lower().partition(";")[0].strip() in _TYPES
    return ending(_href(asset) or "") in _ENDINGS


def _has_bands(asset: Mapping[str, Any], wanted: tuple[str, ...]) -> bool:
    """Whether an asset has these bands, or does not say which it has."""
    named = set(_band_names(asset))
    return not named or {one.lower() for one in wanted} <= named


def _band_names(asset: Mapping[str, Any]) -> Iterator[str]:
    for key in _BANDS:
        bands = asset.get(key)
        for band in bands if isinstance(bands, list | tuple) else ():
            if isinstance(band, Mapping):
                names = (band.get(one) for one in _BAND_NAMES)
                yield from (one.lower() for one in names if isinstance(one, str))
