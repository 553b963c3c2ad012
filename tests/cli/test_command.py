"""`lanner bench` on a small scene with the tiny detector: its figures and its JSON."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lanner.cli.app import app
from lanner.cli.bench.fresh import measure
from lanner.cli.bench.job import Job
from lanner.cli.bench.rows import Row
from lanner.cli.bench.scenes import rendered
from lanner.core.errors import OutputError, UnknownDetectorError

PROGRAM = str(Path(sys.executable).with_name("lanner"))
STAGES = ("open", "load", "normalise", "detect", "chain: merge_seams", "write")


@pytest.fixture(scope="module")
def scene(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("bench") / "scene.tif"
    return pictures.write_tif(path, pictures.texture(512, 512))


def test_figures_are_of_one_run_and_belong_together(at_home, scene, tmp_path):
    out = tmp_path / "bench.json"
    words = ["bench", str(scene), "-d", "tiny", "--tile", "256", "--threads", "1", "--repeat", "1"]
    done = CliRunner().invoke(app, [*words, "--device", "cpu", "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "not judged" in done.output
    report = json.loads(out.read_text())
    assert report["bench"] == 1
    assert set(report) == {"bench", "machine", "scene", "rows", "bars"}
    assert report["scene"] == str(scene)
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["gpu"] is None
    (row,) = report["rows"]
    assert set(row) == set(Row.__dataclass_fields__)
    assert (row["detector"], row["members"]) == ("tiny", ["boxes", "masks"])
    assert (row["width"], row["height"], row["threads"], row["repeats"]) == (512, 512, 1, 1)
    # 192 pixels of core in a tile of 256: 3 x 3 of them.
    assert (row["tile"], row["tiles"]) == (256, 9)
    assert set(STAGES) <= set(row["stages"])
    assert sum(one["seconds"] for one in row["stages"].values()) == pytest.approx(
        row["seconds"], rel=0.2, abs=0.05
    )
    assert sum(one["share"] for one in row["stages"].values()) == pytest.approx(1)
    assert row["objects"] > 0
    assert set(row["bare"]) == {"boxes", "masks"}
    assert all(seconds > 0 for seconds in row["bare"].values())
    assert row["bare_share"] == 1
    # The networks are part of the stage that shows them tiles.
    assert 1 < row["ratio"] == pytest.approx(row["seconds"] / row["bare_s"])
    assert row["mpx_per_s"] == pytest.approx(512 * 512 / 1e6 / row["seconds"])
    assert 100 < row["model_mb"] < row["peak_mb"] < 20_000
    (bar,) = report["bars"]
    assert bar["value"] == pytest.approx(row["ratio"])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to look into")
def test_the_measuring_process_ends_with_the_one_that_asked(at_home, scene, tmp_path):
    words = [PROGRAM, "bench", str(scene), "-d", "tiny", "--device", "cpu", "--repeat", "50"]
    asked = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{asked.pid}/task/{asked.pid}/children")
    until = time.monotonic() + 60
    while not (workers := children.read_text().split()) and time.monotonic() < until:
        time.sleep(0.05)
    assert workers
    asked.kill()
    asked.wait()
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def alive(pid):
    """Whether a process runs; one that ended and waits for init to look does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_error_of_the_measuring_process_is_ours_again(at_home, scene):
    with pytest.raises(UnknownDetectorError, match="no detector has that name"):
        measure(Job(str(scene), "nothing"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--threads", "0,2"], 14, "numbers of 1 or more"),
        (["--scaling", "--size", "3000"], 14, "use 4096"),
        (["--json", "nowhere/a.json"], 18, "mkdir -p nowhere"),
        (["scene.tif", "--scaling"], 14, "leave out --scaling"),
        (["scene.tif", "--size", "4096"], 14, "leave it out, or leave out SCENE"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["bench", "-q", *words])
    assert done.exit_code == code
    assert message in done.output
    assert done.output.count("\n") == 1


def test_a_folder_for_scenes_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"lanner-bench-{os.getuid()}").write_text("a file in its place")
    with pytest.raises(OutputError, match="set TMPDIR to another folder"):
        rendered(64, 0.5, lambda _: None)


def test_a_rendered_scene_is_kept_for_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    events = []
    path = rendered(64, 0.5, events.append)
    assert events
    events.clear()
    assert rendered(64, 0.5, events.append) == path
    assert events == []
    assert list(path.parent.iterdir()) == [path]
    assert path.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o077 == 0
    assert rendered(64, 0.6, events.append) != path
    assert events
