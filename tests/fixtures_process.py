"""Samples and factories for the tests of process, drawn here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from lanner.factory.config import FactoryConfig
from lanner.factory.images import write_png
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import Label, Sample, read_samples, write_samples
from lanner.factory.steps.explore.findings import write_findings, write_json

ROOT = Path(__file__).resolve().parents[1]
FIRST = {"name": "first", "format": "coco", "root": ".", "classes": {"*": "aircraft"}}


def cross(size=(120, 160), at=((30, 40),), side=30, shadow=False):
    """Bright crosses on rough ground: picture, boxes, and the mask of each."""
    rng = np.random.default_rng(4)
    rgb = np.full((*size, 3), (96, 104, 88), np.float32) + rng.normal(0, 4, (*size, 3))
    boxes, masks = [], []
    for y, x in at:
        mask = np.zeros(size, bool)
        mask[y : y + side, x + side * 2 // 5 : x + side * 3 // 5] = True
        mask[y + side * 2 // 5 : y + side * 3 // 5, x : x + side] = True
        if shadow:
            rgb[np.roll(mask, 7, 1) & ~mask] *= 0.4
        rgb[mask] = (225, 225, 230)
        boxes.append((float(x), float(y), float(x + side), float(y + side)))
        masks.append(mask)
    return np.clip(rgb, 0, 255).astype(np.uint8), boxes, masks


def project_of(tmp_path: Path, ops=(), samples=(), findings=(), **more) -> Project:
    """A factory whose explore step was run."""
    config = FactoryConfig.model_validate(
        {
            "factory": "planted",
            "detector": str(ROOT / "configs" / "aircraft.yaml"),
            "data": str(tmp_path),
            "sources": [FIRST, {**FIRST, "name": "roads", "classes": {"*": "road"}}],
            "process": list(ops),
            **more,
        }
    )
    project = Project(config, tmp_path / "f.yaml", tmp_path / "run")
    write_samples(samples, project.step_dir("explore") / SAMPLES)
    write_findings(findings, project.step_dir("explore") / "findings.json")
    write_json({"confident": {"aircraft": 0.8}}, project.step_dir("explore") / "agreement.json")
    return project


def plane(*box: float, **more) -> Label:
    return Label("aircraft", tuple(map(float, box)), **more)


def stored(tmp_path: Path, name: str, rgb=None, **more) -> Sample:
    """A sample whose image is on disk."""
    rgb = cross()[0] if rgb is None else rgb
    path = tmp_path / "images" / f"{name.replace('/', '_')}.png"
    write_png(rgb, path)
    fields = {"source": name.split("/", maxsplit=1)[0], "split": "train", **more}
    return Sample(id=name, image=path, width=rgb.shape[1], height=rgb.shape[0], **fields)


def changes(project: Project) -> list[tuple[str, str, str]]:
    lines = (project.step_dir("process") / "changes.jsonl").read_text().splitlines()
    return [(one["op"], one["sample"], one["did"]) for one in map(json.loads, lines)]


def after(project: Project) -> dict[str, Sample]:
    return {one.id: one for one in read_samples(project.step_dir("process") / SAMPLES)}


def write_cutouts(tmp_path: Path) -> Path:
    """Two shapes with alpha, and a photograph of one of them."""
    for kind in ("C130", "KC135"):
        rgb, _, [mask] = cross((60, 60), ((8, 8),), 44)
        rgb[20:24, 10:50] = (30, 30, 160) if kind == "C130" else (160, 30, 30)
        rgba = np.dstack([rgb[..., ::-1], np.where(mask, 255, 0).astype(np.uint8)])
        path = tmp_path / "cut" / kind / "1.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), rgba[8:52, 8:52])
        if kind == "C130":
            write_png(rgb, tmp_path / "whole" / kind / "1.png")
    return tmp_path
