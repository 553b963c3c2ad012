"""What a search reads from disk and leaves there, and which values it may try."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from lanner.core.errors import DatasetError
from lanner.factory.config import FactoryConfig
from lanner.factory.process_map import fresh
from lanner.factory.project import Project
from lanner.factory.steps.evaluate.raster_steps import RasterChain
from lanner.factory.steps.evaluate.steps import Memory
from lanner.factory.steps.search import raw_folder
from lanner.factory.steps.search.points import Measured
from lanner.factory.steps.search.space import parse_space
from lanner.factory.steps.search.study import Kept, Objective, search_points
from tests.factory.test_figures import CONFIG as DETECTOR


def shop_in(folder: Path) -> Project:
    config = FactoryConfig.model_validate(
        {
            "factory": "tanks",
            "detector": "tanks.yaml",
            "sources": [{"name": "made", "format": "images", "root": "."}],
            "evaluate": {"splits": ["test"], "calibrate_on": "valid"},
        }
    )
    return Project(config, folder / "tanks.factory.yaml", folder)


def test_predictions_of_a_split_that_is_evaluated_no_more_are_not_searched(tmp_path):
    """What lies there may be of weights that were trained before."""
    project = shop_in(tmp_path)
    for split in ("test", "old"):
        folder = project.step_dir("evaluate") / "raw" / split
        folder.mkdir(parents=True)
        (folder / "predict.json").write_text("{}")
    assert raw_folder(project, "test").name == "test"
    with pytest.raises(DatasetError, match=r"add it to evaluate.splits, then: .*factory.yaml"):
        raw_folder(project, "old")
    with pytest.raises(DatasetError, match=r"predict again: .* --force"):
        raw_folder(project, "valid")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text.replace('"figures"', '"figure"'),
        lambda text: "[]\n" + text.partition("\n")[2],
    ],
)
def test_damaged_points_name_their_file_and_the_remedy(tmp_path, damage):
    path = tmp_path / "points.jsonl"
    point = {"fusion.iou": 0.5}
    Kept(path, "k").through([point], lambda points: [Measured(p, {"f1": 1.0}) for p in points])
    assert Kept(path, "k").through([point], lambda points: []) == [Measured(point, {"f1": 1.0})]
    path.write_text(damage(path.read_text()))
    with pytest.raises(DatasetError, match=r"points.jsonl.*cannot be read.*delete it"):
        Kept(path, "k")


def tried(given: object) -> set[float]:
    """Values of one weight that a search tries."""

    def measure(points):
        return [Measured(p, {"f1": p["members.boxes.weight"]}) for p in points]

    axes = parse_space({"members.boxes.weight": given}, DETECTOR)
    found = search_points(axes, [Objective("f1")], measure, points=32, seed=1)
    return {one.point["members.boxes.weight"] for one in found.points}


def test_no_value_is_tried_beyond_the_ends_of_its_range():
    """They may have more digits than a value that is tried."""
    low, high = 0.123456, 0.123459
    assert all(low <= one <= high for one in tried([low, high]))
    assert all(1234.56 <= one <= 1300.0 for one in tried({"log": [1234.56, 1300]}))


def test_a_step_that_does_not_divide_a_range_of_whole_numbers_ends_below_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tried({"int": [1, 10], "step": 4}) == {1, 5, 9}


HELD: list[RasterChain] = []


def hold_one(queue) -> None:
    """Hold rasters until this process ends, as one that measures points does."""
    HELD.append(RasterChain(Memory(1)))
    queue.put(HELD[0].root.name)


def test_a_process_of_a_search_leaves_no_rasters_behind():
    context = fresh(RasterChain.__module__)
    queue = context.Queue()
    process = context.Process(target=hold_one, args=(queue,))
    process.start()
    folder = Path(queue.get(timeout=120))
    process.join()
    assert process.exitcode == 0
    assert not folder.exists()
