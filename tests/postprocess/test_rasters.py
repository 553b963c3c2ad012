"""Rasters that steps hand on: those of this run are found, those of earlier ones are not."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapely import LineString

from lanner.core.config import StepSpec, Strict
from lanner.core.errors import StepError
from postprocess.chain import RECORD, Chain
from postprocess.frame import empty
from postprocess.registry import Step
from tests.fixtures_roads import painted, road_context

SIDE = 200
FLAT, STEEP = LineString([(0, 100), (SIDE, 100)]), LineString([(60, 0), (60, SIDE)])


class Params(Strict):
    """Of the steps below."""


def roads(folder: Path, line: LineString = FLAT):
    return road_context(folder, painted(np.array([line], object), 8, SIDE))


def chain(*steps: str) -> Chain:
    return Chain.from_specs([StepSpec(step=name) for name in steps])


def own(**steps) -> Chain:
    """A chain of private steps: functions of the context."""

    def link(name, do):
        def run(objects, context, params):
            do(context)
            return objects.copy()

        return Step(name, run, Params), Params()

    return Chain(tuple(link(name, do) for name, do in steps.items()))


def says(text: str, name: str = "their/mask.v2"):
    """A step that hands on a raster with this in it."""

    def write(context):
        path = context.handed_on(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


def hears(into: list[str], name: str = "their/mask.v2"):
    return lambda context: into.append(context.raster(name).read_text())


def test_a_mask_of_another_scene_in_the_folder_is_not_used(tmp_path):
    first = roads(tmp_path)
    chain("threshold", "clean", "skeletonise", "trace").run(empty(), first)
    assert (first.workdir / "clean.tif").is_file()
    second = roads(tmp_path, STEEP)
    with pytest.raises(
        StepError, match=r"raster 'clean'.*there are \['probability', 'threshold'\]"
    ):
        chain("threshold", "skeletonise", "trace").run(empty(), second)
    # The same steps in the same folder write theirs anew.
    found = chain("threshold", "clean", "skeletonise", "trace").run(empty(), second).objects
    np.testing.assert_allclose(found.total_bounds[[0, 2]], 60, atol=2)


def test_the_detectors_raster_counts_before_an_earlier_runs(tmp_path):
    where, contents = roads(tmp_path), []
    fresh = tmp_path / "fresh.tif"
    fresh.write_text("fresh")
    where = replace(where, rasters={"mask": fresh})
    own(one=says("first", "mask"), two=hears(contents, "mask")).run(empty(), where)
    own(two=hears(contents, "mask")).run(empty(), where)
    assert contents == ["first", "fresh"]


def test_a_restart_finds_what_the_steps_before_it_handed_on_and_no_more(tmp_path):
    where, contents = roads(tmp_path), []
    steps = {
        "early": says("early"),
        "middle": hears(contents),
        "asks": lambda context: context.raster("late"),
        "late": says("late", "late"),
    }
    patient = {**steps, "asks": lambda context: None}
    own(**patient).run(empty(), where)
    own(**patient).run(None, where, start="middle")
    assert contents == ["early", "early"]
    with pytest.raises(StepError, match=r"raster 'late'.*'their/mask.v2'"):
        own(**steps).run(None, where, start="middle")
    # Found again from any step after it, in a moved folder too.
    moved = replace(where, workdir=tmp_path / "moved")
    shutil.copytree(where.workdir, moved.workdir)
    own(**patient).run(None, moved, start="asks")
    contents.clear()
    last = {**patient, "late": hears(contents)}
    own(**last).run(None, moved, start="late")
    assert contents == ["early"]


def test_a_link_made_anew_is_this_runs(tmp_path):
    where, contents = roads(tmp_path), []
    (tmp_path / "mine.tif").write_text("always the same")

    def link(context):
        context.handed_on("mask").unlink(missing_ok=True)
        os.symlink(tmp_path / "mine.tif", context.handed_on("mask"))

    for _ in range(2):
        own(one=link, two=hears(contents, "mask")).run(empty(), where)
    assert len(contents) == 2


def test_a_record_that_names_no_rasters_is_no_place_to_restart_from(tmp_path):
    where = roads(tmp_path)
    steps = own(one=says("a"), two=hears([]))
    steps.run(empty(), where)
    path = where.workdir / RECORD
    record = json.loads(path.read_text())
    del record["made"]
    path.write_text(json.dumps(record))
    with pytest.raises(StepError, match="run the chain from the beginning once"):
        steps.run(None, where, start="two")
