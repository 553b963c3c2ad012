"""The frozen dataset: splits that hold, versions that follow content, exports that read back."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import DatasetError
from lanner.factory.config import FactoryConfig, Split
from lanner.factory.images import write_png
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.readers import read_source
from lanner.factory.samples import Label, Sample, read_samples, write_samples
from lanner.factory.steps import dataset, process
from lanner.factory.steps.dataset.manifest import Hashes
from lanner.factory.steps.dataset.split import EARTH_M, assign_splits, by_fraction, cells
from tests.fixtures_process import after, project_of

W, H = 64, 48
BLOCK = Split(by="block", block_m=200)


def shop_in(root: Path, **changes: object) -> Project:
    source = {"name": "s", "format": "coco", "root": ".", "classes": {"p": "plane", "b": "ship"}}
    facts = {"factory": "t", "detector": "d.yaml", "data": str(root), "sources": [source]}
    return Project(FactoryConfig(**{**facts, **changes}), root / "t.yaml", root / "work")


def drawn_samples(root: Path, count: int = 6) -> list[Sample]:
    """Drawn images in two splits, each with a box and an outline."""
    out = []
    for k in range(count):
        image = root / f"images/{k}.png"
        write_png(np.random.default_rng(k).integers(0, 255, (H, W, 3), np.uint8), image)
        outline = ((1.25, 2.5), (11.125 + k, 2.5), (11.125 + k, 9.75))
        labels = (
            Label("plane", (3.0, 4.0, 20.5, 30.1 + k)),
            Label("ship", (1.25, 2.5, 11.125 + k, 9.75), outline),
        )
        split = "train" if k < 4 else "valid"
        out.append(Sample(f"s/{split}/{k}", "s", split, image, W, H, labels=labels[k % 2 :]))
    return out


def freeze(root: Path, samples: list[Sample], **changes: object) -> tuple[Project, Outcome]:
    project = shop_in(root, **changes)
    write_samples(samples, project.step_dir("process") / SAMPLES)
    return project, dataset.run(project)


def test_same_content_same_version_wherever_it_lies(tmp_path):
    first, outcome = freeze(tmp_path / "a", drawn_samples(tmp_path / "a"))
    second, again = freeze(tmp_path / "elsewhere/b", drawn_samples(tmp_path / "elsewhere/b")[::-1])
    assert outcome.summary == again.summary
    texts = [
        (project.step_dir("dataset") / dataset.MANIFEST).read_bytes() for project in (first, second)
    ]
    assert texts[0] == texts[1]
    assert outcome.summary["counts"] == {
        "train": {"images": 4, "plane": 2, "ship": 4},
        "valid": {"images": 2, "plane": 1, "ship": 2},
    }
    assert [path.name for path in outcome.show] == [
        "samples_train.png", "samples_valid.png", "manifest.json",
    ]  # fmt: skip
    assert all(path.exists() for path in outcome.show)
    frozen = read_samples(first.step_dir("dataset") / SAMPLES)
    assert [one.id for one in frozen] == sorted(one.id for one in frozen)


def test_any_change_gives_another_version(tmp_path):
    samples = drawn_samples(tmp_path)
    mask = tmp_path / "masks/0.png"
    write_png(np.zeros((H, W), np.uint8), mask)
    samples[0] = samples[0].but(mask=mask)
    _, outcome = freeze(tmp_path, samples)
    versions = {outcome.summary["version"]}

    def again(changed: list[Sample], **changes: object) -> None:
        version = freeze(tmp_path, changed, **changes)[1].summary["version"]
        assert version not in versions
        versions.add(version)

    label = samples[2].labels[0]
    moved = dataclasses.replace(label, box=(3.0, 4.0, 20.5, label.box[3] + 0.01))
    again([*samples[:2], samples[2].but(labels=(moved, *samples[2].labels[1:])), *samples[3:]])
    again([*samples[:2], samples[2].but(split="valid"), *samples[3:]])
    again([*samples[:2], samples[2].but(gsd=0.5), *samples[3:]])
    again(samples[:-1])
    again(samples, dataset={"split": {"by": "hash"}})
    unchanged, _ = freeze(tmp_path, samples)
    assert dataset.changed(unchanged) == ()
    pixels = np.zeros((H, W), np.uint8)
    pixels[5, 5] = 1
    write_png(pixels, mask)
    assert dataset.changed(unchanged) == (samples[0].id,)
    again(samples)
    image = np.random.default_rng(1).integers(0, 255, (H, W, 3), np.uint8)
    image[7, 7, 0] ^= 1
    write_png(image, samples[1].image)
    again(samples)


def test_history_and_settings_without_effect_do_not_count(tmp_path):
    samples = drawn_samples(tmp_path)
    version = freeze(tmp_path, samples)[1].summary["version"]
    noted = [one.but(history=("looked at",), origin="0" * 64) for one in samples]
    split = {"by": "source", "block_m": 77.0}
    assert freeze(tmp_path, noted, dataset={"split": split})[1].summary["version"] == version


def test_exports_read_back_to_the_same(tmp_path):
    samples = drawn_samples(tmp_path)
    unseen = samples[0].but(id="s/train/unseen", role="unlabelled", labels=())
    project, outcome = freeze(tmp_path, [*samples, unseen], dataset={"export": ["coco", "yolo"]})
    assert outcome.summary["left_out_of_export"] == {"coco": 1, "yolo": 1}
    folder = project.step_dir("dataset") / "export"
    text = (folder / "coco/train.json").read_text()
    assert str(tmp_path) not in text
    for kind, splits in (
        ("coco", {"train": "train.json", "valid": "valid.json"}),
        ("yolo", {"train": "train", "valid": "valid"}),
    ):
        source = {
            "name": "back", "format": kind, "root": str(folder / kind), "splits": splits,
            "classes": {"plane": "plane", "ship": "ship"},
        }  # fmt: skip
        reader = shop_in(tmp_path, sources=[source])
        found = read_source(reader, reader.config.sources[0])
        assert not found.skipped
        assert [one.split for one in found.samples] == [one.split for one in samples]
        for old, new in zip(samples, found.samples, strict=True):
            assert new.image.samefile(old.image)
            assert [(one.label, one.box) for one in new.labels] == [
                (one.label, one.box) for one in old.labels
            ]
            # YOLO holds outlines where every object of the image has one.
            if kind == "coco" or len(old.labels) == 1:
                assert [one.polygon for one in new.labels] == [one.polygon for one in old.labels]


def test_exports_behind_a_link_find_their_images(tmp_path):
    (tmp_path / "far/away/disk").mkdir(parents=True)
    (tmp_path / "work").symlink_to(tmp_path / "far/away/disk")
    project, _ = freeze(tmp_path, drawn_samples(tmp_path), dataset={"export": ["coco"]})
    labels = project.step_dir("dataset") / "export/coco/train.json"
    names = [one["file_name"] for one in json.loads(labels.read_text())["images"]]
    assert all((labels.parent / name).is_file() for name in names)


def test_ignored_objects_are_crowds_and_masks_alone_are_not_exported(tmp_path):
    samples = drawn_samples(tmp_path)
    ignored = dataclasses.replace(samples[0].labels[0], weight=0.0)
    mask = tmp_path / "masks/1.png"
    write_png(np.full((H, W), 2, np.uint8), mask)
    samples[0] = samples[0].but(labels=(ignored, *samples[0].labels[1:]))
    samples[1] = samples[1].but(labels=(), mask=mask)
    project, outcome = freeze(tmp_path, samples, dataset={"export": ["coco", "yolo"]})
    assert outcome.summary["left_out_of_export"] == {"coco": 1, "yolo": 1}
    # An ignored object is none to learn from, and a class seen in a mask counts once.
    assert outcome.summary["counts"]["train"] == {"images": 4, "plane": 1, "ship": 4}
    folder = project.step_dir("dataset") / "export"
    notes = json.loads((folder / "coco/train.json").read_text())["annotations"]
    assert [note["iscrowd"] for note in notes] == [1, 0, 0, 0, 0]
    assert len((folder / "yolo/labels/train/s/train/0.txt").read_text().splitlines()) == 1


def test_too_few_objects_and_no_train(tmp_path):
    samples = drawn_samples(tmp_path)
    with pytest.raises(DatasetError, match="2 objects of class plane"):
        freeze(tmp_path, samples, dataset={"least": 3})
    with pytest.raises(DatasetError, match="no sample is in train"):
        freeze(tmp_path, samples[4:])
    _, measured = freeze(tmp_path, samples[4:], dataset={"least": 0})
    assert "train" not in measured.summary["counts"]
    with pytest.raises(DatasetError, match="two samples"):
        freeze(tmp_path, [*samples, samples[0]])


def test_only_changed_files_are_hashed_again(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    with Hashes(tmp_path / "hashes.json") as first:
        whole = first.of(path)
    cached = json.loads((tmp_path / "hashes.json").read_text())
    cached[str(path)]["sha256"] = "kept"
    (tmp_path / "hashes.json").write_text(json.dumps(cached))
    with Hashes(tmp_path / "hashes.json") as second:
        assert second.of(path) == "kept"
    path.write_bytes(b"longer")
    with Hashes(tmp_path / "hashes.json") as third:
        assert third.of(path) not in ("kept", whole)
    (tmp_path / "hashes.json").write_text("{")
    assert Hashes(tmp_path / "hashes.json").of(path) != whole


def test_samples_without_split_are_refused_or_go_by_content(tmp_path):
    samples = [one.but(split=None) for one in drawn_samples(tmp_path, 12)]
    with pytest.raises(DatasetError, match="12 samples have no split"):
        freeze(tmp_path, samples)
    shutil.copy(samples[0].image, samples[1].image)
    spec = Split(by="hash", fractions={"train": 0.5, "valid": 0.5})
    hashes = Hashes()
    found = assign_splits(samples, spec, 50, lambda one: hashes.of(one.image))
    assert found[0].split == found[1].split
    assert {one.split for one in found} == {"train", "valid"}
    assert [one.but(split=None) for one in found] == samples
    alone = assign_splits(samples[5:6], spec, 50, lambda one: hashes.of(one.image))
    assert alone[0].split == found[5].split


def test_a_sample_as_it_was_read_is_stored_as_ever(tmp_path):
    path = tmp_path / SAMPLES
    sample = drawn_samples(tmp_path, 1)[0]
    write_samples([sample, sample.but(id="s/cut", origin="ab")], path)
    plain, cut = map(json.loads, path.read_text().splitlines())
    assert set(cut) - set(plain) == {"origin"}
    assert [one.origin for one in read_samples(path)] == [None, "ab"]


def test_what_shows_one_image_goes_where_the_image_goes(tmp_path):
    whole = [one.but(split=None, gsd=1.0) for one in drawn_samples(tmp_path, 24)]
    coarse = [one.but(id=f"coarse/{one.id}", source="coarse") for one in whole[:12]]
    ops = [
        {"op": "resample", "gsd": 1.5, "sources": ["coarse"]},
        {"op": "tile", "side": 32, "overlap": 8, "sources": ["s"]},
    ]
    project = project_of(tmp_path, ops, [*whole, *coarse])
    process.run(project)
    spec = Split(by="hash", fractions={"train": 0.5, "valid": 0.3, "test": 0.2})
    hashes = Hashes()
    found = assign_splits(
        tuple(after(project).values()), spec, 50, lambda one: hashes.of(one.image)
    )
    assert len(found) == 24 * 6 + 12
    there = {one.id: by_fraction(hashes.of(one.image), spec.fractions) for one in whole}
    assert set(there.values()) == set(spec.fractions)
    for one in found:
        name = (
            one.id.removeprefix("coarse/") if one.source == "coarse" else one.id.rpartition("/")[0]
        )
        assert one.split == there[name]


def test_what_shows_an_image_alone_goes_by_its_own_content(tmp_path):
    samples = [one.but(split=None) for one in drawn_samples(tmp_path, 12)]
    spec, hashes = Split(by="hash", fractions={"train": 0.5, "test": 0.5}), Hashes()
    scaled = [one.but(origin=f"{k:064}") for k, one in enumerate(samples)]
    found, again = (
        assign_splits(group, spec, 50, lambda one: hashes.of(one.image))
        for group in (samples, scaled)
    )
    assert [one.split for one in found] == [one.split for one in again]


def test_what_has_a_split_in_one_source_has_it_in_all(tmp_path):
    samples = [one.but(split=None) for one in drawn_samples(tmp_path, 8)]
    spec, hashes = Split(by="hash", fractions={"train": 0.5, "test": 0.5}), Hashes()

    def frozen(*more):
        return assign_splits([*samples, *more], spec, 50, lambda one: hashes.of(one.image))

    for split in ("train", "test"):
        known = [one.but(id=f"t/{k}", source="t", split=split) for k, one in enumerate(samples)]
        assert {one.split for one in frozen(*known)} == {split}
    torn = [known[0], known[0].but(id="t/9", split="train")]
    with pytest.raises(DatasetError, match=r"in several splits already \(test, train\)"):
        frozen(*torn)


def test_fractions_are_shares():
    with pytest.raises(ValueError, match="within 0 to 1"):
        Split(by="hash", fractions={"train": 1.5, "test": -0.5})


def test_fractions_are_kept_in_the_long_run_in_any_order():
    fractions = {"train": 0.7, "valid": 0.2, "test": 0.1}
    found = [by_fraction(str(k), fractions) for k in range(4000)]
    for name, share in fractions.items():
        assert found.count(name) / 4000 == pytest.approx(share, abs=0.025)
    turned = dict(reversed(fractions.items()))
    assert found == [by_fraction(str(k), turned) for k in range(4000)]
    assert by_fraction("x", {"train": 1.0, "test": 0.0}) == "train"


def ground(k: int, east: float, north: float, origin: tuple[float, float], side: int) -> Sample:
    """A square image of `side` metres, some metres off a place."""
    lon, lat = origin
    lat += math.degrees(north / EARTH_M)
    lon += math.degrees(east / EARTH_M / math.cos(math.radians(lat)))
    return Sample(f"s/{k}", "s", None, Path(f"{k}.tif"), side, side, gsd=1.0, place=(lon, lat))


def gap(a: Sample, b: Sample) -> float:
    """Metres of ground between two images, on the sphere."""
    (lon_a, lat_a), (lon_b, lat_b) = a.place, b.place
    turn = (lon_a - lon_b + 180) % 360 - 180
    dx = abs(math.radians(turn)) * math.cos(math.radians((lat_a + lat_b) / 2)) * EARTH_M
    dy = abs(math.radians(lat_a - lat_b)) * EARTH_M
    reach = (a.width + b.width) / 2
    return math.hypot(max(dx - reach, 0), max(dy - reach, 0))


METRES = st.integers(-900, 900)
PLACES = st.lists(st.tuples(METRES, METRES, st.integers(10, 120)), min_size=1, max_size=25)


@settings(max_examples=80, deadline=None)
@given(
    PLACES,
    st.sampled_from([(15.0, 45.0), (-179.9999, 0.0), (0.0, 0.0), (-70.0, -53.3)]),
    st.sampled_from([0.0, 10.0, 50.0]),
    st.randoms(use_true_random=False),
)
def test_neighbours_and_blocks_never_straddle(places, origin, near, random):
    samples = [ground(k, x, y, origin, side) for k, (x, y, side) in enumerate(places)]
    spec = Split(by="block", block_m=150, fractions={"train": 0.5, "valid": 0.3, "test": 0.2})
    found = assign_splits(samples, spec, near, lambda _: "")
    owner: dict[tuple[int, int], str] = {}
    for a in found:
        assert a.split in spec.fractions
        for cell in cells(a, 150):
            assert owner.setdefault(cell, a.split) == a.split
        for b in found:
            assert a.split == b.split or gap(a, b) > near - 1e-6
    shuffled = random.sample(samples, len(samples))
    again = assign_splits(shuffled, spec, near, lambda _: "")
    assert {one.id: one.split for one in again} == {one.id: one.split for one in found}


def test_blocks_far_apart_go_their_own_ways():
    samples = [ground(k, 1000 * (k % 20), 1000 * (k // 20), (15.0, 45.0), 50) for k in range(400)]
    found = [one.split for one in assign_splits(samples, BLOCK, 50, lambda _: "")]
    assert found.count("train") / 400 == pytest.approx(0.8, abs=0.06)
    assert {"train", "valid", "test"} == set(found)


@settings(max_examples=60, deadline=None)
@given(st.floats(-179, 179), st.floats(-80, 80), st.floats(20, 3000))
def test_an_image_meets_about_as_many_blocks_as_it_covers(lon, lat, block):
    sample = Sample("s/1", "s", None, Path("1.tif"), 600, 300, gsd=1.0, place=(lon, lat))
    found = list(cells(sample, block))
    assert len(set(found)) == len(found)
    rows = {row for row, _ in found}
    assert 300 / block <= len(rows) <= 300 / block + 2
    for row in rows:
        columns = sum(1 for other, _ in found if other == row)
        assert 600 / block <= columns <= 600 / block + 2


def test_neighbours_of_what_has_a_split_follow_it():
    at = (15.0, 45.0)
    fixed = ground(0, 0, 0, at, 50).but(split="test")
    other = ground(1, 60, 0, at, 50)
    far = ground(2, 5000, 0, at, 50).but(split="train")
    found = assign_splits([fixed, other, far], BLOCK, 20, lambda _: "")
    assert [one.split for one in found] == ["test", "test", "train"]
    near = ground(3, 120, 0, at, 50).but(split="train")
    with pytest.raises(DatasetError, match=r"neighbours in several splits \(test, train\)"):
        assign_splits([fixed, other, near], BLOCK, 20, lambda _: "")
    with pytest.raises(DatasetError, match="no place on the ground"):
        assign_splits([other.but(place=None)], BLOCK, 20, lambda _: "")
