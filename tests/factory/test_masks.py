"""Masks whose values mean something else than their maker thought."""

import numpy as np
import pytest

from lanner.core.errors import DatasetError
from lanner.factory.images import read_mask, write_png
from tests.fixtures_readers import H, W, draw, read


def test_masks_of_0_and_255_are_told_what_to_say(tmp_path):
    """255 is unknown: where there is nothing else, the option is what is missing, not a class."""
    for k, name in enumerate(("train/images/a", "train/images/b", "valid/images/c")):
        draw(tmp_path / f"{name}.png", k)
    road = np.zeros((H, W), np.uint8)
    write_png(road, tmp_path / "train/masks/a.png")
    road[5:9] = 255
    write_png(road, tmp_path / "train/masks/b.png")
    write_png(road, tmp_path / "valid/masks/c.png")
    facts = {
        "format": "masks",
        "splits": {"train": "train", "valid": "valid"},
        "classes": {"road": "road"},
    }
    with pytest.raises(DatasetError, match=r"0 and 255 alone.*give options: {binary: true}"):
        read(tmp_path, **facts)
    found = read(tmp_path, **facts, options={"binary": True})
    assert (read_mask(found.samples[1].mask) == road // 255).all()
    # Nobody asks for a class: 255 is unknown ground, such as car parks.
    found = read(tmp_path, **{**facts, "classes": {}})
    assert (read_mask(found.samples[2].mask) == road).all()
    negative = read(tmp_path, **facts, role="negative")
    assert {one.role for one in negative.samples} == {"negative"}
    # One class anywhere in the source, and 255 is unknown; also one that is dropped.
    road[20:25] = 1
    write_png(road, tmp_path / "valid/masks/c.png")
    assert len(read(tmp_path, **facts).samples) == 3
    road[20:25] = 2
    write_png(road, tmp_path / "valid/masks/c.png")
    with pytest.raises(DatasetError, match="empty class"):
        read(tmp_path, **facts, drop=["water"])
    # Without any object at all it is the class that is empty.
    road[:] = 0
    for name in ("train/masks/b", "valid/masks/c"):
        write_png(road, tmp_path / f"{name}.png")
    with pytest.raises(DatasetError, match="empty class"):
        read(tmp_path, **facts)
