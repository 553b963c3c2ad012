"""Feature pyramid (Lin et al., 2017, "Feature Pyramid Networks"), as `torchvision.ops` has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Levels of one width, each with what the coarser ones saw.

    Args:
        channels: of each level, the finest first.
        width: channels of every level that comes out.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList()
        self.layer_blocks = nn.ModuleList()
        for one in channels:
            self.inner_blocks.append(nn.Sequential(nn.Conv2d(one, width, 1)))
            self.layer_blocks.append(nn.Sequential(nn.Conv2d(width, width, 3, 1, 1)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.get_parameter("bias"))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """(n, channels, h, w) of each level, the finest first -> (n, width, h, w) of each."""
        inner = [block(level) for block, level in zip(self.inner_blocks, levels, strict=True)]
        whole = inner[-1]
        merged = [whole]
        for finer in reversed(inner[:-1]):
            whole = finer + F.interpolate(whole, size=finer.shape[-2:], mode="nearest")
            merged.insert(0, whole)
        return [block(one) for block, one in zip(self.layer_blocks, merged, strict=True)]
