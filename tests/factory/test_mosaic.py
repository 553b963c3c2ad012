"""Mosaics: every image once, labels and masks where their image went, joints unknown."""

from __future__ import annotations

import numpy as np
import pytest

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.samples import IDS_UNKNOWN, MASK_UNKNOWN, Label
from lanner.factory.steps.process import run
from tests.fixtures_process import after, changes, plane, project_of, stored

SIDE = 40


def painted(tmp_path, k, width=SIDE, height=SIDE, **more):
    """An image of one colour, its number."""
    return stored(tmp_path, f"first/{k}", np.full((height, width, 3), 10 + k, np.uint8), **more)


def mosaics(tmp_path, samples, **params):
    project = project_of(tmp_path, [{"op": "mosaic", "sources": ["first"], **params}], samples)
    run(project)
    return project


def cells(picture, across):
    """Values of the cells of a mosaic, row by row."""
    side = picture.shape[0] // across
    return [
        picture[y : y + side, x : x + side]
        for y in range(0, picture.shape[0], side)
        for x in range(0, picture.shape[1], side)
    ]


def test_every_image_is_laid_once_a_turn_and_the_last_picture_is_full(tmp_path):
    samples = [painted(tmp_path, k, gsd=0.3) for k in range(10)]
    project = mosaics(tmp_path, samples, across=2, times=3)
    pictures = after(project)
    assert sorted(pictures) == [f"mosaics/{k:05d}" for k in range(9)]
    numbers = [
        [int(np.unique(cell).item()) - 10 for cell in cells(read_rgb(one.image)[..., 0], 2)]
        for _, one in sorted(pictures.items())
    ]
    for turn in (numbers[:3], numbers[3:6], numbers[6:]):
        flat = [k for group in turn for k in group]
        assert sorted(flat[:10]) == list(range(10))
        assert len(flat) == 12
    assert numbers[:3] != numbers[3:6]
    first = pictures["mosaics/00000"]
    assert (first.width, first.height, first.gsd, first.split) == (80, 80, 0.3, "train")
    notes = {name: note for _, name, note in changes(project)}
    assert notes["first/3"] == "laid into mosaics: mosaics"
    assert all(f"first/{k}" in notes["mosaics/00000"] for k in numbers[0])


def test_labels_and_masks_go_where_their_image_goes(tmp_path):
    samples = []
    for k in range(4):
        mask, ids = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint16)
        mask[10 + k : 20, 12:30] = 1
        ids[10 + k : 20, 12:30] = 1
        paths = tmp_path / f"m{k}.png", tmp_path / f"i{k}.png"
        write_png(mask, paths[0])
        write_png(ids, paths[1])
        ring = ((12.0, 10.0 + k), (30.0, 10.0 + k), (30.0, 20.0), (12.0, 20.0))
        label = plane(12, 10 + k, 30, 20, polygon=ring, kind=f"T{k}")
        samples.append(painted(tmp_path, k, mask=paths[0], ids=paths[1], labels=(label,)))
    project = mosaics(tmp_path, samples, across=2, rim_px=3)
    (one,) = after(project).values()
    rgb, mask, ids = read_rgb(one.image)[..., 0], read_mask(one.mask), read_mask(one.ids)
    assert len(one.labels) == 4
    for number, label in enumerate(one.labels, 1):
        x0, y0, x1, y1 = map(int, label.box)
        assert (mask[y0:y1, x0:x1] == 1).all() and (ids[y0:y1, x0:x1] == number).all()
        assert f"T{rgb[y0, x0] - 10}" == label.kind
        assert set(label.polygon) == {(x0, y0), (x1, y0), (x1, y1), (x0, y1)}
    joint = np.zeros((80, 80), bool)
    joint[37:43] = joint[:, 37:43] = True
    assert ((mask == MASK_UNKNOWN) == joint).all()
    assert ((ids == IDS_UNKNOWN) == joint).all()
    assert (mask == 1).sum() == sum(18 * (10 - k) for k in range(4))


def test_what_has_no_mask_is_unknown_unless_it_is_empty(tmp_path):
    mask = tmp_path / "m.png"
    write_png(np.ones((SIDE, SIDE), np.uint8), mask)
    samples = [
        painted(tmp_path, 0, mask=mask),
        painted(tmp_path, 1, role="negative"),
        painted(tmp_path, 2, labels=(Label("aircraft", (1, 1, 9, 9)),)),
        painted(tmp_path, 3, role="negative"),
    ]
    (one,) = after(mosaics(tmp_path, samples, across=2, rim_px=0)).values()
    found = {
        int(np.unique(colour).item()) - 10: int(np.unique(level).item())
        for colour, level in zip(
            cells(read_rgb(one.image)[..., 0], 2), cells(read_mask(one.mask), 2), strict=True
        )
    }
    assert found == {0: 1, 1: 0, 2: MASK_UNKNOWN, 3: 0}
    assert one.ids is None


def test_larger_images_are_cut_and_other_splits_left_alone(tmp_path):
    samples = [painted(tmp_path, k, width=SIDE + 9 * k, height=SIDE + 5 * k) for k in range(4)]
    samples += [painted(tmp_path, 7, split="valid"), painted(tmp_path, 8, role="unlabelled")]
    kept = after(mosaics(tmp_path, samples, across=2))
    assert set(kept) == {"mosaics/00000", "first/7", "first/8"}
    assert kept["mosaics/00000"].width == 2 * SIDE


def test_files_are_the_same_again(tmp_path):
    samples = [painted(tmp_path, k, width=SIDE + k) for k in range(4)]
    first = after(mosaics(tmp_path / "a", samples, across=2))["mosaics/00000"]
    again = after(mosaics(tmp_path / "b", samples, across=2))["mosaics/00000"]
    assert first.image.name == again.image.name
    assert first.image.read_bytes() == again.image.read_bytes()


def test_too_few_and_names_taken_are_refused(tmp_path):
    samples = [painted(tmp_path, k) for k in range(3)]
    with pytest.raises(DatasetError, match=r"have 3 images .* takes 4"):
        mosaics(tmp_path, samples, across=2)
    with pytest.raises(ConfigError, match="is a source already"):
        mosaics(tmp_path, samples, across=2, source="first")
