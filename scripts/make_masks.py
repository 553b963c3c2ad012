"""Weak masks of the HRPlanes training images, cached: python scripts/make_masks.py DATA OUT.npz."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from training.masks import weak_masks
from training.sources import hrplanes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    pictures, _ = hrplanes(args.data)
    masks = {}
    for i, picture in enumerate(pictures):
        masks[picture.name] = weak_masks(picture.rgb, picture.boxes).astype(np.int16)
        if i % 100 == 99:
            print(i + 1, "of", len(pictures), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **masks)


if __name__ == "__main__":
    main()
