"""Process: labelled lines that a network sees nothing of."""

import cv2
import numpy as np
import pytest

from lanner.core.errors import ConfigError
from lanner.factory.images import read_mask, write_png
from lanner.factory.ops.ignore_unseen_lines import ignore_unseen_lines
from lanner.factory.samples import MASK_UNKNOWN
from lanner.factory.steps.process import run
from lanner.synth.road_chips import render_road_chip
from tests.fixtures_process import ROOT, after, changes, project_of, stored

ROADS = str(ROOT / "configs" / "roads.yaml")


def crossing(width=7):
    """A road across, one down that nothing is seen of below the crossing, and what is seen."""
    mask = np.zeros((120, 160), np.uint8)
    half = width // 2
    mask[60 - half : 61 + half, 5:155] = 1
    mask[10:115, 80 - half : 81 + half] = 1
    probability = np.zeros(mask.shape, np.float32)
    probability[60, 5:155] = 0.9
    probability[10:61, 80] = 0.4
    return mask, probability


def test_a_stretch_that_is_not_seen_is_unknown_over_its_width():
    mask, probability = crossing()
    mask[100:, 120:] = MASK_UNKNOWN
    out = ignore_unseen_lines(mask, probability, unseen=0.05, reach=4, least=30)
    kept = out != MASK_UNKNOWN
    np.testing.assert_array_equal(out[kept], mask[kept])
    assert (out[100:, 120:] == MASK_UNKNOWN).all()
    assert (out[70:112, 77:84] == MASK_UNKNOWN).all()
    assert (out[57:64, 8:70] == 1).all()
    assert (out[14:60, 77:84] == 1).all()
    # Nothing beside the line.
    assert (out[70:112, :77] == 0).all()


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        ({"least": 60}, True),
        ({"unseen": 0.5}, False),
        ({"reach": 60}, True),
    ],
)
def test_how_far_a_detector_is_believed(settings, stays):
    mask, probability = crossing()
    out = ignore_unseen_lines(
        mask, probability, **{"unseen": 0.05, "reach": 4, "least": 30, **settings}
    )
    assert (out == mask).all() == stays
    if not stays:  # the upper road is fainter than what is asked for
        assert (out[14:50, 77:84] == MASK_UNKNOWN).all()


def test_a_mask_without_lines_stays():
    empty = np.full((40, 40), MASK_UNKNOWN, np.uint8)
    empty[:20] = 0
    out = ignore_unseen_lines(empty, np.zeros(empty.shape, np.float32), 0.05, 4, 1)
    np.testing.assert_array_equal(out, empty)


@pytest.fixture(scope="module")
def country():
    """A rendered piece of country, its roads, and a way through the fields that is not there."""
    chip = render_road_chip(np.random.default_rng(3), 448, 1.0)
    mask = np.zeros((448, 448), np.uint8)
    for one in chip.roads:
        if one.width >= 5:
            line = np.round((one.line - 0.5) * 8).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(mask, [line], False, 1, 7, cv2.LINE_8, 3)
    near = cv2.dilate(mask, np.ones((41, 41), np.uint8))
    column = int(np.argmin(near.sum(axis=0)))
    false_road = np.zeros_like(mask)
    false_road[:, column - 3 : column + 4] = 1
    return chip.rgb, mask, false_road & (near == 0)


def test_the_released_detector_takes_out_what_no_picture_shows(tmp_path, country):
    rgb, true, false_road = country
    samples = []
    for split in ("train", "test"):
        one = stored(tmp_path, f"first/{split}", rgb, split=split, gsd=1.0)
        write_png(true | false_road, tmp_path / f"{split}.png")
        samples.append(one.but(mask=tmp_path / f"{split}.png"))
    op = {"op": "ignore_unseen_lines", "model": ROADS, "sources": ["first"]}
    project = project_of(tmp_path, [op], samples)
    run(project)
    found = after(project)
    mask = read_mask(found["first/train"].mask)
    assert (mask[false_road > 0] == MASK_UNKNOWN).mean() > 0.8
    assert (mask[true > 0] == 1).mean() > 0.8
    assert (mask == MASK_UNKNOWN)[(true | false_road) == 0].sum() == 0
    assert found["first/test"].mask == tmp_path / "test.png"
    (change,) = changes(project)
    assert change[:2] == ("00_ignore_unseen_lines", "first/train")
    assert "is not seen" in change[2]
    # Looked at once: the second time what was seen is found.
    before = found["first/train"].mask.stat().st_mtime_ns
    run(project)
    assert after(project)["first/train"].mask.stat().st_mtime_ns == before


def test_what_has_no_ground_sampling_keeps_its_labels(tmp_path, country):
    rgb, true, false_road = country
    write_png(true | false_road, tmp_path / "mask.png")
    one = stored(tmp_path, "first/a", rgb, gsd=30.0).but(mask=tmp_path / "mask.png")
    project = project_of(tmp_path, [{"op": "ignore_unseen_lines", "model": ROADS}], [one])
    run(project)
    assert after(project)["first/a"].mask == tmp_path / "mask.png"
    assert "labels stay: 30 m pixels" in changes(project)[0][2]


def test_a_detector_of_objects_is_refused(tmp_path, country):
    write_png(country[1], tmp_path / "mask.png")
    one = stored(tmp_path, "first/a", country[0], gsd=1.0).but(mask=tmp_path / "mask.png")
    with pytest.raises(ConfigError, match="name a detector of rasters"):
        run(project_of(tmp_path, [{"op": "ignore_unseen_lines", "model": "aircraft"}], [one]))
