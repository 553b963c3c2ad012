"""Labels that cannot be read, or are written unusually: no object is ever taught as background."""

import itertools
import json
from pathlib import Path

import pytest

from lanner.core.errors import DatasetError
from tests.fixtures_readers import H, W, draw, read, whys

BOX = "0 .5 .5 .25 .5"
PIXELS = (30, 15, 50, 45)
"""The same in pixels."""


def yolo(root: Path, files: dict[str, str], data: str = "names: [plane, ship]\n") -> Path:
    (root / "labels").mkdir(parents=True)
    for k, (name, lines) in enumerate(files.items()):
        draw(root / f"images/{name}.png", k)
        (root / f"labels/{name}.txt").write_text(lines)
    (root / "data.yaml").write_text(data)
    return root


def skips(found, kind: str) -> list[str]:
    return [f"{one.what}: {one.why}" for one in found.skipped if one.kind == kind]


# What cannot be read


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 .5 .5", "2 numbers are neither a box, an outline nor keypoints"),
        ("0 40 30 20 30", "not normalised"),
        ("plane .5 .5 .1 .1", "'plane'"),
        ("0 .5 .5 .1 abc", "'abc'"),
        ("0 .5 .5 .1 nan", "not finite"),
        ("7 .5 .5 .1 .1", "class 7 has no name"),
        ("1.5 .5 .5 .1 .1", "1.5 is no number of a class"),
        ("0 .1 .1 .2 .1 .2 .2 .9 .9 .1", "9 numbers are neither"),
        ("0,.5,.5,.1,.1", "could not convert"),
    ],
)
def test_an_image_with_a_yolo_line_that_cannot_be_read_is_left_out(tmp_path, line, why):
    root = yolo(tmp_path, {"a": BOX, "b": f"{BOX}\n{line}\n"})
    found = read(root, format="yolo")
    assert [one.id for one in found.samples] == ["s/a"]
    [text] = skips(found, "unreadable_labels")
    assert text.startswith("labels/b.txt: line 2 is malformed (")
    assert why in text
    assert text.endswith("so images/b.png is left out")
    assert [one.kind for one in found.skipped] == ["unreadable_labels"]


def test_many_such_lines_are_one_finding_an_image(tmp_path):
    root = yolo(tmp_path, {"a": BOX, "b": "x\n" * 9, "c": "0 1\n"})
    texts = skips(read(root, format="yolo"), "unreadable_labels")
    assert len(texts) == 2
    assert "line 1 " in texts[0] and "line 3 " in texts[0] and "line 4 " not in texts[0]
    assert "and 6 more" in texts[0]


def test_where_all_are_left_out_the_first_reason_is_told(tmp_path):
    root = yolo(tmp_path, {"a": "0 1", "b": "0 2"})
    with pytest.raises(DatasetError, match=r"no image.*left out: labels/a.txt: line 1 .*1 more"):
        read(root, format="yolo")
    (root / "labels/a.txt").write_text("")
    with pytest.raises(DatasetError, match=r"'thing': is an empty class.*labels/b.txt: line 1"):
        read(root, format="yolo")


def test_what_is_dropped_or_does_not_count_may_be_malformed(tmp_path):
    root = yolo(tmp_path, {"a": f"{BOX}\n1 oops\n"})
    found = read(root, format="yolo", classes={"plane": "thing"}, drop=["ship"])
    assert [label.box for label in found.samples[0].labels] == [PIXELS]
    unlabelled = read(root, format="yolo", role="unlabelled")
    assert len(unlabelled.samples) == 1


@pytest.mark.parametrize("line", ["1 2 3 plane 0", "1 2 3 4 5 6 7 x plane 0", "30 15 50 15"])
def test_an_image_with_a_dota_line_that_cannot_be_read_is_left_out(tmp_path, line):
    (tmp_path / "labelTxt").mkdir()
    for k, name in enumerate("ab"):
        draw(tmp_path / f"images/{name}.png", k)
        more = line if name == "b" else ""
        good = "30 15 50 15 50 45 30 45 plane 0"
        (tmp_path / f"labelTxt/{name}.txt").write_text(f"gsd:0.5\n{good}\n{more}\n")
    found = read(tmp_path, format="dota")
    assert [one.id for one in found.samples] == ["s/a"]
    assert "labelTxt/b.txt: line 3 is malformed" in skips(found, "unreadable_labels")[0]


def test_a_voc_file_that_is_no_xml_counts_as_well(tmp_path):
    (tmp_path / "Annotations").mkdir()
    for k, name in enumerate("ab"):
        draw(tmp_path / f"JPEGImages/{name}.png", k)
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    good = f"<annotation><object><name>plane</name>{box}</object></annotation>"
    (tmp_path / "Annotations/a.xml").write_text(good)
    (tmp_path / "Annotations/b.xml").write_text(good[:-3])
    [text] = skips(read(tmp_path, format="voc"), "unreadable_labels")
    assert "b.xml: is no XML" in text


def test_explore_counts_the_images_that_are_left_out(tmp_path):
    from lanner.factory.config import FactoryConfig
    from lanner.factory.project import Project
    from lanner.factory.steps.explore import run
    from tests.fixtures_process import ROOT

    root = yolo(tmp_path / "data", {"a": BOX, "b": "0 1\n0 2\n", "c": "0 1"})
    source = {"name": "s", "format": "yolo", "root": ".", "classes": {"*": "aircraft"}}
    detector = str(ROOT / "configs" / "aircraft.yaml")
    facts = {"factory": "t", "detector": detector, "data": str(root), "sources": [source]}

    def project(limits) -> Project:
        config = FactoryConfig.model_validate({**facts, "explore": {"limits": limits}})
        return Project(config, tmp_path / "t.yaml", tmp_path / "work")

    assert run(project({})).summary["anomalies"]["unreadable_labels"] == 2
    with pytest.raises(DatasetError, match=r"unreadable_labels '1': 2 found, 1 allowed: images"):
        run(project({"unreadable_labels": 1}))


# Numbers that are texts


def coco(root: Path, image: object, of: object, kind: object, of_kind: object) -> Path:
    draw(root / "a.png", 1)
    draw(root / "b.png", 2)
    named = [{"id": image, "file_name": "a.png"}, {"id": 99, "file_name": "b.png"}]
    note = {"id": 1, "image_id": of, "category_id": of_kind, "bbox": [30, 15, 20, 30]}
    kinds = [{"id": kind, "name": "plane"}, {"id": 98, "name": "ship"}]
    data = {"images": named, "annotations": [note], "categories": kinds}
    (root / "labels.json").write_text(json.dumps(data))
    return root


@pytest.mark.parametrize(
    ("image", "of"), [(12, "12"), ("12", 12), (12, 12.0), ("000012", 12), (" 12", "12")]
)
def test_ids_that_are_texts_on_one_side_are_found(tmp_path, image, of):
    root = coco(tmp_path, image, of, 1, 1)
    found = read(root, format="coco", classes={"plane": "thing"})
    assert [len(one.labels) for one in found.samples] == [1, 0]
    assert "numbers of images as texts" in skips(found, "adjusted")[0]
    found = read(coco(tmp_path, 1, 1, image, of), format="coco", classes={"plane": "thing"})
    assert [len(one.labels) for one in found.samples] == [1, 0]
    assert "numbers of classes as texts" in skips(found, "adjusted")[0]


def test_ids_that_are_the_same_but_for_their_type_are_told_apart(tmp_path):
    root = coco(tmp_path, 12, 12, 1, 1)
    data = json.loads((root / "labels.json").read_text())
    data["images"][1]["id"] = "12"
    data["annotations"].append({**data["annotations"][0], "id": 2, "image_id": "12"})
    (root / "labels.json").write_text(json.dumps(data))
    assert [len(one.labels) for one in read(root, format="coco").samples] == [1, 1]
    data["annotations"].append({**data["annotations"][0], "id": 3, "image_id": 12.0})
    (root / "labels.json").write_text(json.dumps(data))
    found = read(root, format="coco")
    assert [len(one.labels) for one in found.samples] == [1, 1]
    assert "(3): are of an image it does not list" in whys(found)


def test_annotations_of_no_image_at_all_are_told(tmp_path):
    root = coco(tmp_path, 12, "a.png", 1, 1)
    with pytest.raises(DatasetError, match=r'none of its 1 annotations.*image "a.png".*is 12;'):
        read(root, format="coco")


# Keypoints


def pose(box, points, dims) -> str:
    x, y, w, h = box
    numbers = [x, y, w, h]
    for dx, dy, visible in points:
        numbers += [x + dx * w, y + dy * h, *([visible] if dims == 3 else [])]
    return "0 " + " ".join(f"{value:.6g}" for value in numbers)


POINTS = [(-0.4, -0.4, 2), (0.4, 0.3, 1), (0.1, 0.45, 2), (0.2, -0.1, 2)]
SMALL = (0.5, 0.5, 0.1, 0.2)


@pytest.mark.parametrize(
    ("count", "dims", "stated"),
    [
        (count, dims, stated)
        for count, dims in itertools.product((1, 2, 3, 4), (2, 3))
        for stated in (True, False)
        # Six numbers are a triangle where nothing says otherwise.
        if stated or (count, dims) != (1, 2)
    ],
)
def test_of_keypoints_the_box_is_read(tmp_path, count, dims, stated):
    data = "names: [plane]\n" + (f"kpt_shape: [{count}, {dims}]\n" if stated else "")
    boxes = (SMALL, (0.3, 0.3, 0.2, 0.1), (0.75, 0.5, 0.1, 0.2))
    lines = [pose(box, POINTS[:count], dims) for box in boxes]
    root = yolo(tmp_path, {"a": "\n".join(lines)}, data)
    found = read(root, format="yolo")
    [sample] = found.samples
    wanted = [(36, 24, 44, 36), (16, 15, 32, 21), (56, 24, 64, 36)]
    assert [label.box for label in sample.labels] == wanted
    assert [label.polygon for label in sample.labels] == [None] * 3
    assert "have keypoints: their boxes are read" in skips(found, "adjusted")[0]


OUTLINE = "0 .4 .4 .6 .4 .6 .6 .4 .6"


def test_outlines_boxes_and_keypoints_may_be_mixed(tmp_path):
    odd = pose(SMALL, [*POINTS[:3]], 3)
    root = yolo(tmp_path, {"a": f"{OUTLINE}\n{odd}\n{BOX}\n"})
    [sample] = read(root, format="yolo").samples
    boxes = [(32, 24, 48, 36), (36, 24, 44, 36), PIXELS]
    assert [label.box for label in sample.labels] == boxes
    assert [label.polygon is not None for label in sample.labels] == [True, False, False]


@pytest.mark.parametrize(
    "lines",
    [
        [OUTLINE],
        # The whole image, closed: zeros and ones stand where visibility would.
        ["0 0 0 1 0 1 1 0 1 0 0"],
        ["0 .5 .1 .9 .5 .5 .9 .1 .5"],
        ["0 .2 .2 .8 .2 .5 .28"] * 4,
        ["0 .2 .2 .8 .2 .8 .25 .2 .25"] * 4,
        ["0 .2 .2 .8 .2 .5 .28 .3 .28"],
        # One that is no line of keypoints is enough, even where another might be.
        [pose(SMALL, POINTS[:2], 2), OUTLINE],
    ],
)
def test_outlines_stay_outlines(tmp_path, lines):
    root = yolo(tmp_path, {str(k): line for k, line in enumerate(lines)})
    found = read(root, format="yolo")
    assert all(one.labels[0].polygon is not None for one in found.samples)
    assert not skips(found, "adjusted")


@pytest.mark.parametrize("shape", ["17", "[0, 3]", "[2, 4]", "[a, 2]", "[2]"])
def test_a_shape_of_keypoints_that_is_none(tmp_path, shape):
    root = yolo(tmp_path, {"a": BOX}, f"names: [plane]\nkpt_shape: {shape}\n")
    with pytest.raises(DatasetError, match=r"kpt_shape .*give points and numbers a point"):
        read(root, format="yolo")


def test_a_class_written_as_a_fraction_is_its_number(tmp_path):
    root = yolo(tmp_path, {"a": "1.0 .5 .5 .25 .5"})
    [sample] = read(root, format="yolo", classes={"ship": "s"}).samples
    assert [(label.label, label.box) for label in sample.labels] == [("s", PIXELS)]
    assert (sample.width, sample.height) == (W, H)
