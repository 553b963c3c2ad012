"""Golden outputs compared: what another machine may change, and what it may not."""

import copy
import hashlib
import os

import pytest
from typer.testing import CliRunner

from lanner.cli.app import app
from lanner.core.errors import DatasetError, GateError
from lanner.factory.steps.release.check import Checked, Golden, compare, find_images


def feature(x, confidence=0.9, label="tank", decision="accept"):
    facts = {"box_px": [x, 0.0, x + 20, 20.0], "label": label, "confidence": confidence}
    return {"properties": {**facts, "decision": decision, "config_sha256": "c"}}


RELEASED = [feature(0), feature(100, 0.5), feature(100.5, 0.5, "silo")]


def changed(number, **facts):
    rows = copy.deepcopy(RELEASED)
    rows[number]["properties"].update(facts)
    return rows


@pytest.mark.parametrize(
    ("now", "verdict", "detail"),
    [
        (RELEASED[::-1], "within tolerance", "boxes by 0.00 px, confidences by 0.0000 at most"),
        (changed(0, box_px=[0.0, 0.5, 20.0, 20.0]), "within tolerance", "boxes by 0.50 px"),
        (changed(0, box_px=[0.0, 3.5, 20.0, 20.0]), "differs", "2 without a partner, of up to 0.9"),
        (changed(1, confidence=0.54), "within tolerance", "confidences by 0.0400"),
        (changed(1, confidence=0.56), "differs", "confidences by 0.0600"),
        (changed(0, decision="review"), "within tolerance", "1 decisions"),
        (changed(0, label="silo"), "differs", "2 without a partner"),
        (changed(0, config_sha256="d"), "within tolerance", "other config_sha256"),
        ([*RELEASED, feature(50, 0.09)], "within tolerance", "1 without a partner, of up to 0.09"),
        ([*RELEASED, feature(50, 0.1)], "differs", "1 without a partner"),
        ([], "differs", "0 pairs"),
        (RELEASED[:2], "differs", "2 pairs, boxes by 0.00 px"),
    ],
)
def test_outputs_are_within_the_tolerance_or_not(now, verdict, detail):
    found = compare(RELEASED, now)
    assert found[0] == verdict
    assert detail in found[1]


def test_images_are_found_by_name_and_content(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"other")
    (tmp_path / "b" / "1.png").write_bytes(b"right")
    (tmp_path / "b" / "2.png").write_bytes(b"right")
    sha = hashlib.sha256(b"right").hexdigest()
    rows = [
        {"sample": "one", "file": "1.png", "image_sha256": sha},
        {"sample": "two", "file": "2.png", "image_sha256": "0" * 64},
    ]
    assert find_images(rows, tmp_path) == {"one": tmp_path / "b" / "1.png"}
    # Images are often kept elsewhere, and one that cannot be read is not the one.
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a" / "1.png").symlink_to(tmp_path / "nowhere")
    home = tmp_path / "home"
    home.mkdir()
    (home / "linked").symlink_to(tmp_path / "b")
    (home / "a").symlink_to(tmp_path / "a")
    assert find_images(rows, home) == {"one": home / "linked" / "1.png"}
    with pytest.raises(DatasetError, match="is no folder"):
        find_images(rows, tmp_path / "nowhere")


def test_only_what_differs_is_an_error():
    def checked(verdict):
        return Checked("tanks", "1.0.0", 3, (Golden("one", verdict, "by much"),))

    for verdict in ("identical", "within tolerance", "not checked"):
        checked(verdict).refuse()
    with pytest.raises(GateError, match=r"tanks 1.0.0 one.*by much"):
        checked("differs").refuse()
    assert (
        Checked("tanks", "1.0.0", 3, ()).lines[1] == "tanks 1.0.0: has no golden outputs to check"
    )


def test_the_releases_that_ship_are_whole():
    env = {"LANNER_DATA": None, "LANNER_HOME": os.environ.get("LANNER_HOME")}
    done = CliRunner().invoke(app, ["detectors", "--check"], env=env)
    assert done.exit_code == 0, done.stderr
    for name in ("aircraft", "roads"):
        assert f"{name} " in done.stdout
    assert "files are whole" in done.stdout
    assert CliRunner().invoke(app, ["detectors", "aircraft"]).exit_code == 2
    unknown = CliRunner().invoke(app, ["detectors", "aircaft", "--check"])
    assert unknown.exit_code == 15
