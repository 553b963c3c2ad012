"""A network made ready to look: what changes its speed and memory, not what it says."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detectors.device import Compute, computing


class SteadyGroupNorm(nn.GroupNorm):
    """GroupNorm whose sums do not depend on the number of threads.

    On a CPU torch splits the sums of channels-last tensors over threads; by one it is quicker
    than to make the tensor contiguous for sums group by group, and back.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.GroupNorm`."""
        with computing(1):
            return super().forward(input)


class SteadyConv2d(nn.Conv2d):
    """Convolution of single pixels whose sums do not depend on the number of threads.

    In float32 oneDNN adds many channels up in another order for several threads than for one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        with computing(1):
            return super().forward(input)


WIDE = 192
"""Input channels from which on oneDNN shares a pixel's sum out."""


def ready(net: nn.Module, where: Compute) -> None:
    """Prepare a filled network for inference on a device, in place.

    Batch norms become part of the convolutions before them, weights take the device's number
    format and layout once instead of in every pass.
    """
    fold(net)
    if where.device.type == "cpu":
        for module in net.modules():
            if type(module) is nn.GroupNorm:
                module.__class__ = SteadyGroupNorm
            elif where.autocast is None and _is_wide(module):
                module.__class__ = SteadyConv2d
    net.to(device=where.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if where.autocast is not None:
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype=where.autocast)


def _is_wide(module: nn.Module) -> bool:
    """Whether it is a convolution of single pixels, unstrided, with `WIDE` input channels."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (1, 1)
        and module.stride == (1, 1)
        and module.in_channels // module.groups >= WIDE
    )


def fold(net: nn.Module) -> None:
    """Fold each batch norm into the convolution that comes just before it among its siblings."""
    for parent in list(net.modules()):
        siblings = list(parent.named_children())
        for (first, conv), (second, norm) in pairwise(siblings):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                setattr(parent, second, activation_of(norm))


def activation_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What a batch norm does after it has normalised: timm's bring their activation along."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
