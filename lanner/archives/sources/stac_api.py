"""Searches of a STAC API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from lanner.archives.scenes import Bounds, SceneFilter
from lanner.archives.sources.entries import Entries, Note, Search
from lanner.archives.sources.extents import boxes, hull
from lanner.archives.sources.items import scene_of
from lanner.archives.sources.pages import Ask, Known, links_of, with_fallback
from lanner.archives.sources.places import joined
from lanner.archives.sources.times import FIRST, LAST
from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.unwanted import asked_times
from tiling.names import beginning, display_name

PAGE = 100
"""Items of a page; every server gives so many."""
_CLOUD = "eo:cloud_cover"


def is_api(landing: Mapping[str, Any]) -> bool:
    """Whether a document is the landing page of a STAC API that can be searched."""
    return bool(links_of(landing, "search")) or _conforms(landing, "item-search")


def search_api(
    landing: Mapping[str, Any], address: str, search: Search, collection: str | None = None
) -> Entries:
    """The scenes of a STAC API's items that are wanted.

    Place, time and cloud are asked for in the search, cloud where the server says that it
    understands it; what comes is compared once more, since servers differ.

    Args:
        landing: the API's landing page.
        address: where that is.
        search: what is looked for.
        collection: the id of the only collection that is wanted.

    Raises:
        UnreadError: as `pages.items_of` does, or nothing was asked for and there is nothing.
    """
    url, post = _endpoint(landing, address)
    known: Known = set()
    for box in _boxes(search.chosen):
        terms = partial(_ask, url, landing, search.chosen, box, collection)
        for found in with_fallback(terms, post, search.cancel, known):
            yield found if isinstance(found, Note) else scene_of(found, url, search.chosen)
    if known:
        return
    if search.chosen == SceneFilter():
        raise UnreadError(address, "has no items", "give the address of another catalogue")
    yield Note(f"{display_name(address)} has no items of the place, time and cloud asked for.")


def _endpoint(landing: Mapping[str, Any], address: str) -> tuple[str, bool]:
    """Where to search, and whether to begin with POST.

    POST takes terms of any length. It is tried where the server names it, and where it names no
    method, as older ones do.
    """
    links = links_of(landing, "search")
    if not links:
        parts = urlsplit(address)
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/search")), True
    methods = [str(link.get("method", "")).upper() for link in links]
    best = methods.index("POST") if "POST" in methods else 0
    url = joined(address, links[best]["href"])
    if url is None or beginning(url) not in ("http://", "https://"):
        raise UnreadError(
            address, "has a link to its search that is no address", "tell who runs that server"
        )
    return url, methods[best] != "GET"


def _conforms(landing: Mapping[str, Any], kind: str) -> bool:
    """Whether a landing page lists a class of conformance, of whichever version."""
    listed = landing.get("conformsTo")
    pattern = re.compile(rf"https?://api\.stacspec\.org/v[^/]+/{re.escape(kind)}/?")
    return any(
        isinstance(one, str) and pattern.fullmatch(one)
        for one in (listed if isinstance(listed, list) else ())
    )


def _boxes(chosen: SceneFilter) -> Iterator[Bounds | None]:
    """Bounds to search one after the other: none is across the antimeridian.

    Not every server knows what west above east means, and fewer still say so.
    """
    if chosen.bounds is not None:
        yield from boxes(chosen.bounds)
    elif chosen.area is not None:
        yield from boxes(hull(chosen.area))
    else:
        yield None


def _ask(
    url: str,
    landing: Mapping[str, Any],
    chosen: SceneFilter,
    box: Bounds | None,
    collection: str | None,
    post: bool,
) -> Ask:
    """The first page of a search."""
    from pystac_client import ItemSearch

    terms: dict[str, Any] = {}
    if chosen.cloud is not None:
        if _conforms(landing, "item-search#query"):
            terms["query"] = {_CLOUD: {"lte": chosen.cloud}}
        elif _conforms(landing, "item-search#filter"):
            terms |= _cql2(chosen.cloud, post)
    parameters = ItemSearch(
        url,
        method="POST" if post else "GET",
        limit=PAGE,
        bbox=box,
        datetime=_datetime(chosen),
        collections=None if collection is None else [collection],
        **terms,
    ).get_parameters()
    if post:
        return Ask.post(url, parameters)
    parts = urlsplit(url)
    query = "&".join(one for one in (parts.query, urlencode(parameters)) if one)
    return Ask(urlunsplit(parts._replace(query=query)))


def _cql2(cloud: float, post: bool) -> dict[str, Any]:
    if not post:
        return {"filter": f'"{_CLOUD}" <= {cloud:g}', "filter_lang": "cql2-text"}
    condition = {"op": "<=", "args": [{"property": _CLOUD}, cloud]}
    return {"filter": condition, "filter_lang": "cql2-json"}


def _datetime(chosen: SceneFilter) -> str | None:
    """The time as a search has it: its last moment belongs to it, so one more may come."""
    first, last = asked_times(chosen)
    if first == FIRST and last == LAST:
        return None
    return f"{_written(first)}/{_written(last)}"


def _written(moment: datetime) -> str:
    if moment in (FIRST, LAST):
        return ".."
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
