"""What a search reads from disk: predictions of this evaluation alone, and points of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanner.errors import DatasetError
from lanner.factory.config import FactoryConfig
from lanner.factory.search import raw_folder
from lanner.factory.search.points import Measured
from lanner.factory.search.study import Kept
from lanner.factory.shop import Shop


def shop_in(folder: Path) -> Shop:
    config = FactoryConfig.model_validate(
        {
            "factory": "tanks",
            "detector": "tanks.yaml",
            "sources": [{"name": "made", "format": "images", "root": "."}],
            "evaluate": {"splits": ["test"], "calibrate_on": "valid"},
        }
    )
    return Shop(config, folder / "tanks.factory.yaml", folder)


def test_predictions_of_a_split_that_is_evaluated_no_more_are_not_searched(tmp_path):
    """What lies there may be of weights that were trained before."""
    shop = shop_in(tmp_path)
    for split in ("test", "old"):
        folder = shop.step_dir("evaluate") / "raw" / split
        folder.mkdir(parents=True)
        (folder / "predict.json").write_text("{}")
    assert raw_folder(shop, "test").name == "test"
    with pytest.raises(DatasetError, match=r"add it to evaluate.splits, then: .*factory.yaml"):
        raw_folder(shop, "old")
    with pytest.raises(DatasetError, match=r"predict again: .* --force"):
        raw_folder(shop, "valid")


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
