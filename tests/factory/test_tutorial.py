"""docs/tutorial.md, word by word: its commands make a detector that finds tanks elsewhere."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from typer.testing import CliRunner

from detectors.catalog import check_release, resolve
from lanner.cli.app import app
from lanner.core.config import load_config
from lanner.factory.config import load_factory
from lanner.factory.steps.search.space import parse_space

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
THREADS = "2"


def follows(test):
    """A test of what the page's commands leave."""
    for mark in (pytest.mark.slow, pytest.mark.timeout(600)):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """The folder in which every command of the page was run, in order, by one shell."""
    folder = tmp_path_factory.mktemp("tutorial")
    env = {name: value for name, value in os.environ.items() if name != "LANNER_HOME"}
    # Many processes import the same packages: let them share what one has compiled.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
        "OMP_NUM_THREADS": THREADS,
        "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled")),
        "COLUMNS": "120",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(BLOCKS)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def lanner(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def in_metres(path: Path, scene: Path) -> gpd.GeoDataFrame:
    """Features of a file in the scene's CRS, cut at its border."""
    with rasterio.open(scene) as file:
        crs, frame = file.crs, shapely.box(*file.bounds)
    found = gpd.read_file(path).to_crs(crs)
    found["share"] = found.intersection(frame).area / found.area
    found["geometry"] = found.intersection(frame)
    return found


def agreement(one: gpd.GeoDataFrame, two: gpd.GeoDataFrame) -> np.ndarray:
    """(len(one), len(two)) intersection over union."""
    a, b = np.asarray(one.geometry)[:, None], np.asarray(two.geometry)[None]
    return shapely.area(shapely.intersection(a, b)) / shapely.area(shapely.union(a, b))


def judged(scene: Path, features: Path) -> dict[str, int]:
    """Counts of tanks that are at least half in the scene, of features, and of right ones."""
    truth, found = in_metres(scene.with_suffix(".geojson"), scene), in_metres(features, scene)
    same = agreement(found, truth) >= 0.5
    # One truth serves one detection: a tank that is found twice is once wrong.
    right = np.unique(same.argmax(1)[same.any(1)])
    whole = np.flatnonzero(truth["share"] >= 0.5)
    sure = (found["decision"] == "accept").to_numpy()
    assert set(found["label"]) == {"tank"}
    return {
        "tanks": len(whole),
        "met": int(np.isin(whole, right).sum()),
        "found": len(found),
        "right": len(right),
        "sure": int(sure.sum()),
        "sure and right": int(same[sure].any(1).sum()),
    }


@follows
def test_most_tanks_of_scenes_it_never_saw_are_found(followed, tmp_path):
    counts = Counter(judged(followed / "new" / "001.tif", followed / "tanks.geojson"))
    # One scene may be an easy one.
    for seed in ("3", "4", "5"):
        folder = tmp_path / seed
        result = lanner("sample", folder, "--images", 1, "--size", "512x512", "--seed", seed)
        assert result.exit_code == 0, result.output
        scene, out = folder / "001.tif", folder / "found.geojson"
        result = lanner("detect", scene, "-d", followed / "tanks/configs/tanks.yaml", "-o", out)
        assert result.exit_code == 0, result.output
        counts.update(judged(scene, out))
    assert counts["tanks"] > 150, counts
    assert counts["met"] >= 0.8 * counts["tanks"], counts
    assert counts["right"] >= 0.8 * counts["found"], counts
    assert counts["sure"] >= 0.4 * counts["tanks"], counts
    assert counts["sure and right"] >= 0.85 * counts["sure"], counts


@follows
def test_the_release_is_whole_and_is_listed(followed):
    entry = resolve("tanks", followed / "tanks")
    release = check_release(entry)
    assert set(release.files) == {"resunet.safetensors", "calibration.json"}
    assert release.card.licence == "CC0-1.0"
    accept = next(step for step in entry.config.chain if step.step == "triage").params["accept_at"]
    assert f"accept_at: {accept}" in (release.folder / "detector.yaml").read_text()
    result = CliRunner().invoke(
        app, ["detectors", "--json"], env={"LANNER_HOME": str(followed / "tanks")}
    )
    assert [(one["name"], one["release"]) for one in json.loads(result.stdout)] == [
        ("tanks", "0.1.0")
    ]
    named, by_file = (gpd.read_file(followed / f"tanks.{end}") for end in ("gpkg", "geojson"))
    assert sorted(named["id"]) == sorted(by_file["id"])


@follows
def test_every_step_was_recorded_and_every_file_of_the_table_is_there(followed):
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE, re.M)
    assert len(rows) >= 8
    for name in rows:
        assert (followed / name).exists(), name
    for folder in sorted((followed / "runs" / "tanks").glob("0*")):
        assert json.loads((folder / "step.json").read_text())["step"] == folder.name[3:]
    manifest = json.loads((followed / "runs/tanks/03_dataset/manifest.json").read_text())
    assert manifest["counts"].keys() == {"train", "valid", "test"}


def along(values: np.ndarray, rings: gpd.GeoSeries, inverse) -> float:
    """Mean of (h, w) values under the rings' corners, those outside left out."""
    east, north = shapely.get_coordinates(np.asarray(rings)).T
    x, y = inverse.a * east + inverse.c, inverse.e * north + inverse.f
    h, w = values.shape
    within = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    return float(values[y[within].astype(int), x[within].astype(int)].mean())


def test_the_sample_is_labelled_georeferenced_and_reproducible(tmp_path):
    for name in "ab":
        done = lanner("sample", tmp_path / name, "--images", 2, "--size", "384x320")
        assert done.exit_code == 0, done.output
    names = ("001.tif", "001.geojson", "002.tif", "002.geojson")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    frames = []
    for number in ("001", "002"):
        scene = tmp_path / "a" / f"{number}.tif"
        with rasterio.open(scene) as file:
            assert (file.width, file.height, file.count) == (384, 320, 3)
            assert file.crs.to_epsg() == 32632
            assert file.res == pytest.approx((0.8, 0.8))
            frames.append(shapely.box(*file.bounds))
            pixels = file.read().mean(0)
            inverse = ~file.transform
        tanks = in_metres(scene.with_suffix(".geojson"), scene)
        assert len(tanks)
        assert (tanks["share"] > 0).all()
        radius = np.sqrt(tanks.area / tanks["share"] / np.pi)
        # UTM's scale differs from 1 by up to 0.04 %, a ring of 64 corners by 0.2 %.
        assert np.allclose(radius, tanks["radius_m"], rtol=0.004)
        # Where a label's ring is, the picture has an edge; beside it, less of one.
        edges = np.hypot(*np.gradient(pixels))
        whole = tanks[tanks["share"] == 1].geometry
        assert along(edges, whole, inverse) > 1.5 * along(edges, whole.scale(1.3, 1.3), inverse)
    assert frames[0].distance(frames[1]) > 2000


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--images", "0"], 14, "--images"),
        (["--size", "64"], 14, "384x384"),
        (["--at", "x"], 14, "11.78,48.36"),
        (["--gsd", "0"], 14, "gsd"),
    ],
)
def test_sample_refuses_in_one_line(tmp_path, words, code, message):
    done = lanner("sample", tmp_path / "new", *words)
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_started_resunet_says_what_it_needs(tmp_path):
    words = ["factory", "init", tmp_path, "--name", "tanks", "--network", "resunet"]
    done = lanner(*words, "--format", "geo", "--classes", "a,b")
    assert done.exit_code == 14
    assert "cannot tell classes apart" in done.stderr
    done = lanner(*words[:-1], "resnet", "--classes", "tank")
    assert done.exit_code == 14
    assert "did you mean" in done.stderr
    assert not list(tmp_path.iterdir())
    done = lanner(*words, "--format", "yolo", "--classes", "tank")
    assert done.exit_code == 0, done.stderr
    config = load_factory(tmp_path / "tanks.factory.yaml")
    detector = load_config(tmp_path / "tanks.yaml")
    assert [one.op for one in config.process] == ["repair", "masks_from_boxes"]
    assert set(config.train.members) == {one.name for one in detector.members} == {"resunet"}
    assert parse_space(config.search.space, detector)
