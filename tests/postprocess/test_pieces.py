"""Layers written piece by piece: the same bytes however they are cut, and what a whole frame is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lanner.core.errors import Cancelled, OutputError
from lanner.core.job import Cancel
from lanner.core.schema import Column, Schema
from postprocess.pieces import write_geopackage, write_parquet
from postprocess.snapshots import GROUP
from postprocess.writers import write

CRS = pyproj.CRS.from_epsg(4326)
COLUMNS = (
    Column("id", "text", "a name"),
    Column("detector", "text", "who found it"),
    Column("label", "text", "what it is"),
    Column("confidence", "number", "how sure"),
    Column("decision", "text", "what to do"),
    Column("weights_sha256", "text", "of the networks"),
    Column("votes_n", "integer", "how many"),
    Column("whole", "flag", "yes or no"),
    Column("acquired", "datetime", "when"),
    Column("sightings", "text", "JSON"),
)
POLYGONS, LINES = Schema(COLUMNS, "Polygon"), Schema(COLUMNS, "LineString")
ROWS = 2 * GROUP + 700


def frame(rows: int, *, lines: bool = False) -> gpd.GeoDataFrame:
    x = np.arange(rows) * 1e-3
    shapes = (
        shapely.linestrings(np.stack([np.stack([x, x], 1), np.stack([x + 1, x], 1)], 1))
        if lines
        else shapely.box(x, 0, x + 1e-4, 1e-4)
    )
    numbers = np.arange(rows)
    return gpd.GeoDataFrame(
        {
            "id": pd.Series([f"n{k}" for k in numbers], dtype=object),
            "detector": pd.Series(["tiny"] * rows, dtype=object),
            "label": pd.Series([None if k % 3 else "é" for k in numbers], dtype=object),
            "confidence": np.where(numbers % 5, numbers / max(rows, 1), np.nan),
            "decision": pd.Series(["accept"] * rows, dtype=object),
            "weights_sha256": pd.Series(["0"] * rows, dtype=object),
            "votes_n": numbers,
            "whole": numbers % 2 == 0,
            "acquired": pd.to_datetime(["2024-05-01T10:00:00.123Z"] * rows).as_unit("ms"),
            "sightings": pd.Series(["[]"] * rows, dtype=object),
        },
        geometry=gpd.GeoSeries(shapes, crs=CRS),
    )


def parts(whole: gpd.GeoDataFrame, cuts: list[int]) -> list[gpd.GeoDataFrame]:
    edges = [0, *sorted(cuts), len(whole)]
    return [whole.iloc[low:high] for low, high in pairwise(edges)]


def written(folder, frames, schema=POLYGONS):
    """Both files of some frames."""
    folder.mkdir()
    count = write_parquet(frames, folder / "x.parquet", schema, CRS)
    assert count == sum(map(len, frames))
    write_geopackage(folder / "x.parquet", folder / "x.gpkg", "tiny", schema, Cancel())
    return folder / "x.parquet", folder / "x.gpkg"


@given(cuts=st.lists(st.integers(0, ROWS), max_size=9))
@example(cuts=[2 * GROUP])
@example(cuts=[GROUP - 1, GROUP, GROUP + 1])
@example(cuts=[ROWS - 1])
@settings(max_examples=8, deadline=None)
def test_equal_rows_are_equal_bytes_however_they_are_cut(cuts, tmp_path_factory):
    folder, whole = tmp_path_factory.mktemp("cut"), frame(ROWS)
    one, two = written(folder / "a", [whole]), written(folder / "b", parts(whole, cuts))
    for mine, other in zip(one, two, strict=True):
        assert mine.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("lines", [False, True])
def test_files_hold_what_whole_ones_do(tmp_path, lines):
    whole, schema = frame(ROWS, lines=lines), LINES if lines else POLYGONS
    parquet, gpkg = written(tmp_path / "pieces", parts(whole, [3, 3, GROUP, 5_000]), schema)
    write((), whole, tmp_path / "whole.gpkg", "tiny", schema)
    one, two = (gpd.read_file(path, layer="tiny") for path in (gpkg, tmp_path / "whole.gpkg"))
    assert_geodataframe_equal(one, two)
    facts, wanted = (pyogrio.read_info(p, layer="tiny") for p in (gpkg, tmp_path / "whole.gpkg"))
    for name in ("crs", "geometry_type", "geometry_name", "fields", "ogr_types", "ogr_subtypes"):
        assert np.array_equal(facts[name], wanted[name]), name
    stored = gpd.read_parquet(parquet)
    write((), whole, tmp_path / "whole.parquet", "tiny", schema)
    assert_geodataframe_equal(stored, gpd.read_parquet(tmp_path / "whole.parquet"))
    assert stored.crs == CRS
    with sqlite3.connect(gpkg) as db:
        styles = db.execute("SELECT f_table_name FROM layer_styles").fetchall()
        index = db.execute("SELECT count(*) FROM rtree_tiny_geom").fetchone()
    assert (styles, index) == ([("tiny",)], (ROWS,))


def test_a_layer_of_nothing_has_the_columns_and_types_of_one_of_something(tmp_path):
    some, none = written(tmp_path / "some", [frame(3)]), written(tmp_path / "none", [])
    for one, other in zip(some, none, strict=True):
        read = gpd.read_parquet if one.suffix == ".parquet" else gpd.read_file
        assert read(other).columns.tolist() == read(one).columns.tolist()
        assert len(read(other)) == 0
    assert gpd.read_parquet(none[0]).dtypes.equals(gpd.read_parquet(some[0]).dtypes)
    facts = [pyogrio.read_info(path, layer="tiny") for path in (some[1], none[1])]
    assert facts[0]["geometry_type"] == facts[1]["geometry_type"] == "Polygon"


def test_shapes_of_several_parts_make_all_of_a_layer_such(tmp_path):
    whole = frame(9)
    two = shapely.multipolygons([whole.geometry[0], whole.geometry[5]])
    whole.loc[4, "geometry"] = two
    parquet, gpkg = written(tmp_path / "x", [whole])
    assert pyogrio.read_info(gpkg, layer="tiny")["geometry_type"] == "MultiPolygon"
    shapes = gpd.read_file(gpkg, layer="tiny").geometry
    assert set(shapes.geom_type) == {"MultiPolygon"}
    assert shapely.equals(shapes, whole.geometry).all()
    assert set(gpd.read_parquet(parquet).geom_type) == {"Polygon", "MultiPolygon"}


def test_what_frames_lack_is_missing_and_what_they_have_beside_it_is_left_out(tmp_path):
    lacking = ["votes_n", "label", "whole", "acquired", "confidence"]
    less = frame(2).drop(columns=lacking).assign(extra=1)
    found = gpd.read_parquet(written(tmp_path / "x", [less])[0])
    assert found.columns.tolist() == [*(one.name for one in COLUMNS), "geometry"]
    assert found[lacking].isna().all(axis=None)


def test_another_layer_stays_beside_it(tmp_path):
    folder = tmp_path / "x"
    parquet, gpkg = written(folder, [frame(5)])
    write_geopackage(parquet, gpkg, "other", POLYGONS, Cancel())
    for layer in ("tiny", "other"):
        assert gpd.read_file(gpkg, layer=layer)["id"].tolist() == [f"n{k}" for k in range(5)]


def test_a_caller_may_stop_it_and_the_file_stays_as_it_was(tmp_path):
    parquet, gpkg = written(tmp_path / "x", [frame(5)])
    before, cancel = gpkg.read_bytes(), Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        write_geopackage(parquet, gpkg, "tiny", POLYGONS, cancel)
    assert gpkg.read_bytes() == before
    assert {path.name for path in gpkg.parent.iterdir()} == {"x.parquet", "x.gpkg"}


def test_an_error_while_rows_are_made_leaves_no_file(tmp_path):
    def frames():
        yield frame(GROUP + 1)
        raise OutputError("path", "part", "is damaged", "mend it")

    with pytest.raises(OutputError, match="damaged"):
        write_parquet(frames(), tmp_path / "x.parquet", POLYGONS, CRS)
    assert list(tmp_path.iterdir()) == []


DISK_FULL = """
    import resource, signal, sys
    sys.path.insert(0, {here!r})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from pathlib import Path
    from lanner.core.errors import OutputError
    from lanner.core.job import Cancel
    from postprocess.pieces import write_geopackage, write_parquet
    from tests.postprocess.test_pieces import CRS, POLYGONS, frame
    parquet, gpkg = Path({folder!r}) / "x.parquet", Path({folder!r}) / "x.gpkg"
    write_parquet([frame(9_000)], parquet, POLYGONS, CRS)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
    for make in (
        lambda: write_geopackage(parquet, gpkg, "tiny", POLYGONS, Cancel()),
        lambda: write_parquet([frame(9_000)], parquet, POLYGONS, CRS),
    ):
        try:
            make()
        except OutputError as error:
            print("refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file size")
def test_a_full_disk_is_an_error_in_words_and_leaves_nothing_half_written(tmp_path, request):
    code = textwrap.dedent(DISK_FULL).format(
        here=str(request.config.rootpath), folder=str(tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.count("refused:") == 2, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"x.parquet"}
    assert len(gpd.read_parquet(tmp_path / "x.parquet")) == 9_000


def test_memory_does_not_grow_with_the_rows(tmp_path, request):
    code = """
        import resource, sys
        sys.path.insert(0, {here!r})
        from pathlib import Path
        from lanner.core.job import Cancel
        from postprocess.pieces import write_geopackage, write_parquet
        from tests.postprocess.test_pieces import CRS, POLYGONS, frame
        whole = frame(2_000)
        whole["sightings"] = [f"{{k:9}}" * 200 for k in range(2_000)]
        peaks = []
        for times in (4, 80):
            path = Path({folder!r}) / f"{{times}}.parquet"
            write_parquet((whole for _ in range(times)), path, POLYGONS, CRS)
            write_geopackage(path, path.with_suffix(".gpkg"), "tiny", POLYGONS, Cancel())
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        print(peaks[1] - peaks[0])
    """
    code = textwrap.dedent(code).format(here=str(request.config.rootpath), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert (tmp_path / "80.gpkg").stat().st_size > 250e6
    assert grown < 120e6
