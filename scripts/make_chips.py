"""Rendered aircraft chips with exact masks, cached: python scripts/make_chips.py OUT.npz."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lanner.render.chips import render_aircraft_chip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--size", type=int, default=400)
    args = parser.parse_args()
    arrays = {}
    for k in range(args.count):
        rng = np.random.default_rng([7, k])
        chip = render_aircraft_chip(
            rng, args.size, float(np.exp(rng.uniform(np.log(0.6), np.log(1.4))))
        )
        ids = np.zeros((args.size, args.size), np.int16)
        for n, one in enumerate(chip.instances):
            x0, y0, x1, y1 = one.box
            ids[y0:y1, x0:x1][one.mask] = n + 1
        boxes = np.array([one.box for one in chip.instances], np.float32).reshape(-1, 4)
        arrays |= {f"rgb{k}": chip.rgb, f"ids{k}": ids, f"boxes{k}": boxes}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **arrays)


if __name__ == "__main__":
    main()
