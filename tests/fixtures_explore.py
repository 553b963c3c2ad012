"""Small data sets for the tests of explore, drawn here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from lanner.factory.config import FactoryConfig
from lanner.factory.images import write_png
from lanner.factory.project import Project
from lanner.factory.samples import Sample

ROOT = Path(__file__).resolve().parents[1]


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """A picture of large and small structure, other for other seeds."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for cells in (3, 6, 12, 40):
        rough = rng.uniform(0, 255 / cells**0.5, (cells, cells, 3)).astype(np.float32)
        out += cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(out / out.max() * 255, 0, 255).astype(np.uint8)


def sample(name: str = "a", **more) -> Sample:
    fields = {"source": "s", "split": "train", "image": Path("x.png"), "width": 200, "height": 100}
    return Sample(id=name, **{**fields, **more})


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def coco(root: Path, name: str, pictures: dict[str, np.ndarray], found: dict[str, list]) -> None:
    images, annotations = [], []
    for k, (file, rgb) in enumerate(pictures.items()):
        write_png(rgb, root / file)
        images.append({"id": k, "file_name": file, "width": rgb.shape[1], "height": rgb.shape[0]})
        for x, y, w, h in found.get(file, []):
            row = {"id": len(annotations), "image_id": k, "category_id": 1, "bbox": [x, y, w, h]}
            annotations.append({**row, "area": w * h, "iscrowd": 0})
    facts = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "plane"}],
    }
    (root / f"{name}.json").write_text(json.dumps(facts))


def project_of(tmp_path: Path, **explore) -> Project:
    config = FactoryConfig.model_validate(
        {
            "factory": "planted",
            "detector": str(ROOT / "configs" / "aircraft.yaml"),
            "data": str(tmp_path / "data"),
            "sources": [
                {
                    "name": "first",
                    "format": "coco",
                    "root": ".",
                    "splits": {"train": "train.json", "test": "test.json"},
                    "classes": {"*": "aircraft"},
                }
            ],
            "explore": explore,
        }
    )
    return Project(config, tmp_path / "f.yaml", tmp_path / "run")
