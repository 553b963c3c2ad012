"""What callers are told names no folder of the server, and stays readable."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanner.core.home import home
from server.private import Private, private

HIDDEN = Private((("/srv/scenes/", ""), ("/srv/scenes", "the folder of scenes"), ("/srv", "HOME")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/scenes/a/b.tif is torn", "a/b.tif is torn"),
        ("'/srv/scenes' is gone", "'the folder of scenes' is gone"),
        ("/srv/weights/x.json", "HOME/weights/x.json"),
        ("/srvs/own/x.json", "\u2026/x.json"),
        ("open('/opt/lib/python/x.py')", "open('\u2026/x.py')"),
        ("(/opt/a/b, /opt/c)", "(\u2026/b, \u2026/c)"),
        ("https://host/a/b.tif is gone", "https://host/a/b.tif is gone"),
        ("/vsicurl/https://host/a", "/vsicurl/https://host/a"),
        ("m/s, and/or 1/2/3", "m/s, and/or 1/2/3"),
        ("../a/b.tif", "../a/b.tif"),
        ("in/sub/b.tif", "in/sub/b.tif"),
        ("/x", "/x"),
    ],
)
def test_folders_give_way_and_the_rest_stays(text, expected):
    assert HIDDEN.hide(text) == expected


def test_a_scene_is_called_as_its_caller_called_it():
    opened = "/srv/scenes/a b/c.tif"
    assert HIDDEN.hide(f"{opened}: {opened}.ovr", opened, "a b/c.tif") == "a b/c.tif: a b/c.tif.ovr"
    assert HIDDEN.hide(f"{opened}, /opt/x/y", opened, opened) == f"{opened}, \u2026/y"
    assert HIDDEN.hide("/data/own/c.tif is outside", asked="/data/own/c.tif") == (
        "/data/own/c.tif is outside"
    )


@given(st.text("/srvceno.t' ", max_size=12))
def test_no_name_that_a_caller_may_choose_brings_a_folder_to_light(asked):
    text = HIDDEN.hide("cannot open /srv/scenes/secret/x and /opt/hidden/y", asked=asked)
    if not asked.startswith("/"):
        assert "/srv" not in text
        assert "hidden" not in text


def test_the_folders_of_this_machine_are_known(tmp_path, monkeypatch):
    root = tmp_path / "scenes"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    hide = private((tmp_path / "link",)).hide
    assert hide(f"{root}/a.tif, {tmp_path}/link/a.tif") == "a.tif, a.tif"
    assert hide(f"{home()}/weights/a") == "LANNER_HOME/weights/a"
    assert hide(f"{tempfile.gettempdir()}/lanner-x/a") == "TMPDIR/lanner-x/a"
    assert private((Path("/"),)).hide("/etc/a/b") == "\u2026/b"
