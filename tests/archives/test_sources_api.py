"""A STAC API: what it is asked, and every item once whatever its pages do."""

from __future__ import annotations

import json
import socket

import pytest

from lanner.archives.scenes import FoundScenes, SceneFilter
from lanner.archives.sources import find_scenes
from lanner.core.errors import Cancelled, SceneError, ServerError
from lanner.core.job import Cancel
from tests.archives.fixtures_stac import Api, item, items
from tests.archives.fixtures_web import Asked, Reply, Site, pages, serving


def find(api: Api, chosen: SceneFilter | None = None, path: str = "/stac/") -> FoundScenes:
    with api.running() as site:
        return find_scenes([site.url + path], chosen or SceneFilter(), Cancel())


def names(found: FoundScenes) -> list[str]:
    return [scene.name for scene in found.scenes]


def every(count: int) -> list[str]:
    return [f"i{k:03}" for k in range(count)]


def test_every_page_is_read_and_an_item_says_what_it_knows():
    api = Api([*items(7), item("z", cloud=12.5)])
    with api.running() as site:
        found = find_scenes([f"{site.url}/stac/"], SceneFilter(), Cancel())
        assert {one.method for one in site.asked if one.path == "/stac/search"} == {"POST"}
    assert names(found) == [*every(7), "z"]
    last = found.scenes[-1]
    assert last.uri == "https://data.example.org/z.tif"
    assert (last.acquired, last.cloud) == ("2024-05-01T10:00:00Z", 12.5)
    assert (last.bounds, last.collection) == ((10.0, 50.0, 11.0, 51.0), "images")
    assert not found.skipped and not found.notes


@pytest.mark.parametrize("path", ["/stac", "/stac/", "/stac/?token=secret"])
def test_the_landing_page_is_told_by_what_it_says(path):
    assert names(find(Api(items(4)), path=path)) == every(4)


def test_conformance_alone_makes_an_api_too():
    assert names(find(Api(items(4), search=False), path="/stac")) == every(4)


@pytest.mark.parametrize("tells", [True, False])
def test_a_server_that_takes_no_post_is_asked_with_get(tells):
    assert names(find(Api(items(7), post=False, tells_post=tells))) == every(7)


@pytest.mark.parametrize("post", [True, False])
def test_filters_are_passed_to_the_search(post):
    chosen = SceneFilter(
        bounds=(9.0, 49.0, 12.0, 52.0), start="2024-05-01", end="2024-05-31", cloud=20.0
    )
    held = [
        item("good", cloud=10.0),
        item("cloudy", cloud=50.0),
        item("far", bbox=(100.0, 0.0, 101.0, 1.0), cloud=0.0),
        item("late", when="2024-06-01T00:00:00Z", cloud=0.0),
    ]
    api = Api(held, post=post, tells_post=post)
    with api.running() as site:
        found = find_scenes([f"{site.url}/stac/"], chosen, Cancel())
        asked = next(one for one in site.asked if one.path == "/stac/search")
    assert names(found) == ["good"]
    terms = asked.body if post else asked.query
    assert terms["datetime"] == "2024-05-01T00:00:00Z/2024-06-01T00:00:00Z"
    assert int(terms["limit"]) > 1
    if post:
        assert terms["bbox"] == [9.0, 49.0, 12.0, 52.0]
        assert terms["query"] == {"eo:cloud_cover": {"lte": 20.0}}
    else:
        assert terms["bbox"] == "9.0,49.0,12.0,52.0"
        assert json.loads(terms["query"]) == {"eo:cloud_cover": {"lte": 20.0}}


@pytest.mark.parametrize("post", [True, False])
def test_cloud_is_asked_for_in_the_language_that_the_server_speaks(post):
    chosen = SceneFilter(cloud=20.0)
    for conforms, terms in ((["item-search"], set()), (["item-search#filter"], {"filter"})):
        api = Api([item("a", cloud=10), item("b", cloud=90)], conforms=conforms, post=post)
        api.tells_post = post
        with api.running() as site:
            found = find_scenes([f"{site.url}/stac/"], chosen, Cancel())
            asked = next(one for one in site.asked if one.path == "/stac/search")
        assert names(found) == ["a"]
        assert {"filter", "query"} & set((asked.body if post else asked.query) or {}) == terms


def test_bounds_across_the_antimeridian_are_searched_in_halves():
    held = [
        item("west", bbox=(178.0, -18.0, 179.0, -17.0)),
        item("east", bbox=(-179.5, -18.0, -178.0, -17.0)),
        item("both", bbox=(-180.0, -18.0, 180.0, -17.0)),
        item("away", bbox=(10.0, -18.0, 11.0, -17.0)),
    ]
    found = find(Api(held, size=1), SceneFilter(bounds=(177.0, -20.0, -177.0, -15.0)))
    assert names(found) == ["both", "east", "west"]


def test_a_collection_of_an_api_is_searched_alone():
    held = [*items(4), item("other", collection="others")]
    path = "/stac/collections/images"
    assert names(find(Api(held), path=path)) == every(4)


def test_a_collection_whose_api_cannot_be_searched_is_read_page_by_page():
    api = Api(items(7), search=False, conforms=["core"])
    assert names(find(api, path="/stac/collections/images")) == every(7)


def test_items_of_a_collection_are_an_item_collection_with_pages():
    assert names(find(Api(items(7)), path="/stac/collections/images/items")) == every(7)


def test_an_error_that_goes_away_is_not_noticed():
    found = find(Api(items(7), fails={1: 2}))
    assert names(found) == every(7)
    assert not found.notes


def test_an_error_that_stays_says_how_many_items_are_missing():
    with pytest.raises(ServerError) as error:
        find(Api(items(8), fails={1: 99}), path="/stac/?sig=secret")
    assert "500" in error.value.problem
    assert "3 items were read" in error.value.problem
    assert "5 of 8" in error.value.problem
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("post", [True, False])
@pytest.mark.parametrize("kind", ["loop", "fresh"])
def test_links_in_a_circle_end(kind, post):
    api = Api(items(3), next_link=kind, post=post, tells_post=post)
    with api.running() as site:
        found = find_scenes([f"{site.url}/stac/"], SceneFilter(), Cancel())
        assert len(site.asked) < 10
    assert names(found) == every(3)
    assert len(found.notes) == 1


@pytest.mark.parametrize("kind", ["loop", "fresh"])
def test_links_in_a_circle_before_the_last_item_are_an_error(kind):
    with pytest.raises(ServerError) as error:
        find(Api(items(8), next_link=kind))
    assert "5 of 8" in error.value.problem


@pytest.mark.parametrize("kind", ["gone", "file"])
def test_a_link_that_leads_nowhere_is_an_error_that_counts(kind):
    with pytest.raises(ServerError) as error:
        find(Api(items(8), next_link=kind))
    assert "5 of 8" in error.value.problem


def test_a_link_to_a_host_that_is_not_there_is_tried_where_the_first_page_was():
    assert names(find(Api(items(8), next_link="host"))) == every(8)


def test_a_link_that_adds_to_the_terms_keeps_the_others():
    held = [*items(7), item("other", collection="others")]
    api = Api(held, next_link="merge")
    assert names(find(api, path="/stac/collections/images")) == every(7)


def test_a_link_that_fails_after_the_last_item_is_only_told():
    def answer(site: Site, asked: Asked) -> Reply:
        if asked.path == "/":
            return Reply({"conformsTo": [], "links": [{"rel": "search", "href": "/search"}]})
        if asked.path == "/search":
            link = {"rel": "next", "href": f"{site.url}/gone"}
            return Reply({"features": items(2), "links": [link], "numberMatched": 2})
        return Reply("gone", 404)

    with serving(answer) as site:
        found = find_scenes([site.url], SceneFilter(), Cancel())
    assert names(found) == every(2)
    assert len(found.notes) == 1


def test_items_given_twice_are_taken_once():
    held = items(5)
    found = find(Api([*held, *held, item("i000", collection="others")], size=2))
    assert len(found.scenes) == 5  # one scene is one uri, whatever collection it is in
    assert names(found) == every(5)


def test_the_order_of_the_server_changes_nothing():
    api = Api(items(7))
    with api.running() as site:
        forward = find_scenes([f"{site.url}/stac/"], SceneFilter(), Cancel())
        api.backwards, api.size = True, 2
        assert find_scenes([f"{site.url}/stac/"], SceneFilter(), Cancel()) == forward


def test_nothing_that_matches_is_no_error_and_an_empty_api_is_one():
    found = find(Api(items(2)), SceneFilter(bounds=(100.0, 0.0, 101.0, 1.0)))
    assert not found.scenes
    assert len(found.notes) == 1
    with pytest.raises(SceneError):
        find(Api([]))


def test_a_search_that_is_refused_is_no_fault_of_the_server():
    def answer(_: Site, asked: Asked) -> Reply:
        if asked.path == "/":
            return Reply({"links": [{"rel": "search", "href": "/search"}]})
        return Reply({"code": "bad"}, 403)

    with serving(answer) as site, pytest.raises(SceneError) as error:
        find_scenes([site.url], SceneFilter(), Cancel())
    assert "403" in error.value.problem


@pytest.mark.parametrize("href", ["http://[", "file:///etc/passwd", ""])
def test_a_search_that_is_no_address_is_told(href):
    landing = {"links": [{"rel": "search", "href": href}]}
    with pages({"/x": landing}) as site, pytest.raises(SceneError):
        find_scenes([f"{site.url}/x"], SceneFilter(), Cancel())


def test_what_is_no_json_is_told():
    landing = {"links": [{"rel": "search", "href": "/search"}]}
    with pages({"/": landing, "/search": "<html>"}) as site, pytest.raises(SceneError):
        find_scenes([site.url], SceneFilter(), Cancel())


def test_progress_is_told_and_a_cancel_is_heeded():
    told: list[tuple[str, int]] = []
    cancel = Cancel()

    def tell(source: str, count: int) -> None:
        told.append((source, count))
        cancel.set()

    with Api(items(120), size=30).running() as site:
        with pytest.raises(Cancelled):
            find_scenes([f"{site.url}/stac/?sig=secret"], SceneFilter(), cancel, tell)
        assert len([one for one in site.asked if one.path == "/stac/search"]) < 4
    assert told == [(f"{site.url}/stac/", 50)]


def test_a_host_that_is_not_there_is_one_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        port = taken.getsockname()[1]
        with pytest.raises(ServerError) as error:
            source = f"http://user:password@127.0.0.1:{port}/stac?sig=secret"
            find_scenes([source], SceneFilter(), Cancel())
    assert "password" not in str(error.value)
    assert "secret" not in str(error.value)
    assert str(port) in str(error.value)
