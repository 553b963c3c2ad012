"""How often the first type of a rendered aircraft is right, and how often it promises to be.

    python benchmarks/aircraft_types.py [--scenes 8] [--seed 200]

Scenes of 0.3 to 1 m are rendered and searched; aircraft that were found (score 0.5 or more, IoU
0.5 with the truth) are identified at several temperatures. The first row is the released detector.
Types are calibrated where both shares are alike; the outlines of photographs in
tests/inference/test_real_types.py are the other half of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np

from detectors.views import iou_matrix
from lanner.core.job import Cancel, DetectRequest
from lanner.inference import registry
from lanner.inference.run import Found, find_objects
from lanner.inference.stages import Stages
from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec
from postprocess.aircraft import identify
from postprocess.chain import Chain
from postprocess.context import Context

SAMPLINGS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 0.5)
TEMPERATURES = ((0.2, 52), (0.24, 40), (0.24, 52), (0.3, 34), (0.5, 14))
IDENTIFY = "identify"

Seen = tuple[gpd.GeoDataFrame, Context, list[str]]


def measured(seed: int, gsd: float, folder: Path) -> Seen:
    """Aircraft of one scene before they are identified, and their true types."""
    scene, truth = folder / "scene.tif", folder / "truth.geojson"
    side = round(min(540 / gsd, 1700))
    render(scene, RenderSpec(side, round(side * 0.8), gsd, seed=seed), truth_path=truth)
    entry = registry.find("aircraft")
    request = DetectRequest(str(scene), "aircraft", device="cpu")

    def before(chain: Chain) -> Chain:
        return Chain(chain.links[: chain.names.index(IDENTIFY)])

    def finish(found: Found) -> tuple[gpd.GeoDataFrame, Context]:
        return found.done.objects, replace(found.context, closer=None)

    objects, context = find_objects(
        entry.config,
        lambda: registry.load(entry, request),
        request,
        Cancel(),
        Stages(lambda _: None),
        finish,
        before,
    )
    facts = [one["properties"] for one in json.loads(truth.read_text())["features"]]
    facts = [one for one in facts if "icao" in one and one["visible"] > 0.7]
    true = np.array([one["box_px"] for one in facts], float).reshape(-1, 4)
    boxes = objects.bounds.to_numpy() * np.tile(context.grid.scale, 2)
    overlap = iou_matrix(boxes, true)
    kept = np.flatnonzero((overlap.max(axis=1) >= 0.5) & (objects["score"].to_numpy() >= 0.5))
    types = [facts[k]["icao"] for k in overlap[kept].argmax(axis=1)]
    return objects.iloc[kept].reset_index(drop=True), context, types


def shares(seen: list[Seen], params: identify.Params) -> tuple[float, float]:
    """How often the first type is right, and how often it promises to be."""
    right, promised = [], []
    for objects, context, types in seen:
        told = identify.run(objects, context, params)
        right += [one == true for one, true in zip(told["type"], types, strict=True)]
        promised += told["type_probability"].tolist()
    return float(np.mean(right)), float(np.mean(promised))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=200)
    asked = parser.parse_args()
    seen: list[Seen] = []
    for k in range(asked.scenes):
        with tempfile.TemporaryDirectory() as folder:
            one = measured(asked.seed + k, SAMPLINGS[k % len(SAMPLINGS)], Path(folder))
        seen += [one] if len(one[0]) else []
    specs = {spec.step: spec.params for spec in registry.find("aircraft").config.chain}
    released = identify.Params.model_validate(specs[IDENTIFY])
    print(f"{sum(len(types) for *_, types in seen)} aircraft found")
    rows = [("released", released)]
    for heat, small in TEMPERATURES:
        other = released.model_copy(update={"temperature": heat, "small_px": small})
        rows.append((f"{heat:g}, {small} px", other))
    for name, params in rows:
        right, promised = shares(seen, params)
        print(f"{name:14} right {right:.3f}   promised {promised:.3f}")


if __name__ == "__main__":
    main()
