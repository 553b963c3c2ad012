"""Reports: one look, links that lead to files, numbers apart from their intervals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from lanner.factory.config import FactoryConfig
from lanner.factory.images import write_png
from lanner.factory.pages import address, bar, number, span, write_jpeg
from lanner.factory.project import Project
from lanner.factory.steps.explore import run as explore
from tests.fixtures_explore import coco, picture, project_of
from tests.fixtures_reports import dead_links, links


def test_an_address_is_found_from_the_page(tmp_path):
    page = tmp_path / "run" / "01_explore" / "report.html"
    page.parent.mkdir(parents=True)
    for name in ("a.png", "with space.png", "#1 50%.png", "ä&b?.png"):
        file = tmp_path / "data" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
        page.write_text(f'<a href="{address(file, page)}">')
        assert links(page) == [page.parent / "../../data" / name]
        assert dead_links(page) == []
    # Moved together, they still find each other.
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    assert dead_links(tmp_path.parent / f"{tmp_path.name}-moved/run/01_explore/report.html") == []


@pytest.mark.parametrize(
    ("figure", "whole", "expected"),
    [
        ({"value": 0.12345, "low": 0.1, "high": 0.2}, False, ("0.123", "0.100 to 0.200", True)),
        ({"value": 3.0, "low": 2.0, "high": 4.0}, True, ("3", "2 to 4", False)),
        ({"value": None}, False, ("-", "", False)),
        ({"value": float("nan")}, False, ("-", "", False)),
        ({"value": 0.5, "low": None, "high": None}, False, ("0.500", "", False)),
    ],
)
def test_a_figure_and_its_interval_stand_apart(figure, whole, expected):
    bounds = bar(figure)
    assert (number(figure["value"], whole), span(figure, whole), bounds is not None) == expected
    if bounds is not None:
        assert bounds == {"from": "10.0%", "width": "10.0%", "at": "12.3%"}


def test_jpegs_are_whole_and_the_same_for_the_same_picture(tmp_path):
    rgb = picture(1)
    one, two = (write_jpeg(rgb, tmp_path / name / "a.jpg").read_bytes() for name in "xy")
    assert one == two and one[:2] == b"\xff\xd8"


def test_explore_shows_what_became_of_each_class_and_leads_to_images(tmp_path):
    data = tmp_path / "data"
    first = {"a b.png": picture(1), "#2.png": picture(2), "c.png": picture(3)}
    coco(data, "train", first, {name: [[10, 10, 2, 24], [50, 50, 30, 20]] for name in first})
    coco(data, "test", {"u.png": picture(2)}, {"u.png": [[20, 20, 30, 24]]})
    file = data / "train.json"
    facts = json.loads(file.read_text())
    facts["categories"] = [{"id": 1, "name": "plane"}, {"id": 2, "name": "heli"}]
    facts["annotations"][1]["category_id"] = 2
    file.write_text(json.dumps(facts))
    project = project_of(tmp_path)
    (source,) = project.config.sources
    source = source.model_copy(update={"classes": {"plane": "aircraft"}, "drop": ("heli",)})
    project = Project(
        project.config.model_copy(update={"sources": (source,)}), project.path, project.folder
    )
    explore(project)
    page = project.step_dir("explore") / "report.html"
    text = page.read_text()
    rows = [" ".join(part.split()) for part in text.split("<tr>")]
    assert any("<td>plane</td><td>aircraft</td>" in row and "6 objects" in row for row in rows)
    assert any("<td>heli</td>" in row and "left out" in row and "1 object<" in row for row in rows)
    assert dead_links(page) == []
    there = {path.resolve() for path in links(page)}
    # The duplicates, and the image of each box that is too small, by picture and by name.
    assert {(data / name).resolve() for name in ("a b.png", "#2.png", "c.png")} <= there


def test_masks_are_counted_by_images(tmp_path):
    for name in ("a", "b"):
        write_png(picture(1)[:40, :40], tmp_path / "road" / "images" / f"{name}.png")
        write_png(np.eye(40, dtype=np.uint8), tmp_path / "road" / "masks" / f"{name}.png")
    source = {"name": "s", "format": "masks", "root": "road", "classes": {"road": "road"}}
    config = FactoryConfig(factory="t", detector="d.yaml", data=str(tmp_path), sources=[source])
    project = Project(config, tmp_path / "t.yaml", tmp_path / "run")
    explore(project)
    assert "2 images" in (project.step_dir("explore") / "report.html").read_text()
