"""Explore: what it measures, what it finds wrong, and what it writes."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import ConfigError, DatasetError
from lanner.core.home import configs_dir
from lanner.factory.config import FactoryConfig
from lanner.factory.images import write_png
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import Label, Sample, read_samples
from lanner.factory.steps.explore import duplicates, run
from lanner.factory.steps.explore import labels as label_checks
from lanner.factory.steps.explore.findings import (
    KINDS,
    Finding,
    check_limits,
    judge,
    read_findings,
    require,
    write_findings,
)
from lanner.factory.steps.explore.labels import pairwise_iou
from lanner.factory.steps.explore.measure import content_hash, measure, perceptual_hash, thumbnail
from lanner.factory.steps.explore.sampling import estimate, typical
from postprocess.aircraft.catalogue import read_catalogue
from tests.fixtures_explore import boxes, coco, picture, project_of, sample

# ---------------------------------------------------------------- measures and hashes


def test_measures_follow_what_they_are_called_after():
    rgb = picture(1)
    soft = cv2.GaussianBlur(rgb, (0, 0), 2)
    dark, plain = rgb // 2, measure(rgb)
    assert measure(soft).sharpness < plain.sharpness / 2
    assert measure(dark).brightness == pytest.approx(plain.brightness / 2, abs=1)
    assert measure(dark).contrast == pytest.approx(plain.contrast / 2, abs=1)
    assert content_hash(rgb) != content_hash(rgb.transpose(1, 0, 2))


@pytest.mark.parametrize("seed", range(8))
def test_an_image_encoded_again_looks_the_same_and_a_mirrored_one_does_not(seed):
    rgb = picture(seed)
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 40])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    smaller = cv2.resize(rgb, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)

    def apart(other: np.ndarray) -> int:
        return (measure(rgb).phash ^ measure(other).phash).bit_count()

    assert content_hash(again) != content_hash(rgb)
    assert apart(again) <= 4
    assert apart(smaller) <= 6
    assert apart(rgb[:, ::-1]) > 12
    assert apart(picture(seed + 100)) > 12


def test_a_hash_has_64_bits_half_of_them_set():
    value = perceptual_hash(thumbnail(picture(3)[..., 0]))
    assert 0 <= value < 1 << 64
    assert value.bit_count() == 32


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_close_pairs_are_those_of_a_double_loop(hashes, most):
    found = sorted(duplicates.close_pairs(np.array(hashes, np.uint64), most))
    expected = [
        (i, j, (a ^ b).bit_count())
        for i, a in enumerate(hashes)
        for j, b in enumerate(hashes)
        if i < j and (a ^ b).bit_count() <= most
    ]
    assert found == expected


# ---------------------------------------------------------------- duplicates and leakage


def test_copies_are_told_apart_from_lookalikes_and_by_split():
    rgb = picture(5)
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 60])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    pictures = {
        "a": rgb,
        "b": rgb,
        "c": rgb,
        "d": again,
        "e": picture(6),
        "f": np.full_like(rgb, 7),
    }
    pictures["g"] = pictures["f"] + 1
    facts = {name: measure(one) for name, one in pictures.items()}
    split = {"c": "test", "d": "test", "g": "test"}
    samples = [sample(name, split=split.get(name, "train")) for name in pictures]
    exact = {(one.kind, one.sample, one.other) for one in duplicates.exact(samples, facts)}
    assert exact == {("duplicates", "b", "a"), ("duplicates_across_splits", "c", "a")}
    near = {(one.kind, one.sample) for one in duplicates.near(samples, facts, 6)}
    # Flat images have no look: f and g are no lookalikes.
    assert near == {("near_duplicates", "d"), ("near_duplicates_across_splits", "d")}


def test_images_without_a_split_leak_into_none():
    rgb = picture(5)
    facts = {"a": measure(rgb), "b": measure(rgb)}
    found = duplicates.exact([sample("a", split=None), sample("b", split="test")], facts)
    assert [one.kind for one in found] == ["duplicates"]


@given(
    east=st.floats(-400, 400),
    north=st.floats(-400, 400),
    lon=st.sampled_from([-179.9999, -60.0, 0.0, 24.5, 180.0]),
    lat=st.floats(-70, 70),
)
@settings(max_examples=80, deadline=None)
def test_footprints_lie_as_far_apart_as_their_metres_say(east, north, lon, lat):
    from pyproj import Geod

    geod = Geod(ellps="sphere")
    x, y, _ = geod.fwd(lon, lat, 90 if east >= 0 else 270, abs(east))
    x, y, _ = geod.fwd(x, y, 0 if north >= 0 else 180, abs(north))
    half = np.array([50.0, 25.0])
    gap = duplicates.footprint_gap(np.radians([lon, lat]), half, np.radians([x, y]), half)
    over = np.array([abs(east) - 100, abs(north) - 50])
    if (over > 0).any():
        assert gap == pytest.approx(float(np.hypot(*over.clip(0))), abs=1.0)
    else:
        assert gap <= 1.0


def test_ground_leaks_between_splits_only_where_it_is_near():
    def at(name: str, metres: float, split: str) -> Sample:
        place = (24.0, 60.0 + metres / 111_195)
        return sample(name, split=split, gsd=1.0, place=place)

    # Footprints are 100 m high: their gaps are 100 less than their distances.
    placed = [
        at("a", 0, "train"), at("b", 90, "train"), at("c", 130, "test"), at("d", 400, "test"),
        sample("e", split="test"),
    ]  # fmt: skip
    found = duplicates.neighbours(placed, 50.0)
    assert [(one.sample, one.other) for one in found] == [("c", "b")]
    assert "overlaps b (test and train)" in found[0].detail
    assert {one.sample for one in duplicates.neighbours(placed, 320.0)} == {"c", "d"}


# ---------------------------------------------------------------- labels


def test_each_wrong_label_is_called_by_its_kind():
    good = [Label("x", (10 * k, 10, 10 * k + 8, 18)) for k in range(1, 12)]
    wrong = {
        "out_of_image": Label("x", (195, 10, 206, 20)),
        "zero_size": Label("x", (50, 50, 50, 60)),
        "tiny": Label("x", (50, 50, 52, 60)),
        "giant": Label("x", (0, 30, 150, 60)),
        "duplicate_labels": Label("x", (10.2, 10, 18, 18)),
    }
    one = sample(labels=(*good, *wrong.values()))
    usual = label_checks.usual_sides([one])
    found = label_checks.check(one, usual)
    assert {(f.kind, f.label) for f in found} == {
        (kind, len(good) + k) for k, kind in enumerate(wrong)
    }
    assert "label 0 again" in next(f.detail for f in found if f.kind == "duplicate_labels")


def test_rounding_and_lines_are_no_anomalies():
    line = Label("road", (5, 0, 5, 100), line=((5, 0), (5, 100)))
    rounded = Label("x", (-0.9, 10, 20, 30))
    other = Label("y", (-0.9, 10, 20, 30))
    assert label_checks.check(sample(labels=(line, line, rounded, other)), {}) == []
    beyond = Label("road", (5, 0, 5, 140), line=((5, 0), (5, 140)))
    assert [f.kind for f in label_checks.check(sample(labels=(beyond,)), {})] == ["out_of_image"]


BOX = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(0.5, 60), st.floats(0.5, 60)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(BOX, max_size=6), st.lists(BOX, max_size=6))
@settings(max_examples=60, deadline=None)
def test_iou_is_symmetric_and_one_on_itself(first, second):
    a, b = boxes(*first), boxes(*second)
    iou = pairwise_iou(a, b)
    assert iou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1 + 1e-12)).all()
    np.testing.assert_allclose(iou, pairwise_iou(b, a).T)
    np.testing.assert_allclose(np.diag(pairwise_iou(a, a)), 1)


# ---------------------------------------------------------------- findings and limits


def test_limits_count_or_share_and_name_the_kind():
    found = [Finding("giant", "a", "d")] * 3
    check_limits({"giant": 3})
    lights = {v.kind: v for v in judge(found, {"giant": 3, "tiny": 0}, 10, 100, ["missing"])}
    assert (lights["giant"].light, lights["tiny"].light) == ("amber", "green")
    assert lights["missing"].light == "grey"
    assert list(lights) == list(KINDS)
    share = judge(found, {"giant": 0.02}, 10, 100)
    assert next(v for v in share if v.kind == "giant").allowed == 2
    with pytest.raises(DatasetError, match=r"explore.limits.giant.*3 found, 2 allowed.*repair"):
        require(share, Path("report.html"))


@pytest.mark.parametrize(("share", "whole"), [(0.29, 100), (0.57, 100), (0.001, 9000)])
def test_a_share_lets_pass_what_it_says(share, whole):
    (verdict,) = (v for v in judge([], {"giant": share}, 1, whole) if v.kind == "giant")
    assert verdict.allowed == round(share * whole)
    (verdict,) = (v for v in judge([], {"giant": share}, 1, whole - 1) if v.kind == "giant")
    assert verdict.allowed == round(share * whole) - 1


def test_an_unknown_limit_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'duplicates_across_splits'"):
        check_limits({"duplicates_accross_splits": 0})
    with pytest.raises(ConfigError, match="negative"):
        check_limits({"giant": -1})


def test_findings_come_back_as_they_were(tmp_path):
    found = (
        Finding("missing", "a", "d", None, 0.5, (1, 2, 3, 4), "x"),
        Finding("tiny", "b", "e", 3),
    )
    write_findings(found, tmp_path / "f.json")
    assert read_findings(tmp_path / "f.json") == found
    (tmp_path / "f.json").write_text("[{]")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_findings(tmp_path / "f.json")


# ---------------------------------------------------------------- ground sampling


@pytest.mark.parametrize("gsd", [0.4, 1.1])
def test_sampling_is_found_from_aircraft_of_the_catalogue(gsd):
    folder = configs_dir()
    metres, weights = typical(read_catalogue(folder / "types.yaml", folder / "taxonomy.yaml"))
    rng = np.random.default_rng(1)
    sides = rng.choice(metres, 400, p=weights / weights.sum()) / gsd
    samples = [
        sample(str(k), labels=tuple(Label("aircraft", (0, 0, s, s / 2)) for s in group))
        for k, group in enumerate(sides.reshape(40, 10))
    ]
    found = estimate(samples)
    assert found.gsd == pytest.approx(gsd, rel=0.1)
    assert found.low < gsd < found.high
    assert "m a pixel" in found.sentence()


def test_sampling_is_not_guessed_without_ground_for_it():
    few = estimate([sample(labels=(Label("aircraft", (0, 0, 9, 9)),))])
    assert (few.gsd, "too few" in few.sentence()) == (None, True)
    other = estimate([sample(labels=(Label("tank", (0, 0, 9, 9)),) * 50)])
    assert (other.gsd, "only sizes of the class" in other.sentence()) == (None, True)


# ---------------------------------------------------------------- the step


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "data"
    train = {f"t{k}.png": picture(k) for k in range(6)}
    test = {"u0.png": picture(50), "u1.png": train["t2.png"]}
    usual = {name: [[20, 20, 30, 24], [90, 60, 28, 25]] for name in (*train, *test)}
    usual["t4.png"] = [[150, 20, 30, 24]]
    coco(root, "train", train, usual)
    coco(root, "test", test, usual)
    return tmp_path


def test_the_step_finds_what_was_planted_and_says_so_in_one_file(dataset):
    project = project_of(dataset)
    outcome = run(project)
    folder = project.step_dir("explore")
    found = read_findings(folder / "findings.json")
    [twin] = [f for f in found if "duplicates" in f.kind]
    assert twin.kind == "duplicates_across_splits"
    assert {twin.sample, twin.other} == {"first/train/t2", "first/test/u1"}
    assert [(f.sample, f.label) for f in found if f.kind == "out_of_image"] == [
        ("first/train/t4", 0)
    ]
    samples = {one.id: one for one in read_samples(folder / SAMPLES)}
    assert len(samples) == 8
    assert samples["first/train/t4"].labels[0].flags == ("out_of_image",)
    assert outcome.summary["anomalies"] == {"duplicates_across_splits": 1, "out_of_image": 1}
    report = (folder / "report.html").read_text()
    assert report.count("<svg") == 5
    assert "data:image/jpeg;base64," in report
    for reference in ('src="http', 'href="http', "<script", "<link", "url(http", "@import"):
        assert reference not in report
    assert all(path.is_file() for path in outcome.show)


def test_the_same_data_gives_the_same_bytes(dataset):
    project = project_of(dataset)
    run(project)
    names = ("report.html", "findings.json", SAMPLES, "examples.png")
    first = [(project.step_dir("explore") / name).read_bytes() for name in names]
    again = dataclasses.replace(project, folder=dataset / "again")
    run(again)
    assert [(again.step_dir("explore") / name).read_bytes() for name in names] == first


def test_over_a_limit_the_step_fails_after_its_report(dataset):
    project = project_of(dataset, limits={"duplicates_across_splits": 0})
    with pytest.raises(DatasetError, match=r"duplicates_across_splits.*1 found, 0 allowed"):
        run(project)
    assert 'class="light red"' in (project.step_dir("explore") / "report.html").read_text()


def test_what_does_not_decode_is_recorded(dataset):
    (dataset / "data" / "t3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    project = project_of(dataset)
    assert run(project).summary["anomalies"]["undecodable"] == 1
    with pytest.raises(DatasetError, match="undecodable"):
        run(project_of(dataset, limits={"undecodable": 0}))


def test_markup_in_names_is_shown_and_not_obeyed(tmp_path):
    name = "<b>x.png"
    coco(tmp_path / "data", "train", {name: picture(1)}, {name: [[150, 20, 30, 24]]})
    coco(tmp_path / "data", "test", {"u.png": picture(2)}, {"u.png": [[20, 20, 30, 24]]})
    run(project_of(tmp_path))
    report = (project_of(tmp_path).step_dir("explore") / "report.html").read_text()
    assert "&lt;b&gt;x" in report
    assert "<b>x" not in report


@pytest.mark.filterwarnings("error")
def test_sources_of_masks_alone_are_counted_by_images(tmp_path):
    for k in range(12):
        folder = tmp_path / "road" / f"part{k}"
        write_png(np.full((40, 40, 3), 90 + k, np.uint8), folder / "images" / "a.png")
        write_png(np.eye(40, dtype=np.uint8), folder / "masks" / "a.png")
    sources = [
        {"name": f"s{k}", "format": "masks", "root": f"road/part{k}", "classes": {"road": "road"}}
        for k in range(12)
    ]
    config = FactoryConfig(factory="t", detector="d.yaml", data=str(tmp_path), sources=sources)
    project = Project(config, tmp_path / "t.yaml", tmp_path / "run")
    run(project)
    report = (project.step_dir("explore") / "report.html").read_text()
    assert "Images by source and split" in report
    assert "Longest side" not in report
