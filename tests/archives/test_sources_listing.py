"""Listings of folders that a server gives as pages, and how servers are read at all."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from lanner.archives.scenes import FoundScenes, SceneFilter
from lanner.archives.sources import find_scenes
from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.web import fetch
from lanner.core.errors import LannerError, SceneError
from lanner.core.job import Cancel
from tests.archives.fixtures_web import Asked, Reply, Site, pages, serving
from tiling.names import display_name


def find(source: str) -> FoundScenes:
    return find_scenes([source], SceneFilter(), Cancel())


def page(*hrefs: str) -> str:
    links = "".join(f'<li><a title="x" href="{href}">{href}</a>' for href in hrefs)
    return f"<!DOCTYPE html><html><body><ul>{links}</ul></body>"


def test_a_listing_is_read_to_its_bottom_and_never_above():
    content: dict[str, Any] = {
        "/data/archive/": page(
            "../", "/data/", "?C=M;O=A", "a.tif", "b%20c.TIF?v=2", "a.tif.ovr", "2024/", ".hid.tif",
            "https://other.example.org/x.tif", "/data/archive/d.jp2", "notes.md", "%2e%2e/up.tif",
            "mailto:me@example.org", "//[", "/data/archivery/e.tif", ".git/", "denied/",
        ),
        "/data/archive/2024/": page("e.tif", "../", "../2024/", "deep/"),
        "/data/archive/2024/deep/": page("f.png", "/data/archive/"),
        "/data/archive/denied/": Reply("no", 403),
    }  # fmt: skip
    with pages(content) as site:
        found = find(f"{site.url}/data/archive/")
        assert sorted(one.path for one in site.asked) == sorted(content)
    assert [scene.uri.removeprefix(f"{site.url}/data/archive/") for scene in found.scenes] == [
        "a.tif", "b%20c.TIF?v=2", "d.jp2", "2024/e.tif", "2024/deep/f.png",
    ]  # fmt: skip
    assert [scene.name for scene in found.scenes] == ["a", "b_c", "d", "e", "f"]
    assert [one.uri for one in found.skipped] == [f"{site.url}/data/archive/denied/"]


def test_folders_without_end_come_to_one():
    def answer(_: Site, asked: Asked) -> Reply:
        return Reply(page("a.tif", "again/") if asked.path.count("/") < 100 else "")

    with serving(answer) as site:
        found = find(f"{site.url}/x/")
    assert len(found.scenes) < 100
    assert len(found.skipped) == 1


def test_a_listing_without_rasters_is_an_error():
    with pages({"/x/": page("a.txt")}) as site, pytest.raises(SceneError):
        find(f"{site.url}/x/")


def test_user_and_password_stay_with_a_listing():
    with pages({"/x/": page("a.tif", "/x/y/"), "/x/y/": page("b.tif")}) as site:
        found = find(f"{site.url}/x/".replace("//", "//me:secret@"))
        assert all("authorization" in one.headers for one in site.asked)
    assert len(found.scenes) == 2


@pytest.mark.parametrize("path", ["/a.tif", "/a.TIF?sig=secret"])
def test_a_raster_at_an_address_is_not_asked_for(path):
    with pages({}) as site:
        assert [scene.uri for scene in find(site.url + path).scenes] == [site.url + path]
        assert not site.asked


def test_a_raster_is_told_by_its_media_type_too():
    image = Reply(b"II*\0", headers={"Content-Type": "image/tiff"})
    with pages({"/get": image}) as site:
        found = find(f"{site.url}/get?id=7")
    assert [(scene.uri, scene.name) for scene in found.scenes] == [(f"{site.url}/get?id=7", "get")]


@pytest.mark.parametrize(
    "reply",
    [
        Reply("plain words"),
        Reply(b""),
        Reply({"type": "nothing"}),
        Reply("gone", 404),
        Reply("no", 401),
        Reply("", 302, {"Location": "file:///etc/passwd"}),
        Reply("", 302, {"Location": "ftp://user:secret@127.0.0.1/?sig=secret"}),
        Reply("", 302, {"Location": "/x"}),
        Reply("", 302),
    ],
)
def test_an_answer_that_is_no_source(reply):
    with pages({"/x": reply}) as site, pytest.raises(LannerError) as error:
        find(f"{site.url}/x?sig=secret".replace("//", "//me:secret@"))
    assert isinstance(error.value, SceneError)
    assert "secret" not in str(error.value)
    assert error.value.remedy


def test_a_redirect_is_followed_and_links_are_relative_to_where_it_led():
    moved = Reply("", 301, {"Location": "/new/place/"})
    with pages({"/old": moved, "/new/place/": page("a.tif")}) as site:
        assert [one.uri for one in find(f"{site.url}/old").scenes] == [
            f"{site.url}/new/place/a.tif"
        ]


def test_a_password_does_not_follow_to_another_server():
    with pages({"/x/": page("a.tif")}) as other:
        moved = Reply("", 302, {"Location": f"{other.url}/x/"})
        with pages({"/old": moved}) as site:
            find(f"{site.url}/old".replace("//", "//me:secret@"))
            assert "authorization" in site.asked[0].headers
        assert "authorization" not in other.asked[0].headers


def test_what_is_posted_is_posted_again_where_it_moved():
    with pages({"/old": Reply("", 307, {"Location": "/new"}), "/new": Reply("{}")}) as site:
        assert fetch(f"{site.url}/old", Cancel(), b'{"a": 1}').body == b"{}"
        assert [one.body for one in site.asked] == [{"a": 1}, {"a": 1}]


def test_answers_are_bounded_packed_or_not():
    packed = Reply(gzip.compress(b"x" * 5000), headers={"Content-Encoding": "gzip"})
    with pages({"/plain": "x" * 5000, "/packed": packed}) as site:
        for path in ("/plain", "/packed"):
            assert len(fetch(site.url + path, Cancel(), most=5000).body) == 5000
            with pytest.raises(UnreadError):
                fetch(site.url + path, Cancel(), most=4999)


def test_an_answer_that_was_cut_off_is_asked_for_again():
    def answer(site: Site, _: Asked) -> Reply:
        more = 10 if len(site.asked) == 1 else 0
        return Reply("hello", headers={"Content-Length": str(5 + more), "Connection": "close"})

    with serving(answer) as site:
        assert fetch(f"{site.url}/x", Cancel()).body == b"hello"
        assert len(site.asked) == 2


def test_a_server_may_say_how_long_to_wait():
    def answer(site: Site, _: Asked) -> Reply:
        return Reply("later", 429, {"Retry-After": "1"}) if len(site.asked) == 1 else Reply("ok")

    with serving(answer) as site:
        assert fetch(f"{site.url}/x", Cancel()).body == b"ok"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("archive/a?b#c.tif", "archive/a?b#c.tif"),
        ("https://me:secret@host:8080/a.tif?sig=secret#secret", "https://host:8080/a.tif"),
        ("HTTPS://me:secret@HOST/@a", "HTTPS://HOST/@a"),
        ("https://me:sec/secret@host/a", "https://..."),
        ("https://me:sec?secret@host/a", "https://..."),
        ("ftp://me:secret@host/a", "ftp://host/a"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("/vsicurl/https://me:secret@host/a?secret", "/vsicurl/https://host/a"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_addresses_are_shown_without_secrets(address, expected):
    assert display_name(address) == expected
