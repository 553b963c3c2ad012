"""Single steps of the road chain, each on a small real raster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely import LineString

from lanner.core.errors import ConfigError, StepError
from postprocess.context import Context
from postprocess.frame import empty
from postprocess.roads import (
    bridge,
    classify,
    clean,
    gaps,
    measure,
    prune,
    skeletonise,
    smooth,
    threshold,
    trace,
)
from postprocess.roads.network import network, road_frame
from postprocess.roads.ridge import normals, ridge, smoothed
from postprocess.roads.sample import batches, half_widths, probability
from postprocess.roads.strokes import strokes
from tests.fixtures_roads import painted, road_context


def road(*xy: tuple[float, float]) -> LineString:
    return LineString(xy)


def lined(*lines: LineString) -> NDArray[np.object_]:
    held = np.empty(len(lines), dtype=object)
    held[:] = lines
    return held


def up_to(context: Context, *steps: object) -> gpd.GeoDataFrame:
    frame = empty()
    for step in steps:
        frame = step.run(frame, context, step.Params())  # type: ignore[attr-defined]
        if "rejected" in frame:
            frame = frame[frame.rejected.isna()].reset_index(drop=True)
    return frame


def stored(context: Context, name: str) -> NDArray[np.bool_]:
    with rasterio.open(context.raster(name)) as dataset:
        return np.asarray(dataset.read(1) > 0)


@pytest.mark.parametrize("block", [256, 512])
def test_hysteresis_equals_the_untiled_one(tmp_path: Path, block: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (600, 700)), 4)
    values = np.clip(noise / noise.std() * 60 + 90, 0, 255).astype(np.uint8)
    context = road_context(tmp_path, values)
    params = threshold.Params(low=0.4, high=0.8, smooth_m=0, block=block)
    threshold.run(empty(), context, params)
    low, high = values >= 0.4 * 255, values >= 0.8 * 255
    labels, _ = ndimage.label(low, np.ones((3, 3)))
    assert np.array_equal(stored(context, "threshold"), np.isin(labels, labels[high]) & low)


def test_smoothing_is_the_same_in_any_block_and_beside_invalid_pixels(tmp_path: Path) -> None:
    values = np.full((520, 530), 200, np.uint8)
    valid = np.ones(values.shape, np.bool_)
    valid[250:270, 255:257] = False
    values[~valid] = 7
    masks = []
    for block in (256, 768):
        context = road_context(tmp_path / str(block), values, valid=valid)
        params = threshold.Params(low=0.78, high=0.78, smooth_m=2, block=block)
        threshold.run(empty(), context, params)
        masks.append(stored(context, "threshold"))
    # 200 / 255 is just above the threshold: any weight lost at a border would show.
    assert np.array_equal(masks[0], valid)
    assert np.array_equal(masks[0], masks[1])


def test_thresholds_the_wrong_way_round_are_refused(tmp_path: Path) -> None:
    context = road_context(tmp_path, np.zeros((9, 9), np.uint8))
    with pytest.raises(ConfigError, match="below low"):
        threshold.run(empty(), context, threshold.Params(low=0.7, high=0.6))


def test_raster_of_another_size_is_refused(tmp_path: Path) -> None:
    context = road_context(tmp_path / "a", np.zeros((40, 40), np.uint8))
    other = road_context(tmp_path / "b", np.zeros((40, 50), np.uint8))
    wrong = Context(**{**vars(context), "rasters": other.rasters})
    with pytest.raises(StepError, match="50 x 40"):
        threshold.run(empty(), wrong, threshold.Params())


def test_clean_fills_sweeps_and_takes_squares_out(tmp_path: Path) -> None:
    mask = painted(lined(road((20, 250), (580, 250))), 9, 600)
    mask[248:252, 250:254] = 0  # a hole on a block's border
    mask[100:106, 253:259] = 255  # a crumb
    mask[300:500, 200:400] = 255  # a car park
    valid = np.ones(mask.shape, np.bool_)
    valid[250, 252] = False
    context = road_context(tmp_path, mask, valid=valid)
    threshold.run(empty(), context, threshold.Params(smooth_m=0, block=256))
    done = clean.run(empty(), context, clean.Params(block=256))
    expected = painted(lined(road((20, 250), (580, 250))), 9, 600) > 0
    expected[250, 252] = False
    assert np.array_equal(stored(context, "clean"), expected)
    assert "1 holes filled" in done.attrs["note"]
    assert not list(context.workdir.glob(".*"))


def test_spurs_go_and_side_roads_stay(tmp_path: Path) -> None:
    mask = painted(lined(road((20, 100), (280, 100)), road((150, 100), (150, 160))), 9, 300)
    mask[86:96, 80:86] = 255  # a bump
    context = road_context(tmp_path, mask)
    frame = up_to(context, threshold, clean, skeletonise, trace)
    assert len(frame) > 3
    out = prune.run(frame, context, prune.Params())
    kept, gone = out[out.rejected.isna()], out[out.rejected.notna()]
    assert len(kept) == 3
    assert gone.rejected.str.contains("spur").all()
    # Drawn on to the end of the mask.
    tips = shapely.get_coordinates(kept.geometry.array)
    assert tips[:, 0].min() == pytest.approx(20, abs=1)
    assert tips[:, 1].max() == pytest.approx(160, abs=1)


@pytest.mark.parametrize(("gap", "closed"), [(15, True), (25, True), (55, False)])
def test_facing_ends_are_joined_over_a_gap_of(tmp_path: Path, gap: int, closed: bool) -> None:
    mask = painted(lined(road((20, 100), (280, 130))), 7, 300)
    mask[:, 140 : 140 + gap] = 0
    context = road_context(tmp_path, mask)
    frame = bridge.run(
        up_to(context, threshold, clean, skeletonise, trace, prune), context, bridge.Params()
    )
    assert len(frame) == (1 if closed else 2)
    if closed:
        assert "gap of" in frame.note[0]
        assert shapely.hausdorff_distance(frame.geometry[0], road((20, 100), (280, 130))) < 3


def test_a_faint_bend_is_followed(tmp_path: Path) -> None:
    bend = road((20, 60), (120, 60), (150, 70), (160, 100), (160, 220))
    mask = painted(lined(bend), 7, 300)
    found = mask.copy()
    faint = np.zeros(mask.shape, np.bool_)
    faint[40:95, 118:170] = True
    found[faint & (mask > 0)] = 64
    context = road_context(tmp_path, found)
    frame = up_to(context, threshold, clean, skeletonise, trace, prune)
    assert len(frame) == 2
    joined = bridge.run(frame, context, bridge.Params(turn_deg=60))
    assert len(joined) == 1
    assert shapely.hausdorff_distance(joined.geometry[0], bend) < 4


def test_a_faint_stub_reaches_the_road_ahead_and_a_dark_one_does_not(tmp_path: Path) -> None:
    for level, lines in ((100, 3), (0, 2)):
        mask = painted(lined(road((20, 50), (280, 50)), road((150, 50), (150, 200))), 7, 300)
        mask[54:72, 140:160][mask[54:72, 140:160] > 0] = level
        context = road_context(tmp_path / str(level), mask)
        frame = up_to(context, threshold, clean, skeletonise, trace, prune)
        # Hysteresis alone joins nothing here: 100 / 255 is between low and high, so ask for more.
        if level:
            again = threshold.Params(low=0.55)
            threshold.run(empty(), context, again)
            frame = up_to(context, clean, skeletonise, trace, prune)
        assert len(frame) == 2
        assert len(bridge.run(frame, context, bridge.Params())) == lines


def test_no_bridge_over_invalid_pixels_or_other_roads(tmp_path: Path) -> None:
    mask = painted(lined(road((20, 100), (280, 100))), 7, 300)
    mask[:, 140:160] = 0
    valid = np.ones(mask.shape, np.bool_)
    valid[:, 148:152] = False
    context = road_context(tmp_path / "invalid", mask, valid=valid)
    frame = up_to(context, threshold, clean, skeletonise, trace, prune)
    assert len(bridge.run(frame, context, bridge.Params())) == 2


def test_smooth_finds_the_middle_between_pixels(tmp_path: Path) -> None:
    true = road((20.3, 100.8), (280.6, 131.2))
    fine = painted(lined(shapely.transform(true, lambda xy: 8 * xy)), 56, 2400)
    mask = fine.reshape(300, 8, 300, 8).mean(axis=(1, 3)).astype(np.uint8)
    frame = up_to(road_context(tmp_path, mask), threshold, clean, skeletonise, trace, prune)
    rough = frame.geometry[0]
    out = smooth.run(frame, road_context(tmp_path, mask), smooth.Params())
    line = out.geometry[0]
    middle = shapely.line_interpolate_point(line, np.linspace(0.1, 0.9, 40), normalized=True)
    assert shapely.distance(middle, true).max() < 0.25
    assert shapely.get_coordinates(line)[[0, -1]].tolist() == (
        shapely.get_coordinates(rough)[[0, -1]].tolist()
    )


def test_ridge_of_a_neighbour_has_no_say() -> None:
    offsets = np.arange(-14, 15)
    own, other = np.abs(offsets - 1) <= 3, np.abs(offsets - 12) <= 3
    profile = np.repeat((own | other)[None].astype(float), 9, axis=0)
    every = np.arange(9)
    offset, weight = ridge([(every, profile)], np.zeros(9, np.int64), 4)
    assert offset == pytest.approx(1)
    assert (weight > 0.5).all()
    profile[4] = 1  # a junction
    assert ridge([(every, profile)], np.zeros(9, np.int64), 4)[1][4] == 0


def test_smoothing_holds_ends_and_straight_lines() -> None:
    x = np.arange(60.0)
    points = np.stack([x, 0.5 * x], axis=1)
    owner = np.repeat([0, 1], 30)
    bent = points + np.random.default_rng(0).normal(0, 0.5, points.shape)
    bent[[0, 29, 30, 59]] = points[[0, 29, 30, 59]]
    out = smoothed(bent, np.ones(60), owner, 25)
    assert np.abs(out - points).max() < 0.5
    assert np.array_equal(out[[0, 29, 30, 59]], points[[0, 29, 30, 59]])
    assert smoothed(points, np.ones(60), owner, 25) == pytest.approx(points)
    # Lines do not pull on each other.
    alone = smoothed(bent[:30], np.ones(30), owner[:30], 25)
    assert alone == pytest.approx(out[:30])
    assert normals(points, owner) == pytest.approx(np.tile([-1, 2], (60, 1)) / np.sqrt(5))


def test_half_widths_are_sub_pixel_and_ignore_the_grids_border(tmp_path: Path) -> None:
    mask = painted(lined(road((0, 50), (300, 50)), road((100, 100), (100, 300))), 8, 300)
    context = road_context(tmp_path, mask)
    (context.workdir / "clean.tif").write_bytes(context.raster("probability").read_bytes())
    points = np.array([(150.0, 50.0), (0.5, 50.0), (100.0, 200.0), (150.0, 52.0), (200, 200)])
    assert half_widths(context, points, 20) == pytest.approx([4, 4, 4, 2, 0], abs=0.05)


def test_probability_is_bilinear_and_zero_where_invalid(tmp_path: Path) -> None:
    values = np.zeros((20, 20), np.uint8)
    values[:, 10:] = 255
    valid = np.ones(values.shape, np.bool_)
    valid[15:] = False
    context = road_context(tmp_path, values, valid=valid)
    points = np.array([(10.0, 5.0), (12.0, 5.0), (5.0, 5.0), (15.0, 17.0)])
    assert probability(context, points) == pytest.approx([0.5, 1, 0, 0])


def test_measure_gives_geodesic_metres_and_the_roads_own_probability(tmp_path: Path) -> None:
    line = road((20, 100), (280, 100))
    mask = painted(lined(line), 8, 300)
    context = road_context(tmp_path, (mask * 0.8).astype(np.uint8), gsd=0.5)
    (context.workdir / "clean.tif").write_bytes(context.raster("probability").read_bytes())
    out = measure.run(
        road_frame(lined(line, road((20, 100), (20, 99.5)))), context, measure.Params()
    )
    assert out.length_m[0] == pytest.approx(130, abs=0.1)
    assert out.length_m[1] == pytest.approx(0.25, abs=0.01)
    assert out.width_m[0] == pytest.approx(4, abs=0.1)
    assert out.score[0] == pytest.approx(0.8, abs=0.02)
    assert out.votes[0] == {"resunet": out.score[0]}
    # The one network that looked, whatever the chain was written for.
    alone = replace(context, members=("streets",))
    out = measure.run(road_frame(lined(line)), alone, measure.Params(member="resunet"))
    assert out.votes[0] == {"streets": out.score[0]}


def test_a_score_is_calibrated_and_the_vote_is_what_was_seen(tmp_path: Path) -> None:
    line = road((20, 100), (280, 100))
    mask = painted(lined(line), 8, 300)
    context = road_context(tmp_path, (mask * 0.8).astype(np.uint8))
    (context.workdir / "clean.tif").write_bytes(context.raster("probability").read_bytes())
    context = replace(context, calibrate=lambda score: score / 2)
    out = measure.run(road_frame(lined(line)), context, measure.Params())
    assert out.votes[0]["resunet"] == pytest.approx(0.8, abs=0.02)
    assert out.score[0] == pytest.approx(out.votes[0]["resunet"] / 2, abs=1e-6)
    assert f"mean probability {out.votes[0]['resunet']:.2f}" in out.note[0]


def test_of_several_networks_each_tells_its_own_word(tmp_path: Path) -> None:
    line = road((20, 100), (280, 100))
    mask = painted(lined(line), 8, 300)
    together = road_context(tmp_path, mask)
    (together.workdir / "clean.tif").write_bytes(together.raster("probability").read_bytes())
    quiet = road_context(tmp_path / "quiet", (mask * 0.2).astype(np.uint8)).raster("probability")
    rasters = {**together.rasters, "vote-a": quiet, "vote-b": together.raster("probability")}
    context = replace(together, rasters=rasters)
    out = measure.run(road_frame(lined(line)), context, measure.Params())
    assert list(out.votes[0]) == ["a", "b"]
    assert out.votes[0] == pytest.approx({"a": 0.2, "b": 1}, abs=0.02)
    assert out.score[0] == pytest.approx(1, abs=0.02)


def test_strokes_go_straight_on() -> None:
    found = network(
        lined(
            road((0, 0), (50, 0)),
            road((50, 0), (100, 3)),
            road((50, 0), (50, 60)),
            road((50, 0), (90, 60)),
        )
    )
    number = strokes(found, 30, 20)
    assert number[0] == number[1]
    assert len({number[0], number[2], number[3]}) == 3


def classes(folder: Path, *roads: tuple[LineString, float]) -> list[str]:
    frame = road_frame(lined(*(line for line, _ in roads)))
    frame["length_m"] = frame.geometry.length
    frame["width_m"] = [width for _, width in roads]
    context = road_context(folder, np.zeros((64, 64), np.uint8))
    return list(classify.run(frame, context, classify.Params()).road_class)


def test_classes_follow_the_table(tmp_path: Path) -> None:
    straight = road((0, 0), (1000, 0))
    assert classes(tmp_path, (straight, 24)) == ["motorway"]
    assert classes(tmp_path, (straight, 14)) == ["primary"]
    assert classes(tmp_path, (straight, 6)) == ["unclassified"]
    assert classes(tmp_path, (road((0, 0), (100, 0)), 6)) == ["service"]
    assert classes(tmp_path, (straight, 3)) == ["track"]
    assert classes(tmp_path, (straight, 1.5)) == ["path"]


def test_a_road_keeps_its_class_through_its_junctions(tmp_path: Path) -> None:
    main = [(road((300 * i, 0), (300 * i + 300, 0)), 9.0) for i in range(3)]
    side = [(road((300 * i, 0), (300 * i, 150)), 6.0) for i in (1, 2)]
    assert classes(tmp_path, *main, *side) == 3 * ["secondary"] + 2 * ["residential"]


def test_batches_hold_every_line_once_and_few_points() -> None:
    lines = lined(*(road((0, i), (10 + i, i)) for i in range(50)))
    runs = list(batches(lines, 1.0, 60))
    assert [i for run in runs for i in range(50)[run]] == list(range(50))
    assert max(shapely.length(lines[run]).sum() for run in runs) < 60 + 59
    assert len(runs) > 20
    assert list(batches(lines[:0], 1.0)) == []


def test_gaps_do_not_depend_on_how_many_ends_look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    begin = rng.uniform(0, 400, (120, 2))
    ends = begin + rng.uniform(-30, 30, (120, 2))
    found = network(shapely.linestrings(np.stack([begin, ends], axis=1)))

    def all_of_them() -> dict[str, list[object]]:
        result = gaps.gaps(found, gaps.tips(found, 1.0, 10.0), 40.0, 30.0, 45.0)
        return {name: values.tolist() for name, values in vars(result).items()}

    whole = all_of_them()
    assert len(whole["tip"]) > 100
    for few in (1, 7):
        monkeypatch.setattr(gaps, "FEW", few)
        assert all_of_them() == whole


def test_each_profile_is_judged_by_itself_however_many_there_are() -> None:
    rng = np.random.default_rng(2)
    profile, line = rng.random((500, 17), np.float32), np.arange(500)
    parts = np.split(rng.permutation(500), [1, 8, 300])
    offset, weight = ridge([(some, profile[some]) for some in parts], line, 4)
    for i in range(500):
        one = ridge([(np.zeros(1, np.int64), profile[i : i + 1])], np.zeros(1, np.int64), 4)
        assert (offset[i], weight[i]) == (one[0][0], one[1][0])
