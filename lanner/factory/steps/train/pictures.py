"""From frozen samples to the pictures that training reads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import DatasetError
from lanner.factory.images import read_mask, read_rgb
from lanner.factory.samples import Sample

if TYPE_CHECKING:
    from detectors.training.pictures import Picture

Number = TypeVar("Number", bound=np.generic)


def usable(sample: Sample, task: str) -> bool:
    """Whether a sample teaches this task anything: its truth is known, or that there is none."""
    if sample.role == "unlabelled":
        return False
    return task != "roads" or sample.mask is not None or sample.role == "negative"


def pictures(
    samples: Iterable[Sample], split: str, task: str, classes: tuple[str, ...]
) -> list[Picture]:
    """Pictures of one split that teach a task, in order.

    Args:
        samples: frozen.
        split: train or valid.
        task: boxes, instances or roads.
        classes: of the detector.
    """
    from detectors.training.pictures import Picture

    number = {name: k for k, name in enumerate(classes)}
    out = []
    for one in samples:
        if one.split != split or not usable(one, task):
            continue
        # Roads come as masks: boxes of their lines would say nothing.
        labels = () if task == "roads" else one.labels
        size = (one.width, one.height)
        out.append(
            Picture(
                name=one.id,
                source=one.source,
                size=size,
                rgb=partial(read_rgb, one.image),
                boxes=np.array([x.box for x in labels], np.float32).reshape(-1, 4),
                classes=np.array([number[x.label] for x in labels], np.int64),
                weights=np.array([x.weight for x in labels], np.float32),
                ids=None if one.ids is None else partial(_numbers, one.ids, size),
                mask=None if one.mask is None else partial(_classes, one.mask, size),
                odds=one.weight,
            )
        )
    return out


def _numbers(path: Path, size: tuple[int, int]) -> NDArray[np.uint16]:
    return _fitting(read_mask(path).astype(np.uint16), path, size)


def _classes(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    return _fitting(read_mask(path).astype(np.uint8), path, size)


def _fitting(mask: NDArray[Number], path: Path, size: tuple[int, int]) -> NDArray[Number]:
    if mask.shape != (size[1], size[0]):
        raise DatasetError(
            "mask",
            path,
            f"is {mask.shape[1]} x {mask.shape[0]} pixels, its image {size[0]} x {size[1]}",
            "run the step that writes it again",
        )
    return mask
