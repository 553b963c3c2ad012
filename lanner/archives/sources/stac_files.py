"""STAC documents: items, collections of items, and catalogues that are walked link by link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lanner.archives.scenes import SkippedScene
from lanner.archives.sources.entries import Entries, Note, Search
from lanner.archives.sources.items import scene_of
from lanner.archives.sources.pages import Ask, Item, items_of, json_of, links_of
from lanner.archives.sources.places import identity, resolved
from lanner.archives.sources.reading import read
from lanner.archives.sources.stac_api import is_api, search_api
from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.web import Answer
from lanner.core.job import Cancel
from tiling.names import beginning, display_name, is_remote

MOST_DOCUMENTS = 1_000_000
"""Catalogues and items of one source."""
DEEPEST = 64
"""Catalogues in catalogues."""
AT_ONCE = 8
"""Documents that are asked for at the same time, of a server."""

_ITEM = "Feature"
_ITEMS = "FeatureCollection"
_CATALOGUES = ("Catalog", "Collection")
_WEB = ("http://", "https://")


def stac_scenes(answer: Answer, search: Search) -> Entries:
    """The scenes of a STAC item, item collection, collection, catalogue or API.

    Raises:
        UnreadError: it is no JSON, or none of those, holds nothing, or a server on the way fails
            even when asked again.
    """
    document, address = json_of(answer), answer.address
    if is_api(document) and is_remote(address):
        yield from search_api(document, address, search)
        return
    kind = kind_of(document)
    if kind == _ITEM:
        yield scene_of(modern(document), address, search.chosen, own=True)
    elif kind == _ITEMS:
        yield from _collection(document, address, search)
    elif kind in _CATALOGUES:
        api = _api_of(document, address, search.cancel) if kind == "Collection" else None
        if api is not None:
            landing, place = api
            yield from search_api(landing, place, search, str(document.get("id")))
        else:
            yield from _Walk(search).through(document, address)
    else:
        raise UnreadError(
            address,
            "is JSON but no STAC document",
            "give a STAC item, item collection, collection or catalogue, or an API's landing page",
        )


def kind_of(document: Mapping[str, Any]) -> str | None:
    """What a document is, by its `type`: 'Feature', 'FeatureCollection', 'Collection', 'Catalog'.

    Older ones have no type and are told by what else they hold.
    """
    if document.get("type") == _ITEMS:
        features = document.get("features")
        items = isinstance(features, list) and all(isinstance(one, Mapping) for one in features)
        # A GeoJSON of anything else has no assets.
        return _ITEMS if items and (not features or any("assets" in x for x in features)) else None
    if document.get("type") == _ITEM:
        return _ITEM if "assets" in document else None
    from pystac.serialization import identify_stac_object_type

    try:
        found = identify_stac_object_type(dict(document))
    except (AttributeError, TypeError, ValueError):
        return None
    return None if found is None else str(found.value)


def modern(item: Item) -> Item:
    """An item of STAC before 1.0 as it would be written today; others as they are."""
    if not str(item.get("stac_version", "1")).startswith("0."):
        return item
    from pystac import STACError
    from pystac.serialization import identify_stac_object, migrate_to_latest

    plain = dict(item)
    try:
        return migrate_to_latest(plain, identify_stac_object(plain))
    except (AttributeError, KeyError, TypeError, ValueError, STACError):
        return item  # what can be read of it is


def _collection(document: Mapping[str, Any], address: str, search: Search) -> Entries:
    """Items of an item collection, and of its further pages where it is one of several."""
    if is_remote(address) and beginning(address) in _WEB and links_of(document, "next"):
        items: Iterator[Item | Note] = items_of(Ask(address), search.cancel, set())
    else:
        items = iter(document["features"])
    found = False
    for item in items:
        search.cancel.check()
        found = True
        yield item if isinstance(item, Note) else scene_of(modern(item), address, search.chosen)
    if not found:
        raise UnreadError(address, "holds no items", "give another catalogue")


def _api_of(
    document: Mapping[str, Any], address: str, cancel: Cancel
) -> tuple[Mapping[str, Any], str] | None:
    """The landing page of the API that a collection belongs to, and where that is.

    None for a collection of files, which links to its items one by one.
    """
    if not links_of(document, "items") or links_of(document, "item"):
        return None
    for link in links_of(document, "root"):
        place = resolved(link["href"], address)
        if place is None or beginning(place) not in _WEB:
            continue
        try:
            answer = read(place, cancel)
            landing = json_of(answer)
        except UnreadError:
            continue  # its items can be had page by page
        if is_api(landing):
            return landing, answer.address
    return None


class _Walk:
    """One walk through a catalogue: every document once, however they link to each other."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.seen: set[str] = set()
        self.found = 0

    def through(self, document: Mapping[str, Any], address: str) -> Entries:
        """The scenes of everything below a catalogue.

        Raises:
            UnreadError: a server fails, or the catalogue has no end or no items.
        """
        self.seen.add(identity(address))
        waiting = [(document, address, 0)]
        while waiting:
            self.search.cancel.check()
            catalogue, place, depth = waiting.pop()
            if depth > DEEPEST or len(self.seen) > MOST_DOCUMENTS:
                raise UnreadError(
                    place,
                    f"lies more than {DEEPEST} catalogues deep or is one of more than "
                    f"{MOST_DOCUMENTS:,} documents",
                    "give a catalogue further down",
                )
            for link in self._documents(catalogue, place, "item"):
                yield self._item(link)
            if not links_of(catalogue, "item"):
                yield from self._paged(catalogue, place)
            for child in self._documents(catalogue, place, "child"):
                if isinstance(child, SkippedScene):
                    yield child
                    continue
                try:
                    waiting.append((json_of(child), child.address, depth + 1))
                except UnreadError as error:
                    yield _skipped(error)
        if not self.found:
            raise UnreadError(address, "is a catalogue without items", "give another")

    def _item(self, answer: Answer | SkippedScene) -> Any:
        self.found += 1
        if isinstance(answer, SkippedScene):
            return answer
        try:
            item = json_of(answer)
        except UnreadError as error:
            return _skipped(error)
        return scene_of(modern(item), answer.address, self.search.chosen, own=True)

    def _paged(self, catalogue: Mapping[str, Any], place: str) -> Entries:
        """Items of a collection of an API that cannot be searched."""
        for link in links_of(catalogue, "items")[:1]:
            url = resolved(link["href"], place)
            if url is None or beginning(url) not in _WEB or url in self.seen:
                continue
            self.seen.add(url)
            for item in items_of(Ask(url), self.search.cancel, set()):
                self.found += 1
                yield (
                    item
                    if isinstance(item, Note)
                    else scene_of(modern(item), url, self.search.chosen)
                )

    def _documents(
        self, catalogue: Mapping[str, Any], place: str, kind: str
    ) -> Iterator[Answer | SkippedScene]:
        """What a catalogue's links of a kind lead to that was not seen yet, in their order."""
        wanted: list[str] = []
        for link in links_of(catalogue, kind):
            whole = resolved(link["href"], place)
            if whole is None:
                yield SkippedScene(
                    display_name(link["href"]),
                    f"is no address of a {kind} that is read",
                    "correct it",
                )
            elif (same := identity(whole)) not in self.seen:
                self.seen.add(same)
                wanted.append(whole)
        if not any(is_remote(one) for one in wanted):
            yield from map(self._read, wanted)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for begin in range(0, len(wanted), AT_ONCE):
                yield from pool.map(self._read, wanted[begin : begin + AT_ONCE])

    def _read(self, address: str) -> Answer | SkippedScene:
        """A document, or why there is none; a server that fails ends the walk.

        Raises:
            UnreadError: the same may succeed later: a part of the catalogue would be missing.
        """
        try:
            return read(address, self.search.cancel)
        except UnreadError as error:
            if error.later:
                raise error.after(f"{self.found} items were read") from error
            return _skipped(error)


def _skipped(error: UnreadError) -> SkippedScene:
    return SkippedScene(display_name(error.address), error.problem, error.remedy)
