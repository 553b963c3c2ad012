"""The ground sampling of a picture that does not say it, and one that what is found contradicts."""

import json
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import lanner
from lanner.cli.app import app
from lanner.core.errors import GsdError
from lanner.inference import ground_sampling
from lanner.inference.ground_sampling import Sizes, contradicting, estimate_gsd, rungs
from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec


def sizes_of(gsd, sides, true, *, score=0.9, spread=0.05):
    """Objects of `sides` pixels whose sizes fit the sampling `true`."""
    sides = np.asarray(sides, np.float64)
    score = np.broadcast_to(np.asarray(score, np.float64), len(sides)).copy()

    def likelihood(rows, factors):
        one = -0.5 * (np.log(gsd * factors / true) / spread) ** 2
        return np.repeat(one[None], len(rows), 0)

    return Sizes(gsd, score, np.stack([sides, sides], 1), likelihood)


@pytest.mark.parametrize("true", [0.1, 0.35, 1.9])
def test_the_sampling_that_sizes_fit_is_told_with_its_range(true):
    found = estimate_gsd(iter([sizes_of(0.8, [30, 45, 60, 33], true)]))
    assert found.gsd == pytest.approx(true, rel=0.05)
    assert found.low < true < found.high
    assert found.sure
    assert found.objects == 4


def test_few_objects_and_sizes_that_fit_anything_are_not_sure():
    assert not estimate_gsd(iter([sizes_of(0.8, [30, 45], 0.5)])).sure
    vague = estimate_gsd(iter([sizes_of(0.8, [30, 45, 60, 80], 0.5, spread=2.0)]))
    assert not vague.sure
    assert vague.high > 2 * vague.low


def test_nothing_says_nothing():
    assert (
        estimate_gsd(iter([sizes_of(0.8, [], 0.5), sizes_of(1.6, [30, 40], 0.5, score=0.3)]))
        is None
    )
    unmeasured = sizes_of(0.8, [np.nan] * 4, 0.5)
    assert estimate_gsd(iter([unmeasured])) is None


def test_no_larger_view_is_asked_for_once_enough_is_seen_well():
    asked = []

    def views():
        for gsd, sides in ((0.2, [9, 10, 11]), (0.4, [40, 44, 48]), (0.8, [80, 88, 96])):
            asked.append(gsd)
            yield sizes_of(gsd, sides, 0.5)

    estimate_gsd(views())
    assert asked == [0.2, 0.4]


def test_many_of_one_kind_count_as_few():
    same, other = np.full(30, 40.0), np.array([90.0, 90.0])

    def likelihood(rows, factors):
        true = np.where(rows < 30, 1.0, 0.5)[:, None]
        return -0.5 * (np.log(factors * 0.8 / true) / 0.1) ** 2

    sides = np.concatenate([same, other])
    both = Sizes(0.8, np.full(32, 0.9), np.stack([sides, sides], 1), likelihood)
    found = estimate_gsd(iter([both]))
    assert found.low < 0.8
    assert found.high > 0.8


def test_a_sampling_is_contradicted_only_where_another_fits_far_better():
    assert contradicting(sizes_of(0.8, [30, 45, 60, 33], 0.8)) is None
    assert contradicting(sizes_of(0.8, [30, 45, 60, 33], 1.0)) is None
    assert contradicting(sizes_of(0.8, [30, 45, 60, 33], 0.25)).gsd == pytest.approx(0.25, rel=0.05)
    assert contradicting(sizes_of(0.8, [30, 45], 0.25)) is None


@given(st.integers(10, 100_000), st.floats(0.2, 2), st.floats(1.5, 20))
def test_views_grow_to_all_that_a_detector_takes(side, gsd, wide):
    low, high = gsd / wide, gsd * wide
    steps = list(rungs(side, gsd, (low, high)))
    assert steps[-1] == high
    assert all(low <= one <= high for one in steps)
    assert all(a < b <= ground_sampling.RUNG * a for a, b in pairwise(steps))


# ------------------------------------------------------------- with the released aircraft detector


def airfield(folder, width, height, seed):
    """Pixels of a rendered airfield of 0.7 m, without a place."""
    render(folder / "scene.tif", RenderSpec(width, height, 0.7, seed=seed))
    with rasterio.open(folder / "scene.tif") as file:
        return file.read([1, 2, 3])


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    return airfield(tmp_path_factory.mktemp("airfield"), 600, 480, 11)


@pytest.fixture(scope="module")
def detector():
    return lanner.load_detector("aircraft", device="cpu")


def test_a_picture_says_its_sampling(detector, picture):
    found = detector.detect(picture, gsd="auto")
    told = found.summary["gsd_estimate"]
    assert found.gsd == told["gsd"] == found.summary["scene"]["gsd"][0]
    assert told["low"] < 0.7 < told["high"]
    assert told["objects"] >= 3
    assert any("ground sampling" in note for note in found.summary["notes"])
    assert list(found.features) == list(detector.detect(picture, gsd=told["gsd"]).features)
    lengths = [one["properties"]["length_m"] for one in found]
    assert 8 < np.median(lengths) < 70


def test_a_wrong_sampling_is_told(detector, tmp_path):
    picture = airfield(tmp_path, 900, 700, 11)
    assert not detector.detect(picture, gsd=0.7).summary["notes"]
    for wrong in (2.0, 0.15):
        notes = detector.detect(picture, gsd=wrong).summary["notes"]
        assert len(notes) == 1
        assert "check the ground sampling" in notes[0].lower()


def test_where_nothing_speaks_it_is_refused(detector, tmp_path):
    grey = np.random.default_rng(1).integers(90, 110, (3, 300, 300)).astype(np.uint8)
    with pytest.raises(GsdError, match="nothing was found"):
        detector.detect(grey, gsd="auto")
    with pytest.raises(GsdError, match="does not know the sizes"):
        lanner.detect(grey, "roads", gsd="auto", device="cpu")


def test_the_command_takes_auto_and_refuses_words(picture, tmp_path):
    path, out = tmp_path / "photo.png", tmp_path / "found.json"
    with rasterio.open(path, "w", driver="PNG", width=600, height=480, count=3, dtype="uint8") as f:
        f.write(picture)

    def detect(gsd):
        words = [
            "detect",
            str(path),
            "-d",
            "aircraft",
            "--gsd",
            gsd,
            "-o",
            str(out),
            "--json",
            "-q",
        ]
        return CliRunner().invoke(app, words)

    for word in ("automatic", "-1", "0", "nan", "inf"):
        assert detect(word).exit_code == 2
        assert not out.exists()
    done = detect("auto")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["gsd_estimate"]["objects"] >= 3
    assert json.loads(out.read_text())["features"]
