"""The normalisation kernel against its reference and against the code it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.inputs import prepare
from detectors.kernels.normalise import cpu, kernel, reference
from tiling.normalise import Stretch

DTYPES = (torch.uint8, torch.uint16, torch.int16, torch.float32)
SHAPES = ((1, 1, 1, 1), (2, 3, 5, 7), (1, 4, 33, 65), (3, 8, 1, 100), (0, 3, 8, 8), (2, 3, 0, 4))


def scene(shape, dtype, device, seed=0):
    rng = np.random.default_rng(seed)
    if dtype is torch.float32:
        raw = rng.normal(0.4, 0.5, shape).astype(np.float32)
    else:
        info = torch.iinfo(dtype)
        kind = str(dtype).removeprefix("torch.")
        raw = rng.integers(info.min, info.max, shape, endpoint=True).astype(kind)
    valid = rng.random((shape[0], *shape[2:])) > 0.3
    low = rng.uniform(0, 1, shape[1]).tolist()
    high = [lo + float(rng.uniform(0.5, 3000)) for lo in low]
    return torch.from_numpy(raw).to(device), torch.from_numpy(valid).to(device), low, high


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("out", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_the_reference(shape, dtype, out, device, same):
    args = (*scene(shape, dtype, device), out)
    got, expected = kernel.normalise(*args), reference.normalise(*args)
    assert got.dtype == out and got.shape == expected.shape
    assert got.is_contiguous(memory_format=torch.channels_last)
    same(got, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_way_of_the_cpu_gives_the_same_bits(shape, dtype):
    for out in (torch.float32, torch.bfloat16):
        raw, valid, low, high = scene(shape, dtype, "cpu")
        low[0] = high[0]
        got = cpu.normalise(raw, valid, low, high, out)
        expected = reference.normalise(raw, valid, low, high, out)
        assert got.dtype == out and got.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_a_constant_band_is_half(device):
    raw, valid, low, high = scene((2, 3, 20, 20), torch.uint16, device)
    high[1] = low[1]
    got = kernel.normalise(raw, valid, low, high, torch.float32)
    expected = reference.normalise(raw, valid, low, high, torch.float32)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert len(got[:, 1][valid].unique()) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_valid_may_hold_anything(bad, device):
    raw, valid, low, high = scene((1, 3, 40, 40), torch.float32, device)
    raw = torch.where(valid[:, None], raw, bad)
    got = kernel.normalise(raw, valid, low, high, torch.float32)
    assert torch.isfinite(got).all() and not got[(~valid)[:, None].expand_as(got)].any()
    expected = reference.normalise(raw, valid, low, high, torch.float32)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_stands_for_the_stretch_and_the_preparation():
    raw, valid, low, high = scene((1, 3, 50, 60), torch.float32, "cpu")
    pixels = Stretch(tuple(low), tuple(high)).apply(raw[0].numpy(), valid[0].numpy())
    expected = prepare(torch.from_numpy(pixels)[None], valid)
    got = reference.normalise(raw, valid, low, high, torch.float32)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
