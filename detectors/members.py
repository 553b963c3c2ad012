"""Member networks: built from the configuration, filled from safetensors, asked about tiles."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from detectors.boxes import boxes_of_tiles
from detectors.card import GET_BACK
from detectors.device import Compute
from detectors.inputs import BANDS
from detectors.instances import CHANNELS, instances
from detectors.ready import ready
from detectors.resunet import ENCODERS, ResUNet, ResUNetSpec
from detectors.retinanet import RetinaNet, RetinaNetSpec
from detectors.views import Views
from lanner.core.config import DetectorConfig, Member
from lanner.core.errors import ConfigError, WeightsError

Spec = TypeVar("Spec", RetinaNetSpec, ResUNetSpec)

RASTER_OUTPUTS = ("road", "centreline")
"""Channels of a raster detector's Res-UNet when its `arch` names none."""

_REFUSED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
# What the libraries raise at an architecture that cannot be built.

DeferredInstances = Callable[[], Views]
"""What is left to do for a tile when the network has looked; any thread may do it."""


@dataclass(frozen=True)
class BoxMember:
    """A RetinaNet ready to look."""

    config: Member
    net: RetinaNet

    def predict(self, inputs: Tensor, valid: Tensor) -> list[DeferredInstances]:
        """Boxes of each of (n, 3, h, w) prepared tiles; `valid` (n, h, w) is not needed."""
        logits, offsets, anchors = self.net(inputs)
        size, config = inputs.shape[-1], self.config
        found = boxes_of_tiles(logits, offsets, anchors, size, config.threshold, config.nms_iou)
        return [partial(_same, views) for views in found]


@dataclass(frozen=True)
class MaskMember:
    """A Res-UNet ready to look."""

    config: Member
    net: ResUNet

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of its outputs."""
        return self.net.spec.outputs

    def probability(self, inputs: Tensor, valid: Tensor) -> list[NDArray[np.float32]]:
        """(channels, h, w) of each of (n, 3, h, w) tiles, 0 where not valid (n, h, w).

        With `mirror` it is the mean of two looks, one at the tile mirrored left to right.
        """
        probability = torch.sigmoid(self.net(inputs))
        if self.config.mirror:
            again = inputs.flip(-1).contiguous(memory_format=torch.channels_last)
            probability = (probability + torch.sigmoid(self.net(again)).flip(-1)) / 2
        return list((probability * valid[:, None]).cpu().numpy())

    def closely(self, inputs: Tensor, valid: Tensor, threshold: float) -> Views:
        """Instances of one (1, 3, h, w) picture, from the mean of its four mirrored views."""
        flips = ((), (-1,), (-2,), (-2, -1))
        views = torch.cat([inputs.flip(axes) for axes in flips])
        mirrored = torch.sigmoid(self.net(views.contiguous(memory_format=torch.channels_last)))
        whole = sum((mirrored[k].flip(axes) for k, axes in enumerate(flips)), torch.zeros(()))
        order = [self.channels.index(name) for name in CHANNELS]
        probability = (whole.float() / len(flips) * valid[0]).cpu().numpy()[order]
        return instances(probability, threshold, self.config.instances)

    def predict(self, inputs: Tensor, valid: Tensor) -> list[DeferredInstances]:
        """Instances of each of (n, 3, h, w) prepared tiles."""
        order = [self.channels.index(name) for name in CHANNELS]
        return [
            partial(instances, one[order], self.config.threshold, self.config.instances)
            for one in self.probability(inputs, valid)
        ]


def _same(views: Views) -> Views:
    return views


def load_member(
    config: DetectorConfig, member: Member, folder: Path, where: Compute
) -> BoxMember | MaskMember:
    """Build one member and fill it with its weights.

    Raises:
        ConfigError: `arch` describes no such network, or `bands` are not what it takes.
        WeightsError: the file is missing, unreadable, or of another architecture.
    """
    # The random start is overwritten; the caller's generator is none of its business.
    with torch.random.fork_rng(devices=[]), _WithoutRandomStart():
        net = build(config, member)
    _fill(net, folder / member.weights)
    net.eval().requires_grad_(False)
    ready(net, where)
    return BoxMember(member, net) if isinstance(net, RetinaNet) else MaskMember(member, net)


class _WithoutRandomStart(TorchFunctionMode):
    """Leaves parameters as they are allocated: drawing numbers takes longer than reading them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


_DRAWING = frozenset(
    {
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        Tensor.normal_,
        Tensor.uniform_,
    }
)
"""What fills a tensor with random numbers, as modules of torch call it."""


def build(config: DetectorConfig, member: Member) -> RetinaNet | ResUNet:
    """One member's network with a random start, from torch's generator.

    Raises:
        ConfigError: `arch` describes no such network, or `bands` are not what it takes.
    """
    _check_bands(config)
    spec = _spec(config, member)
    try:
        net = RetinaNet(spec) if isinstance(spec, RetinaNetSpec) else ResUNet(spec)
    except _REFUSED as error:
        raise ConfigError(
            f"members.{member.name}.arch",
            member.arch,
            f"makes no {member.kind} ({error})",
            "correct it, or leave out what need not differ from the usual",
        ) from error
    if isinstance(net, ResUNet):
        _check_outputs(config, member, net.spec.outputs)
    return net


def _spec(config: DetectorConfig, member: Member) -> RetinaNetSpec | ResUNetSpec:
    """The architecture that `arch` describes over the usual one."""
    if member.kind == "retinanet":
        return _described(RetinaNetSpec, member, classes=len(config.classes))
    usual: dict[str, Any] = {
        "outputs": RASTER_OUTPUTS if config.output == "raster" else CHANNELS,
    }
    encoder = ENCODERS.get(str(member.arch.get("encoder", ResUNetSpec.encoder)))
    if encoder is not None:
        usual["decoder_channels"] = encoder.decoder_channels
    return _described(ResUNetSpec, member, **usual)


def _described(kind: type[Spec], member: Member, **usual: Any) -> Spec:
    fields = {field.name: field.default for field in dataclasses.fields(kind)} | usual
    for key in member.arch:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ConfigError(
                f"members.{member.name}.arch",
                key,
                f"is nothing a {member.kind} has",
                f"did you mean {near[0]!r}?" if near else f"use {', '.join(fields)}",
            )
    try:
        return TypeAdapter(kind).validate_python({**usual, **member.arch})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise ConfigError(
            f"members.{member.name}.arch.{key}",
            member.arch[key],
            first["msg"],
            f"write it like {json.dumps(fields[key])}",
        ) from error


def _check_bands(config: DetectorConfig) -> None:
    if len(config.bands) != BANDS:
        raise ConfigError(
            "bands",
            ", ".join(config.bands),
            f"networks take {BANDS} bands, not {len(config.bands)}",
            f"name {BANDS} of the scene's; one may be named again",
        )


def _check_outputs(config: DetectorConfig, member: Member, outputs: tuple[str, ...]) -> None:
    if config.output == "raster":
        return
    if set(outputs) != set(CHANNELS):
        raise ConfigError(
            f"members.{member.name}.arch.outputs",
            outputs,
            "objects need object, boundary and centre",
            "name these three",
        )
    if len(config.classes) > 1:
        raise ConfigError(
            f"members.{member.name}",
            member.kind,
            f"cannot tell {len(config.classes)} classes apart",
            "give the detector one class, or leave the Res-UNet out",
        )


def _fill(net: nn.Module, path: Path) -> None:
    try:
        state = load_file(path)
        net.load_state_dict(state)
    except (OSError, SafetensorError) as error:
        raise WeightsError("weights", path, f"cannot be read ({error})", GET_BACK) from error
    except RuntimeError as error:
        raise WeightsError(
            "weights",
            path,
            f"are of another architecture ({error})"[:400],
            "correct `arch` in the configuration",
        ) from error
