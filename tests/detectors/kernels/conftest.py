"""Kernels run on a CUDA device where there is one, else on Triton's interpreter on the CPU."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def poisoned():
    """Memory that nobody wrote holds NaN, or the largest integer: forgotten pixels show."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def same(device):
    """Asserts that two tensors are equal, but for a step of bfloat16 on the interpreter.

    It cuts what the GPU rounds.
    """

    def check(got: torch.Tensor, expected: torch.Tensor) -> None:
        cut = got.dtype is torch.bfloat16 and device.type == "cpu"
        torch.testing.assert_close(got, expected, rtol=2**-7 if cut else 0, atol=0)

    return check
