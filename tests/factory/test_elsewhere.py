"""Images named as on another machine, and YOLO's own word of where the images of a split are."""

import json
import shutil
from pathlib import Path

import pytest

from lanner.core.errors import DatasetError
from lanner.factory.config import FactoryConfig
from lanner.factory.project import SAMPLES, Project
from lanner.factory.readers.elsewhere import find_images
from lanner.factory.samples import read_samples
from tests.fixtures_readers import H, W, draw, read, whys

BOX = "0 .5 .5 .25 .5\n"


def coco(root: Path, names: list[str], file: str = "labels.json") -> Path:
    images = [{"id": k, "file_name": name, "width": W, "height": H} for k, name in enumerate(names)]
    notes = [
        {"id": k, "image_id": k, "category_id": 1, "bbox": [k + 1, 2, 10, 20]}
        for k in range(len(names))
    ]
    data = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "plane"}]}
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(data))
    return root


def found_at(found, root: Path) -> dict[str, float]:
    """Where each sample's image lies, and the left of its box: one more than its number."""
    return {
        one.image.relative_to(root).as_posix(): one.labels[0].box[0] - 1 for one in found.samples
    }


@pytest.mark.parametrize(
    "names",
    [
        [r"C:\data\img\a.jpg", r"C:\data\img\b.jpg"],
        ["D:/data/img/a.jpg", "D:/data/img/b.jpg"],
        [r"\\server\share\img\a.jpg", r"\\server\share\img\b.jpg"],
        ["/home/x/img/a.jpg", "/home/x/img/b.jpg"],
        [r"img\a.jpg", r".\img\b.jpg"],
        ["/home/x/IMG/A.JPG", "/home/x/img/b.jpg"],
    ],
)
def test_paths_of_another_machine_are_found_by_their_end(tmp_path, names):
    for k, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        draw(tmp_path / "raw.png", k)
        (tmp_path / "set/img").mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "raw.png", tmp_path / f"set/img/{name}")
    found = read(coco(tmp_path, names), format="coco")
    assert found_at(found, tmp_path) == {"set/img/a.jpg": 0, "set/img/b.jpg": 1}
    [skip] = found.skipped
    assert skip.kind == "adjusted"
    assert skip.what.startswith("images: 2 (")
    assert "found by the end of their path" in skip.why


def test_of_images_called_alike_the_one_with_the_longest_end_is_meant(tmp_path):
    for k, name in enumerate(("one/img/a.png", "two/img/a.png", "two/mask/a.png", "two/b.png")):
        draw(tmp_path / name, k)
    names = ["/x/one/img/a.png", r"C:\two\img\a.png", "/x/three/a.png", "/x/gone.png", "/x/b.png"]
    found = read(coco(tmp_path, names), format="coco")
    assert found_at(found, tmp_path) == {"one/img/a.png": 0, "two/img/a.png": 1, "two/b.png": 4}
    assert "/x/three/a.png: is not there, and 3 images are called like it" in whys(found)
    assert "/x/gone.png: is not there" in whys(found)


def test_one_image_is_never_taken_for_two(tmp_path):
    draw(tmp_path / "img/a.png")
    draw(tmp_path / "img/b.png", 1)
    names = ["/x/one/a.png", "/x/two/a.png", "/x/b.png"]
    found = read(coco(tmp_path, names), format="coco")
    assert found_at(found, tmp_path) == {"img/b.png": 2}
    assert whys(found).count("the image called like it is another one's") == 2
    names = ["img/a.png", "/x/two/a.png", "/x/b.png"]
    assert found_at(read(coco(tmp_path, names), format="coco"), tmp_path) == {
        "img/a.png": 0, "img/b.png": 2,
    }  # fmt: skip


def test_a_relative_name_that_is_gone_is_not_found_elsewhere(tmp_path):
    """A numbered image of another split is called alike, and is another image."""
    draw(tmp_path / "train/1.png")
    draw(tmp_path / "valid/2.png", 1)
    coco(tmp_path, ["1.png", "2.png"], "train/labels.json")
    found = read(tmp_path, format="coco", splits={"train": "train/labels.json"})
    assert found_at(found, tmp_path) == {"train/1.png": 0}
    assert "2.png: is not there" in whys(found)


def test_relative_names_from_another_folder_are_found(tmp_path):
    draw(tmp_path / "images/train/1.png")
    draw(tmp_path / "images/train/2.png", 1)
    coco(tmp_path, ["train/1.png", "train/2.png"], "annotations/train.json")
    found = read(tmp_path, format="coco", splits={"train": "annotations/train.json"})
    assert found_at(found, tmp_path) == {"images/train/1.png": 0, "images/train/2.png": 1}


def test_names_that_no_file_can_have(tmp_path):
    names = ["a\0b.png", "x" * 5000, "", "/", "..", r"C:\\"]
    found = find_images(names, (tmp_path,), tmp_path)
    assert [one.path for one in found.values()] == [None] * len(names)


# YOLO's data file


def yolo(root: Path, data: str, folders=("images/train2017", "images/val2017")) -> Path:
    for k, folder in enumerate(folders):
        draw(root / folder / f"{k}.png", k)
        file = root / folder.replace("images", "labels") / f"{k}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(BOX)
    (root / "data.yaml").write_text(f"{data}\nnames: {{0: plane}}\n")
    return root


SPLITS = {"train": "train", "valid": "val"}


def ids(found) -> list[str]:
    return [one.id for one in found.samples if len(one.labels) == 1]


@pytest.mark.parametrize(
    "data",
    [
        "path: .\ntrain: images/train2017\nval: images/val2017",
        "path: ../datasets/coco8\ntrain: images/train2017\nval: images/val2017",
        "train: ../images/train2017\nval: ../images/val2017",
        "path: ../yolo\ntrain: [images/train2017]\nval: [images/val2017]",
        "train: ./images/train2017/\nval: ./images/val2017\ntest:",
        "path: C:\\sets\\coco8\ntrain: images\\train2017\nval: images\\val2017",
        "train: C:\\sets\\coco8\\images\\train2017\nval: /home/x/coco8/images/val2017",
        "train: /home/x/images/train2017\nval: images/val2017\nminival: images/nowhere",
    ],
)
def test_splits_are_keys_of_the_data_file(tmp_path, data):
    root = yolo(tmp_path / "yolo", data)
    for splits in (SPLITS, {"train": "train", "valid": "valid"}):
        found = read(root, format="yolo", splits=splits)
        assert ids(found) == ["s/train/0", "s/valid/1"]
        adjusted = [one for one in found.skipped if one.kind == "adjusted"]
        assert len(found.skipped) == len(adjusted)
        assert any("/home/x" in one.what for one in adjusted) == ("/home/x" in data)


@pytest.mark.parametrize(
    "line",
    ["./images/all/{}.png", "images/all/{}.png", "/home/x/set/images/all/{}.png",
     r"D:\set\images\all\{}.png", "{root}/images/all/{}.png"],
)  # fmt: skip
@pytest.mark.parametrize("by", ["train.txt", "key", "list"])
def test_lists_of_images(tmp_path, line, by):
    for k in range(4):
        yolo(tmp_path, "", (f"images/all/{k}",))
        draw(tmp_path / f"images/all/{k}.png", k)
        (tmp_path / f"labels/all/{k}.txt").write_text(BOX)
    for name, numbers in (("train.txt", (0, 1, 1)), ("val.txt", (3,))):
        lines = (line.format(k, root=tmp_path) for k in numbers)
        (tmp_path / name).write_text("\n".join(lines) + "\n\n")
    keys = "train: train.txt\nval: [val.txt]"
    (tmp_path / "data.yaml").write_text(f"{keys if by == 'key' else ''}\nnames: [plane]\n")
    splits = SPLITS if by == "key" else {"train": "train.txt", "valid": "val.txt"}
    if by == "list":
        (tmp_path / "data.yaml").unlink()
    found = read(tmp_path, format="yolo", splits=splits)
    assert ids(found) == ["s/train/0", "s/train/1", "s/valid/3"]


@pytest.mark.parametrize(
    ("data", "splits", "message"),
    [
        ("train: images/train2017", {"test": "test"},
         r"'test': is no folder below .*nor does data.yaml have it; give splits: {train: train}"),
        ("train: images/nowhere\nval: x", SPLITS,
         r"'train': data.yaml has train: images/nowhere, which is no folder or list here"),
        ("train: images/train2017\nval: images/val2017", {"train": "images/train"},
         r"give splits: {train: train, valid: val}"),
        ("train: images/bare\nval: images/val2017", {"train": "train"},
         r"none of its 1 images has a label file, such as labels/bare/b.txt"),
    ],
)  # fmt: skip
def test_what_the_data_file_says_and_is_not_there(tmp_path, data, splits, message):
    root = yolo(tmp_path, data)
    draw(root / "images/bare/b.png")
    with pytest.raises(DatasetError, match=message):
        read(root, format="yolo", splits=splits)


def test_without_splits_the_data_file_says_which_to_give(tmp_path):
    root = yolo(
        tmp_path, "train: ../train/images\nval: ../valid/images", ("train/images", "valid/images")
    )
    with pytest.raises(DatasetError, match=r"fit no image at all; give splits: {train: train, v"):
        read(root, format="yolo")
    assert ids(read(root, format="yolo", splits={"train": "train", "valid": "valid"})) == [
        "s/train/0", "s/valid/1",
    ]  # fmt: skip


def test_the_folder_of_images_itself_may_be_the_split(tmp_path):
    root = yolo(tmp_path, "")
    found = read(root, format="yolo", splits={"train": "images/train2017"})
    assert ids(found) == ["s/train/0"]


def test_explore_reads_what_the_data_file_says(tmp_path):
    from lanner.factory.steps.explore import run
    from tests.fixtures_process import ROOT

    root = yolo(tmp_path / "data", "path: /elsewhere\ntrain: images/train2017\nval: images/val2017")
    source = {"name": "s", "format": "yolo", "root": ".", "splits": SPLITS}
    config = FactoryConfig.model_validate({
        "factory": "t", "detector": str(ROOT / "configs" / "aircraft.yaml"), "data": str(root),
        "sources": [{**source, "classes": {0: "aircraft", "plane": "aircraft"}}],
    })  # fmt: skip
    project = Project(config, tmp_path / "t.yaml", tmp_path / "work")
    assert run(project).summary["objects"] == 2
    samples = read_samples(project.step_dir("explore") / SAMPLES)
    assert {one.split for one in samples} == {"train", "valid"}
