"""A scene from a STAC item: its asset, and what the item says of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lanner.archives.scenes import Bounds, SceneFilter, SceneRef, SkippedScene
from lanner.archives.sources.assets import choose, href_of
from lanner.archives.sources.entries import LeftOut
from lanner.archives.sources.extents import bounds_of, geometry_of
from lanner.archives.sources.places import refusal, resolved
from lanner.archives.sources.times import period
from lanner.archives.sources.unwanted import unwanted
from tiling.names import display_name, is_remote

if TYPE_CHECKING:
    import shapely

_MOST_SHOWN = 20
"""Names of assets in a message."""
_HALF_TURN = 180.0


def scene_of(
    item: Mapping[str, Any], base: str, chosen: SceneFilter, *, own: bool = False
) -> SceneRef | SkippedScene | LeftOut:
    """The scene of a STAC item, or why it is none.

    Args:
        item: as JSON has it; its geometry may be one of shapely's.
        base: address or path of the document that it stands in.
        chosen: what is asked for.
        own: whether the document is the item's own; of another, relative addresses are relative
            to the item's `self`.
    """
    name = item.get("id")
    where = display_name(base)
    if not isinstance(name, str) or not name:
        return SkippedScene(where, "holds an item without an id", "correct the catalogue")
    address = base if own else _self(item) or base
    where = (
        display_name(address)
        if own or address != base
        else f"{where}#{quote(name, errors='replace')}"
    )
    assets = item.get("assets")
    if not isinstance(assets, Mapping):
        return SkippedScene(
            where, f"the item {name!r} has no assets", "give a catalogue of STAC items"
        )
    bounds, footprint = _extent(item, chosen)
    acquired, taken = _times(item)
    cloud = _cloud(item)
    reason = unwanted(chosen, bounds=bounds, footprint=footprint, acquired=taken, cloud=cloud)
    if reason is not None:
        return LeftOut(reason)
    key = choose(assets, chosen)
    if key is None:
        return _no_asset(name, where, assets, chosen)
    href = href_of(assets[key])
    uri = resolved(href, address)
    if uri is None:
        problem = refusal(href) or "is an address that is not read"
        return SkippedScene(
            where,
            f"the item {name!r} has an asset {key!r} whose address {problem}",
            "choose another of its assets, or have it as http(s):// or s3:// address",
        )
    collection = item.get("collection")
    return SceneRef(
        uri=uri,
        name=_text(name),
        acquired=acquired,
        bounds=bounds,
        cloud=cloud,
        item=where,
        collection=_text(collection) if isinstance(collection, str) else None,
    )


def _text(text: str) -> str:
    """A text that can be written: JSON may hold halves of characters."""
    return text.encode("utf-8", "replace").decode()


def _no_asset(
    name: str, where: str, assets: Mapping[str, Any], chosen: SceneFilter
) -> SkippedScene:
    keys = sorted(str(key) for key in assets)
    names = ", ".join(keys[:_MOST_SHOWN]) + (", ..." if len(keys) > _MOST_SHOWN else "")
    if chosen.assets:
        problem = f"has no asset {' or '.join(chosen.assets)}"
    else:
        problem = "has no GeoTIFF or JPEG 2000 with the role visual or data"
    if chosen.bands:
        problem += f" and the bands {', '.join(chosen.bands)}"
    remedy = f"choose one of its assets: {names}" if names else "it has none: leave it out"
    return SkippedScene(where, f"the item {name!r} {problem}", remedy)


def _self(item: Mapping[str, Any]) -> str | None:
    """The item's own address, where it says one that is whole."""
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self":
            href = link.get("href")
            if isinstance(href, str) and is_remote(href):
                return href
    return None


def _extent(
    item: Mapping[str, Any], chosen: SceneFilter
) -> tuple[Bounds | None, shapely.Geometry | None]:
    """Bounds of an item, and its footprint where that is asked for or is all there is."""
    bounds = bounds_of(item.get("bbox"))
    asked = chosen.bounds is not None or chosen.area is not None
    if item.get("geometry") is None or not (asked or bounds is None):
        return bounds, None
    footprint = geometry_of(item["geometry"], bounds)
    if bounds is None and footprint is not None:
        found = bounds_of([float(one) for one in footprint.bounds])
        # One that is split at the antimeridian seems to go around the Earth.
        if found is not None and found[2] - found[0] <= _HALF_TURN:
            bounds = found
    return bounds, footprint


def _properties(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("properties")
    return found if isinstance(found, Mapping) else {}


def _times(item: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """When an item was acquired: one time to tell, and the whole while to compare."""
    facts = _properties(item)
    moment, start, end = (
        one if isinstance(one := facts.get(key), str) and period(one) else None
        for key in ("datetime", "start_datetime", "end_datetime")
    )
    if moment:
        return moment, moment
    if start or end:
        return start or end, f"{start or '..'}/{end or '..'}"
    return None, None


def _cloud(item: Mapping[str, Any]) -> float | None:
    cover = _properties(item).get("eo:cloud_cover")
    if isinstance(cover, bool) or not isinstance(cover, int | float) or not isfinite(cover):
        return None
    return float(cover) if 0 <= cover <= 100 else None
