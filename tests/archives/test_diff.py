"""What changed from one result to another: runs, batches and files of every format."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
import yaml
from affine import Affine
from typer.testing import CliRunner

import lanner
from lanner.archives.differences import ONLY_FIRST, ONLY_SECOND, SAME, compare
from lanner.cli.app import app
from lanner.core.errors import ConfigError, OutputError
from tests.archives.fixtures_archive import make_archive, own_cache

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")

FORMATS = ("gpkg", "geojson", "fgb", "parquet")


def command(*words):
    return CliRunner().invoke(app, ["diff", *map(str, words)])


@pytest.fixture(scope="module")
def runs(pictures, tiny_home, own_config, tmp_path_factory):
    """Folder of two runs of one scene, `one` and `two`, the second with another configuration and
    tile, and their features in every format.
    """
    folder = tmp_path_factory.mktemp("runs")
    scene = pictures.write_tif(folder / "scene.tif", pictures.texture(160, 170, seed=1))
    mine = Path(own_config(pictures.objects))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANNER_HOME", str(tiny_home))
        for name, least, tile in (("one", 0.05, None), ("two", 0.2, 160)):
            mine.write_text(yaml.safe_dump({**pictures.objects, "fusion": {"min_score": least}}))
            found = lanner.detect(scene, str(mine), run=folder / name, tile=tile)
            for ending in FORMATS:
                found.to_file(folder / f"{name}.{ending}")
    return folder


def test_a_run_and_itself(runs):
    found = lanner.diff(runs / "one", runs / "one")
    assert not found.differ
    assert found.causes == ()
    (row,) = found.counts.values()
    assert set(row) == {SAME}
    assert command(runs / "one", runs / "one", "--exit-code").exit_code == 0


def test_two_runs_tell_causes_and_changes(runs):
    found = lanner.diff(runs / "one", runs / "two")
    causes = {one.what: (one.first, one.second) for one in found.causes}
    assert causes["configuration fusion.min_score"] == (0.05, 0.2)
    assert set(causes) == {"configuration fusion.min_score", "tile"}
    assert found.differ
    assert all(set(one.kinds) for one in found.changes)
    (row,), (sizes,) = found.counts.values(), found.sizes.values()
    kept = sum(1 for one in found.changes if one.overlap is not None) + row.get(SAME, 0)
    assert sizes == (kept + row.get(ONLY_FIRST, 0), kept + row.get(ONLY_SECOND, 0))
    back = lanner.diff(runs / "two", runs / "one")
    assert len(back.changes) == len(found.changes)
    assert {label: size[::-1] for label, size in back.sizes.items()} == found.sizes


def test_batches_name_keys_of_configurations_that_are_gone(
    pictures, tiny_home, own_config, tmp_path, monkeypatch
):
    monkeypatch.setenv("LANNER_HOME", str(tiny_home))
    folder = tmp_path / "in"
    folder.mkdir()
    pictures.write_tif(folder / "scene.tif", pictures.texture(160, 170, seed=1))
    mine = Path(own_config(pictures.objects))
    for least in (0.05, 0.2):
        mine.write_text(yaml.safe_dump({**pictures.objects, "fusion": {"min_score": least}}))
        lanner.batch(folder, str(mine), tmp_path / f"{least}", on="serial")
    mine.unlink()
    (cause,) = lanner.diff(tmp_path / "0.05", tmp_path / "0.2").causes
    assert (cause.what, cause.first, cause.second) == (
        "configuration fusion.min_score",
        0.05,
        0.2,
    )


def test_exit_codes_and_words(runs):
    plain = command(runs / "one", runs / "two")
    assert plain.exit_code == 0, plain.output
    assert "fusion.min_score" in plain.output
    assert command(runs / "one", runs / "two", "--exit-code").exit_code == 1
    facts = json.loads(command(runs / "one", runs / "two", "--json").stdout)
    assert facts["differ"]
    assert facts["counts"]["thing"]["first"] > 0


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("other", ["run", "geojson"])
def test_files_of_every_format_are_the_run(runs, ending, other):
    second = runs / "one" if other == "run" else runs / "one.geojson"
    found = lanner.diff(runs / f"one.{ending}", second)
    assert not found.differ
    assert found.sizes["thing"][0] == found.sizes["thing"][1] > 0
    assert not found.causes


def test_files_tell_what_their_features_do(runs):
    found = lanner.diff(runs / "one.gpkg", runs / "two.parquet")
    assert [one.what for one in found.causes] == ["configuration"]
    assert found.notes


def test_other_crs_are_the_same_objects(runs, tmp_path):
    frame = gpd.read_file(runs / "one.gpkg")
    for crs in ("EPSG:3857", "EPSG:4326", "EPSG:32632"):
        path = tmp_path / f"{crs[5:]}.gpkg"
        frame.to_crs(crs).to_file(path, layer="tiny")
        assert not lanner.diff(runs / "one.gpkg", path).differ
        assert not lanner.diff(path, runs / "one.gpkg").differ


def test_changes_as_a_layer(runs, tmp_path):
    found = lanner.diff(runs / "one", runs / "two")
    for ending in (*FORMATS, "json"):
        out = tmp_path / f"changes.{ending}"
        done = command(runs / "one", runs / "two", "-o", out)
        assert done.exit_code == 0, done.output
        frame = gpd.read_parquet(out) if ending == "parquet" else gpd.read_file(out)
        assert len(frame) == len(found.changes) > 0
        assert {"change", "label_first", "label_second", "confidence_change", "moved_m"} <= {
            *frame.columns
        }
        assert frame.crs.to_epsg() == (4326 if "json" in ending else 32633)
        assert shapely.is_valid(frame.geometry.values).all()


def test_a_geopackage_keeps_its_other_layers(runs, tmp_path):
    out = tmp_path / "all.gpkg"
    out.write_bytes((runs / "two.gpkg").read_bytes())
    for _ in range(2):
        assert command(runs / "one", out, "-o", out).exit_code == 0
    layers = {str(name) for name, _ in pyogrio.list_layers(out)}
    assert {"tiny", "changes"} <= layers
    assert not lanner.diff(out, runs / "two").differ


def test_one_that_is_compared_is_not_written_over(runs):
    before = (runs / "two.parquet").read_bytes()
    assert command(runs / "one", runs / "two.parquet", "-o", runs / "two.parquet").exit_code == 18
    assert command(runs / "one", runs / "two", "-o", runs / "two/result.parquet").exit_code == 18
    assert (runs / "two.parquet").read_bytes() == before


def test_no_change_is_an_empty_layer(runs, tmp_path):
    for ending in ("gpkg", "geojson"):
        lanner.diff(runs / "one", runs / "one").to_file(tmp_path / f"none.{ending}")
        assert len(gpd.read_file(tmp_path / f"none.{ending}")) == 0


@pytest.mark.parametrize("name", ["none", "text.gpkg", "empty", "other.geojson"])
def test_what_holds_no_features_is_refused(runs, name, tmp_path):
    (tmp_path / "text.gpkg").write_text("no database")
    (tmp_path / "empty").mkdir()
    point = {"type": "Feature", "properties": {}, "geometry": None}
    other = {"type": "FeatureCollection", "features": [point]}
    (tmp_path / "other.geojson").write_text(json.dumps(other))
    with pytest.raises(ConfigError):
        lanner.diff(runs / "one", tmp_path / name)


def test_scenes_without_a_place_are_compared_in_pixels(pictures, tmp_path):
    photo = tmp_path / "photo.tif"
    pictures.write_tif(
        photo, pictures.texture(150, 150, seed=3), crs=None, transform=Affine(1, 0, 0, 0, 1, 0)
    )
    for name in ("one", "two"):
        found = lanner.detect(photo, "tiny", gsd=1.0, run=tmp_path / name)
        assert len(found)
        for ending in ("json", "gpkg"):
            found.to_file(tmp_path / f"{name}.{ending}")
    for other in ("two", "two.json", "two.gpkg"):
        found = lanner.diff(tmp_path / "one", tmp_path / other)
        assert not found.differ
        assert found.sizes["thing"][0] > 0
    lanner.detect(photo, "tiny", gsd=1.1, run=tmp_path / "other")
    changed = lanner.diff(tmp_path / "one", tmp_path / "other")
    assert "ground sampling" in [one.what for one in changed.causes]
    assert changed.differ
    changed.to_file(tmp_path / "changes.json")
    with pytest.raises(OutputError):
        changed.to_file(tmp_path / "changes.geojson")


def test_pixels_are_not_compared_with_the_ground():
    shapes = [shapely.box(0, 0, 1, 1)]
    facts = {"label": ["a"], "confidence": [0.5]}
    placed = gpd.GeoDataFrame(facts, geometry=shapes, crs="EPSG:4326")
    with pytest.raises(ConfigError):
        compare(placed, gpd.GeoDataFrame(facts, geometry=shapes), "scene", "tiny")


def test_objects_on_both_sides_of_the_antimeridian_are_compared_in_place():
    step = 0.0001
    shapes = [shapely.box(lon, 10, lon + step, 10 + step) for lon in (179.999, -179.999)]
    facts = {"label": ["a", "a"], "confidence": [0.5, 0.5]}
    one = gpd.GeoDataFrame(facts, geometry=shapes, crs="EPSG:4326")
    moved = one.set_geometry(one.geometry.translate(step / 4, 0))
    found = compare(one, moved, "scene", "tiny")
    assert [change.kinds for change in found.changes] == [("moved",), ("moved",)]
    metres = 111_320 * np.cos(np.radians(10)) * step / 4
    assert [change.moved_m for change in found.changes] == pytest.approx([metres] * 2, rel=0.01)


# ------------------------------------------------------------------------------ batches


def test_batches_are_compared_scene_by_scene(pictures, tmp_path):
    archive = make_archive(tmp_path / "in", pictures, 3)
    lanner.batch(archive, ["tiny", "tinyroads"], tmp_path / "one")
    same = lanner.diff(tmp_path / "one", tmp_path / "one")
    assert (same.differ, same.scenes) == (False, 6)
    pictures.write_tif(archive / "scene1.tif", pictures.texture(160, 170, seed=50))
    (archive / "scene2.tif").unlink()
    place = Affine(1, 0, 700_000, 0, -1, 5_000_000)
    pictures.write_tif(archive / "later.tif", pictures.texture(130, 140, seed=5), transform=place)
    lanner.batch(archive, ["tiny", "tinyroads"], tmp_path / "two")
    found = lanner.diff(tmp_path / "one", tmp_path / "two")
    assert (found.only_first, found.only_second) == (("scene2",), ("later",))
    (content,) = [one for one in found.causes if one.what == "scene content"]
    assert content.scenes == ("scene1",)
    assert {one.scene for one in found.changes} == {"scene1"}
    lines = command(tmp_path / "one", tmp_path / "two", "-o", tmp_path / "changes.gpkg")
    assert lines.exit_code == 0, lines.output
    # Scenes of a batch in several CRS meet in longitude and latitude.
    assert len(gpd.read_file(tmp_path / "changes.gpkg")) == len(found.changes)


def test_a_batch_and_a_result_of_one_of_its_scenes(pictures, tmp_path):
    archive = make_archive(tmp_path / "in", pictures, 2)
    lanner.batch(archive, "tiny", tmp_path / "out", formats=["gpkg", "geojson"])
    lanner.detect(archive / "scene1.tif", "tiny", run=tmp_path / "run")
    for other in (tmp_path / "run", tmp_path / "out" / "scenes" / "scene1.gpkg"):
        found = lanner.diff(tmp_path / "out", other)
        assert (found.differ, found.scenes) == (False, 1)
        assert not lanner.diff(other, tmp_path / "out").differ
    pictures.write_tif(tmp_path / "else.tif", pictures.texture(150, 150, seed=9))
    lanner.detect(tmp_path / "else.tif", "tiny", run=tmp_path / "else")
    with pytest.raises(ConfigError):
        lanner.diff(tmp_path / "out", tmp_path / "else")


def test_the_files_of_two_archives(pictures, tmp_path):
    archive = make_archive(tmp_path / "in", pictures, 2)
    lanner.batch(archive, ["tiny", "tinyroads"], tmp_path / "out")
    gpkg, parquet = tmp_path / "out" / "features.gpkg", tmp_path / "out" / "features.parquet"
    assert not lanner.diff(gpkg, parquet).differ
    assert lanner.diff(gpkg, parquet).sizes["thing"][0] > 0
