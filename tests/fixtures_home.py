"""A tiny home of detectors with random, seeded weights, and small scenes to run them on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine
from safetensors.torch import save_file

from detectors.card import seal
from detectors.resunet import ResUNet, ResUNetSpec
from detectors.retinanet import RetinaNet, RetinaNetSpec

RESUNET = {"decoder_channels": [16, 16, 8, 8]}
RETINANET = {"channels": 16, "anchor_sizes": [[12, 24], [40, 64], [90, 140]]}
OBJECTS = {
    "name": "tiny",
    "release": "1.0.0",
    "description": "Random boxes.",
    "classes": ["thing"],
    "output": "objects",
    "gsd": 1.0,
    "gsd_range": [0.5, 2.0],
    "tile": 128,
    "halo": 32,
    "members": [
        {
            "name": "boxes",
            "kind": "retinanet",
            "weights": "boxes.safetensors",
            "threshold": 0.05,
            "arch": RETINANET,
        },
        {
            "name": "masks",
            "kind": "resunet",
            "weights": "masks.safetensors",
            "threshold": 0.5,
            "arch": RESUNET,
        },
    ],
    "fusion": {"min_score": 0.05},
    "chain": [{"step": "merge_seams"}],
}
RASTER = {
    **OBJECTS,
    "name": "tinyroads",
    "output": "raster",
    "members": [
        {
            "name": "masks",
            "kind": "resunet",
            "weights": "masks.safetensors",
            "arch": {**RESUNET, "outputs": ["road", "centreline"]},
        }
    ],
    "chain": [{"step": "threshold"}],
}
FACTS = {
    "data": [
        {"name": "none", "source": "random numbers", "licence": "CC0-1.0", "attribution": "nobody"}
    ],
    "training": {"command": "none", "commit": "none"},
    "metrics": {},
}


def _lively(net: torch.nn.Module) -> torch.nn.Module:
    """Random weights whose output differs from place to place, as a trained network's does."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("segmentation_head.0.weight"):
                weight.mul_(6)
            if name.endswith("cls_logits.weight"):
                weight.normal_(0, 0.15)
    return net


def release(home: Path, config: dict, nets: dict[str, torch.nn.Module]) -> None:
    """Write a configuration, its weights, calibration and card."""
    folder = home / "weights" / config["name"] / config["release"]
    folder.mkdir(parents=True)
    (home / "configs").mkdir(exist_ok=True)
    (home / "configs" / f"{config['name']}.yaml").write_text(yaml.safe_dump(config))
    for name, net in nets.items():
        state = {k: v.half() if v.ndim > 1 else v for k, v in net.state_dict().items()}
        save_file(state, folder / name)
    (folder / "calibration.json").write_text('{"curve": {"kind": "identity"}}')
    seal(folder, {"detector": config["name"], "release": config["release"], **FACTS})


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LANNER_HOME with the detectors `tiny` (objects) and `tinyroads` (raster)."""
    home = tmp_path_factory.mktemp("home")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        boxes = _lively(
            RetinaNet(RetinaNetSpec(1, channels=16, anchor_sizes=((12, 24), (40, 64), (90, 140))))
        )
        masks = _lively(
            ResUNet(ResUNetSpec(("object", "boundary", "centre"), decoder_channels=(16, 16, 8, 8)))
        )
        roads = _lively(
            ResUNet(ResUNetSpec(("road", "centreline"), decoder_channels=(16, 16, 8, 8)))
        )
    release(home, OBJECTS, {"boxes.safetensors": boxes, "masks.safetensors": masks})
    release(home, RASTER, {"masks.safetensors": roads})
    return home


@pytest.fixture
def at_home(tiny_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`LANNER_HOME` is the tiny home."""
    monkeypatch.setenv("LANNER_HOME", str(tiny_home))
    return tiny_home


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (3, h, w) of blobs and grain, 1..255."""
    rng = np.random.default_rng(seed)
    out = np.zeros((3, height, width))
    for step in (4, 16, 48):
        coarse = rng.uniform(0, 1, (3, height // step + 2, width // step + 2))
        out += np.kron(coarse, np.ones((1, step, step)))[:, :height, :width]
    return (1 + 254 * out / out.max()).astype(np.uint8)


def write_tif(path: Path, pixels: np.ndarray, *, mask: np.ndarray | None = None, **profile) -> Path:
    """A GeoTIFF of (bands, h, w) with 1 m pixels in UTM; `mask` (h, w) uint8 goes inside."""
    count, height, width = pixels.shape
    usual = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": pixels.dtype,
        "crs": "EPSG:32633",
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "transform": Affine(1, 0, 500_000, 0, -1, 5_000_000),
    }
    usual["photometric"] = "rgb" if count >= 3 else "minisblack"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **{**usual, **profile}) as file,
    ):
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


@pytest.fixture(scope="session")
def pictures() -> SimpleNamespace:
    """`texture` and `write_tif` for tests (test files cannot import one another)."""
    return SimpleNamespace(
        texture=texture,
        write_tif=write_tif,
        release=release,
        objects=OBJECTS,
        raster=RASTER,
        half_metre=Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000),
    )


@pytest.fixture(scope="session")
def own_config(tmp_path_factory: pytest.TempPathFactory):
    """A function that writes a changed copy of a configuration to a file of its own."""

    def write(config: dict, **changes: object) -> str:
        path = tmp_path_factory.mktemp("config") / f"{config['name']}.yaml"
        path.write_text(yaml.safe_dump({**config, **changes}))
        return str(path)

    return write
