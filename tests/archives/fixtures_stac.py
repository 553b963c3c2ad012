"""STAC items, and a real STAC API on the loopback that behaves, or misbehaves, as a test says.

Use: `from tests.archives.fixtures_stac import Api, item`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.archives.fixtures_web import Asked, Reply, Site, serving

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
CONFORMS = ["core", "item-search", "item-search#query", "ogcapi-features"]


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A GeoJSON polygon."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def item(
    name: str = "a",
    *,
    bbox: tuple[float, ...] = (10.0, 50.0, 11.0, 51.0),
    when: str | None = "2024-05-01T10:00:00Z",
    cloud: float | None = None,
    assets: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A STAC item as JSON, with one GeoTIFF at an address."""
    properties: dict[str, Any] = {"datetime": when}
    if cloud is not None:
        properties["eo:cloud_cover"] = cloud
    scene = {"href": f"https://data.example.org/{name}.tif", "type": COG, "roles": ["data"]}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "geometry": box(bbox[0], bbox[1], bbox[-2], bbox[-1]) if len(bbox) == 4 else None,
        "bbox": list(bbox),
        "properties": properties,
        "links": [],
        "assets": {"scene": scene} if assets is None else assets,
        "collection": "images",
        **more,
    }


def items(count: int, **more: Any) -> list[dict[str, Any]]:
    """Items that differ in their names."""
    return [item(f"i{k:03}", **more) for k in range(count)]


@dataclass
class Api:
    """A STAC API: what it holds, and how it errs.

    Attributes:
        items: what it holds; one that is there twice is given twice.
        size: items of a page.
        post: whether searches may be posted.
        tells_post: whether its landing page says so.
        counts: whether it says how many items match.
        fails: page to how many times it answers with the error 500 before it answers.
        next_link: 'good', 'loop' (the first page is followed by itself), 'fresh' (by itself at
            ever new addresses), 'host' (a host that is not there), 'gone' (an address that is
            not there), 'file' (a local file), 'plain' (POST without its terms).
        conforms: classes of conformance.
        search: whether the landing page links to its search.
        backwards: whether items are given in the opposite order.
    """

    items: list[dict[str, Any]]
    size: int = 3
    post: bool = True
    tells_post: bool = True
    counts: bool = True
    fails: dict[int, int] = field(default_factory=dict)
    next_link: str = "good"
    conforms: list[str] = field(default_factory=lambda: list(CONFORMS))
    search: bool = True
    backwards: bool = False

    @contextmanager
    def running(self) -> Iterator[Site]:
        """The API on the loopback; its landing page is at the path /stac/."""
        with serving(self.answer) as site:
            yield site

    def answer(self, site: Site, asked: Asked) -> Reply:
        """One answer."""
        if asked.path.rstrip("/") == "/stac":
            return Reply(self.landing(site))
        if asked.path == "/stac/collections/images":
            return Reply(self.collection(site))
        if asked.path == "/stac/collections/images/items":
            return self.page(site, asked)
        if asked.path != "/stac/search":
            return Reply("gone", 404)
        if asked.method == "POST" and not self.post:
            return Reply("no", 405)
        return self.page(site, asked)

    def landing(self, site: Site) -> dict[str, Any]:
        """The landing page."""
        href = f"{site.url}/stac/search"
        links = [{"rel": "search", "href": href, "method": "GET"}]
        if self.tells_post:
            links.append({"rel": "search", "href": href, "method": "POST"})
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "api",
            "description": "of a test",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{one}" for one in self.conforms],
            "links": links if self.search else [],
        }

    def collection(self, site: Site) -> dict[str, Any]:
        """A collection of the API."""
        here = f"{site.url}/stac/collections/images"
        return {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "images",
            "description": "of a test",
            "license": "other",
            "extent": {},
            "links": [
                {"rel": "root", "href": f"{site.url}/stac/"},
                {"rel": "items", "href": f"{here}/items"},
            ],
        }

    def page(self, site: Site, asked: Asked) -> Reply:
        """A page of items."""
        terms = asked.query if asked.method == "GET" else (asked.body or {})
        number = int(terms.get("page", 0))
        if self.fails.get(number, 0):
            self.fails[number] -= 1
            return Reply("broken", 500)
        found = [one for one in self.items if matches(one, terms)]
        found = found[::-1] if self.backwards else found
        begin = number * self.size
        body: dict[str, Any] = {
            "type": "FeatureCollection",
            "features": found[begin : begin + self.size],
            "links": [],
        }
        if self.counts:
            body["numberMatched"] = len(found)
        if begin + self.size < len(found) or self.next_link in ("loop", "fresh"):
            body["links"].append(self.following(site, asked, dict(terms), number))
        return Reply(body)

    def following(
        self, site: Site, asked: Asked, terms: dict[str, Any], number: int
    ) -> dict[str, Any]:
        """The link to the next page."""
        where = f"{site.url}{asked.path}"
        terms["page"] = number + 1
        if self.next_link == "loop":
            terms["page"] = 0
        elif self.next_link == "fresh":
            terms |= {"page": 0, "token": f"t{len(site.asked)}"}
        elif self.next_link == "host":
            where = f"http://127.0.0.1:9{asked.path}"
        elif self.next_link == "gone":
            where = f"{site.url}/nowhere"
        elif self.next_link == "file":
            where = "file:///etc/passwd"
        if asked.method == "GET":
            query = "&".join(f"{key}={value}" for key, value in terms.items())
            return {"rel": "next", "href": f"{where}?{query}"}
        if self.next_link == "merge":
            body = {"page": number + 1}
            return {"rel": "next", "href": where, "method": "POST", "merge": True, "body": body}
        return {"rel": "next", "href": where, "method": "POST", "body": terms}


def matches(one: dict[str, Any], terms: dict[str, Any]) -> bool:
    """Whether an item is what a search asks for: place, cloud and collection."""
    bbox = terms.get("bbox")
    if isinstance(bbox, str):
        bbox = [float(part) for part in bbox.split(",")]
    if bbox:
        assert bbox[0] <= bbox[2], "this server knows no bounds across the antimeridian"
        west, south, east, north = one["bbox"]
        if west > bbox[2] or east < bbox[0] or south > bbox[3] or north < bbox[1]:
            return False
    query = terms.get("query")
    if isinstance(query, dict) and "eo:cloud_cover" in query:
        cover = one["properties"].get("eo:cloud_cover")
        if cover is None or cover > query["eo:cloud_cover"]["lte"]:
            return False
    collections = terms.get("collections") or [one["collection"]]
    return one["collection"] in collections
