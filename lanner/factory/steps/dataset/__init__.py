"""The dataset: samples with their splits, frozen under a version that their content decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lanner.core.errors import DatasetError
from lanner.core.job import Progress
from lanner.factory.draw import contact_sheet
from lanner.factory.files import write_text
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.samples import Sample, read_samples, write_samples
from lanner.factory.steps.dataset.export import export_coco, export_yolo
from lanner.factory.steps.dataset.manifest import (
    MANIFEST,
    Hashes,
    changed,
    least_objects,
    make_manifest,
    read_manifest,
)
from lanner.factory.steps.dataset.split import assign_splits

__all__ = ["MANIFEST", "changed", "read_manifest", "run"]


def run(project: Project) -> Outcome:
    """Freeze what the step process left: splits, manifest, exports, a picture a split.

    Raises:
        DatasetError: an id used twice, samples that cannot be given a split, too few objects
            of a class in train, a file that is gone.
        OutputError: no room for what it leaves.
    """
    config, folder = project.config.dataset, project.step_dir("dataset")
    samples = sorted(read_samples(project.need("process", SAMPLES)), key=lambda one: one.id)
    _check_ids(samples)
    hashes = Hashes(folder / "hashes.json")
    with hashes:
        for done, sample in enumerate(samples):
            project.cancel.check()
            if done % 50 == 0:
                project.tell(Progress("hash", done, len(samples)))
            for path in (sample.image, sample.mask, sample.ids):
                if path is not None:
                    hashes.of(path)
        near_m = project.config.explore.near_m
        frozen = assign_splits(samples, config.split, near_m, lambda one: hashes.of(one.image))
        manifest = make_manifest(project.config, frozen, hashes)
    least_objects(manifest, config.least)
    write_samples(frozen, folder / SAMPLES)
    write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", folder / MANIFEST)
    names = tuple(manifest["classes"])
    left: dict[str, int] = {}
    if "coco" in config.export:
        left["coco"] = export_coco(frozen, names, manifest["version"], folder / "export" / "coco")
    if "yolo" in config.export:
        left["yolo"] = export_yolo(frozen, names, folder / "export" / "yolo")
    splits = sorted({str(one.split) for one in frozen})
    sheets = []
    for split in splits:
        project.cancel.check()
        chosen = [one for one in frozen if one.split == split]
        sheets.append(contact_sheet(chosen, folder / f"samples_{split}.png"))
    return Outcome(_summary(manifest, left), (*sheets, folder / MANIFEST))


def _summary(manifest: dict[str, Any], left: dict[str, int]) -> dict[str, Any]:
    """What the terminal shows: a row a split, images and objects of each class."""
    table = {
        split: {
            "images": sum(manifest["images"][split].values()),
            **{name: sum(by.values()) for name, by in manifest["counts"][split].items()},
        }
        for split in manifest["images"]
    }
    out = {"name": manifest["name"], "version": manifest["version"], "counts": table}
    return {**out, "left_out_of_export": left} if left else out


def _check_ids(samples: Sequence[Sample]) -> None:
    """Ids are sorted; each may be there once.

    Raises:
        DatasetError: one is there twice, or there are none.
    """
    if not samples:
        raise DatasetError("process", SAMPLES, "holds no sample", "correct sources or process")
    for first, second in pairwise(samples):
        if first.id == second.id:
            raise DatasetError(
                "samples", first.id, "is the id of two samples", "let operations name theirs apart"
            )
