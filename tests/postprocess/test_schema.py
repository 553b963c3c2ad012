"""One schema a detector: the same columns in the same types, whatever a scene holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from affine import Affine
from pyproj import CRS

from lanner.core.config import load_config
from postprocess.chain import Chain
from postprocess.context import Context, DetectorFacts
from postprocess.frame import candidates, empty
from postprocess.writers import features, scene_frame, write
from tests.fixtures_aircraft import silhouette, turned
from tests.fixtures_roads import TOWN, painted, road_context
from tiling.grid import Grid, TilePlan
from tiling.place import Place

ROOT = Path(__file__).resolve().parents[2]
DETECTORS = ("aircraft", "roads")
FORMATS = ("geojson", "gpkg", "fgb", "parquet")


def chain(name: str) -> Chain:
    return Chain.from_specs(load_config(ROOT / "configs" / f"{name}.yaml").chain)


def airfield(count: int, acquired: str | None) -> tuple[gpd.GeoDataFrame, Context]:
    """Objects that a detector of aircraft hands to its chain, and where they are."""
    shapes = [turned(silhouette("airliner"), 0.8, 30.0, (100 + 90 * k, 100)) for k in range(count)]
    objects = candidates(
        shapely.bounds(shapes) if shapes else [],
        scores=[0.9 - 0.3 * k for k in range(count)],
        votes=[{"retinanet": 0.8, "resunet": 0.4}] * count,
        tiles=[0] * count,
        cuts=[0] * count,
        labels=["aircraft"] * count,
        outlines=shapes,
    )
    grid = Grid.over((500, 300), (0.8, 0.8), 0.8)
    place = Place(Affine(0.8, 0, 5e5, 0, -0.8, 4.4e6), CRS.from_epsg(32633), (0.8, 0.8))
    facts = DetectorFacts("aircraft", "1.0.0", "w", "c")
    return objects, Context("s", acquired, place, grid, TilePlan(grid, 512, 96), facts, None)


def written(name: str, folder: Path, count: int, acquired: str | None, tmp_path: Path) -> Path:
    """The folder with one file a format."""
    steps = chain(name)
    if name == "aircraft":
        objects, context = airfield(count, acquired)
    else:
        mask = painted(TOWN) if count else np.zeros((256, 256), np.uint8)
        context = road_context(tmp_path / f"{folder.name}-rasters", mask)
        objects, context = empty(), replace(context, acquired=acquired)
    done = steps.apply(objects, context).objects
    folder.mkdir()
    texts = features(done, context, steps.schema)
    frame = scene_frame(done, context, steps.schema)
    for ending in FORMATS:
        write(texts, frame, folder / f"a.{ending}", name, steps.schema)
    return folder


@pytest.fixture(scope="module", params=DETECTORS)
def outputs(request, tmp_path_factory) -> tuple[str, list[Path]]:
    """A detector, and its outputs of scenes with nothing, without a date, with both."""
    folder = tmp_path_factory.mktemp(request.param)
    scenes = (("a-nothing", 0, "2024-05-01"), ("b-undated", 2, None), ("c-both", 2, "2024-05-01"))
    return request.param, [
        written(request.param, folder / name, count, acquired, folder)
        for name, count, acquired in scenes
    ]


def test_every_feature_has_every_property(outputs):
    name, folders = outputs
    names = chain(name).schema.names
    every = [
        one["properties"]
        for folder in folders
        for one in json.loads((folder / "a.geojson").read_text())["features"]
    ]
    assert len(every) > 2
    assert all(tuple(one) == names for one in every)


@pytest.mark.parametrize("ending", ["gpkg", "fgb"])
def test_tables_have_the_same_columns_of_the_same_types(outputs, ending):
    name, folders = outputs
    layer = name if ending == "gpkg" else None
    facts = [pyogrio.read_info(folder / f"a.{ending}", layer=layer) for folder in folders]
    assert {tuple(one["fields"]) for one in facts} == {chain(name).schema.names}
    assert len({tuple(one["ogr_types"]) for one in facts}) == 1
    assert {one["geometry_type"] for one in facts} == {chain(name).schema.geometry}
    kinds = dict(zip(facts[0]["fields"], facts[0]["dtypes"], strict=True))
    assert kinds["confidence"] == "float64" and "datetime" in kinds["acquired"]
    if ending == "gpkg":
        assert pyogrio.list_layers(folders[0] / "a.gpkg")[0, 0] == name


def test_parquet_is_one_data_set_with_the_empty_file_first(outputs):
    _, folders = outputs
    paths = [folder / "a.parquet" for folder in folders]
    schemas = [pq.read_schema(path) for path in paths]
    assert all(one.remove_metadata().equals(schemas[0].remove_metadata()) for one in schemas)
    assert pa.types.is_timestamp(schemas[0].field("acquired").type)
    counts = [pq.read_metadata(path).num_rows for path in paths]
    assert counts[0] == 0 < counts[1] == counts[2]
    whole = ds.dataset([str(path) for path in paths]).to_table()
    assert whole.num_rows == sum(counts)
    listed = ", ".join(f"'{path}'" for path in paths)
    query = "SELECT count(*), count(acquired), sum(confidence) FROM read_parquet([{}])"
    ((rows, dated, total),) = duckdb.sql(query.format(listed)).fetchall()
    assert (rows, dated) == (sum(counts), counts[2]) and total > 0
    frames = [gpd.read_parquet(path) for path in paths]
    assert len({tuple(one.columns) for one in frames}) == 1
    assert len({tuple(map(str, one.dtypes)) for one in frames}) == 1


def test_flat_columns_say_what_the_nested_ones_do(outputs):
    name, folders = outputs
    for one in json.loads((folders[2] / "a.geojson").read_text())["features"]:
        facts = one["properties"]
        assert facts["votes_n"] == len(facts["votes"])
        assert facts["reason"] == ("; ".join(facts["review_reasons"]) or None)
        assert facts["acquired"] == "2024-05-01T00:00:00Z"
        if name == "aircraft":
            best, family = facts["types"][0], facts["taxonomy"]
            assert (facts["type"], facts["type_name"]) == (best["icao"], best["name"])
            assert facts["type_probability"] == best["probability"]
            assert facts["family"] in family["path"]
            assert facts["family"] != facts["type_name"]
            assert facts["family_probability"] >= 0.8 or facts["family"] == "aircraft"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_chain_gives_the_same_in_memory_and_by_snapshots(tmp_path, count):
    steps = chain("aircraft")
    objects, context = airfield(count, "2024-05-01")
    progress: dict[str, list] = {"apply": [], "run": []}
    made = (
        steps.apply(objects, context, progress=progress["apply"].append),
        steps.run(objects, replace(context, workdir=tmp_path), progress=progress["run"].append),
    )
    assert progress["apply"] == progress["run"]
    for part in ("objects", "rejected"):
        texts = [features(getattr(one, part), context, steps.schema) for one in made]
        assert texts[0] == texts[1]
        for k, one in enumerate(made):
            frame = scene_frame(getattr(one, part), context, steps.schema)
            write(texts[k], frame, tmp_path / f"{k}.parquet", "aircraft", steps.schema)
        assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
    assert len(made[0].objects) + len(made[0].rejected) == count
