"""The chain runner with real steps, its own and a stranger's package on sys.path."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from affine import Affine
from pyproj import CRS

from lanner.core.config import StepSpec
from lanner.core.errors import Cancelled, ConfigError, LannerError, StepError
from lanner.core.home import configs_dir
from postprocess import registry
from postprocess.chain import Chain
from postprocess.context import Context, DetectorFacts
from postprocess.frame import candidates, column, empty, tidy
from postprocess.snapshots import GROUP, read_snapshot, write_snapshot
from postprocess.writers import features
from tiling.grid import Grid, TilePlan
from tiling.place import Place

SPECS = [
    {"step": "merge_seams"},
    {"step": "outline"},
    {"step": "orient"},
    {"step": "plausible"},
    {"step": "identify"},
    {"step": "triage", "accept_at": 0.6},
]


def chain(specs=SPECS):
    return Chain.from_specs([StepSpec.model_validate(spec) for spec in specs])


def context(workdir, scene_id="scene"):
    grid = Grid.over((1000, 700), (1.0, 1.0), 1.0)
    place = Place(Affine(1, 0, 5e5, 0, -1, 4e6), CRS.from_epsg(32633), (1.0, 1.0))
    facts = DetectorFacts("aircraft", "1.0.0", "w" * 64, "c" * 64)
    return Context(scene_id, None, place, grid, TilePlan(grid, 512, 96), facts, workdir)


def plane(x, y, size=40.0):
    wing, body = shapely.box(-0.08, -0.5, 0.1, 0.5), shapely.box(-0.5, -0.06, 0.5, 0.06)
    tail = shapely.box(-0.5, -0.18, -0.4, 0.18)
    shape = shapely.union_all([wing, body, tail])
    return shapely.transform(shape, lambda xy: xy * size + [x, y])


def objects():
    shapes = [plane(100, 100), plane(300, 120), plane(500, 400), plane(820, 560, 140.0)]
    boxes = shapely.bounds(np.array(shapes, object)).tolist()
    frame = candidates(
        [*boxes, [700, 300, 730, 340], boxes[1]],
        scores=[0.9, 0.8, 0.7, 0.65, 0.55, 0.79],
        votes=[{"r": 0.9, "u": 0.95}, {"r": 0.8}, {"u": 0.7}, {"u": 0.6}, {"r": 0.5}, {"u": 0.7}],
        tiles=[0, 0, 5, 6, 6, 1],
        cuts=[0] * 6,
        labels=["aircraft"] * 6,
        outlines=[*shapes, None, shapes[1]],
    )
    return frame


def test_a_run_leaves_objects_reasons_and_snapshots(tmp_path):
    events = []
    result = chain().run(objects(), context(tmp_path), progress=events.append)
    assert len(result.objects) == 4
    assert list(result.rejected["rejected_by"]) == ["plausible"]
    assert result.rejected["rejected"].iloc[0].startswith("length 1")
    assert [p.name for p in sorted(tmp_path.glob("0*.parquet"))] == [
        "00_input.parquet",
        "01_merge_seams.parquet",
        "02_outline.parquet",
        "03_orient.parquet",
        "04_plausible.parquet",
        "05_identify.parquet",
        "06_triage.parquet",
    ]
    names = [step["step"] for step in result.objects["steps"].iloc[0]]
    assert names == [spec["step"] for spec in SPECS]
    assert all(set(s) == {"step", "did"} for row in result.objects["steps"] for s in row)
    joined = [steps[0]["did"] for steps in result.objects["steps"]]
    assert sum(text.startswith("joined 2 views") for text in joined) == 1
    assert not {"did", "note"} & set(result.objects.columns)
    assert [p.done for p in events] == list(range(7)) and events[-1].total == 6


@pytest.mark.parametrize("start", [*range(1, 7), "orient"])
def test_a_restart_anywhere_gives_the_same_bytes(tmp_path, start):
    where = context(tmp_path)
    first = chain().run(objects(), where)
    texts = features(first.objects, where)
    kept = {p.name: p.read_bytes() for p in tmp_path.glob("*.parquet")}
    again = chain().run(None, where, start=start)
    assert features(again.objects, where) == texts
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.parquet")} == kept
    assert len(again.rejected) == len(first.rejected) == 1


def test_a_later_step_may_change_and_an_earlier_one_may_not(tmp_path):
    where = context(tmp_path)
    chain().run(objects(), where)
    stricter = [*SPECS[:5], {"step": "triage", "accept_at": 0.95}]
    again = chain(stricter).run(None, where, start="triage")
    assert set(again.objects["decision"]) == {"review"}
    other = [{"step": "merge_seams", "iou": 0.4}, *SPECS[1:]]
    with pytest.raises(StepError, match="another scene, detector or chain"):
        chain(other).run(None, where, start="triage")
    with pytest.raises(StepError, match="another scene"):
        chain().run(None, context(tmp_path, "elsewhere"), start="triage")


def test_start_must_be_a_step(tmp_path):
    with pytest.raises(StepError, match="did you mean 'orient'"):
        chain().run(objects(), context(tmp_path), start="orientt")
    with pytest.raises(StepError, match="run the chain from the beginning"):
        chain().run(None, context(tmp_path), start=3)
    with pytest.raises(StepError, match="nothing to run on"):
        chain().run(None, context(tmp_path))


def test_row_order_does_not_reach_the_output(tmp_path):
    texts = set()
    for seed in range(5):
        where = context(tmp_path / str(seed))
        where.workdir.mkdir()
        order = np.random.default_rng(seed).permutation(6)
        done = chain().run(objects().iloc[order], where)
        texts.add(features(done.objects, where))
    assert len(texts) == 1


def test_no_objects_run_through(tmp_path):
    result = chain().run(empty(), context(tmp_path))
    assert len(result.objects) == 0 and len(result.rejected) == 0
    assert len(chain().run(None, context(tmp_path), start=4).objects) == 0


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(StepError, match="did you mean 'merge_seams'"):
        chain([{"step": "merge_seam"}])
    with pytest.raises(ConfigError, match=r"chain\.0\.merge_seams\.iuo.*did you mean 'iou'"):
        chain([{"step": "merge_seams", "iuo": 0.5}])
    with pytest.raises(ConfigError, match=r"chain\.1\.triage\.accept_at"):
        chain([{"step": "outline"}, {"step": "triage", "accept_at": 3}])
    with pytest.raises(ConfigError, match="triage"):
        chain([{"step": "triage"}])


def test_every_builtin_step_is_there():
    for name in registry.BUILTIN:
        found = registry.step(name)
        assert found.name == name and found.params.model_config["extra"] == "forbid"


STRANGER = """
from lanner.core.config import Strict
class Params(Strict):
    least: float = 0.0
    fail: str = ""
def run(objects, context, params):
    if params.fail == "value":
        raise ValueError("went wrong")
    if params.fail == "frame":
        return 3
    if params.fail == "columns":
        return objects.drop(columns="votes")
    if params.fail == "cancel":
        context.cancel.set()
    objects = objects.copy()
    low = objects["score"] < params.least
    objects["rejected"] = [f"score {s:.2f}" if x else None for s, x in zip(objects["score"], low)]
    objects["extra"] = [{"deep": [1, {"x": None}], "t": (1.5,)} for _ in range(len(objects))]
    return objects
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A customer's package with a step of its own, installed in a folder."""
    folder = tmp_path / "site"
    info = folder / "acme_steps-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "acme_steps.py").write_text(STRANGER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lanner.steps]\nacme = acme_steps\nno_such = acme_steps_missing\nno_step = json\n"
        "outline = acme_steps\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("acme_steps", None)


def test_a_private_step_runs_like_any_other(stranger, tmp_path):
    done = chain([{"step": "acme", "least": 0.6}]).run(objects(), context(tmp_path))
    assert len(done.objects) == 5 and list(done.rejected["rejected"]) == ["score 0.55"]
    assert done.objects["extra"].iloc[0] == {"deep": [1, {"x": None}], "t": [1.5]}
    assert done.objects["steps"].iloc[0] == [{"step": "acme", "did": "kept"}]
    assert "acme" in registry.names()


def test_nobody_but_the_step_holds_what_it_is_given(tmp_path):
    left = []

    def run(objects, context, params):
        given, result = weakref.ref(objects), objects.copy()
        del objects
        gc.collect()
        left.append(given())
        return result

    own = Chain(tuple((replace(step, run=run), params) for step, params in chain().links[:3]))
    assert len(own.run(objects(), context(tmp_path)).objects) == 6
    assert left == [None] * 3


def test_a_private_step_may_not_hide_a_builtin_one_or_be_broken(stranger):
    with pytest.raises(StepError, match="takes the name of a built-in"):
        registry.step("outline")
    with pytest.raises(StepError, match="cannot be imported"):
        registry.step("no_such")
    with pytest.raises(StepError, match="no function `run`"):
        registry.step("no_step")


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("value", "failed with ValueError: went wrong"),
        ("frame", "returned a int"),
        ("columns", r"returned objects without the columns \['votes'\]"),
    ],
)
def test_a_failing_step_is_named(stranger, tmp_path, fail, message):
    with pytest.raises(StepError, match=f"step 'acme': {message}"):
        chain([{"step": "acme", "fail": fail}]).run(objects(), context(tmp_path))


def test_cancel_is_seen_between_steps(stranger, tmp_path):
    two = chain([{"step": "acme", "fail": "cancel"}, {"step": "acme"}])
    with pytest.raises(Cancelled):
        two.run(objects(), context(tmp_path))
    # What was done is kept: the rest can be run from there.
    assert len(two.run(None, context(tmp_path), start=2).objects) == 6


def test_snapshots_keep_everything(tmp_path):
    frame = objects()
    frame["mixed"] = column([None, 1, "a", [], {}, 2.5])
    frame["text"] = column(["a", None, "", "ä", "e", "f"])
    frame["number"] = [1.0, np.nan, 0.1 + 0.2, -0.0, 1e300, 5e-324]
    write_snapshot(tidy(frame, "t"), tmp_path / "a.parquet")
    back = read_snapshot(tmp_path / "a.parquet")
    assert list(back.columns) == list(tidy(frame, "t").columns)
    for name in ("votes", "mixed", "text", "label"):
        assert list(back[name]) == list(frame[name])
    assert np.array_equal(back["number"], frame["number"], equal_nan=True)
    assert back.geometry.to_wkb().tolist() == frame.geometry.to_wkb().tolist()
    assert gpd.GeoSeries(back["outline"]).to_wkb().tolist() == frame["outline"].to_wkb().tolist()
    write_snapshot(back, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_snapshots_of_several_groups_keep_everything(tmp_path):
    size = 2 * GROUP + 7
    numbers = np.arange(size)
    frame = candidates(
        np.stack([numbers, -numbers, numbers + 1, numbers], axis=1),
        scores=numbers / size,
        votes=[{"r": i / size} for i in range(size)],
        tiles=numbers,
        cuts=numbers % 16,
        labels=["aircraft"] * size,
        outlines=[None if i % 3 else shapely.Point(i, i).buffer(1) for i in range(size)],
    )
    frame["steps"] = column([[{"step": "a", "did": f"{i % 5}"}] for i in range(size)])
    frame["late"] = column([None] * (size - 1) + ["text"])
    write_snapshot(frame, tmp_path / "a.parquet")
    back = read_snapshot(tmp_path / "a.parquet")
    for name in ("votes", "steps", "late", "label", "score", "tile", "cut"):
        assert list(back[name]) == list(frame[name])
    assert back.geometry.to_wkb().tolist() == frame.geometry.to_wkb().tolist()
    assert back["outline"].to_wkb().tolist() == frame["outline"].to_wkb().tolist()
    # What many have had done to them is there once.
    assert len(back["steps"].array.words) == 5
    assert len({id(label) for label in back["label"]}) == 1
    # Others read it as any GeoParquet.
    theirs = gpd.read_parquet(tmp_path / "a.parquet")
    assert theirs.geometry.to_wkb().tolist() == frame.geometry.to_wkb().tolist()
    assert theirs["votes:json"].iloc[-1] == '{"r": ' + repr((size - 1) / size) + "}"
    about = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"geo"])["columns"]
    assert about["geometry"]["bbox"] == frame.total_bounds.tolist()
    assert about["geometry"]["geometry_types"] == ["Polygon"]


@pytest.mark.parametrize(("pool", "kept"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_arrow_gives_its_memory_back_unless_told_otherwise(pool, kept):
    name = "ARROW_DEFAULT_MEMORY_POOL"
    environment = {k: v for k, v in os.environ.items() if k != name}
    environment |= {} if pool is None else {name: pool}
    code = "import postprocess.chain, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [kept]


def test_known_columns_are_not_read(tmp_path):
    write_snapshot(objects(), tmp_path / "a.parquet")
    mine = {"votes": column([{"me": 1.0}] * 6), "geometry": objects().geometry.translate(5)}
    back = read_snapshot(tmp_path / "a.parquet", mine)
    assert list(back["votes"]) == [{"me": 1.0}] * 6
    assert back.geometry.geom_equals_exact(mine["geometry"], 0).all()
    assert list(back.columns) == list(read_snapshot(tmp_path / "a.parquet").columns)


def test_steps_receive_what_snapshots_say_rings_included(stranger, tmp_path):
    frame = objects()
    frame["geometry"] = frame.geometry.exterior
    two = chain([{"step": "acme"}, {"step": "acme", "least": 0.6}])
    done = two.run(frame, context(tmp_path)).objects
    assert set(done.geom_type) == {"LineString"}
    again = two.run(None, context(tmp_path), start=2).objects
    assert again.geometry.to_wkb().tolist() == done.geometry.to_wkb().tolist()
    assert list(again["steps"]) == list(done["steps"])


def test_a_damaged_snapshot_is_refused(tmp_path):
    where = context(tmp_path)
    chain().run(objects(), where)
    (tmp_path / "03_orient.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(StepError, match=r"snapshot '03_orient.parquet'"):
        chain().run(None, where, start="plausible")


def test_rasters_are_handed_on(tmp_path):
    where = context(tmp_path)
    with pytest.raises(StepError, match=r"raster 'road'.*there are \[\]"):
        where.raster("road")
    where.handed_on("road").write_bytes(b"x")
    assert where.raster("road") == tmp_path / "road.tif"


def test_missing_workdir_is_an_error_of_ours(tmp_path):
    with pytest.raises(LannerError, match="folder does not exist"):
        chain().run(objects(), context(tmp_path / "none"))


def test_snapshots_of_another_catalogue_are_not_gone_on_from(tmp_path):
    types = tmp_path / "types.yaml"
    types.write_bytes((configs_dir() / "types.yaml").read_bytes())
    specs = [dict(spec) for spec in SPECS]
    specs[4]["catalogue"] = str(types)
    where = context(tmp_path)
    first = chain(specs).run(objects(), where)
    types.write_bytes(types.read_bytes().replace(b'"icao": "', b'"icao": "Z'))
    with pytest.raises(StepError, match="a file that a step reads was changed"):
        chain(specs).run(None, where, start="triage")
    # What comes before the step that reads it is as it was.
    again = chain(specs).run(None, where, start="identify")
    types_of = [[row[0]["icao"] for row in found.objects["types"]] for found in (first, again)]
    assert types_of[1] == [f"Z{code}" for code in types_of[0]]


def test_a_file_that_is_changed_under_a_running_chain_is_refused(tmp_path):
    types = tmp_path / "types.yaml"
    types.write_bytes((configs_dir() / "types.yaml").read_bytes())
    specs = [*SPECS[:4], {**SPECS[4], "catalogue": str(types)}]
    spoil = lambda progress: progress.done == 2 and types.write_text("others")  # noqa: E731
    with pytest.raises(ConfigError, match="was changed while the chain was running"):
        chain(specs).run(objects(), context(tmp_path), progress=spoil)
