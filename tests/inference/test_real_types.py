"""Single aircraft of known type, where they are at hand: is the type among the first five?

The photographs say nothing about their ground sampling. Each is given the one at which the
silhouette beside it fits its type best, half by length and half by wingspan (noses are too thin
to be seen whole, wings lean), so that proportions, wing and engines must tell the types apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS
from skimage.measure import find_contours

from lanner.core.home import configs_dir
from lanner.core.job import Cancel, DetectRequest
from lanner.factory.images import read_rgb
from lanner.factory.metrics.types import deepest, rank_types
from lanner.factory.ops.paste import registered
from lanner.inference.pipeline import detect
from lanner.inference.registry import find
from postprocess.aircraft import identify, orient, outline
from postprocess.aircraft.catalogue import read_catalogue
from postprocess.aircraft.extent import extents
from postprocess.aircraft.silhouette import symmetry_axes
from postprocess.context import Context, DetectorFacts
from postprocess.frame import candidates
from tiling.grid import Grid
from tiling.place import Place

DATA = Path(os.environ.get("LANNER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CUTOUTS = DATA / "aircraft" / "cutouts"
# By folder; one that names two types is right with either (a Su-35 is a SU27, a Su-30MK a SU33).
KINDS = {
    "a-50": ("A50",),
    "il-76": ("IL76",),
    "mig-29": ("MG29",),
    "mig-31": ("MG31",),
    "su-24": ("SU24",),
    "su-25": ("SU25",),
    "su-27_su-35": ("SU27",),
    "su-30_su-34": ("SU34", "SU27", "SU33"),
    "tu-160": ("T160",),
    "tu-22": ("T22M",),
    "tu-95": ("TU95",),
}
CATALOGUE = read_catalogue(configs_dir() / "types.yaml", configs_dir() / "taxonomy.yaml")
FACTS = {facts.icao: facts for facts in CATALOGUE.types}
SIDE_PX = 100
"""Length at which an outline is looked at, as the closer look shows it."""

pytestmark = pytest.mark.skipif(
    not CUTOUTS.is_dir(), reason="the labelled imagery is not here; LANNER_DATA names its folder"
)


def cut() -> Iterator[tuple[str, Path, np.ndarray]]:
    for folder in KINDS:
        for path in sorted((CUTOUTS / "no-background" / folder).glob("*.webp")):
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            yield folder, path, cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)


def around(solid: np.ndarray) -> shapely.Polygon:
    """The rim of a silhouette (h, w) 0..255, in its pixels with four around them."""
    lines = find_contours(np.pad(solid / 255.0, 4), 0.5)
    rim = max(lines, key=len)[:, ::-1] + 0.5
    parts = shapely.get_parts(shapely.make_valid(shapely.Polygon(rim)))
    return max(parts, key=shapely.area)


def sampling(rim: shapely.Polygon, folder: str) -> float:
    """Metres a pixel at which a silhouette fits its type best."""
    shapes = np.array([rim], object)
    axes = symmetry_axes(shapes)
    reach = extents(shapes, axes.centre, axes.angle)
    facts = [FACTS[code] for code in KINDS[folder]]
    by_length = np.mean([one.length for one in facts]) / (reach.front - reach.back)[0]
    spans = np.array([span for one in facts for span in one.spans if np.isfinite(span)])
    by_span = spans / (reach.right - reach.left)[0]
    # A swing wing is seen spread or folded back: the span that goes with its length.
    nearest = by_span[np.abs(np.log(by_span / by_length)).argmin()]
    return float(np.sqrt(by_length * nearest))


def identified(rim: shapely.Polygon, gsd: float) -> pd.Series:
    """One row: an outline measured and identified by itself."""
    grid = Grid.over((400, 400), (gsd, gsd), gsd)
    place = Place(Affine(gsd, 0, 5e5, 0, -gsd, 4.4e6), CRS.from_epsg(32633), (gsd, gsd))
    facts = DetectorFacts("a", "1", "w", "c")
    where = Context("s", None, place, grid, None, facts, workdir=None, cancel=Cancel())
    shapes = np.array([rim], object)
    frame: gpd.GeoDataFrame = candidates(
        shapely.bounds(shapes),
        scores=np.ones(1),
        votes=[{}],
        tiles=[0],
        cuts=[0],
        labels=["aircraft"],
        outlines=[rim],
    )
    frame = outline.run(frame, where, params(outline))
    return identify.run(orient.run(frame, where, params(orient)), where, params(identify)).iloc[0]


def params(step: ModuleType) -> Any:
    """Parameters of a step, as the released detector has them."""
    specs = {spec.step: spec.params for spec in find("aircraft").config.chain}
    return step.Params.model_validate(specs[step.__name__.rpartition(".")[2]])


def rank(types: list[dict], folder: str) -> int:
    """Place of the true type among those told, from 0; 99 where it is not told."""
    codes = [one["icao"] for one in types]
    return min((codes.index(code) for code in KINDS[folder] if code in codes), default=99)


def test_a_good_outline_tells_the_type() -> None:
    ranks, rows, kinds = [], [], []
    for folder, _, rgba in cut():
        alpha = rgba[..., 3]
        k = SIDE_PX / max(alpha.shape)
        rim = around(cv2.resize(alpha, None, fx=k, fy=k, interpolation=cv2.INTER_AREA))
        row = identified(rim, sampling(rim, folder))
        ranks.append(rank(row["types"], folder))
        rows.append(row)
        kinds.append(KINDS[folder][0])
    assert len(ranks) >= 50
    assert np.mean([r == 0 for r in ranks]) >= 0.7
    assert np.mean([r < 5 for r in ranks]) >= 0.9
    promised = np.mean([row["type_probability"] for row in rows])
    assert promised == pytest.approx(np.mean([r == 0 for r in ranks]), abs=0.05)
    true = [
        [CATALOGUE.families[node].name for node in CATALOGUE.path(FACTS[code].family)]
        + [FACTS[code].name]
        for code in kinds
    ]
    type_ranks = rank_types(
        [[one["icao"] for one in row["types"]] for row in rows],
        [list(row["taxonomy"]["path"]) for row in rows],
        kinds,
        true,
    )
    level = deepest(type_ranks)
    assert level is not None and level >= 1


def test_the_whole_detector_finds_them_and_tells_some(tmp_path: Path) -> None:
    """One photograph a type, with networks and chain.

    Both members learned from composites of these very cut-outs, and the network of the closer look
    from those of six types: no figure of an independent set.

    These are cut close around each aircraft, with deep shadows: outlines limit what is told.
    """
    found, ranks, done = 0, [], set()
    for folder, path, rgba in cut():
        photo = CUTOUTS / "with-background" / folder / path.name
        if folder in done or not photo.is_file():
            continue
        rgb = read_rgb(photo)
        match = registered(rgba, rgb)
        if match is None:
            continue
        done.add(folder)
        gsd = sampling(around(match.solid), folder)
        gsd *= max(match.solid.shape) / max(rgb.shape[:2])
        scene = tmp_path / f"{folder}.tif"
        write(scene, rgb, gsd)
        result = detect(
            DetectRequest(str(scene), "aircraft", device="cpu"), Cancel(), lambda _: None
        )
        objects = [json.loads(text)["properties"] for text in result.features]
        objects.sort(key=lambda one: -one["confidence"])
        found += bool(objects)
        ranks.append(rank(objects[0]["types"], folder) if objects else 99)
    assert len(ranks) == len(KINDS)
    assert found >= len(KINDS) - 2
    assert sum(r < 5 for r in ranks) >= 6


def write(path: Path, rgb: np.ndarray, gsd: float) -> None:
    """A GeoTIFF of `gsd` metres, coarsened by whole pixels where the detector wants it coarser."""
    k = ceil(0.1 / gsd)
    h, w = rgb.shape[0] // k * k, rgb.shape[1] // k * k
    small = rgb[:h, :w].reshape(h // k, k, w // k, k, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=w // k,
        height=h // k,
        count=3,
        dtype="uint8",
        crs="EPSG:32633",
        transform=Affine(gsd * k, 0, 5e5, 0, -gsd * k, 4.4e6),
    ) as file:
        file.write(np.ascontiguousarray(small.transpose(2, 0, 1)))
