"""Blending on the device: the kernel as the reference, and both as the blender that writes."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch

from detectors.kernels import blend
from detectors.kernels.blend import kernel, reference
from tiling.blend import Blender, window_weights
from tiling.grid import Grid, TilePlan

TILE = 32


def band(channels, rows, width, device="cpu"):
    return (
        torch.zeros((channels, rows, width), device=device),
        torch.zeros((rows, width), device=device),
    )


def tiles(seed, n, channels, dtype, tile=TILE):
    """Tiles with junk where they are not valid."""
    rng = np.random.default_rng(seed)
    values = rng.random((n, channels, tile, tile), np.float32)
    valid = rng.random((n, tile, tile)) > 0.2
    values = np.where(valid[:, None], values, np.nan).astype(np.float32)
    return torch.from_numpy(values).to(dtype), torch.from_numpy(valid)


AT = [(-9, -7), (-9, 20), (3, 5), (3, 5), (0, 300), (11, 260), (40, 0), (90, 90), (-40, 0)]
"""Over every border of a band of 50 x 320, on each other, and beside it altogether."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_kernel_as_the_reference(channels, dtype, device):
    values, valid = tiles(channels, len(AT), channels, dtype)
    weights = torch.from_numpy(window_weights(TILE))
    got, expected = band(channels, 50, 320, device), band(channels, 50, 320)
    on = (values.to(device), valid.to(device), weights.to(device))
    # Two batches, cut anywhere, are one.
    kernel.add(*got, on[0][:4], on[1][:4], on[2], AT[:4])
    kernel.add(*got, on[0][4:], on[1][4:], on[2], AT[4:])
    reference.add(*expected, values, valid, weights, AT)
    assert expected[1].count_nonzero() > 3000
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=0, atol=0)


def test_no_tiles_and_no_band_change_nothing(device):
    values, valid = tiles(0, 1, 2, torch.float32)
    weights = torch.from_numpy(window_weights(TILE)).to(device)
    got = band(2, 8, 9, device)
    kernel.add(*got, values[:0].to(device), valid[:0].to(device), weights, [])
    kernel.add(*got, values.to(device), valid.to(device), weights, [(8, 0)])
    assert not got[0].any() and not got[1].any()
    nothing = band(2, 8, 0, device)
    kernel.add(*nothing, values.to(device), valid.to(device), weights, [(0, 0)])
    assert kernel.quantise(*nothing).shape == (2, 8, 0)
    assert kernel.argmax(*nothing).shape == (8, 0)


def test_a_valid_pixel_that_is_no_number_is_seen(device):
    values = torch.full((1, 1, TILE, TILE), 0.5)
    values[0, 0, 4, 5] = np.nan
    valid = torch.ones((1, TILE, TILE), dtype=torch.bool)
    weights = torch.from_numpy(window_weights(TILE))
    for op, where in ((kernel, device), (reference, torch.device("cpu"))):
        mean, total = band(1, TILE, TILE, where)
        op.add(mean, total, values.to(where), valid.to(where), weights.to(where), [(0, 0)])
        assert mean.isnan().nonzero().tolist() == [[0, 4, 5]]
        bytes_ = op.quantise(mean, total)
        assert bytes_[0, 4, 5] == 0 and bytes_[0, 4, 6] == 128


def halves():
    """Every level and every half between two, what lies outside 0..1, and what is not known."""
    level = torch.cat([torch.arange(0, 511, dtype=torch.float32) / 510, torch.tensor([-1, 2, 0.3])])
    mean = torch.stack([level, level.flip(0), level])
    mean[2, :40] = mean[1, :40]  # equal channels
    total = torch.ones(len(level))
    total[100:140] = 0
    return mean[:, None], total[None]


@pytest.mark.parametrize("op", [kernel, reference], ids=["kernel", "reference"])
def test_bytes_and_the_greatest_channel(op, device):
    where = device if op is kernel else torch.device("cpu")
    mean, total = halves()
    scaled = np.clip(mean.numpy(), 0, 1) * np.float32(255)
    expected = np.rint(scaled).astype(np.uint8) * (total.numpy() > 0)
    got = op.quantise(mean.to(where), total.to(where))
    assert got.dtype == torch.uint8
    np.testing.assert_array_equal(got.cpu().numpy(), expected)
    best = op.argmax(mean.to(where), total.to(where))
    assert best.dtype == torch.uint8
    named = (np.argmax(mean.numpy(), 0) + 1) * (total.numpy() > 0)
    np.testing.assert_array_equal(best.cpu().numpy(), named)


def plan_of(width, height):
    return TilePlan(Grid.over((width, height), (1.0, 1.0), 1.0), TILE, 8)


def test_the_blenders_own_numbers(tmp_path):
    """Mean and weight of one row of tiles, to the bit, before any row is finished."""
    plan = plan_of(70, 12)
    values, valid = tiles(5, len(plan), 2, torch.float32)
    weights = torch.from_numpy(window_weights(TILE))
    mean, total = band(2, TILE, 70)
    blender = Blender(tmp_path / "a.tif", plan, 2, ("a", "b"))
    for tile in plan:
        blender.add(tile, values[tile.index].numpy(), valid[tile.index].numpy())
    at = [(tile.window.y0 + plan.halo, tile.window.x0) for tile in plan]
    assert {y for y, _ in at} == {0} and len(at) > 3
    blend.add(mean, total, values, valid, weights, at)
    np.testing.assert_array_equal(mean.numpy(), blender._mean)
    np.testing.assert_array_equal(total.numpy(), blender._total)
    blender.abort()


@pytest.mark.parametrize("batch", [1, 7])
def test_the_raster_that_the_blender_writes(batch, tmp_path):
    plan = plan_of(90, 75)
    values, valid = tiles(6, len(plan), 2, torch.float32)
    with Blender(tmp_path / "a.tif", plan, 2, ("a", "b")) as blender:
        for tile in plan:
            blender.add(tile, values[tile.index].numpy(), valid[tile.index].numpy())
    with rasterio.open(tmp_path / "a.tif") as file:
        written, mask = file.read(), file.dataset_mask() > 0
    mean, total = band(2, 75, 90)
    weights = torch.from_numpy(window_weights(TILE))
    at = [(tile.window.y0, tile.window.x0) for tile in plan]
    for i in range(0, len(plan), batch):
        part = slice(i, i + batch)
        blend.add(mean, total, values[part], valid[part], weights, at[part])
    np.testing.assert_array_equal(blend.quantise(mean, total).numpy(), written)
    np.testing.assert_array_equal((total > 0).numpy(), mask)
