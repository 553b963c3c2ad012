"""The overlay picture shows detections where they are, with a legend, without clutter."""

import json

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lanner.core.errors import ConfigError, OutputError, SceneError
from postprocess import page
from postprocess.overlay import ACCEPT, REVIEW, ROADS, draw_overlay
from postprocess.page import Key, Mark, Page, compose
from tests.fixtures_scenes import write_scene

HEAD, FOOT = 46, 64


def decided(scene):
    """The truth as if found: every second aircraft for review."""
    for k, feature in enumerate(scene.aircraft):
        feature["properties"] |= {"decision": ("accept", "review")[k % 2], "confidence": 0.8}
    return scene.truth["features"]


def near(picture, colour, tolerance=60):
    return np.abs(picture.astype(int) - colour).max(-1) < tolerance


@pytest.mark.parametrize("georeference", ["utm", "mercator", "rotated", "south_up"])
@pytest.mark.parametrize("kind", ["mapping", "text", "frame"])
def test_outlines_lie_on_the_aircraft(tmp_path, georeference, kind):
    scene = write_scene(tmp_path, georeference=georeference, width=420, height=420)
    features = decided(scene)
    found = {"mapping": features, "text": [json.dumps(f) for f in features]}.get(kind)
    if kind == "frame":
        frame = gpd.GeoDataFrame.from_features(features, crs="OGC:CRS84")
        import rasterio

        with rasterio.open(scene.path) as file:
            found = frame.to_crs(file.crs)
    out = draw_overlay(scene.path, found, tmp_path / "o.png")
    picture = np.asarray(Image.open(out))[HEAD:-FOOT]
    bare = np.asarray(Image.open(draw_overlay(scene.path, [], tmp_path / "b.png")))[HEAD:-FOOT]
    assert picture.shape[:2] == (420, 420)
    changed = np.abs(picture.astype(int) - bare).max(-1) > 40
    for feature in scene.aircraft:
        colour = {"accept": ACCEPT, "review": REVIEW}[feature["properties"]["decision"]]
        ring = np.array(feature["properties"]["outline_px"])
        inside = ring[((ring > 3) & (ring < 416)).all(1)].astype(int)
        if len(inside) > 10:
            hit = changed[inside[:, 1], inside[:, 0]]
            assert hit.mean() > 0.8
            tinted = near(picture, colour, 110)[inside[:, 1], inside[:, 0]]
            assert tinted.mean() > 0.3


def test_every_road_class_has_its_colour(tmp_path):
    scene = write_scene(tmp_path, width=700, height=700, gsd=2.0)
    classes = {f["properties"]["road_class"] for f in scene.roads}
    assert len(classes) >= 2
    picture = np.asarray(Image.open(draw_overlay(scene.path, scene.roads, tmp_path / "o.png")))
    for name in classes:
        assert near(picture[HEAD:-FOOT], ROADS[name], 30).sum() > 20, name


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint16", "value"), ("float32", "nan"), ("int16", "mask"), ("uint8", "alpha")],
)
def test_dark_scenes_are_stretched_and_missing_pixels_dark(tmp_path, dtype, nodata):
    scene = write_scene(tmp_path, dtype, nodata, bands=1)
    picture = np.asarray(Image.open(draw_overlay(scene.path, [], tmp_path / "o.png")))
    body = picture[HEAD:-FOOT, (picture.shape[1] - 320) // 2 :][:, :320]
    from tests.fixtures_scenes import validity

    valid = validity(scene.spec)
    assert body[valid].std() > 20
    assert body[~valid].max() <= 20


def test_picture_keeps_ground_proportions_and_largest_side(tmp_path):
    scene = write_scene(tmp_path, georeference="geographic", width=600, height=300)
    picture = Image.open(draw_overlay(scene.path, [], tmp_path / "o.png", max_side=900))
    # At 48 degrees north a column is two thirds of a row on the ground.
    w, h = 600 * np.cos(np.radians(48.36)), 300
    assert picture.width == 600
    assert picture.height - HEAD - FOOT == pytest.approx(600 * h / w, abs=4)
    small = Image.open(draw_overlay(scene.path, [], tmp_path / "s.png", max_side=100))
    assert small.height - HEAD - FOOT == pytest.approx(100 * h / w, abs=2)


def test_close_up_shows_that_part_enlarged(tmp_path):
    scene = write_scene(tmp_path)
    out = draw_overlay(scene.path, [], tmp_path / "o.png", around=(100, 80, 200, 160))
    picture = np.asarray(Image.open(out))
    body = picture[HEAD:-FOOT]
    assert body.shape[0] == pytest.approx(320, abs=2)
    whole = np.asarray(Image.open(draw_overlay(scene.path, [], tmp_path / "w.png")))[HEAD:-FOOT]
    left = (whole.shape[1] - 320) // 2
    part = whole[80:160, left + 100 : left + 200].mean(-1)
    width = round(body.shape[0] * 1.25)
    inset = (body.shape[1] - width) // 2
    shrunk = np.asarray(Image.fromarray(body[:, inset : inset + width]).resize((100, 80)))
    assert np.corrcoef(part.ravel(), shrunk.mean(-1).ravel())[0, 1] > 0.9


def test_scene_without_crs_takes_scene_pixels(tmp_path):
    scene = write_scene(tmp_path, georeference="none")
    feature = {
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[50, 60], [150, 60], [150, 140], [50, 140], [50, 60]]],
        },
        "properties": {"label": "aircraft", "decision": "accept", "confidence": 0.9},
    }
    out = draw_overlay(scene.path, [feature], tmp_path / "o.png", gsd=0.6)
    body = np.asarray(Image.open(out))[HEAD:-FOOT]
    left = (body.shape[1] - 320) // 2
    assert near(body, ACCEPT)[60, left + 60 : left + 140].mean() > 0.9
    assert near(body, ACCEPT)[100, left + 60 : left + 140].mean() < 0.1


def test_refusals(tmp_path):
    scene = write_scene(tmp_path)
    with pytest.raises(ConfigError, match="around"):
        draw_overlay(scene.path, [], tmp_path / "o.png", around=(900, 900, 950, 950))
    with pytest.raises(ConfigError, match="max_side"):
        draw_overlay(scene.path, [], tmp_path / "o.png", max_side=1)
    with pytest.raises(OutputError, match="out_png"):
        draw_overlay(scene.path, [], tmp_path / "no" / "o.png")
    with pytest.raises(SceneError):
        draw_overlay(tmp_path / "no.tif", [], tmp_path / "o.png")


boxes = st.lists(
    st.tuples(st.integers(0, 360), st.integers(0, 260), st.integers(8, 60)), min_size=1, max_size=25
)


@settings(max_examples=25, deadline=None)
@given(boxes)
def test_labels_cover_neither_each_other_nor_other_objects(found):
    marks = [
        Mark(
            (np.array([(x, y), (x + s, y), (x + s, y + s), (x, y + s)], float),),
            ACCEPT,
            closed=True,
            text=f"A{k} 90%",
            rank=float(s),
        )
        for k, (x, y, s) in enumerate(found)
    ]
    alone = [np.asarray(page._labels([m], 420, 320))[..., 3] > 0 for m in marks]
    layer = np.asarray(page._labels(marks, 420, 320))[..., 3] > 0
    for x, y, s in found:
        assert not layer[y + 1 : min(y + s, 320), x + 1 : min(x + s, 420)].any()
    if len(marks) == 1 and alone[0].any():
        assert layer.any()


def test_scale_bar_is_true_and_round():
    image = compose(
        np.full((300, 600, 3), 128, np.uint8),
        Page("t", "n", (Key("accept (1)", ACCEPT),), metres=0.5, north=0.0),
    )
    foot = np.asarray(image)[HEAD + 300 :]
    row = foot[int(FOOT / 2) + 4, :540]
    lit = 300 + np.flatnonzero(near(row[300:], page.INK, 20))
    # The longest of 1, 2, 5 x 10^n metres within 22 % of 600 px at half a metre: 50 m, 100 px.
    assert lit.max() - lit.min() == pytest.approx(100, abs=2)
