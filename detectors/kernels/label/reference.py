"""Connected components by scipy, an image at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def label(mask: Tensor, neighbours: Literal[4, 8] = 8) -> tuple[Tensor, Tensor]:
    """See `detectors.kernels.label.label`."""
    near = ndimage.generate_binary_structure(2, 1 if neighbours == 4 else 2)
    numbers = np.empty(mask.shape, np.int32)
    counts = np.zeros(len(mask), np.int32)
    for i, one in enumerate(mask.cpu().numpy()):
        counts[i] = ndimage.label(one, near, output=numbers[i])
    return torch.from_numpy(numbers).to(mask.device), torch.from_numpy(counts).to(mask.device)
