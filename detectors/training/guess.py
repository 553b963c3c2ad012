"""A trained Res-UNet's look at whole images: where its objects are, roughly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from detectors.inputs import prepare
from detectors.resunet import STRIDE, ResUNet, ResUNetSpec
from lanner.core.errors import WeightsError


class Guess:
    """A Res-UNet of a weights file, in float32 on the CPU: the same on every machine of a kind.

    Args:
        path: safetensors file.
        outputs: names of its channels; the first is the object's probability.

    Raises:
        WeightsError: unreadable, or of another architecture.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...]) -> None:
        # The random start is overwritten; the caller's generator is none of its business.
        with torch.random.fork_rng(devices=[]):
            net = ResUNet(ResUNetSpec(outputs))
        try:
            state = {name: value.float() for name, value in load_file(path).items()}
            net.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(
                "guess_from",
                path,
                f"is no Res-UNet with the outputs {', '.join(outputs)} ({error})",
                "name the weights of one, with its outputs",
            ) from error
        self.net = net.eval().requires_grad_(False)

    def predict(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of object, (h, w) float32 0..1, of an image (h, w, 3) uint8."""
        h, w = rgb.shape[:2]
        pixels = torch.zeros(1, 3, -(-h // STRIDE) * STRIDE, -(-w // STRIDE) * STRIDE)
        valid = torch.zeros(1, *pixels.shape[2:], dtype=torch.bool)
        pixels[0, :, :h, :w] = torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() / 255
        valid[0, :h, :w] = True
        with torch.inference_mode():
            probability = torch.sigmoid(self.net(prepare(pixels, valid))[0, 0, :h, :w])
        return np.asarray(probability.numpy(), np.float32)
