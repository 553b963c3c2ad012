"""Formats without a map: what is read, skipped and refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.images import read_mask, write_png
from lanner.factory.samples import MASK_UNKNOWN
from tests.fixtures_readers import RNG, H, W, draw, read, whys

# COCO


def coco(folder: Path, **changes: object) -> Path:
    for k in (1, 2):
        draw(folder / f"images/{k}.png", k)
    data = {
        "images": [
            {"id": k, "file_name": f"images/{k}.png", "width": W, "height": H} for k in (1, 2)
        ],
        "categories": [{"id": 7, "name": "plane"}, {"id": 8, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 10, 20]},
            {
                "id": 2, "image_id": 2, "category_id": 8, "bbox": [0, 0, 9, 9], "iscrowd": 1,
                "segmentation": {"counts": [1], "size": [H, W]},
            },
            {
                "id": 3, "image_id": 2, "category_id": 7, "bbox": [3, 3, 5, 4],
                "segmentation": [[3, 3, 8, 3, 8, 7]],
            },
        ],
        **changes,
    }  # fmt: skip
    (folder / "train.json").write_text(json.dumps(data))
    return folder


def test_coco(tmp_path):
    found = read(coco(tmp_path), format="coco", splits={"train": "train.json"})
    one, two = found.samples
    assert (one.id, one.split, one.image) == ("s/train/1", "train", tmp_path / "images/1.png")
    assert one.labels[0].box == (1, 2, 11, 22)
    assert [label.weight for label in two.labels] == [0, 1]
    assert two.labels[0].flags == ("crowd", "parts")
    assert two.labels[1].polygon == ((3, 3), (8, 3), (8, 7))
    assert not found.skipped


def test_coco_bad_images_and_annotations_are_recorded(tmp_path):
    root = coco(tmp_path)
    data = json.loads((root / "train.json").read_text())
    data["images"] += [
        {"id": 3, "file_name": "images/3.png", "width": W, "height": H},
        {"id": 4, "file_name": "images/gone.png", "width": W, "height": H},
        {"id": 5, "file_name": "images/5.png", "width": 2 * W, "height": H},
    ]
    (root / "images/3.png").write_bytes(b"no image")
    draw(root / "images/5.png", 5)
    data["annotations"] += [
        {"id": 10, "image_id": 99, "category_id": 7, "bbox": [1, 2, 3, 4]},
        {"id": 11, "image_id": 1, "category_id": 70, "bbox": [1, 2, 3, 4]},
        {"id": 12, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3]},
        {"id": 13, "image_id": 1, "category_id": 7, "bbox": [1, float("nan"), 3, 4]},
        {"id": 14, "image_id": 4, "category_id": 7, "bbox": [1, 2, 3, 4]},
    ]
    (root / "train.json").write_text(json.dumps(data))
    found = read(root, format="coco", splits={"train": "train.json"})
    assert [one.id for one in found.samples] == ["s/train/2"]
    for part in ("3.png", "gone.png", "5.png", "(10)", "ion 11", "ion 12", "ion 13", "image 4: 1"):
        assert part in whys(found), part
    kinds = [one.kind for one in found.skipped]
    assert (kinds.count("unreadable_labels"), kinds.count("skipped"), len(kinds)) == (1, 5, 6)


@pytest.mark.parametrize(
    ("segmentation", "flags"),
    [([[]], ()), ([[1, 2, 11, 22]], ("parts",)), ([], ()), ([5], ("parts",))],
)
def test_coco_an_object_is_not_lost_for_an_outline_that_is_none(tmp_path, segmentation, flags):
    root = coco(tmp_path)
    data = json.loads((root / "train.json").read_text())
    data["annotations"][0]["segmentation"] = segmentation
    for one in data["images"]:
        one.update(width=float(W), height=float(H))
    (root / "train.json").write_text(json.dumps(data))
    found = read(root, format="coco", splits={"train": "train.json"})
    [label] = found.samples[0].labels
    assert (label.box, label.polygon, label.flags) == ((1, 2, 11, 22), None, flags)
    assert not found.skipped
    del data["annotations"][0]["bbox"]
    data["images"][0]["width"] = 79.5
    (root / "train.json").write_text(json.dumps(data))
    found = read(root, format="coco", splits={"train": "train.json"})
    assert "no file_name or size" in whys(found)


def test_classes_are_mapped_dropped_or_refused(tmp_path):
    root, facts = coco(tmp_path), {"format": "coco", "splits": {"train": "train.json"}}
    found = read(root, **facts, classes={"plane": "aircraft"}, drop=["ship"])
    assert {label.label for one in found.samples for label in one.labels} == {"aircraft"}
    with pytest.raises(DatasetError, match=r"'ship'.*neither.*did you mean 'shop'"):
        read(root, **facts, classes={"plane": "aircraft", "shop": "boat"})
    with pytest.raises(DatasetError, match=r"'boat'.*empty class.*tug"):
        read(root, **facts, classes={"plane": "aircraft", "tug": "boat"}, drop=["ship"])
    found = read(root, **facts, classes={"plane": "a", "ship": "boat", "tug": "boat"})
    assert "class tug: no object" in whys(found)


def test_roles_without_labels(tmp_path):
    root, facts = coco(tmp_path), {"format": "coco", "splits": {"train": "train.json"}}
    assert not any(one.labels for one in read(root, **facts, role="unlabelled").samples)
    with pytest.raises(DatasetError, match="have objects"):
        read(root, **facts, role="negative")
    found = read(root, **facts, role="negative", classes={}, drop=["plane", "ship"])
    assert {one.role for one in found.samples} == {"negative"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "no JSON"), ("[]", "no list of images"), ('{"images": [3]}', "no list of images")],
)
def test_coco_that_is_none(tmp_path, text, problem):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DatasetError, match=problem):
        read(tmp_path, format="coco", splits={"train": "train.json"})


def test_splits_in_use(tmp_path):
    root = coco(tmp_path)
    (root / "test.json").write_text((root / "train.json").read_text())
    splits = {"train": "train.json", "test": "test.json"}
    assert len(read(root, format="coco", splits=splits).samples) == 4
    used = read(root, format="coco", splits=splits, use=["test"])
    assert {one.split for one in used.samples} == {"test"}
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        read(root, format="coco", splits=splits, use=["tests"])


# Text formats


def test_dota(tmp_path):
    draw(tmp_path / "train/images/P1.png")
    draw(tmp_path / "train/images/P2.png", 1)
    draw(tmp_path / "train/images/P3.png", 2)
    labels = tmp_path / "train/labelTxt"
    labels.mkdir()
    lines = "imagesource:GoogleEarth\ngsd:0.25\n10 5 30 5 30 15 10 15 plane 1\n"
    labels.joinpath("P1.txt").write_text(lines)
    labels.joinpath("P3.txt").write_text(lines + "1 2 3 plane\n")
    labels.joinpath("P9.txt").write_text("")
    found = read(tmp_path, format="dota", splits={"train": "train"})
    one, two = found.samples
    assert one.gsd == 0.25
    assert one.labels[0].box == (10, 5, 30, 15)
    assert one.labels[0].polygon == ((10, 5), (30, 5), (30, 15), (10, 15))
    assert one.labels[0].flags == ("difficult",)
    assert two.role == "unlabelled"
    for part in ("P3.txt: line 4 is", "P2.png: has no label file", "P9.txt"):
        assert part in whys(found), part


def yolo(root: Path, lines: str) -> Path:
    draw(root / "images/train/a.png")
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text(lines)
    (root / "data.yaml").write_text("names: [plane, ship]\n")
    return root


def test_yolo(tmp_path):
    root = yolo(tmp_path, "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.3\n\n")
    draw(root / "images/train/b.png", 1)
    draw(root / "images/train/c.png", 2)
    lines = "0 .5 .5 .1 .1\n0 40 30 20 30\n5 .5 .5 .1 .1\n0 .5 .5\n"
    (root / "labels/train/c.txt").write_text(lines)
    facts = {"format": "yolo", "splits": {"train": "train"}, "classes": {"plane": "p", "ship": "s"}}
    found = read(root, **facts)
    assert [label.box for label in found.samples[0].labels] == [(30, 15, 50, 45), (8, 6, 16, 18)]
    assert found.samples[0].labels[1].polygon == ((8, 6), (16, 6), (16, 18))
    assert [label.label for label in found.samples[0].labels] == ["p", "s"]
    for part in ("line 2 is malformed (numbers are not normalised", "line 3", "line 4", "b.png"):
        assert part in whys(found), part
    assert [one.id for one in found.samples] == ["s/train/a", "s/train/b"]
    negative = read(root, **facts, options={"no_file": "negative"})
    assert negative.samples[1].role == "negative"


def test_label_files_that_fit_no_image(tmp_path):
    root = yolo(tmp_path, "0 .5 .5 .1 .1\n")
    (root / "labels/train/a.txt").rename(root / "labels/train/other.txt")
    with pytest.raises(DatasetError, match="fit no image at all"):
        read(root, format="yolo", splits={"train": "train"})


@pytest.mark.parametrize(
    ("options", "box"), [({}, (9, 4, 30, 15)), ({"origin": 0}, (10, 5, 30, 15))]
)
def test_voc(tmp_path, options, box):
    for name in "abcd":
        draw(tmp_path / f"JPEGImages/{name}.png")
    (tmp_path / "Annotations").mkdir()
    xml = (
        "<annotation><size><width>{w}</width><height>60</height></size><object><name>plane</name>"
        "<difficult>1</difficult><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>30</xmax><ymax>15"
        "</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "Annotations/a.xml").write_text(xml.format(w=W))
    boxless = "<object><name>plane</name></object></annotation>"
    (tmp_path / "Annotations/d.xml").write_text(xml.format(w=W).replace("</annotation>", boxless))
    (tmp_path / "Annotations/b.xml").write_text(xml.format(w=W + 1))
    (tmp_path / "Annotations/c.xml").write_text("<annotation>")
    found = read(tmp_path, format="voc", options=options)
    assert [one.id for one in found.samples] == ["s/a"]
    assert [label.box for label in found.samples[0].labels] == [box]
    assert found.samples[0].labels[0].flags == ("difficult",)
    for part in ("d.xml: object 2 is", "b.png: is 80x60", "c.xml: is no XML"):
        assert part in whys(found), part


def test_voc_is_read_in_the_encoding_that_it_says(tmp_path):
    """What the parser knows by itself, what it does not, and what nobody can read."""
    names = {
        "a": ("GB2312", "gb2312", "飞机"),
        "b": ("gb2312", "gbk", "飛機"),
        "c": ("GBK", "gbk", "飛機"),
        "d": ("Shift_JIS", "shift_jis", "航空機"),
        "e": ("iso-2022-jp", "iso-2022-jp", "航空機"),
        "f": ("UTF-8", "utf-8-sig", "飞机"),
        "g": ("utf-16", "utf-16", "飞机"),
        "h": ("windows-1252", "cp1252", "Flügel"),
        "p": ("GBK", "utf-8", "飞机场"),
        "q": ("klingon", "utf-8", "飞机"),
        "r": ("hex", "utf-8", "飞机"),
        "s": ("utf-8", "gbk", "飞机"),
    }
    (tmp_path / "Annotations").mkdir()
    for k, (name, (declared, real, word)) in enumerate(names.items()):
        draw(tmp_path / f"JPEGImages/{name}.png", k)
        text = (
            f"<?xml version='1.0' encoding='{declared}'?><annotation><object><name>{word}</name>"
            "<bndbox><xmin>10</xmin><ymin>5</ymin><xmax>30</xmax><ymax>15</ymax></bndbox>"
            "</object></annotation>"
        )
        (tmp_path / f"Annotations/{name}.xml").write_bytes(text.encode(real))
    classes = dict.fromkeys((word for *_, word in names.values()), "aircraft")
    found = read(tmp_path, format="voc", classes=classes)
    assert [one.id for one in found.samples] == [f"s/{name}" for name in "abcdefgh"]
    assert [len(one.labels) for one in found.samples] == [1] * 8
    for name in "pqrs":
        assert f"{name}.xml: is no XML" in whys(found)


# Masks and bare images


def test_masks_get_the_numbers_of_our_classes(tmp_path):
    draw(tmp_path / "images/a.png")
    mask = np.zeros((H, W), np.uint8)
    mask[:5], mask[5:9], mask[9:11] = 1, 2, MASK_UNKNOWN
    write_png(mask, tmp_path / "masks/a.png")
    found = read(tmp_path, format="masks", classes={"track": "road"}, drop=["water"])
    got = read_mask(found.samples[0].mask)
    assert (got[:5] == 1).all()
    assert (got[5:9] == 0).all()
    assert (got[9:11] == MASK_UNKNOWN).all()
    with pytest.raises(DatasetError, match="value 2"):
        read(tmp_path, format="masks", classes={"track": "road"})
    with pytest.raises(DatasetError, match="empty class"):
        read(tmp_path, format="masks", classes={"track": "a", "water": "b", "rail": "c"})


@pytest.mark.parametrize("folder", ["", "masks"])
def test_masks_among_the_images_are_no_images(tmp_path, folder):
    for name in "ab":
        Image.new("RGB", (W, H)).save(tmp_path / f"{name}.jpg")
    write_png(np.eye(H, W, dtype=np.uint8), tmp_path / folder / "a.png")
    write_png(np.eye(H, W, dtype=np.uint8), tmp_path / folder / "c.png")
    options = {"images": "", "masks": folder}
    found = read(tmp_path, format="masks", classes={"road": "road"}, options=options)
    assert [(one.image.name, one.role) for one in found.samples] == [
        ("a.jpg", "labelled"), ("b.jpg", "unlabelled"),
    ]  # fmt: skip
    assert "c.png): no image is called like them" in whys(found)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(DatasetError, match="fit no image at all"):
        read(tmp_path, format="masks", classes={"road": "road"}, options=options)


def test_images_of_one_name_are_recorded(tmp_path):
    root = yolo(tmp_path, "0 .5 .5 .1 .1\n")
    Image.open(root / "images/train/a.png").save(root / "images/train/a.jpg")
    facts = {"format": "yolo", "splits": {"train": "train"}, "classes": {"plane": "p"}}
    found = read(root, **facts)
    assert [one.image.name for one in found.samples] == ["a.png"]
    assert "images/train/a.jpg: is called like a.png, which is read" in whys(found)


def test_white_is_no_image_where_there_is_much_of_it(tmp_path):
    rgb = RNG.integers(0, 200, (100, 120, 3), np.uint8)
    rgb[:, :40] = 255
    rgb[50:60, 80:90] = 255
    write_png(rgb, tmp_path / "images/a.png")
    cv2.imwrite(
        str(tmp_path / "bits.png"), np.tri(100, 120, dtype=np.uint8) * 255,
        [cv2.IMWRITE_PNG_BILEVEL, 1],
    )  # fmt: skip
    (tmp_path / "masks").mkdir()
    (tmp_path / "bits.png").rename(tmp_path / "masks/a.png")
    facts = {"format": "masks", "classes": {"road": "road"}}
    plain = read_mask(read(tmp_path, **facts).samples[0].mask)
    assert set(np.unique(plain)) == {0, 1}
    got = read_mask(read(tmp_path, **facts, options={"missing": "white"}).samples[0].mask)
    assert (got[:, :44] == MASK_UNKNOWN).all()
    assert np.array_equal(got[:, 44:], plain[:, 44:])
    with pytest.raises(ConfigError, match="did you mean 'missing'"):
        read(tmp_path, **facts, options={"mising": "white"})
    with pytest.raises(ConfigError, match="'grey': is not known; give white or black"):
        read(tmp_path, **facts, options={"missing": "grey"})


def test_black_is_no_image_where_there_is_much_of_it(tmp_path):
    rgb = RNG.integers(20, 255, (100, 120, 3), np.uint8)
    rgb[:, :40] = 3
    rgb[50:60, 80:90] = 0
    write_png(rgb, tmp_path / "images/a.png")
    write_png(np.eye(100, 120, dtype=np.uint8), tmp_path / "masks/a.png")
    facts = {"format": "masks", "classes": {"road": "road"}, "options": {"missing": "black"}}
    got = read_mask(read(tmp_path, **facts).samples[0].mask)
    assert (got[:, :44] == MASK_UNKNOWN).all()
    assert np.array_equal(got[:, 44:], np.eye(100, 120, dtype=np.uint8)[:, 44:])


def test_bare_images_with_ids_of_their_own(tmp_path):
    for name in ("field/a.png", "wood/a.png", "wood/b.png", "jet/c.png"):
        draw(tmp_path / name)
    (tmp_path / "wood/b.png").write_bytes(b"")
    found = read(tmp_path, format="images", role="negative", options={"skip": ["jet"]})
    assert [one.id for one in found.samples] == ["s/a", "s/wood/a"]
    assert "wood/b.png: does not decode" in whys(found)
    assert "jet/c.png" in whys(found)
    with pytest.raises(ConfigError, match="role"):
        read(tmp_path, format="images")


def test_labels_beside_the_factory_file(tmp_path):
    """Images here, labels in the team's own repository; what has none is left where it is."""
    images, own = tmp_path / "data" / "town", tmp_path / "repo" / "labels" / "first" / "a"
    own.mkdir(parents=True)
    for k, name in enumerate(("a/one.png", "a/two.png", "b/one.png")):
        draw(images / name, k)
    Image.fromarray(np.eye(60, 80, dtype=np.uint8)).save(own / "two.png")
    facts = {
        "format": "masks",
        "labels": "../../repo/labels",
        "splits": {"train": "first"},
        "classes": {"road": "road"},
    }
    every = read(images, **facts)
    assert [one.role for one in every.samples] == ["unlabelled", "labelled", "unlabelled"]
    found = read(images, **facts, options={"no_file": "leave"})
    assert [one.id for one in found.samples] == ["s/train/two"]
    assert found.samples[0].image == images / "a" / "two.png"
    assert "(a/one, b/one" in whys(found)
    with pytest.raises(DatasetError, match="is no folder"):
        read(images, **{**facts, "labels": "nowhere"})
    with pytest.raises(ConfigError, match="is not for the format coco"):
        read(images, **{**facts, "format": "coco"})
