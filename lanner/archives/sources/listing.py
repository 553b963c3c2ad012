"""Rasters below an address that serves listings of its folders as HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from lanner.archives.scenes import SceneRef, SkippedScene
from lanner.archives.sources.endings import RASTERS, file_name, is_hidden, is_raster, stem
from lanner.archives.sources.entries import Entries, Search
from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.web import Answer, fetch, with_user
from tiling.names import display_name

MOST_PAGES = 10_000
"""Folders of one source."""
DEEPEST = 32
"""Folders in folders."""


def listing_scenes(first: Answer, search: Search) -> Entries:
    """The rasters that listings link to, below the first one's address alone.

    Raises:
        UnreadError: there are none, or too many folders, or a server fails even when asked
            again.
    """
    top = _folder(first.address)
    waiting: list[tuple[str, int, Answer | None]] = [(top, 0, first)]
    seen, found, pages = {top}, False, 0
    while waiting:
        address, depth, answer = waiting.pop()
        pages += 1
        if pages > MOST_PAGES:
            raise UnreadError(
                first.address,
                f"lists more than {MOST_PAGES:,} folders",
                "give an address further down",
            )
        if depth > DEEPEST:  # a link to a folder above, most likely
            yield SkippedScene(
                display_name(address),
                f"lies more than {DEEPEST} folders deep",
                "give it as a source",
            )
            continue
        if answer is None:
            try:
                answer = fetch(address, search.cancel)
            except UnreadError as error:
                if error.later:
                    raise
                yield SkippedScene(display_name(address), error.problem, error.remedy)
                continue
        folders = []
        for link in sorted(_links(answer, top) - seen):
            seen.add(link)
            if link.endswith("/"):
                folders.append((link, depth + 1, None))
            elif is_raster(file_name(link)):
                found = True
                yield SceneRef(link, stem(link))
        waiting += reversed(folders)
    if not found:
        raise UnreadError(
            first.address,
            "is a page that links to no rasters below it",
            f"give an address whose listing has {', '.join(RASTERS)}",
        )


def _folder(address: str) -> str:
    """An address up to its last slash, without query and fragment."""
    parts = urlsplit(address)
    path = parts.path.rpartition("/")[0] + "/"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


class _Links(HTMLParser):
    """Where the links of a page lead, as it has them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of a link."""
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _links(answer: Answer, top: str) -> set[str]:
    """Addresses that a page links to which lie below `top`.

    Links that sort a listing differ in their query alone and are left out with it; a raster
    keeps what it needs to be fetched.
    """
    parser = _Links()
    parser.feed(answer.body.decode("utf-8", "replace"))
    parser.close()
    below = set()
    for href in parser.found:
        try:
            parts = urlsplit(with_user(urljoin(answer.address, href.strip()), top))
        except ValueError:
            continue
        folder = parts.path.endswith("/")
        address = urlunsplit(
            (parts.scheme, parts.netloc, parts.path, "" if folder else parts.query, "")
        )
        inside = unquote(address)[len(unquote(top)) :].partition("?")[0]
        if not address.startswith(top) or not inside:
            continue
        if any(is_hidden(part) for part in inside.split("/")):  # `..`, too
            continue
        below.add(address)
    return below
