"""Rendered training chips with exact masks, cached: make_chips.py aircraft|roads OUT.npz."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from lanner.render.chips import render_aircraft_chip
from lanner.render.road_chips import render_road_chip

HIDDEN = 4.0
"""A road narrower than this, in metres, is a track: too often unseen under trees to be judged."""


def aircraft(rng, size, gsd):
    """{part: array} of one chip: picture, numbered objects, boxes."""
    chip = render_aircraft_chip(rng, size, gsd)
    ids = np.zeros((size, size), np.int16)
    for n, one in enumerate(chip.instances):
        x0, y0, x1, y1 = one.box
        ids[y0:y1, x0:x1][one.mask] = n + 1
    boxes = np.array([one.box for one in chip.instances], np.float32).reshape(-1, 4)
    return {"rgb": chip.rgb, "ids": ids, "boxes": boxes}


def roads(rng, size, gsd):
    """{part: array} of one chip: picture, roads and what of it is judged (tracks are not)."""
    chip = render_road_chip(rng, size, gsd)
    road, track = np.zeros((2, size, size), np.uint8)
    for one in chip.roads:
        line = np.round(one.line * 8).astype(np.int32).reshape(-1, 1, 2)
        into, wide = (
            (track, one.width + 4) if one.width < HIDDEN else (road, max(0.8 * one.width, 7.0))
        )
        cv2.polylines(into, [line], False, 1, max(1, round(wide / gsd)), cv2.LINE_8, 3)
    return {"rgb": chip.rgb, "road": road > 0, "judged": (track == 0) | (road > 0)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("aircraft", "roads"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--gsd", type=float, nargs=2, default=(0.6, 1.4), help="metres a pixel")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    make = aircraft if args.kind == "aircraft" else roads
    arrays = {}
    for k in range(args.count):
        rng = np.random.default_rng([args.seed, k])
        chip = make(rng, args.size, float(np.exp(rng.uniform(*np.log(args.gsd)))))
        arrays |= {f"{part}{k}": array for part, array in chip.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **arrays)


if __name__ == "__main__":
    main()
