"""Residual bodies: ResNet-18 to ResNet-152 (He et al., 2016, "Deep Residual Learning").

With the stride of a bottleneck in its middle convolution, as torchvision has it.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

STAGES = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Blocks of each stage."""

PLAIN = ("resnet18", "resnet34")
"""Bodies of two convolutions a block; the others have three."""

WIDTHS = (64, 128, 256, 512)
"""Channels inside the blocks of each stage."""

LEVELS = 5
"""Levels of a body, at strides 2, 4, 8, 16 and 32."""


class Block(nn.Module):
    """Two convolutions 3 x 3 beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        shortcut = _shortcut(channels, width * self.expansion, stride)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, width, h / stride, w / stride)."""
        seen = self.relu(self.bn1(self.conv1(x)))
        seen = self.bn2(self.conv2(seen))
        seen += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(seen)
        return out


class Bottleneck(nn.Module):
    """A convolution 3 x 3 between two of 1 x 1, beside a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * self.expansion
        shortcut = _shortcut(channels, out, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, 4 * width, h / stride, w / stride)."""
        seen = self.relu(self.bn1(self.conv1(x)))
        seen = self.relu(self.bn2(self.conv2(seen)))
        seen = self.bn3(self.conv3(seen))
        seen += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(seen)
        return out


class ResNet(nn.Module):
    """The body of a ResNet, without the layers that name a picture.

    Args:
        name: one of `STAGES`.
        depth: how many of its `LEVELS` are wanted; the stages after them hold no weights.

    Raises:
        ValueError: no such name, or no such depth.
    """

    def __init__(self, name: str, depth: int = LEVELS) -> None:
        super().__init__()
        if name not in STAGES:
            raise ValueError(f"{name!r} is none of {', '.join(STAGES)}")
        if not 1 <= depth <= LEVELS:
            raise ValueError(f"a body has 1 to {LEVELS} levels, not {depth}")
        block = Block if name in PLAIN else Bottleneck
        self.depth = depth
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, given = WIDTHS[0], [3, WIDTHS[0]]
        for stage, (width, blocks) in enumerate(zip(WIDTHS, STAGES[name], strict=True), start=1):
            layers = [block(channels, width, 1 if stage == 1 else 2)]
            channels = width * block.expansion
            layers += [block(channels, width, 1) for _ in range(1, blocks)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            given.append(channels)
        self.out_channels = tuple(given[: depth + 1])
        # What is not kept takes its share of torch's generator: a seed gives the start that
        # torchvision's whole network has.
        nn.Linear(channels, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for stage in range(depth, LEVELS):
            setattr(self, f"layer{stage}", nn.Identity())

    def forward(self, images: Tensor) -> list[Tensor]:
        """(n, 3, h, w) -> the images and what each of `depth` levels makes of them.

        Level k is (n, `out_channels[k]`, h / 2**k, w / 2**k), rounded up.
        """
        seen = self.relu(self.bn1(self.conv1(images)))
        levels = [images, seen]
        for level in range(2, self.depth + 1):
            if level == 2:
                seen = self.maxpool(seen)
            seen = getattr(self, f"layer{level - 1}")(seen)
            levels.append(seen)
        return levels


def _shortcut(channels: int, out: int, stride: int) -> nn.Sequential | None:
    """A convolution where the block changes size or channels; None where it changes neither."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
