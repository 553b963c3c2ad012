"""Calibrate, measure and seal the aircraft release: python scripts/release_aircraft.py DATA RUNS.

RUNS holds `aircraft-retinanet/retinanet.safetensors` and `aircraft-resunet/resunet.safetensors`.
Calibration uses the HRPlanes validation images that training left out; figures are of its test
split, through the whole pipeline with the chain cut after `merge_seams` (the images carry no
ground sampling, so sizes in metres mean nothing there).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from training.metrics import f1_at, summary
from training.sources import hrplanes, read_coco
from training.views import fused_score, lone_score, member_views, pipeline_boxes

from detectors.calibration import fit_platt
from detectors.card import seal
from detectors.ensemble import Ensemble
from lanner.config import load_config

FACTS = {
    "description": "Aircraft on the ground: RetinaNet (ResNet-18, P3-P5) and Res-UNet (ResNet-18).",
    "licence": "CC BY 4.0",
    "data": [
        {
            "name": "HRPlanes",
            "source": "HRPlanes v2, Google Earth imagery",
            "licence": "CC BY 4.0",
            "attribution": "Unsal, Bakirman et al., HRPlanes: high resolution airplane data set",
        },
        {
            "name": "Aerial Airport",
            "source": "Aerial Airport",
            "licence": "public domain",
            "attribution": "Aerial Airport data set",
        },
        {
            "name": "aircraft cut-outs and empty airbases",
            "source": "aircraft-classification",
            "licence": "MIT",
            "attribution": "Bohdan Zasymovych",
        },
        {
            "name": "UC Merced Land Use (negatives)",
            "source": "USGS imagery",
            "licence": "public domain",
            "attribution": "Yang and Newsam, 2010",
        },
        {
            "name": "rendered airfields",
            "source": "lanner render",
            "licence": "as Lanner",
            "attribution": "Lanner",
        },
    ],
}
# What was run, in order; each later line of a network goes on from the one before it.
COMMANDS = (
    "train_retinanet.py DATA RUNS/aircraft-retinanet --steps 2500 (stopped after 600)",
    "train_retinanet.py ... --start RUNS/retinanet-600 --lr 9e-4 --seed 2 --steps 1700",
    "make_masks.py DATA RUNS/masks.npz",
    "make_chips.py RUNS/chips.npz",
    "train_instances.py DATA RUNS/masks.npz RUNS/chips.npz RUNS/aircraft-resunet "
    "--encoder-from RUNS/aircraft-retinanet/retinanet.safetensors --steps 1400",
    "make_masks.py DATA RUNS/masks2.npz --guess-from RUNS/aircraft-resunet/resunet.safetensors",
    "train_instances.py DATA RUNS/masks2.npz ... --start RUNS/resunet-1400 --lr 7e-4 --seed 5 "
    "--steps 750",
    "make_chips.py aircraft RUNS/chips2.npz --count 1400 --gsd 0.5 1.5 --seed 8",
    "train_retinanet.py ... --chips RUNS/chips2.npz --start RUNS/retinanet-2300 --lr 8e-4 "
    "--seed 11 --steps 2700",
    "train_instances.py ... RUNS/chips2.npz --start RUNS/resunet-2150 --lr 8e-4 --seed 21 "
    "--steps 1500",
    "train_instances.py ... --start RUNS/resunet-3650 --lr 6e-4 --seed 22 --steps 1000",
)


def fit(config, folder, held, names, weights):
    """Calibration of the votes, then of what is fused from calibrated votes."""
    views = member_views(Ensemble(config, folder), held)
    lone = [lone_score(views, held, k) for k in range(len(names))]
    votes = [fit_platt(r["score"], r["hit"]) for r in lone]
    views = [
        [v.rescored(curve.apply(v.scores)) for v, curve in zip(seen, votes, strict=True)]
        for seen in views
    ]
    fused = fused_score(views, held, weights, config.fusion)
    print("held back", {n: flat(r) for n, r in zip(names, lone, strict=True)}, flat(fused))
    return {
        "votes": {n: c.model_dump(mode="json") for n, c in zip(names, votes, strict=True)},
        "curve": fit_platt(fused["score"], fused["hit"]).model_dump(mode="json"),
        "subsets": {n: {"kind": "identity"} for n in names},
    }


def flat(result):
    """The figures of a metrics summary, rounded."""
    return {k: round(result[k], 4) for k in ("ap50", "f1", "precision", "recall")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    args = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    config = load_config(root / "configs/aircraft.yaml")
    folder = root / "weights/aircraft" / config.release
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(args.runs / "aircraft-retinanet/retinanet.safetensors", folder)
    shutil.copy(args.runs / "aircraft-resunet/resunet.safetensors", folder)
    (folder / "calibration.json").write_text(json.dumps({"curve": {"kind": "identity"}}) + "\n")
    torch.set_flush_denormal(True)
    _, held = hrplanes(args.data)
    weights = [m.weight for m in config.members]
    names = [m.name for m in config.members]
    whole = fit(config, folder, held, names, weights)
    (folder / "calibration.json").write_text(json.dumps(whole, indent=1) + "\n")
    ensemble = Ensemble(config, folder)
    test = read_coco(args.data / "aircraft/hrplanes", "test")
    figures = {
        name: flat(summary(pipeline_boxes(config, Ensemble(config, folder, members=[name]), test)))
        for name in names
    }
    whole = summary(pipeline_boxes(config, ensemble, test))
    figures["ensemble"] = flat(whole)
    figures["ensemble f1 at 0.5"] = round(float(f1_at(whole, 0.5)), 4)
    figures["ensemble calibration error"] = round(calibration_error(whole), 4)
    aerial = read_coco(args.data / "aircraft/aerial-airport", "test")
    figures["ensemble on Aerial Airport test"] = flat(
        summary(pipeline_boxes(config, ensemble, aerial))
    )
    print(json.dumps(figures, indent=1))
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True, cwd=root
    )
    seal(
        folder,
        {
            "detector": "aircraft",
            "release": config.release,
            **FACTS,
            "training": {
                "command": list(COMMANDS),
                "commit": commit.stdout.strip(),
                "torch": str(torch.__version__),
            },
            "metrics": {"HRPlanes test, IoU 0.5": figures},
        },
    )


def calibration_error(result, bins=10):
    """Expected calibration error over equal-width bins (Guo et al., 2017)."""
    score, hit = result["score"], result["hit"].astype(float)
    which = np.minimum((score * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(score[which == b].mean() - hit[which == b].mean()) * (which == b).mean()
            for b in range(bins)
            if (which == b).any()
        )
    )


if __name__ == "__main__":
    main()
