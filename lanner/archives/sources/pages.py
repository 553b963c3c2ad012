"""Pages of STAC items that link to each other: every item once, whatever the links do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lanner.archives.sources.entries import Note
from lanner.archives.sources.places import joined
from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.web import Answer, fetch
from lanner.core.job import Cancel
from tiling.names import beginning, display_name

MOST_ITEMS = 1_000_000
"""Of one search."""
BARREN = 3
"""Pages one after the other without an item that is new; then there will be none."""

Item = Mapping[str, Any]
Known = set[tuple[str, str]]
"""Collection and id of items that were seen."""


@dataclass(frozen=True)
class Ask:
    """A page to ask for: with GET, or with POST where there is a body (JSON, keys sorted)."""

    url: str
    body: str | None = None

    @classmethod
    def post(cls, url: str, terms: Mapping[str, Any]) -> Ask:
        """A search by POST."""
        return cls(url, json.dumps(terms, sort_keys=True))


def items_of(first: Ask, cancel: Cancel, known: Known) -> Iterator[Item | Note]:
    """Items of a page and of those that follow it.

    Args:
        first: the first page.
        cancel: looked at for every page.
        known: items that are not given again; added to.

    Raises:
        UnreadError: a page cannot be read even when asked again, or the links end in a circle
            before the last item. It says how many items were read, and how many are missing
            where the server counts them.
    """
    return _Pages(cancel, known, urlsplit(first.url).netloc).follow(first)


class _Pages:
    """One walk from page to page."""

    def __init__(self, cancel: Cancel, known: Known, home: str) -> None:
        self.cancel = cancel
        self.known = known
        self.home = home
        self.wrong_hosts: set[str] = set()
        self.seen: Known = set()
        self.read = 0
        self.matched: int | None = None

    def follow(self, first: Ask) -> Iterator[Item | Note]:
        ask: Ask | None = first
        asked: set[Ask] = set()
        barren = 0
        while ask is not None:
            if ask in asked or barren == BARREN:
                yield from self._circle(ask)
                return
            asked.add(ask)
            before = self.read
            try:
                page, address = self._page(ask)
                self.matched = _matched(page) or self.matched
                yield from self._new(page)
                ask = _next(page, address, ask)
            except UnreadError as error:
                if not self.read:
                    raise
                if not self._complete():
                    raise self._broken(error) from error
                yield Note(f"After the last item {display_name(error.address)} {error.problem}.")
                return
            barren = 0 if self.read > before else barren + 1
            if self.read > MOST_ITEMS:
                raise UnreadError(
                    first.url,
                    f"has more than {MOST_ITEMS:,} items",
                    "ask for fewer, by place or time",
                )
        if self.matched is not None and self.read < self.matched:
            yield Note(
                f"{display_name(first.url)} says that {self.matched} items match, and gives "
                f"{self.read}."
            )

    def _new(self, page: Mapping[str, Any]) -> Iterator[Item]:
        features = page.get("features")
        for item in features if isinstance(features, list) else ():
            if not isinstance(item, Mapping):
                continue
            key = (str(item.get("collection")), str(item.get("id")))
            if key in self.seen:
                continue
            # An earlier walk may have given it: it counts here, and is not given again.
            self.seen.add(key)
            self.read += 1
            if key not in self.known:
                self.known.add(key)
                yield item

    def _page(self, ask: Ask) -> tuple[Mapping[str, Any], str]:
        """A page, and where it was.

        A link to a host that cannot be reached, as behind a proxy that hides the server's own
        name, is tried on the host that the first page came from.
        """
        host = urlsplit(ask.url).netloc
        home = urlunsplit(urlsplit(ask.url)._replace(netloc=self.home))
        try:
            answer = self._fetch(home if host in self.wrong_hosts else ask.url, ask.body)
        except UnreadError as error:
            if error.reached or host == self.home or host in self.wrong_hosts:
                raise
            answer = self._fetch(home, ask.body)
            self.wrong_hosts.add(host)
        return json_of(answer), answer.address

    def _fetch(self, url: str, body: str | None) -> Answer:
        return fetch(url, self.cancel, None if body is None else body.encode())

    def _complete(self) -> bool:
        return self.matched is not None and self.read >= self.matched > 0

    def _circle(self, ask: Ask) -> Iterator[Note]:
        """The links lead nowhere new."""
        if self.matched is not None and self.read < self.matched:
            raise self._broken(
                UnreadError(
                    ask.url,
                    "leads to pages that were read before",
                    "ask for fewer items at once, by place or time, or tell who runs that server",
                )
            )
        yield Note(
            f"{display_name(ask.url)} leads to pages that were read before: {self.read} items are "
            "taken once each."
        )

    def _broken(self, error: UnreadError) -> UnreadError:
        """An error on the way, with how far it went."""
        progress = f"{self.read} items were read"
        if self.matched is not None and self.matched > self.read:
            progress += f", {self.matched - self.read} of {self.matched} are missing"
        return error.after(progress, later=True)


def json_of(answer: Answer) -> Mapping[str, Any]:
    """A document as JSON.

    Raises:
        UnreadError: it is none.
    """
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise UnreadError(
            answer.address, "is no JSON", "see what the address gives in a browser"
        ) from error
    if not isinstance(found, Mapping):
        raise UnreadError(answer.address, "is no JSON object", "give a STAC document")
    return found


def links_of(document: Mapping[str, Any], *kinds: str) -> list[Mapping[str, Any]]:
    """A document's links of these relations, in their order, that lead anywhere."""
    links = document.get("links")
    return [
        link
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, Mapping)
        and link.get("rel") in kinds
        and isinstance(link.get("href"), str)
    ]


def _matched(page: Mapping[str, Any]) -> int | None:
    """How many items match in all, where the server says so in one of the ways there are."""
    context = page.get("context")
    counts = (
        page.get("numberMatched"),
        context.get("matched") if isinstance(context, Mapping) else None,
    )
    return next((one for one in counts if isinstance(one, int) and one >= 0), None)


def _next(page: Mapping[str, Any], address: str, before: Ask) -> Ask | None:
    """What a page's link to the next one asks for.

    Raises:
        UnreadError: it is no http or https address.
    """
    links = links_of(page, "next")
    if not links:
        return None
    link = links[0]
    url = joined(address, link["href"]) or ""
    if beginning(url) == "http://" and beginning(address) == "https://":
        url = "https" + url[len("http") :]  # written by a server that does not know of its TLS
    if beginning(url) not in ("http://", "https://"):
        raise UnreadError(
            address,
            f"leads to {display_name(link['href'])[:80]}",
            "tell who runs that server",
            later=True,
        )
    if str(link.get("method", "GET")).upper() != "POST":
        return Ask(url)
    old: Mapping[str, Any] = json.loads(before.body) if before.body else {}
    body = link.get("body")
    if not isinstance(body, Mapping):
        return Ask.post(url, old)
    return Ask.post(url, {**old, **body} if link.get("merge") else body)


def with_fallback(
    asks: Callable[[bool], Ask], post: bool, cancel: Cancel, known: Known
) -> Iterator[Item | Note]:
    """Items of a search that is asked for with POST, or with GET where a server refuses that.

    Args:
        asks: makes the first page of a search by POST (True) or by GET.
        post: whether to begin with POST.
        cancel: looked at for every page.
        known: items that are not given again; added to.

    Raises:
        UnreadError: as `items_of` does.
    """
    if post:
        try:
            yield from items_of(asks(True), cancel, known)
            return
        except UnreadError as error:
            if error.status not in (405, 501):
                raise
    yield from items_of(asks(False), cancel, known)
