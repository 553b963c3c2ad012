"""The decoding kernel against its reference, the reference against plain sums, and their use."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from detectors.boxes import boxes_of, boxes_of_tiles
from detectors.kernels.decode import decode, kernel, reference

NAN = float("nan")
SHAPES = ((1, 1, 1), (2, 700, 3), (3, 50, 1), (1, 1024, 1), (2, 5, 80), (0, 9, 2), (2, 0, 2))
SIZE = (300, 420)


def heads(shape, device, dtype=torch.float32, seed=0):
    """Heads of made-up tiles; no score lies where a last bit decides."""
    n, a, classes = shape
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, (n, a, classes))
    logits = np.where(np.abs(logits) < 0.05, 0.25, logits)
    offsets = rng.normal(0, 0.5, (n, a, 4))
    corner, side = rng.uniform(-20, 400, (a, 2)), rng.uniform(8, 150, (a, 2))
    anchors = np.concatenate([corner, corner + side], 1)
    return (
        torch.from_numpy(logits).to(device, dtype),
        torch.from_numpy(offsets).to(device, dtype),
        torch.from_numpy(anchors).to(device, torch.float32),
    )


def assert_same(got, expected):
    """Places exactly; numbers as near as two exponential functions are."""
    for name in ("labels", "images", "anchors"):
        one, two = getattr(got, name), getattr(expected, name)
        assert one.dtype == torch.int64
        assert torch.equal(one, two), name
    torch.testing.assert_close(got.scores, expected.scores, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(got.boxes, expected.boxes, rtol=1e-6, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_the_reference(shape, dtype, threshold, device):
    args = (*heads(shape, device, dtype), SIZE, threshold)
    got = kernel.decode(*args)
    assert_same(got, reference.decode(*args))
    share = {0.0: 1.0, 1.1: 0.0}.get(threshold)
    assert share is None or len(got.scores) == share * math.prod(shape)


@pytest.mark.parametrize("way", [kernel.decode, reference.decode])
def test_says_what_each_number_is(way, device):
    logits, offsets, anchors = heads((2, 40, 3), device)
    got = way(logits, offsets, anchors, SIZE, 0.5)
    expected = []
    for image, anchor, label in np.ndindex(2, 40, 3):
        score = 1 / (1 + math.exp(-float(logits[image, anchor, label])))
        if score >= 0.5:
            x0, y0, x1, y1 = anchors[anchor].tolist()
            dx, dy, dw, dh = offsets[image, anchor].tolist()
            x, y = (x0 + x1) / 2 + dx * (x1 - x0), (y0 + y1) / 2 + dy * (y1 - y0)
            w, h = (x1 - x0) * math.exp(dw), (y1 - y0) * math.exp(dh)
            box = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, [420, 300, 420, 300])
            expected.append((*box, score, label, image, anchor))
    columns = [getattr(got, field.name).cpu() for field in dataclasses.fields(got)]
    flat = torch.cat([c.double().reshape(len(c), -1) for c in columns], 1)
    assert len(expected) > 20
    np.testing.assert_allclose(flat.numpy(), np.array(expected), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("way", [kernel.decode, reference.decode])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_what_is_no_number_is_never_chosen(way, threshold, device):
    logits, offsets, anchors = heads((1, 4, 2), device)
    inf = math.inf
    logits[0] = torch.tensor([[NAN, inf], [-inf, NAN], [NAN, NAN], [3.0, -3.0]])
    got = way(logits, offsets, anchors, SIZE, threshold)
    chosen = list(zip(got.anchors.tolist(), got.labels.tolist(), strict=True))
    assert chosen == [(0, 1), *([(1, 0)] if threshold == 0 else []), (3, 0)] + (
        [(3, 1)] if threshold == 0 else []
    )
    assert got.scores[0] == 1


def test_wild_offsets(device):
    logits, offsets, anchors = heads((1, 6, 1), device)
    logits[:] = 2.0
    wild = [(NAN, 0, 0, 0), (0, 0, NAN, 0), (0, 0, 500, -500), (1e30, 0, 0, 0)]
    offsets[0, :4] = torch.tensor(wild)
    args = (logits, offsets, anchors, SIZE, 0.5)
    got = kernel.decode(*args)
    assert_same(got, reference.decode(*args))
    assert got.boxes[:2, 0].isnan().all() and not got.boxes[2:].isnan().any()
    assert got.boxes[2, 2] - got.boxes[2, 0] > 300


def test_heads_that_do_not_lie_in_one_piece(device):
    logits, offsets, anchors = heads((3, 60, 4), device)
    parts = (logits[1:, ::2, 1:3], offsets[1:, ::2], anchors[::2])
    whole = tuple(part.contiguous() for part in parts)
    assert not parts[0].is_contiguous()
    assert_same(kernel.decode(*parts, SIZE, 0.5), reference.decode(*whole, SIZE, 0.5))


def test_a_batch_says_what_each_tile_says():
    logits, offsets, anchors = heads((4, 999, 2), "cpu")
    logits[2] = -9.0
    whole = decode(logits, offsets, anchors, SIZE, 0.3)
    assert set(whole.images.tolist()) == {0, 1, 3}
    for k in range(4):
        one = decode(logits[k : k + 1], offsets[k : k + 1], anchors, SIZE, 0.3)
        mine = whole.images == k
        assert torch.equal(whole.boxes[mine], one.boxes)
        assert torch.equal(whole.scores[mine], one.scores)
        assert torch.equal(whole.anchors[mine], one.anchors)
    assert boxes_of_tiles(logits[:0], offsets[:0], anchors, 300, 0.3, 0.5) == []
    tiles = boxes_of_tiles(logits, offsets, anchors, 300, 0.3, 0.5)
    assert [len(tile) > 0 for tile in tiles] == [True, True, False, True]
    for k, tile in enumerate(tiles):
        alone = boxes_of(logits[k], offsets[k], anchors, 300, 0.3, 0.5)
        np.testing.assert_array_equal(tile.boxes, alone.boxes)
        np.testing.assert_array_equal(tile.scores, alone.scores)
        np.testing.assert_array_equal(tile.labels, alone.labels)
