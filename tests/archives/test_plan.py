"""What a plan says of seconds and bytes, from measurements that are made up or real."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lanner
from lanner.archives import rates
from lanner.archives.fits import fitted
from lanner.archives.measure import MeasuredFile, ScenesTime, end_times, file_rates, scene_times
from lanner.archives.rates import FILES, UNKNOWN, FileRate, Rate, blended, keep, known_rates
from lanner.core.errors import Cancelled, OutputError
from tests.archives.fixtures_archive import BROKEN, make_archive, own_cache

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")

MEASURED = Rate(4.0, 0.8, 0.3, 5.0, 0.01, 0.001, 12.0, {"gpkg": FileRate(1e5, 4e3)}, 40)


@pytest.fixture(scope="module")
def archive(pictures, tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("plan") / "in", pictures)


# ------------------------------------------------------------------------------ seconds


def sizes(rng, number, middle, spread):
    """Megapixels of scenes, most of them small."""
    return rng.lognormal(np.log(middle), spread, number)


def foretold(seed, scene_s, megapixel_s, number, odd):
    """What scenes of very different sizes tell of small and of large ones, as shares of the truth:
    each took its time give or take 15 %, and a few took 200 times as long.
    """
    rng = np.random.default_rng(seed)
    measured = sizes(rng, number, 2.0, 1.5)
    seconds = (scene_s + megapixel_s * measured) * rng.lognormal(0, 0.15, number)
    seconds[rng.permutation(number)[: int(odd * number)]] *= 200
    each, of_size = scene_times(ScenesTime(tuple(measured), tuple(seconds), 0.0), 0.5)
    for others in (sizes(rng, 500, 0.2, 1.0), sizes(rng, 500, 20.0, 1.0)):
        want = 0.5 * (scene_s + megapixel_s * others).sum()
        yield (each * len(others) + of_size * others.sum()) / want


@given(
    seed=st.integers(0, 2**32 - 1),
    scene_s=st.sampled_from([0.05, 0.5, 3.0]),
    megapixel_s=st.sampled_from([0.02, 0.5, 5.0]),
    odd=st.sampled_from([0.0, 0.05]),
)
@settings(max_examples=50, deadline=None)
def test_scenes_of_very_different_sizes_tell_the_time_of_others(seed, scene_s, megapixel_s, odd):
    assert list(foretold(seed, scene_s, megapixel_s, 200, odd)) == pytest.approx([1, 1], rel=0.2)


@pytest.mark.parametrize(("scene_s", "megapixel_s"), [(0.5, 0.02), (0.5, 0.5), (0.05, 5.0)])
def test_twenty_scenes_do_so_nine_times_in_ten(scene_s, megapixel_s):
    found = [one for seed in range(30) for one in foretold(seed, scene_s, megapixel_s, 20, 0.05)]
    assert np.quantile(np.abs(np.log(found)), 0.9) < np.log(1.3)


def test_scenes_of_one_size_leave_the_rest_to_what_is_supposed():
    twice = 2 * (UNKNOWN.scene_s + UNKNOWN.megapixel_s * 4.0)
    scene_s, megapixel_s = scene_times(ScenesTime((4.0,) * 9, (twice,) * 9, 0.0), 1.0)
    assert scene_s + 4 * megapixel_s == pytest.approx(twice)
    assert scene_s == pytest.approx(2 * UNKNOWN.scene_s, rel=0.05)


@pytest.mark.parametrize("speed", [0.3, 1.0, 5.0])
def test_the_end_of_a_small_batch_says_little_of_features_and_that_of_a_large_one_much(speed):
    small = end_times(5, 100, speed * UNKNOWN.end_s)
    assert small[0] == pytest.approx(speed * UNKNOWN.end_s, rel=0.1)
    assert 0.4 < small[2] / UNKNOWN.end_feature_s < 2.5
    large = end_times(400, 10**6, speed * UNKNOWN.end_feature_s * 10**6)
    assert large[2] == pytest.approx(speed * UNKNOWN.end_feature_s, rel=0.1)
    assert 0.4 < large[0] / UNKNOWN.end_s < 2.5


def test_coefficients_add_up_to_what_was_measured_without_the_odd_ones():
    table = [(1.0, k) for k in range(1, 30)]
    values = [2.0 + 3.0 * k for k in range(1, 30)]
    found = fitted(table, [*values[:-1], 1e5], (1.0, 1.0), [(1.0, 0.1)])
    assert np.array(table)[:-1] @ found == pytest.approx(values[:-1], rel=0.1)
    assert (np.array(table)[:-1] @ found).sum() == pytest.approx(sum(values[:-1]))


# ------------------------------------------------------------------------------ bytes


@pytest.mark.parametrize("kind", ["gpkg", "geojson", "fgb", "parquet", "gpkg and candidates"])
def test_files_tell_their_size_by_features_whatever_their_format(kind):
    rng = np.random.default_rng(3)
    usual = FILES[kind.removesuffix(rates.CANDIDATES)]
    want = FileRate(1.3 * usual.file, 0.4 * usual.feature)
    features = rng.poisson(rng.lognormal(2, 1.5, 60))
    files = [MeasuredFile(int(want.file + want.feature * n), (int(n),)) for n in features]
    (found,) = file_rates(files, kind)
    assert found.file == pytest.approx(want.file, rel=0.1)
    assert found.feature == pytest.approx(want.feature, rel=0.1)


def test_detectors_that_share_a_file_have_their_sizes_each():
    rng = np.random.default_rng(5)
    files = []
    for one, two in rng.poisson(30, (50, 2)).tolist():
        size = 100_000 + rates.LAYER + 4_000 * one + 900 * two
        files.append(MeasuredFile(size, (one, two)))
    found = file_rates(files, "gpkg")
    assert [one.feature for one in found] == pytest.approx([4_000, 900], rel=0.1)
    assert found[0].file == found[1].file == pytest.approx(100_000, rel=0.1)


def test_files_without_features_leave_those_to_what_is_supposed():
    (found,) = file_rates([MeasuredFile(102_400, (0,))] * 5, "gpkg")
    assert found == FileRate(102_400, FILES["gpkg"].feature)


@pytest.mark.parametrize("detectors", [["tiny"], ["tiny", "tinyroads"]])
def test_a_plan_tells_the_bytes_of_a_batch_within_a_factor_of_two(archive, tmp_path, detectors):
    formats, out = ["gpkg", "geojson", "parquet"], tmp_path / "out"
    scenes = sorted(archive.glob("scene*.tif"))
    assert not lanner.plan(scenes, detectors).measured
    lanner.batch(scenes, detectors, out, formats=formats)
    told = lanner.plan(scenes, detectors, formats=formats)
    assert told.measured

    def size(files):
        return sum(path.stat().st_size for path in files if path.is_file())

    real = size(out.rglob("*"))
    assert real / 2 < told.output_bytes < real * 2
    for form in formats:
        written = size((out / "scenes").glob(f"*.{form}"))
        assert written / 2 < told.output[f"scenes {form}"] < 2 * written
    assert told.output["parts"] == pytest.approx(size((out / "parts").rglob("*")), rel=0.3)
    assert told.output["features.gpkg"] == pytest.approx(size([out / "features.gpkg"]), rel=0.3)


def test_formats_are_counted_by_themselves(archive):
    one = lanner.plan(archive, "tiny", formats="fgb").output
    two = lanner.plan(archive, "tiny", formats=["gpkg", "fgb"]).output
    assert one.keys() == two.keys() - {"scenes gpkg"}
    assert one["scenes fgb"] == two["scenes fgb"] < two["scenes gpkg"]


# ------------------------------------------------------------------------------ what is kept


def test_rates_are_read_as_they_were_kept():
    assert keep("a", MEASURED) is None
    other = replace(MEASURED, files={})
    assert keep("b", other) is None
    assert known_rates() == {"a": MEASURED, "b": other}


@pytest.mark.parametrize(
    "odd",
    [
        {"scene_s": 1, "megapixel_s": 1, "scene_bytes": 1, "megapixel_bytes": 1, "scenes": 9},
        {**asdict(MEASURED), "scene_s": float("nan")},
        {**asdict(MEASURED), "scene_s": -1},
        {**asdict(MEASURED), "features": "12"},
        {**asdict(MEASURED), "files": {"gpkg": 3}},
        {**asdict(MEASURED), "scenes": float("inf")},
        None,
        [],
    ],
)
def test_what_is_no_rate_is_left_out_and_takes_no_other_with_it(odd):
    path = rates.rates_file()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"good": asdict(MEASURED), "odd": odd}))
    assert known_rates() == {"good": MEASURED}
    assert keep("odd", MEASURED) is None
    assert known_rates() == {"good": MEASURED, "odd": MEASURED}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"a"'])
def test_a_file_that_holds_no_rates_holds_none(text):
    path = rates.rates_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert known_rates() == {}


def test_a_small_batch_moves_the_rate_of_a_large_one_a_little():
    small = replace(MEASURED, scene_s=8.0, scenes=4, files={"fgb": FileRate(1.0, 2.0)})
    found = blended(replace(MEASURED, scenes=4_000), small)
    assert found.scene_s == pytest.approx(0.8 + (8.0 - 0.8) / 4)
    assert set(found.files) == {"gpkg", "fgb"}
    large = replace(small, scenes=40_000)
    assert blended(MEASURED, large).scene_s == pytest.approx(8.0, rel=0.01)


def test_a_batch_of_few_scenes_measures_nothing(archive, tmp_path):
    lanner.batch([archive / "scene0.tif", archive / "scene1.tif"], "tiny", tmp_path / "out")
    assert known_rates() == {}


def test_loading_and_the_end_of_a_batch_are_no_time_of_its_scenes(archive, tmp_path):
    lanner.batch(archive, "tiny", tmp_path / "out")
    told = lanner.plan(archive, "tiny")
    (rate, _) = told.rates[0]
    records = [one.outcome for one in lanner.batch(archive, "tiny", tmp_path / "out").records]
    loads = [one.seconds["load"] for one in records if one is not None]
    assert rate.start_s == pytest.approx(max(loads), abs=0.01)
    assert told.seconds == pytest.approx(told.scenes_s + told.end_s)
    assert told.seconds_on(1) == pytest.approx(told.seconds)
    assert told.seconds_on(4) - told.seconds_on(8) == pytest.approx(
        (told.scenes_s - rate.start_s) / 8
    )


# ------------------------------------------------------------------------------ what is left


def planned(archive, out, **params):
    """The plan that a batch begins with."""
    plans = []
    lanner.batch(archive, "tiny", out, on_plan=plans.append, **params)
    return plans[0]


def test_a_batch_that_goes_on_plans_what_is_left(archive, pictures, tmp_path):
    out, cancel, ended = tmp_path / "out", lanner.Cancel(), []

    def stop(record):
        ended.append(record)
        if len(ended) == len(BROKEN) + 2:
            cancel.set()

    with pytest.raises(Cancelled):
        lanner.batch(archive, "tiny", out, on="serial", on_record=stop, cancel=cancel)
    done = {one.scene.name for one in ended if one.state == "done"}
    assert done
    whole, rest = lanner.plan(archive, "tiny"), planned(archive, out)
    left = [one for one in whole.scenes if one.ref.name not in {one.scene.name for one in ended}]
    assert (rest.done, rest.to_run) == (len(done), tuple(left))
    assert rest.failed_before == len(ended) - len(done)
    assert len(rest.scenes) == len(whole.scenes)
    assert rest.tiles == sum(sum(one.tiles) for one in left)
    assert rest.bytes == sum(one.facts.bytes for one in left)
    assert 0 < rest.scenes_s < whole.scenes_s
    assert rest.output_bytes < whole.output_bytes
    assert rest.facts()["done"] == len(done)


def test_a_batch_that_is_done_plans_nothing_but_its_end(pictures, tmp_path):
    archive, out = make_archive(tmp_path / "in", pictures, 3), tmp_path / "out"
    lanner.batch(archive, "tiny", out)
    again = planned(archive, out)
    assert again.failed_before + len(again.failed) == len(BROKEN)
    assert (again.done, again.to_run, again.tiles, again.bytes) == (3, (), 0, 0)
    assert (again.scenes_s, again.output_bytes) == (0, 0)
    assert again.end_s > 0
    pictures.write_tif(archive / "scene1.tif", pictures.texture(160, 170, seed=50))
    assert [one.ref.name for one in planned(archive, out).to_run] == ["scene1"]
    (out / "scenes" / "scene2.gpkg").unlink()
    retried = planned(archive, out, retry_failed=True)
    assert {one.ref.name for one in retried.to_run} - {*BROKEN} == {"scene2"}
    assert retried.failed_before == 0


def test_detectors_of_one_scene_are_left_each_by_itself(archive, tmp_path):
    out = tmp_path / "out"
    plans = []
    two = ["tiny", "tinyroads"]
    for one in lanner.batch(archive, two, out).records:
        if one.outcome is not None and one.detector == "tinyroads":
            (out / "parts" / f"{one.outcome.key}.parquet").unlink()
    lanner.batch(archive, two, out, on_plan=plans.append)
    good = [one for one in plans[0].scenes if one.to_run]
    assert len(good) == 5
    assert all(one.status == ("done", "to run") for one in good)
    assert plans[0].tiles == sum(one.tiles[1] for one in good)


def test_a_plan_of_another_batch_in_the_folder_is_refused(archive, tmp_path):
    out = tmp_path / "out"
    lanner.batch(archive / "scene0.tif", "tiny", out)
    plans = []
    with pytest.raises(OutputError):
        lanner.batch(archive / "scene0.tif", "tiny", out, formats="fgb", on_plan=plans.append)
    assert plans == []
