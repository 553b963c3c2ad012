"""Silhouettes and chords from compiled code are those of GDAL and GEOS, and benchmarks run."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely

from benchmarks.chains import aircraft, measure, roads
from lanner.core.config import load_config
from lanner.core.home import configs_dir
from postprocess.aircraft import extent, merge_seams
from postprocess.aircraft.extent import thinness
from postprocess.aircraft.silhouette import SIDE, rasters, silhouettes
from postprocess.frame import candidates, column
from postprocess.snapshots import read_snapshot, write_snapshot


def stars(n, seed, hole=False):
    """Ragged valid polygons about (1000, 2000), some 20 pixels across."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(n):
        corners = rng.integers(5, 40)
        angle = (np.arange(corners) + rng.uniform(0, 1, corners)) / corners * 2 * np.pi
        reach = rng.uniform(3, 12, corners)
        xy = np.stack([1000 + reach * np.cos(angle), 2000 + reach * np.sin(angle)], axis=1)
        middle = shapely.Point(1000, 2000)
        shape = shapely.Polygon(xy)
        shapes.append(shape - middle.buffer(1) if hole else shape)
    return np.array(shapes, dtype=object)


@pytest.mark.parametrize("hole", [False, True])
def test_silhouettes_are_filled_as_gdal_fills_them(hole):
    shapes = stars(60, 1, hole)
    drawn = silhouettes(shapes)
    assert np.array_equal(drawn.stack, rasters(shapes, drawn.centre, drawn.reach))
    scale = (SIDE / 2 - 1) / drawn.reach
    for shape, centre, by, mask in zip(shapes, drawn.centre, scale, drawn.stack, strict=True):
        local = shapely.transform(shape, lambda xy, c=centre, s=by: (xy - c) * s + SIDE / 2)
        wanted = rasterio.features.rasterize([local], out_shape=(SIDE, SIDE), dtype="uint8")
        assert np.array_equal(mask, wanted)
        assert 0.02 < mask.mean() < 0.9


@pytest.mark.parametrize("hole", [False, True])
def test_thinness_is_that_of_the_exact_chord(hole):
    shapes = stars(400, 2, hole)
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, len(shapes))
    angle[:40] = np.pi / 2 * rng.integers(0, 4, 40)
    inward = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # The last point of each shape along the way out, and for a few a vertex right on the chord.
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    along = -(points * inward[owner]).sum(axis=1)
    last = np.lexsort((along, owner))[np.cumsum(np.bincount(owner)) - 1]
    end = points[last]
    end[:20] = points[last[:20] - 2] - 1.5 * inward[:20]
    at = end + 1.5 * inward
    aside = np.stack([-inward[:, 1], inward[:, 0]], axis=1) * 1e4
    chords = shapely.linestrings(np.stack([at - aside, at + aside], axis=1))
    width = shapely.length(shapely.intersection(shapes, chords))
    low, high = extent.THIN_PX
    wanted = np.clip((high - width) / (high - low), 0, 1)
    assert thinness(shapes, end, inward).tolist() == wanted.tolist()
    assert {0.0, 1.0} < {*wanted.tolist()}


def test_snapshots_bring_back_nested_values_of_any_number(tmp_path: Path):
    n = 2345
    frame = views(n)
    frame["types"] = column([None if i % 7 == 0 else [{"p": i / 3, "n": "ü,]"}] for i in range(n)])
    write_snapshot(frame, tmp_path / "a.parquet")
    back = read_snapshot(tmp_path / "a.parquet")
    assert back["types"].tolist() == frame["types"].tolist()
    assert back["votes"].tolist() == frame["votes"].tolist()


def views(n, seed=5):
    """Candidates of which many differ in nothing but their votes."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 5, (n, 2)) * 40.0
    return candidates(
        np.concatenate([corner, corner + 20], axis=1),
        scores=np.full(n, 0.5),
        votes=[{"a": float(v)} for v in rng.integers(0, 50, n)],
        tiles=np.zeros(n, int),
        cuts=np.zeros(n, int),
        labels=["aircraft"] * n,
    )


def test_equals_are_put_in_an_order_of_their_own():
    frame = views(60)
    orders = []
    for seed in range(3):
        mixed = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
        order = merge_seams._canonical(mixed)
        assert sorted(order.tolist()) == list(range(60))
        orders.append([str(v) for v in mixed["votes"].iloc[order]])
    assert orders[0] == orders[1] == orders[2]
    assert len({*orders[0]}) > 20


@pytest.mark.parametrize(
    ("name", "make", "size"), [("aircraft", aircraft, 60), ("roads", roads, 600)]
)
def test_benchmark_measures_every_step(tmp_path: Path, name, make, size):
    make(size, tmp_path)
    rows = measure(name, size, tmp_path)
    steps = [spec.step for spec in load_config(configs_dir() / f"{name}.yaml").chain]
    assert [row["step"] for row in rows[1 : len(steps) + 1]] == steps
    assert all(row["seconds"] >= 0 and row["peak_mib"] > 0 for row in rows)
    found = rows[len(steps)]["objects"]
    assert abs(found - 60) <= 6 if name == "aircraft" else found > 30
    assert len(gpd.read_file(tmp_path / "out.gpkg")) == found
