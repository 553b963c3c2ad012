"""`lanner factory init` beside labels that are there: which class is which, where splits lie."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lanner.cli.app import app
from lanner.factory.config import load_factory
from tests.factory.test_geo import features, polygon
from tests.fixtures_readers import H, W, draw, raster

LINE = "{} .5 .5 .25 .5\n"
SHAPES = [polygon((20, 10), (60, 10), (60, 50)), polygon((2, 2), (9, 2), (9, 9))]


def init(folder: Path, form: str, classes: str, data: str = "../data"):
    words = ("init", str(folder / "new"), "--format", form, "--classes", classes, "--data", data)
    return CliRunner().invoke(app, ["factory", *words])


def source_config(folder: Path, form: str, classes: str, data: str = "../data"):
    """The source that init writes, and what it tells beside the files."""
    done = init(folder, form, classes, data)
    assert done.exit_code == 0, done.stderr
    names = [Path(line).name for line in done.stdout.split()]
    assert names == ["mine.yaml", "mine.factory.yaml"]
    config = load_factory(folder / "new/mine.factory.yaml")
    detector = yaml.safe_load((folder / "new/mine.yaml").read_text())
    wanted = list(dict.fromkeys(one.rpartition("=")[2] for one in classes.split(",")))
    assert detector["classes"] == wanted
    return config, done.stderr


def yolo(root: Path, numbers, data: str = "", folder: str = "") -> None:
    for k, number in enumerate(numbers):
        draw(root / "images" / folder / f"{k}.png", k)
        file = root / "labels" / folder / f"{k}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(LINE.format(number))
    if data:
        (root / "data.yaml").write_text(data)


def coco(path: Path, names, used=None) -> None:
    used = names if used is None else used
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": W, "height": H}],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": names.index(name), "bbox": [1, 2, 9, 9]}
            for k, name in enumerate(used)
        ],
    }
    draw(path.parent / "1.png")
    path.write_text(json.dumps(data))


# Classes


@pytest.mark.parametrize(
    ("classes", "data", "table", "drop"),
    [
        ("pool,car", "names: [car, pool]", {"pool": "pool", "car": "car"}, ()),
        ("pool,car", "names: [Car, pool, tree]", {"pool": "pool", "Car": "car"}, ("tree",)),
        ("swimming pool", "names: {0: Swimming_Pool, 1: car}", {"Swimming_Pool": "swimming pool"},
         ("car",)),
        ("bassin=pool,car", "names: [car, bassin]", {"bassin": "pool", "car": "car"}, ()),
        ("bassin=water,lac=water", "names: [lac, bassin]",
         {"bassin": "water", "lac": "water"}, ()),
        ("pool,car", "", {"0": "pool", "1": "car"}, ()),
        ("1=pool", "", {"1": "pool"}, ("0",)),
    ],
)  # fmt: skip
def test_classes_go_by_the_names_of_the_labels(tmp_path, classes, data, table, drop):
    yolo(tmp_path / "data", (0, 1), data)
    config, text = source_config(tmp_path, "yolo", classes)
    assert config.sources[0].classes == table
    assert config.sources[0].drop == drop
    for theirs, ours in table.items():
        assert f"{theirs} is {ours}" in text
    assert ("left out" in text) == bool(drop)


@pytest.mark.parametrize(
    ("numbers", "data", "table"),
    [((0, 0), "names: [bassin]", {"bassin": "pool"}), ((0,), "", {"*": "pool"}),
     ((4, 4), "", {"*": "pool"}), ((1,), "names: [all, bassin]", {"bassin": "pool"})],
)  # fmt: skip
def test_one_class_of_one(tmp_path, numbers, data, table):
    yolo(tmp_path / "data", numbers, data)
    assert source_config(tmp_path, "yolo", "pool")[0].sources[0].classes == table


@pytest.mark.parametrize(
    ("classes", "numbers", "data", "message"),
    [
        ("pool,car", (0, 1), "names: [car, bassin]",
         "'pool': is no class of data.yaml: there are car, bassin; say which is which, as in "
         "--classes bassin=pool,car (others are left out)"),
        ("pool", (0, 1), "names: [a, b]", "--classes a=pool (others"),
        ("pool,car", (0, 1), "names: [a, b]", "'pool,car': are no classes of data.yaml"),
        ("pool", (0, 1), "", "have numbers alone: 0, 1; say which is which"),
        ("pool,car", (3, 1), "", "have numbers alone: 1, 3; say which is which; others are left "
         "out: --classes 1=pool,3=car"),
        ("x=pool,car", (0, 1), "names: [car, bassin]", "'x=pool': is no class of data.yaml"),
        ("pool,Pool", (0, 1), "names: [pool, car]", "'Pool': is no class of data.yaml"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked_for(tmp_path, classes, numbers, data, message):
    yolo(tmp_path / "data", numbers, data)
    done = init(tmp_path, "yolo", classes)
    assert done.exit_code == 14
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("a=pool,a=car", "names one twice"),
        ("pool,a=pool", "names one twice"),
        ("=pool", "names no class"),
        ("a=", "names no class"),
    ],
)
def test_classes_that_contradict_themselves(tmp_path, classes, message):
    done = init(tmp_path, "yolo", classes)
    assert done.exit_code == 14
    assert message in done.stderr


@pytest.mark.parametrize(
    ("form", "table"),
    [
        ("yolo", {"0": "pool", "1": "car"}),
        ("coco", {"pool": "pool", "car": "car"}),
        ("voc", {"pool": "pool", "car": "car"}),
        ("masks", {"pool": "pool", "car": "car"}),
        ("geo", {"pool": "pool", "car": "car"}),
    ],
)
def test_several_classes_are_never_taught_as_one(tmp_path, form, table):
    """Before there are labels: what is written is told, and a class of another name is refused."""
    config, text = source_config(tmp_path, form, "pool,car")
    assert config.sources[0].classes == table
    assert text
    assert config.sources[0].options.get("field") == ("class" if form == "geo" else None)


def test_coco_by_its_categories(tmp_path):
    (tmp_path / "data").mkdir()
    coco(tmp_path / "data/labels.json", ["thing", "car", "Pool"], ["car", "Pool"])
    config, text = source_config(tmp_path, "coco", "pool,car")
    assert config.sources[0].classes == {"Pool": "pool", "car": "car"}
    assert config.sources[0].drop == ("thing",)
    assert "of labels.json" in text


def test_coco_of_one_class_that_is_used(tmp_path):
    (tmp_path / "data").mkdir()
    coco(tmp_path / "data/labels.json", ["supercategory", "bassin"], ["bassin"])
    assert source_config(tmp_path, "coco", "pool")[0].sources[0].classes == {"bassin": "pool"}


def test_voc_and_dota_by_what_their_objects_are_called(tmp_path):
    for k, name in enumerate(("pool", "car", "tree")):
        draw(tmp_path / f"voc/JPEGImages/{k}.png", k)
        (tmp_path / "voc/Annotations").mkdir(exist_ok=True)
        xml = f"<annotation><object><name>{name}</name></object></annotation>"
        (tmp_path / f"voc/Annotations/{k}.xml").write_text(xml)
        (tmp_path / "dota/labelTxt").mkdir(exist_ok=True, parents=True)
        (tmp_path / f"dota/labelTxt/{k}.txt").write_text(f"gsd:1\n1 1 9 1 9 9 1 9 {name} 0\n")
    for form in ("voc", "dota"):
        config, _ = source_config(tmp_path / form, form, "pool,car", f"../../{form}")
        assert config.sources[0].classes == {"pool": "pool", "car": "car"}
        assert config.sources[0].drop == ("tree",)
        done = init(tmp_path / "other", form, "lake", f"../../{form}")
        assert "'lake': is no class of the labels: there are car, pool, tree" in done.stderr


# Vector files


def geo(root: Path, name: str = "a.gpkg", **columns) -> None:
    raster(root / "a.tif")
    features(root / name, SHAPES, **columns)


def test_vector_files_by_the_column_that_holds_the_classes(tmp_path):
    geo(tmp_path / "data", kind=["Pool", "car"], remark=["x", "y"])
    config, text = source_config(tmp_path, "geo", "pool,car")
    assert config.sources[0].classes == {"Pool": "pool", "car": "car"}
    assert config.sources[0].options == {"field": "kind"}
    assert "column kind of a.gpkg" in text


def test_vector_files_by_values_that_are_said(tmp_path):
    geo(tmp_path / "data", "all.gpkg", code=[3, 7], number=[3, 7], fid2=[1, 2])
    done = init(tmp_path, "geo", "3=pool,7=car")
    assert "is in several columns of all.gpkg: code, number" in done.stderr
    geo(tmp_path / "data", "all.gpkg", class_code=[3, 7], number=[3, 7])
    config, _ = source_config(tmp_path, "geo", "3=pool,7=car")
    assert config.sources[0].classes == {"3": "pool", "7": "car"}
    assert config.sources[0].options == {"labels": "all.gpkg", "field": "class_code"}


def test_one_class_of_a_column_leaves_the_others_out(tmp_path):
    geo(tmp_path / "data", "a.geojson", type=["tank", "silo"])
    config, text = source_config(tmp_path, "geo", "tank")
    assert config.sources[0].classes == {"tank": "tank"}
    assert config.sources[0].drop == ("silo",)
    assert "left out: silo" in text


def test_one_class_of_no_column_takes_every_feature_and_says_so(tmp_path):
    geo(tmp_path / "data", remark=["x", "y"])
    config, text = source_config(tmp_path, "geo", "tank")
    assert config.sources[0].classes == {"*": "tank"}
    assert config.sources[0].options == {}
    assert "every feature is taken as tank" in text
    assert "remark: x, y" in text


def test_several_classes_of_no_column_are_asked_for(tmp_path):
    geo(tmp_path / "data", remark=["x", "y"])
    done = init(tmp_path, "geo", "pool,car")
    assert done.exit_code == 14
    assert "no column of a.gpkg holds all of them (remark: x, y)" in done.stderr
    assert "--classes VALUE=pool,VALUE=car" in done.stderr


def test_tables_are_looked_into_as_well(tmp_path):
    raster(tmp_path / "data/a.tif")
    rows = "".join(f'"{one.wkt}",{name}\n' for one, name in zip(SHAPES, "xy", strict=True))
    (tmp_path / "data/a.csv").write_text(f"wkt,sort\n{rows}")
    (tmp_path / "data/stats.json").write_text('{"mean": 3}')
    config, _ = source_config(tmp_path, "geo", "x=pool,y=car")
    assert config.sources[0].options == {"field": "sort"}


# Splits


def test_splits_are_where_the_labels_are(tmp_path):
    yolo(tmp_path / "keys", (0,), "train: images/a\nval: images/b\nnames: [pool]", "a")
    config, _ = source_config(tmp_path / "k", "yolo", "pool", "../../keys")
    assert config.sources[0].splits == {"train": "train", "valid": "val"}
    for folder in ("train", "val"):
        yolo(tmp_path / "folders", (0,), "", folder)
    config, _ = source_config(tmp_path / "f", "yolo", "pool", "../../folders")
    assert config.sources[0].splits == {"train": "train", "valid": "val"}
    yolo(tmp_path / "none", (0,))
    config, _ = source_config(tmp_path / "n", "yolo", "pool", "../../none")
    assert (config.sources[0].splits, config.dataset.split.by) == ({}, "hash")


def test_coco_files_name_splits(tmp_path):
    for name in ("train/_annotations.coco.json", "valid/_annotations.coco.json"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        coco(tmp_path / "data" / name, ["pool"])
    config, _ = source_config(tmp_path, "coco", "pool")
    assert config.sources[0].splits == {
        "train": "train/_annotations.coco.json", "valid": "valid/_annotations.coco.json",
    }  # fmt: skip


def test_what_init_writes_is_explored(tmp_path):
    """The whole way, as somebody goes it: pools are pools and cars are cars."""
    for folder in ("train", "val"):
        yolo(tmp_path / "data", (0, 1), "train: images/train\nval: images/val\nnames: [a, car]",
             folder)  # fmt: skip
    source_config(tmp_path, "yolo", "a=pool,car")
    words = ["factory", "explore", str(tmp_path / "new/mine.factory.yaml"), "--json",
             "--workdir", str(tmp_path / "w")]  # fmt: skip
    # Pictures are the same in both splits, which the starter's limits refuse.
    file = tmp_path / "new/mine.factory.yaml"
    file.write_text(file.read_text().replace("duplicates_across_splits: 0, ", ""))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    from lanner.factory.samples import read_samples

    samples = read_samples(tmp_path / "w/01_explore/samples.jsonl")
    assert {one.id: one.labels[0].label for one in samples} == {
        "first/train/0": "pool", "first/train/1": "car",
        "first/valid/0": "pool", "first/valid/1": "car",
    }  # fmt: skip


def test_a_class_may_be_written_as_a_number(tmp_path):
    yolo(tmp_path / "data", (0, 1))
    source_config(tmp_path, "yolo", "pool,car")
    file = tmp_path / "new/mine.factory.yaml"
    file.write_text(file.read_text().replace('"0": pool, "1": car}', "0: pool}\n    drop: [1]"))
    source = load_factory(file).sources[0]
    assert (source.classes, source.drop) == ({"0": "pool"}, ("1",))
