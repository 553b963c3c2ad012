"""Seconds, objects and memory of every step of both chains, on made-up scenes of any size.

    python benchmarks/chains.py [OBJECTS] [SIDE] [aircraft|roads]

No network runs: aircraft are candidates as tiles would have seen them, roads a probability raster
as the Res-UNet would have drawn it. Each chain runs in a process of its own, so that its peak of
memory is its own too.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyproj
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

from lanner.core.config import StepSpec, load_config
from lanner.core.home import configs_dir
from lanner.synth.airframe import true_airframe
from lanner.synth.catalogue import TYPES
from postprocess.chain import Chain
from postprocess.context import Context, DetectorFacts
from postprocess.frame import candidates, empty
from postprocess.snapshots import read_snapshot, write_snapshot
from postprocess.writers import features, scene_frame, write
from tiling.grid import Grid, TilePlan
from tiling.place import Place

Values = NDArray[np.float64]
Shapes = NDArray[np.object_]

OBJECTS, SIDE = 100_000, 16_384
AIRCRAFT_GSD, ROADS_GSD = 0.8, 1.0
APART = 190.0
"""Grid pixels between aircraft: 100,000 of them fill 60,000 x 60,000."""
STREETS = 72.0
"""Grid pixels between streets: a town's, over the whole raster."""
INPUT, RASTER = "input.parquet", "made.tif"


def rows(count: int, side: int, only: str | None = None) -> list[dict[str, Any]]:
    """Measure both chains, or `only` one.

    Args:
        count: aircraft in the made-up scene, each seen by one to four tiles.
        side: of the made-up probability raster, pixels of 1 m.
        only: 'aircraft' or 'roads'.

    Returns:
        One row a step: `chain`, `step`, wall `seconds` and `cpu_s` of its process, `objects`
        after it, and `peak_mib`, the most memory the process has had until then.
    """
    result: list[dict[str, Any]] = []
    for name, make, size in (("aircraft", aircraft, count), ("roads", roads, side)):
        if only in (None, name):
            with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
                _alone(make, size, Path(folder))
                result += _alone(measure, name, size, Path(folder))
    return result


def _alone(call: Callable[..., Any], *given: Any) -> Any:
    """The call's result, from a process that does nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *given).result()


def measure(name: str, size: int, folder: Path) -> list[dict[str, Any]]:
    """Run one chain and its writers on what `aircraft` or `roads` left in `folder`."""
    context = aircraft_context(size, folder) if name == "aircraft" else roads_context(size, folder)
    specs = load_config(configs_dir() / f"{name}.yaml").chain
    # The closer look is a network's time; without one the step has nothing to do.
    chain = Chain.from_specs([StepSpec.model_validate(spec) for spec in specs])
    objects = read_snapshot(folder / INPUT) if name == "aircraft" else empty()
    marks = [_now()]
    done = chain.run(objects, context, progress=lambda _: marks.append(_now()))
    counts = [
        pq.read_metadata(folder / chain.snapshot(i)).num_rows for i in range(len(chain.names) + 1)
    ]
    steps = ["begin", *chain.names]
    texts = features(done.objects, context, chain.schema)
    marks.append(_now())
    frame = scene_frame(done.objects, context, chain.schema)
    marks.append(_now())
    del done  # as `lanner detect` lets go of it
    for ending in ("geojson", "gpkg"):
        write(texts, frame, folder / f"out.{ending}", name, chain.schema)
        marks.append(_now())
    steps += ["features", "scene frame", "write geojson", "write gpkg"]
    counts += [len(texts)] * 4
    return [
        {
            "chain": name,
            "step": step,
            "seconds": round(after[0] - before[0], 2),
            "cpu_s": round(after[1] - before[1], 2),
            "objects": count,
            "peak_mib": round(after[2]),
        }
        for step, count, before, after in zip(steps, counts, marks[:-1], marks[1:], strict=True)
    ]


def _now() -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, and the process's peak of memory in MiB so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.perf_counter(), time.process_time(), peak


def aircraft(count: int, folder: Path) -> None:
    """Leave the candidates of `count` aircraft in `folder`."""
    write_snapshot(after_one_tile(parked(count), aircraft_context(count, folder)), folder / INPUT)


def parked(count: int) -> Shapes:
    """(count,) outlines in grid pixels: true plan views at every angle, on a loose lattice."""
    rng = np.random.default_rng(1)
    rings = [true_airframe(kind).outline / AIRCRAFT_GSD for kind in TYPES]
    kind = rng.integers(len(rings), size=count)
    turn = rng.uniform(0, 2 * np.pi, count)
    cols = _cols(count)
    middle = np.stack(np.divmod(np.arange(count), cols)[::-1], axis=1) + 0.5
    middle = APART * middle + rng.uniform(-45, 45, (count, 2))
    out = np.empty(count, object)
    for k, ring in enumerate(rings):
        some = np.flatnonzero(kind == k)
        c, s = np.cos(turn[some])[:, None], np.sin(turn[some])[:, None]
        xy = np.stack([c * ring[:, 0] - s * ring[:, 1], s * ring[:, 0] + c * ring[:, 1]], axis=2)
        out[some] = shapely.polygons(xy + middle[some, None])
    return out


def after_one_tile(shapes: Shapes, context: Context) -> gpd.GeoDataFrame:
    """Candidates of all tiles: a little off in each, cut where a window ends, some without
    an outline and some seen twice at a distance.
    """
    rng = np.random.default_rng(2)
    plan = context.plan
    assert plan is not None
    boxes = shapely.bounds(shapes)
    limit = np.array([plan.cols, plan.rows])
    first = np.maximum((boxes[:, :2] - plan.halo) // plan.step, 0).astype(np.int64)
    owner, tile = [], []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            at = first + np.array([dx, dy])
            low = at * plan.step - plan.halo
            common = np.minimum(boxes[:, 2:], low + plan.tile) - np.maximum(boxes[:, :2], low)
            hit = ((at >= 0) & (at < limit) & (common > 4)).all(axis=1)
            owner.append(np.flatnonzero(hit))
            tile.append(at[hit, 1] * plan.cols + at[hit, 0])
    of, tiles = np.concatenate(owner), np.concatenate(tile)
    low = np.stack([tiles % plan.cols, tiles // plan.cols], axis=1) * plan.step - plan.halo
    windows = np.concatenate([low, low + plan.tile], axis=1).astype(np.float64)
    off = rng.normal(0, 0.4, (len(of), 2)) + (rng.random((len(of), 1)) < 0.02) * 8.0
    points, view = shapely.get_coordinates(shapes[of], return_index=True)
    moved = shapely.set_coordinates(shapes[of].copy(), points + off[view])
    whole = shapely.bounds(moved)
    past = np.concatenate(
        [whole[:, :2] < windows[:, :2], whole[:, 2:] > windows[:, 2:]], axis=1
    ) & (np.abs(windows) > plan.halo)
    cut = past.any(axis=1)
    moved[cut] = shapely.intersection(moved[cut], shapely.box(*windows[cut].T))
    left = shapely.area(moved) > 0
    of, tiles, past, moved = of[left], tiles[left], past[left], moved[left]
    outlines = np.where(
        (shapely.get_type_id(moved) == 3) & (rng.random(len(of)) > 0.1), moved, None
    )
    views = shapely.bounds(moved) + rng.uniform(-0.7, 0.7, (len(of), 4)) * ~past
    score = np.round(rng.uniform(0.3, 1, len(of)), 3)
    return candidates(
        views,
        scores=score,
        votes=[{"resunet": s, "retinanet": s} for s in score.tolist()],
        tiles=tiles,
        cuts=past @ np.array([1, 2, 4, 8]),
        labels=["aircraft"] * len(of),
        outlines=list(outlines),
    )


def aircraft_context(count: int, folder: Path) -> Context:
    """The surroundings of `count` aircraft."""
    side = round(APART * _cols(count))
    plan = TilePlan(Grid.over((side, side), (AIRCRAFT_GSD,) * 2, AIRCRAFT_GSD), 768, 96)
    return _context("aircraft", plan, AIRCRAFT_GSD, folder, {})


def _cols(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def roads(side: int, folder: Path) -> None:
    """Leave the probability raster of a town of `side` pixels in `folder`, block by block."""
    rng = np.random.default_rng(3)
    lines, widths = streets(side, rng)
    trees = _trees(lines, rng)
    noise = 0.6 * ndimage.gaussian_filter(rng.standard_normal((2304, 2304), np.float32), 1.5)
    trees_tree, tree = shapely.STRtree(trees), shapely.STRtree(lines)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            folder / RASTER,
            "w",
            driver="GTiff",
            width=side,
            height=side,
            count=2,
            dtype="uint8",
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            crs="EPSG:32633",
            transform=_affine(ROADS_GSD),
        ) as dataset,
    ):
        dataset.descriptions = ("road", "centreline")
        for y in range(0, side, 2048):
            for x in range(0, side, 2048):
                w, h = min(2048, side - x), min(2048, side - y)
                around = shapely.box(x - 40, y - 40, x + w + 40, y + h + 40)
                near = np.sort(tree.query(around))
                hidden = trees[np.sort(trees_tree.query(around))]
                road = _drawn(shapely.buffer(lines[near], widths[near] / 2), x, y)
                road = np.where(_drawn(hidden, x, y) > 0, 0.1 * road, road)
                road = ndimage.gaussian_filter(road, 1.2)[64:-64, 64:-64]
                road += noise[y // 7 % 200 :, x // 7 % 200 :][:2048, :2048]
                middle = _drawn(shapely.buffer(lines[near], 1.5), x, y)[64:-64, 64:-64]
                window = Window(x, y, w, h)
                for band, image in enumerate((road, ndimage.gaussian_filter(middle, 1.0)), 1):
                    value = np.round(np.clip(image[:h, :w], 0, 1) * 255).astype(np.uint8)
                    dataset.write(value, band, window=window)
                rows_, cols = np.mgrid[y : y + h, x : x + w]
                # A corner that no image covers, as scenes have that were turned to north.
                dataset.write_mask(rows_ + 3 * cols > side / 4, window=window)


def streets(side: int, rng: np.random.Generator) -> tuple[Shapes, Values]:
    """Centre lines in pixels, and widths: a lattice out of true, one street in twelve missing."""
    n = max(2, int(side / STREETS))
    at = np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=2) + 0.5
    at = at * STREETS + rng.uniform(-14, 14, at.shape)
    across = np.stack([at[:, :-1], at[:, 1:]], axis=2).reshape(-1, 2, 2)
    down = np.stack([at[:-1], at[1:]], axis=2).reshape(-1, 2, 2)
    ends = np.concatenate([across, down])
    # A width for each street from end to end, not for each piece of it.
    wide = rng.choice([5.0, 6.5, 8.0, 11.0], (2, n))
    width = np.concatenate([np.repeat(wide[0], n - 1), np.tile(wide[1], n - 1)])
    there = rng.random(len(ends)) > 1 / 12
    return shapely.linestrings(ends[there]), width[there]


def _trees(lines: Shapes, rng: np.random.Generator) -> Shapes:
    """Crowns over one street in fifteen."""
    some = lines[rng.random(len(lines)) < 1 / 15]
    spot = shapely.line_interpolate_point(some, rng.uniform(0, 1, len(some)), normalized=True)
    crowns: Shapes = shapely.buffer(spot, rng.uniform(5, 12, len(some)))
    return crowns


def _drawn(shapes: Shapes, x: int, y: int) -> NDArray[np.float32]:
    """(2176, 2176) 1 where shapes are; pixel (64, 64) is the grid's (x, y)."""
    if not len(shapes):
        return np.zeros((2176, 2176), np.float32)
    size, where = (2176, 2176), Affine.translation(x - 64, y - 64)
    canvas = rasterize(shapes.tolist(), out_shape=size, transform=where, dtype="uint8")
    return np.asarray(canvas, np.float32)


def roads_context(side: int, folder: Path) -> Context:
    """The surroundings of a probability raster of `side` pixels."""
    grid = Grid.over((side, side), (ROADS_GSD,) * 2, ROADS_GSD)
    plan = TilePlan(grid, 1024, 160)
    return _context("roads", plan, ROADS_GSD, folder, {"probability": folder / RASTER})


def _context(
    name: str, plan: TilePlan, gsd: float, folder: Path, rasters: dict[str, Path]
) -> Context:
    place = Place(_affine(gsd), pyproj.CRS.from_epsg(32633), (gsd, gsd))
    facts = DetectorFacts(name, "0", "w", "c")
    return Context("made", None, place, plan.grid, plan, facts, folder, rasters)


def _affine(gsd: float) -> Affine:
    """UTM's scale on its central meridian: a pixel is `gsd` metres on the ground."""
    return Affine(gsd * 0.9996, 0, 5e5, 0, -gsd * 0.9996, 5e6)


def main() -> None:
    given = sys.argv[1:]
    only = next((word for word in given if word in ("aircraft", "roads")), None)
    numbers = [int(word) for word in given if word.isdigit()]
    count, side = (*numbers, *(OBJECTS, SIDE)[len(numbers) :])
    print(f"{'chain':10}{'step':16}{'seconds':>9}{'cpu s':>9}{'objects':>9}{'peak MiB':>10}")
    for name in ("aircraft", "roads"):
        measurements = rows(count, side, name) if only in (None, name) else []
        for row in measurements:
            print(
                f"{row['chain']:10}{row['step']:16}{row['seconds']:9.2f}{row['cpu_s']:9.2f}"
                f"{row['objects']:9}{row['peak_mib']:10}"
            )
        if measurements:
            total = [sum(row[key] for row in measurements) for key in ("seconds", "cpu_s")]
            print(f"{name:10}{'together':16}{total[0]:9.2f}{total[1]:9.2f}", flush=True)


if __name__ == "__main__":
    main()
