"""An archive of scenes by one command: what comes out, what is done again, what a kill costs."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow.dataset as ds
import pyogrio
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

import lanner
from lanner.archives.ledger import FILE, BatchLedger
from lanner.cli.app import app
from lanner.core.errors import Cancelled, ConfigError, LannerError, OutputError
from tests.archives.fixtures_archive import BROKEN, FULL, contents, make_archive, own_cache

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")

PROGRAM = [sys.executable, "-m", "lanner"]


@pytest.fixture(scope="module")
def archive(pictures, tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "in", pictures)


def records(out):
    with BatchLedger(out / FILE, None) as ledger:
        return {(one.scene.name, one.detector): one for one in ledger.records()}


def attempts(out):
    return {name: one.attempts for (name, _), one in records(out).items()}


def run(*words):
    return CliRunner().invoke(app, ["batch", *map(str, words)])


# ------------------------------------------------------------------------------ what comes out


@pytest.fixture(scope="module")
def done(archive, tiny_home, tmp_path_factory):
    """Folder of a batch of both tiny detectors in all formats."""
    out = tmp_path_factory.mktemp("batch") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANNER_HOME", str(tiny_home))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        lanner.batch(
            archive, ["tiny", "tinyroads"], out, formats=["gpkg", "geojson", "fgb", "parquet"]
        )
    return out


def test_every_scene_has_a_record_and_those_that_fail_say_why(done, archive):
    found = records(done)
    assert {name for name, _ in found} == {path.stem for path in archive.glob("*.tif")}
    for (name, _), one in found.items():
        assert (one.state == "failed") == (name in BROKEN)
        if one.error is not None:
            assert one.error.remedy
            assert name in one.error.value
        else:
            assert one.outcome.features == sum(
                number for row in one.outcome.counts.values() for number in row.values()
            )
            assert all((done / path).is_file() for path in one.outcome.outputs)


def test_a_scene_alone_gives_the_same_features(done, archive):
    alone = lanner.detect(archive / "scene0.tif", "tiny")
    assert (done / "scenes" / "scene0.tiny.geojson").read_text().count('"type":"Feature"') == len(
        alone
    )
    inside = json.loads((done / "scenes" / "scene0.tiny.geojson").read_text())["features"]
    assert inside == list(alone)


def test_a_geopackage_has_a_layer_a_detector(done):
    layers = [str(name) for name, _ in pyogrio.list_layers(done / "scenes" / "scene1.gpkg")]
    assert layers[:2] == ["tiny", "tinyroads"]
    archive = [str(name) for name, _ in pyogrio.list_layers(done / "features.gpkg")]
    assert archive[:2] == ["tiny", "tinyroads"]


def test_the_archives_files_hold_every_feature_once_with_its_scene(done):
    found = records(done)
    for detector in ("tiny", "tinyroads"):
        count = sum(
            one.outcome.features
            for (_, name), one in found.items()
            if one.outcome and name == detector
        )
        frame = gpd.read_file(done / "features.gpkg", layer=detector)
        assert len(frame) == count
        assert count or detector == "tinyroads"
        assert frame.crs.to_epsg() == 4326
        assert set(frame["scene"]) <= {name for name, _ in found}
        assert frame["track_id"].isna().all()
        for text, scene, own in zip(frame["sightings"], frame["scene"], frame["id"], strict=True):
            assert json.loads(text)[0]["scene"] == scene
            assert json.loads(text)[0]["id"] == own


def test_the_parquet_data_set_has_one_schema_for_all_readers(done):
    where = done / "features.parquet" / "layer=tiny"
    table = ds.dataset(where, partitioning="hive").to_table()
    frame = gpd.read_parquet(where)
    rows = duckdb.sql(f"SELECT count(*) FROM read_parquet('{where}/*.parquet')").fetchall()
    assert table.num_rows == len(frame) == rows[0][0] > 0


# ------------------------------------------------------------------------------ never twice


def test_the_same_command_does_nothing_again_and_changes_no_byte(archive, tmp_path):
    out = tmp_path / "out"
    assert run(archive, "-d", "tiny", "-o", out, "-q").exit_code == 9
    before, tried = contents(out), attempts(out)
    assert run(archive, "-d", "tiny", "-o", out, "-q").exit_code == 9
    assert contents(out) == before
    assert attempts(out) == tried
    assert run(archive, "-d", "tiny", "-o", out, "-q", "--retry-failed").exit_code == 9
    assert {name for name, n in attempts(out).items() if n != tried[name]} == {*BROKEN}
    assert contents(out) == before


def test_changed_missing_and_new_scenes_are_done_and_nothing_else(pictures, tmp_path):
    archive, out = make_archive(tmp_path / "in", pictures, 3), tmp_path / "out"
    run(archive, "-d", "tiny", "-o", out, "-q")
    tried = attempts(out)
    pictures.write_tif(archive / "scene1.tif", pictures.texture(160, 170, seed=50))
    (out / "scenes" / "scene2.gpkg").unlink()
    pictures.write_tif(archive / "later.tif", pictures.texture(130, 140, seed=51))
    pictures.write_tif(archive / "cut.tif", pictures.texture(130, 140, seed=52))  # mended
    assert run(archive, "-d", "tiny", "-o", out, "-q").exit_code == 9
    now = attempts(out)
    assert {name for name in now if now[name] != tried.get(name)} == {
        "scene1", "scene2", "later", "cut"
    }  # fmt: skip
    assert {name for (name, _), one in records(out).items() if one.state == "failed"} == {"empty"}


def test_scenes_that_moved_or_are_gone_are_counted_once(pictures, tmp_path):
    archive, out = tmp_path / "in", tmp_path / "out"
    for place in ("2024", "2025"):
        (archive / place).mkdir(parents=True)
    pictures.write_tif(archive / "2024" / "a.tif", pictures.texture(150, 150, seed=1))
    first = lanner.batch(archive, "tiny", out)
    # Another scene of that name: both are called otherwise from now on.
    elsewhere = Affine(1, 0, 510_000, 0, -1, 5_000_000)
    pixels = pictures.texture(150, 150, seed=2)
    pictures.write_tif(archive / "2025" / "a.tif", pixels, transform=elsewhere)
    second = lanner.batch(archive, "tiny", out)
    assert len(second.records) == 2
    assert sum(second.features.values()) == sum(one.outcome.features for one in second.records)
    assert second.features["tiny"] > first.features["tiny"]
    assert len(list((out / "scenes").glob("*.gpkg"))) == 2
    assert len(list((out / "stac" / "items").iterdir())) == 2
    archive.rename(tmp_path / "moved")
    third = lanner.batch(tmp_path / "moved", "tiny", out)
    assert third.features == second.features
    assert third.notes
    (tmp_path / "moved" / "2025" / "a.tif").unlink()
    assert lanner.batch(tmp_path / "moved", "tiny", out).features == first.features


def test_scenes_that_are_not_asked_for_this_time_stay(archive, tmp_path):
    out = tmp_path / "out"
    whole = lanner.batch(archive, "tiny", out)
    part = lanner.batch(archive / "scene0.tif", "tiny", out)
    assert part.features == whole.features
    assert part.notes


def test_an_archive_without_a_feature_has_the_same_columns(pictures, done, tmp_path):
    flat = np.full((3, 100, 100), 90, np.uint8)
    (tmp_path / "in").mkdir()
    pictures.write_tif(tmp_path / "in" / "flat.tif", flat)
    photo = tmp_path / "in" / "photo.png"
    with rasterio.open(photo, "w", driver="PNG", width=99, height=99, count=3, dtype="uint8") as f:
        f.write(pictures.texture(99, 99, seed=3))
    result = lanner.batch(photo, "tiny", tmp_path / "out", gsd=1.0)
    assert result.records[0].outcome.features > 0
    assert result.features == {"tiny": 0}
    assert any("CRS" in note for note in result.notes)
    empty = gpd.read_parquet(tmp_path / "out" / "features.parquet" / "layer=tiny")
    whole = gpd.read_parquet(done / "features.parquet" / "layer=tiny")
    assert empty.dtypes.to_dict() == whole.dtypes.to_dict()


def test_a_reader_who_has_seen_enough_does_not_end_it(archive, tmp_path):
    out = tmp_path / "out"
    words = [*PROGRAM, "batch", str(archive), "-d", "tiny", "-o", str(out), "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=120)
    assert process.returncode == 9
    assert (out / "features.gpkg").is_file()


def test_results_of_another_number_format_are_not_mixed_in(archive, tmp_path):
    out = tmp_path / "out"
    lanner.batch(archive, "tiny", out)
    with sqlite3.connect(out / FILE) as db:
        for scene, text in db.execute("SELECT scene, work FROM jobs").fetchall():
            work = {**json.loads(text), "runs_on": "cuda bfloat16, torch 9"}
            db.execute("UPDATE jobs SET work = ? WHERE scene = ?", (json.dumps(work), scene))
        db.execute("UPDATE jobs SET state = 'waiting' WHERE scene = 'scene2'")
    before = contents(out)
    with pytest.raises(OutputError, match="cuda bfloat16"):
        lanner.batch(archive, "tiny", out)
    assert contents(out) == before


def test_what_scenes_left_that_were_done_again_is_taken_away(pictures, tmp_path):
    archive, out = make_archive(tmp_path / "in", pictures, 2), tmp_path / "out"
    lanner.batch(archive, "tiny", out)
    pictures.write_tif(archive / "scene1.tif", pictures.texture(160, 170, seed=50))
    lanner.batch(archive, "tiny", out)
    keys = {one.outcome.key for one in records(out).values() if one.outcome is not None}
    assert {path.stem for path in (out / "parts").iterdir()} == keys


def test_what_a_killed_process_left_running_is_told_as_waiting(archive, tmp_path):
    out = tmp_path / "out"
    lanner.batch(archive, "tiny", out)
    with sqlite3.connect(out / FILE) as db:
        db.execute("UPDATE jobs SET state = 'running' WHERE scene = 'scene1'")
    states = json.loads(run("status", out, "--json").stdout)["states"]
    assert "running" not in states
    assert states["waiting"] == 1


def test_another_configuration_is_done_again(archive, pictures, own_config, tiny_home, tmp_path):
    out = tmp_path / "out"
    mine = own_config(pictures.objects, name="tiny")
    lanner.batch(archive, mine, out)
    tried = attempts(out)
    text = Path(mine).read_text()
    Path(mine).write_text(text.replace("description:", "description: other", 1))
    lanner.batch(archive, mine, out)
    now = attempts(out)
    good = {name for name in now if name not in BROKEN}
    assert {name for name in now if now[name] != tried[name]} == good


@pytest.mark.parametrize("on", ["serial", "local"])
def test_executors_give_the_same_bytes(archive, done, on, tmp_path):
    out = tmp_path / "out"
    formats = ["gpkg", "geojson", "fgb", "parquet"]
    lanner.batch(archive, ["tiny", "tinyroads"], out, formats=formats, on=on)
    assert contents(out) == contents(done)


# ------------------------------------------------------------------------------ kills and stops


@pytest.mark.timeout(3600 if FULL else 300)
def test_killed_at_random_and_continued_it_gives_the_same_bytes(
    archive, pictures, tmp_path_factory, tmp_path
):
    """`make accept`: 300 scenes, of which nine are cut off and six blank."""
    if FULL:
        folder = tmp_path_factory.mktemp("large") / "in"
        archive = make_archive(folder, pictures, 285, cut=8, blank=5)
    bad = len([path for path in archive.iterdir() if path.stem.startswith(BROKEN)])
    words = [*PROGRAM, "batch", str(archive), "-d", "tiny", "-d", "tinyroads", "--json"]
    words += [part for form in ("gpkg", "geojson") for part in ("--format", form)]
    began = time.monotonic()
    subprocess.run([*words, "-o", str(tmp_path / "calm")], capture_output=True, check=False)
    whole = time.monotonic() - began
    out = tmp_path / "out"
    chance = random.Random(4)
    for _ in range(5):
        with subprocess.Popen([*words, "-o", str(out)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()  # the first scene has ended
            time.sleep(chance.uniform(0, whole / 8))
            process.kill()
    last = subprocess.run([*words, "-o", str(out)], capture_output=True, text=True, check=False)
    assert last.returncode == 9, last.stderr
    assert contents(out) == contents(tmp_path / "calm")
    totals = json.loads(last.stdout.splitlines()[-1])
    assert totals["states"]["failed"] == bad
    told = json.loads(run("status", out, "--json").stdout)["scenes"]
    assert all(one["error"]["remedy"] for one in told if one["state"] == "failed")


def test_ctrl_c_ends_it_within_seconds_and_the_same_command_goes_on(archive, tmp_path):
    out = tmp_path / "out"
    words = ["batch", str(archive), "-d", "tiny", "-o", str(out), "--json", "--on", "serial"]
    with subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 20
    assert str(out) in said
    assert run(archive, "-d", "tiny", "-o", out, "-q").exit_code == 9
    assert len([one for one in records(out).values() if one.state == "done"]) == 5


def test_a_caller_may_stop_it(archive, tmp_path):
    cancel = lanner.Cancel()
    with pytest.raises(Cancelled):
        lanner.batch(
            archive, "tiny", tmp_path / "out", on_record=lambda _: cancel.set(), cancel=cancel
        )
    done = [one for one in records(tmp_path / "out").values() if one.state in ("done", "failed")]
    assert 1 <= len(done) < 7


# ------------------------------------------------------------------------------ refusals


def test_a_folder_of_other_files_or_of_another_batch_is_refused(archive, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no batch"):
        lanner.batch(archive, "tiny", tmp_path / "mine")
    out = tmp_path / "out"
    lanner.batch(archive, "tiny", out)
    for other in ({"formats": "fgb"}, {"tile": 320}, {"candidates": True}):
        with pytest.raises(OutputError, match="another batch"):
            lanner.batch(archive, "tiny", out, **other)
    with pytest.raises(OutputError, match="another batch"):
        lanner.batch(archive, "tinyroads", out)


def test_two_processes_do_not_share_a_folder(archive, tmp_path):
    out = tmp_path / "out"

    def again(_):
        with pytest.raises(OutputError, match="in use"):
            lanner.batch(archive, "tiny", out)

    lanner.batch(archive, "tiny", out, on_record=again)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-d", "tiny", "--format", "shp"], 14),
        (["-d", "tiny", "-d", "tiny"], 14),
        (["-d", "tinny"], 15),
        (["-d", "tiny", "--on", "moon"], 14),
        (["-d", "tiny", "--bbox", "1,2,3"], 14),
        (["-d", "tiny", "--area", "none.geojson"], 14),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is_made(archive, tmp_path, words, code):
    out = tmp_path / "out"
    told = run(archive, *words, "-o", out)
    assert told.exit_code == code, told.output
    assert not out.exists()


def test_a_status_of_no_batch_is_an_error(tmp_path):
    assert run("status", tmp_path).exit_code == 18


# ------------------------------------------------------------------------------ plans and words


def test_a_plan_says_what_will_be_run_and_what_will_not(archive, tmp_path):
    told = CliRunner().invoke(app, ["plan", str(archive), "-d", "tiny", "--json", "--workers", "4"])
    assert told.exit_code == 0, told.output
    plan = json.loads(told.stdout)
    assert plan["scenes"] == 7
    assert plan["tiles"] >= 7
    size = sum(path.stat().st_size for path in archive.glob("*.tif"))
    assert 0.9 * size < plan["bytes_to_read"] <= size
    assert plan["seconds"] / 4 < plan["seconds_on_workers"] < plan["seconds"]
    assert not plan["rate_measured_here"]
    lanner.batch(archive, "tiny", tmp_path / "out")
    assert lanner.plan(archive, "tiny").measured


def test_filters_leave_scenes_out_by_what_files_say(archive, tmp_path):
    west, south, east, north = 15.0, 45.0, 15.06, 45.3  # the first scenes of zone 33
    told = CliRunner().invoke(
        app,
        ["plan", str(archive), "-d", "tiny", "--json", "--bbox", f"{west},{south},{east},{north}"],
    )
    plan = json.loads(told.stdout)
    assert 1 <= plan["scenes"] < 7
    assert plan["scenes"] + len(plan["skipped"]) == 7
    assert all(one["remedy"] for one in plan["skipped"])


def test_status_and_json_lines_say_the_same(archive, tmp_path):
    out = tmp_path / "out"
    lines = run(archive, "-d", "tiny", "-o", out, "--json").stdout.splitlines()
    *scenes, totals = map(json.loads, lines)
    status = json.loads(run("status", out, "--json").stdout)
    by_name = {one["scene"]: one for one in scenes}
    assert {one["scene"]: one for one in status["scenes"]} == by_name
    assert status["features"] == totals["features"]
    assert totals["written"]
    table = run("status", out)
    assert table.exit_code == 0
    assert "scene0" not in table.output  # only what failed is listed
    assert "cut" in table.output


def test_a_damaged_ledger_is_an_error_with_a_remedy(archive, tmp_path):
    out = tmp_path / "out"
    lanner.batch(archive, "tiny", out)
    (out / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(LannerError):
        lanner.batch(archive, "tiny", out)


def test_wrong_formats_are_refused(archive, tmp_path):
    with pytest.raises(ConfigError):
        lanner.batch(archive, "tiny", tmp_path / "out", formats=[])
