"""What each member sees on labelled pictures, once, so that fusion can be searched cheaply."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch

from detectors.calibration import Identity
from detectors.ensemble import Ensemble
from detectors.fusion import fuse
from detectors.inputs import prepare
from lanner.job import Cancel, DetectRequest
from lanner.pipeline import detect_with
from lanner.released import Sight
from training.metrics import summary


def member_views(ensemble: Ensemble, pictures):
    """[[Views of each member] of each picture], the picture as one padded tile."""
    out = []
    for p in pictures:
        h, w = p.rgb.shape[:2]
        side_h, side_w = -(-h // 32) * 32 + 32, -(-w // 32) * 32 + 32
        x = torch.zeros(1, 3, side_h, side_w)
        v = torch.zeros(1, side_h, side_w, dtype=torch.bool)
        x[0, :, :h, :w] = torch.from_numpy(p.rgb.copy()).permute(2, 0, 1).float() / 255
        v[0, :h, :w] = True
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            inputs = prepare(x, v).contiguous(memory_format=torch.channels_last)
            out.append([member.see(inputs, v)[0] for member in ensemble.members])
    return out


def fused_score(views, pictures, weights, fusion):
    """Metrics of one fusion over stored views."""
    images = []
    for seen, p in zip(views, pictures, strict=True):
        f = fuse(seen, weights, fusion)
        images.append((f.boxes, f.scores, p.boxes))
    return summary(images)


def lone_score(views, pictures, member):
    """Metrics of one member alone."""
    return summary(
        [
            (seen[member].boxes, seen[member].scores, p.boxes)
            for seen, p in zip(views, pictures, strict=True)
        ]
    )


def pipeline_boxes(config, ensemble, pictures, tile=None, identity=False):
    """[(boxes, scores, truth)] through the whole pipeline with the chain cut after merge_seams."""
    trimmed = config.model_copy(update={"chain": config.chain[:1]})
    if identity:
        ensemble.curve = Identity()
    sight = Sight(ensemble, "0" * 64, {})
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for k, p in enumerate(pictures):
            path = Path(folder) / f"{k}.tif"
            write_tiff(path, p.rgb)
            request = DetectRequest(str(path), config.name, gsd=config.gsd, tile=tile)
            result = detect_with(trimmed, lambda: sight, request, Cancel(), lambda _: None)
            facts = [json.loads(text)["properties"] for text in result.features]
            boxes = np.array([f["box_px"] for f in facts], float).reshape(-1, 4)
            out.append((boxes, np.array([f["confidence"] for f in facts], float), p.boxes))
            path.unlink()
    return out


def write_tiff(path, rgb):
    """An 8-bit GeoTIFF without georeference."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=rgb.shape[1],
            height=rgb.shape[0],
            count=3,
            dtype="uint8",
            photometric="RGB",
        ) as out:
            out.write(np.moveaxis(rgb, 2, 0))
