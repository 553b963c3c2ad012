"""Weak masks of the HRPlanes training images, cached: python scripts/make_masks.py DATA OUT.npz."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from training.masks import weak_masks
from training.sources import hrplanes

from detectors.inputs import prepare
from detectors.resunet import ResUNet, ResUNetSpec


def load(path):
    """The Res-UNet of a weights file."""
    net = ResUNet(ResUNetSpec(("object", "boundary", "centre")))
    net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return net.eval().to(memory_format=torch.channels_last)


def look(net, rgb):
    """Object probability (h, w) of an image."""
    h, w = rgb.shape[:2]
    x = torch.zeros(1, 3, -(-h // 32) * 32, -(-w // 32) * 32)
    v = torch.zeros(1, *x.shape[2:], dtype=torch.bool)
    x[0, :, :h, :w] = torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() / 255
    v[0, :h, :w] = True
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        p = torch.sigmoid(net(prepare(x, v).contiguous(memory_format=torch.channels_last)))
    return p[0, 0, :h, :w].float().numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--guess-from", type=Path, help="Res-UNet weights that start GrabCut")
    args = parser.parse_args()
    pictures, _ = hrplanes(args.data)
    network = load(args.guess_from) if args.guess_from else None
    masks, drawn = {}, 0
    for i, picture in enumerate(pictures):
        guess = look(network, picture.rgb) if network else None
        masks[picture.name] = weak_masks(picture.rgb, picture.boxes, guess).astype(np.int16)
        drawn += len(np.unique(masks[picture.name].clip(0))) - 1
        if i % 100 == 99:
            print(i + 1, "of", len(pictures), "masks", drawn, flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **masks)


if __name__ == "__main__":
    main()
