"""Connected components: the kernel, the reference, and what a flood fill says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import measure

from detectors.kernels.label import kernel, label, reference

SHAPES = ((1, 1, 1), (2, 5, 7), (3, 1, 40), (2, 14, 1), (1, 7, 130), (0, 4, 4), (2, 0, 3))


def flooded(mask, neighbours):
    """Numbers in raster order of first pixels, one flood after the other."""
    numbers, count = np.zeros(mask.shape, np.int32), 0
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)] if neighbours == 8 else []
    for start in zip(*np.nonzero(mask), strict=True):
        if numbers[start]:
            continue
        count += 1
        numbers[start], stack = count, [start]
        while stack:
            y, x = stack.pop()
            for dy, dx in steps:
                at = (y + dy, x + dx)
                inside = 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1]
                if inside and mask[at] and not numbers[at]:
                    numbers[at] = count
                    stack.append(at)
    return numbers, count


def shapes_of(kind, size):
    y, x = np.mgrid[:size, :size]
    if kind == "spiral":
        mask = np.zeros((size, size), bool)
        for ring in range(0, size // 2, 2):
            mask[ring, max(ring - 2, 0) : size - ring] = True
            mask[ring : size - ring, size - ring - 1] = True
            mask[size - ring - 1, ring : size - ring] = True
            mask[ring + 2 : size - ring, ring] = True
        return mask
    if kind == "comb":  # teeth that meet in the last row only
        return (x % 2 == 0) | (y == size - 1)
    if kind == "chequered":
        return (x + y) % 2 == 0
    return np.full((size, size), kind == "full")


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("share", [0.4, 0.65])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_as_the_reference(shape, share, neighbours, device):
    mask = torch.from_numpy(np.random.default_rng(1).random(shape) < share)
    numbers, counts = kernel.label(mask.to(device), neighbours)
    expected, many = reference.label(mask, neighbours)
    assert numbers.dtype == counts.dtype == torch.int32
    torch.testing.assert_close(numbers.cpu(), expected, rtol=0, atol=0)
    torch.testing.assert_close(counts.cpu(), many, rtol=0, atol=0)


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("kind", ["spiral", "comb", "chequered", "full", "empty"])
def test_winding_components(kind, neighbours, device):
    mask = shapes_of(kind, 15)
    numbers, counts = kernel.label(torch.from_numpy(mask)[None].to(device), neighbours)
    expected, count = flooded(mask, neighbours)
    np.testing.assert_array_equal(numbers[0].cpu().numpy(), expected)
    assert counts.tolist() == [count]


def test_a_row_longer_than_a_program(device):
    """Runs go on across the seams of a row's parts, and end at them."""
    mask = torch.zeros((1, 2, 2500), dtype=torch.bool)
    mask[0, 0, 100:2100] = True
    mask[0, 1, 2100:2300] = True
    mask[0, 1, :1024] = True
    mask[0, 1, 1024] = False
    for neighbours in (4, 8):
        got = kernel.label(mask.to(device), neighbours)
        for one, expected in zip(got, reference.label(mask, neighbours), strict=True):
            torch.testing.assert_close(one.cpu(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("seed", range(8))
def test_the_reference_as_a_flood_fill_and_scikit_image(seed, neighbours):
    rng = np.random.default_rng(seed)
    mask = rng.random((2, *rng.integers(1, 40, 2))) < rng.uniform(0.2, 0.8)
    numbers, counts = label(torch.from_numpy(mask), neighbours)
    for one, got, count in zip(mask, numbers.numpy(), counts.tolist(), strict=True):
        expected, many = flooded(one, neighbours)
        np.testing.assert_array_equal(got, expected)
        assert count == many
        theirs = measure.label(one, connectivity=1 if neighbours == 4 else 2)
        np.testing.assert_array_equal(got, theirs)
