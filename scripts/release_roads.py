"""Measure and seal the roads release: python scripts/release_roads.py DATA RUNS.

RUNS holds `roads-resunet/resunet.safetensors`. Figures are of the Massachusetts test split,
through `lanner detect`'s own pipeline on GeoTIFFs with the missing part as nodata.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import shapely
import torch
from rasterio.features import rasterize
from skimage.morphology import skeletonize
from training.roads import read_massachusetts

from detectors.card import seal
from lanner.config import load_config
from lanner.job import Cancel, DetectRequest
from lanner.pipeline import detect
from postprocess.roads.relaxed import Relaxed, relaxed_masks

FACTS = {
    "description": "Roads as mask and centreline: Res-UNet on a four-stage ResNet-18.",
    "licence": "for research and evaluation, as the Massachusetts roads data",
    "data": [
        {
            "name": "Massachusetts roads",
            "source": "V. Mnih, University of Toronto",
            "licence": "see source",
            "attribution": "Volodymyr Mnih, Machine Learning for Aerial Image Labeling, 2013",
        },
        {
            "name": "UC Merced Land Use (colour statistics; ten classes without roads)",
            "source": "USGS imagery",
            "licence": "public domain",
            "attribution": "Yang and Newsam, 2010",
        },
        {
            "name": "rendered country",
            "source": "lanner render",
            "licence": "as Lanner",
            "attribution": "Lanner",
        },
    ],
}
# What was run, in order; each line goes on from the one before it.
COMMANDS = (
    "train_roads.py DATA RUNS/roads-resunet --steps 2400 (stopped after 600)",
    "train_roads.py ... --start RUNS/roads-1 --steps 2000",
    "train_roads.py ... --start RUNS/roads-2 --gentle 0.6 --lr 7e-4 --seed 3 --steps 1350",
    "train_roads.py ... --start RUNS/roads-3 --gentle 0.6 --lr 6e-4 --seed 7 --steps 750",
    "make_chips.py roads RUNS/rchips.npz --count 450 --size 448 --gsd 0.7 1.4",
    "train_roads.py ... --chips RUNS/rchips.npz --start RUNS/roads-4 --lr 9e-4 --gentle 0.4 "
    "--seed 31 --steps 2400",
    "make_chips.py roads RUNS/rchips2.npz --count 220 --size 448 --gsd 0.35 0.9 --seed 9",
    "train_roads.py ... --chips RUNS/rchips.npz RUNS/rchips2.npz --start RUNS/roads-5 --lr 7e-4 "
    "--gentle 0.35 --seed 41 --steps 1800",
)


def relaxed(pairs, buffer=3):
    """Relaxed precision, recall and F1 summed over [(found, truth)] masks."""
    total = sum((relaxed_masks(f, t, buffer) for f, t in pairs), Relaxed(0, 0, 0, 0))
    return {name: round(getattr(total, name), 4) for name in ("precision", "recall", "f1")}


def measure(config_name, pictures, threshold=0.5):
    """(mask pairs, graph pairs) over the pictures."""
    masks, graphs = [], []
    for rgb, mask, valid, name in pictures:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.tif"
            h, w = mask.shape
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=w,
                height=h,
                count=3,
                dtype="uint8",
                crs="EPSG:26986",
                transform=rasterio.transform.from_origin(230000, 900000, 1, 1),
                photometric="RGB",
            ) as out:
                out.write(np.moveaxis(rgb, 2, 0))
                out.write_mask(valid)
            run = Path(folder) / "run"
            result = detect(
                DetectRequest(str(path), config_name, run_dir=run), Cancel(), lambda _: None
            )
            with rasterio.open(run / "probability.tif") as src:
                probability = src.read(1) / 255
        truth = mask & valid
        masks.append(((probability >= threshold) & valid, truth))
        inverse = ~rasterio.transform.from_origin(230000, 900000, 1, 1)
        lines = (
            [
                shapely.affinity.affine_transform(
                    g, [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
                )
                for g in result.frame.geometry
            ]
            if len(result.frame)
            else []
        )
        drawn = (
            rasterize(lines, (h, w), all_touched=False, dtype="uint8").astype(bool)
            if lines
            else np.zeros((h, w), bool)
        )
        graphs.append((drawn & valid, skeletonize(mask) & valid))
        print(
            name, "mask", relaxed(masks[-1:])["f1"], "graph", relaxed(graphs[-1:])["f1"], flush=True
        )
    return masks, graphs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    args = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    config = load_config(root / "configs/roads.yaml")
    folder = root / "weights/roads" / config.release
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(args.runs / "roads-resunet/resunet.safetensors", folder)
    (folder / "calibration.json").write_text(json.dumps({"curve": {"kind": "identity"}}) + "\n")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True, cwd=root
    )
    facts = {
        "detector": "roads",
        "release": config.release,
        **FACTS,
        "training": {
            "command": list(COMMANDS),
            "commit": commit.stdout.strip(),
            "torch": str(torch.__version__),
        },
    }
    seal(folder, {**facts, "metrics": {}})
    torch.set_flush_denormal(True)
    masks, graphs = measure("roads", read_massachusetts(args.data, "test"))
    figures = {"relaxed 3 px, mask": relaxed(masks), "relaxed 3 px, graph": relaxed(graphs)}
    print(json.dumps(figures, indent=1))
    seal(folder, {**facts, "metrics": {"Massachusetts test": figures}})


if __name__ == "__main__":
    main()
