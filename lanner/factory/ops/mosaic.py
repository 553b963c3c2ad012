"""Operation: small images laid side by side, as large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.ops.moves import Window, moved
from lanner.factory.ops.tile import cut_labels, renumbered
from lanner.factory.ops.work import Samples, Work
from lanner.factory.samples import IDS_UNKNOWN, MASK_UNKNOWN, Label, Sample


class Params(Strict):
    """Pictures of `across` x `across` images of the split `train` (or of none) of `sources`.

    A view at a coarse scale shows little of an image of 256 pixels; of a mosaic it is full.
    Images larger than the smallest of them are cut at random. Each is used `times` times, in
    other company each time; a last picture that they do not fill is filled up with some of them
    again. `rim_px` around joints is unknown: what is there is seen in the wrong company. The
    mosaics are a source of their own, `source`, and take the place of the images they show.
    """

    sources: tuple[str, ...] = Field(min_length=1)
    across: int = Field(4, ge=2, le=16)
    times: int = Field(1, ge=1)
    rim_px: int = Field(8, ge=0)
    visible: float = Field(0.5, gt=0, le=1)
    source: str = "mosaics"


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Exchange labelled and negative images for mosaics of them.

    Raises:
        ConfigError: no such source, or a source that already has this name.
        DatasetError: fewer images than one mosaic takes, or one does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    if any(one.source == params.source for one in samples):
        raise ConfigError(
            "process.mosaic.source", params.source, "is a source already", "choose another name"
        )
    parts = sorted(
        (
            one
            for one in samples
            if one.source in params.sources
            and one.role != "unlabelled"
            and one.split in (None, "train")
        ),
        key=lambda one: one.id,
    )
    need = params.across**2
    if len(parts) < need:
        raise DatasetError(
            "process.mosaic.sources",
            ", ".join(params.sources),
            f"have {len(parts)} images to learn from, and a mosaic takes {need}",
            "choose a smaller `across`",
        )
    side = min(min(one.width, one.height) for one in parts)
    mosaics: list[Sample] = []
    groups = [group for turn in range(params.times) for group in _dealt(parts, need, work, turn)]
    for k, group in enumerate(groups):
        work.step(k, len(groups))
        mosaics.append(_mosaic(f"{params.source}/{k:05d}", group, side, work, params))
        work.note(mosaics[-1].id, f"of {', '.join(one.id for one in group)}")
    work.step(len(groups), len(groups))
    gone = {one.id for one in parts}
    for one in parts:
        work.note(one.id, f"laid into mosaics: {params.source}")
    return (*(one for one in samples if one.id not in gone), *mosaics)


def _dealt(parts: Sequence[Sample], need: int, work: Work, turn: int) -> list[list[Sample]]:
    """All of them in groups of `need`, shuffled; the last is filled up from the first."""
    order = work.rng(f"deal/{turn}").permutation(len(parts))
    filled = np.concatenate([order, order[: -len(order) % need]])
    return [[parts[k] for k in group] for group in filled.reshape(-1, need)]


@dataclass(frozen=True)
class Layout:
    """Which window of each part lies at which corner of a square of `size` pixels."""

    size: int
    windows: tuple[Window, ...]
    corners: tuple[tuple[int, int], ...]

    def lay(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Parts (h, w) or (h, w, 3), one a window, as one picture."""
        out = np.zeros((self.size, self.size, *parts[0].shape[2:]), parts[0].dtype)
        for part, (x0, y0, x1, y1), (left, top) in zip(
            parts, self.windows, self.corners, strict=True
        ):
            out[top : top + y1 - y0, left : left + x1 - x0] = part[y0:y1, x0:x1]
        return out


def joints(size: int, side: int, rim: int) -> NDArray[np.bool_]:
    """Where a joint of two parts is within `rim` pixels, (size, size)."""
    place = np.arange(size)
    near = np.zeros(size, np.bool_)
    for joint in range(side, size, side):
        near |= (place >= joint - rim) & (place < joint + rim)
    return near[:, None] | near[None, :]


def _layout(rng: np.random.Generator, group: Sequence[Sample], side: int, across: int) -> Layout:
    windows: list[Window] = []
    for one in group:
        x0 = int(rng.integers(one.width - side + 1))
        y0 = int(rng.integers(one.height - side + 1))
        windows.append((x0, y0, x0 + side, y0 + side))
    corners = tuple((k % across * side, k // across * side) for k in range(len(group)))
    return Layout(side * across, tuple(windows), corners)


def _mosaic(name: str, group: list[Sample], side: int, work: Work, params: Params) -> Sample:
    layout = _layout(work.rng(name), group, side, params.across)
    labels: list[Label] = []
    numbers: list[dict[int, int]] = []
    for one, window, corner in zip(group, layout.windows, layout.corners, strict=True):
        kept, own = cut_labels(one.labels, window, params.visible)
        numbers.append({old: new + len(labels) for old, new in own.items()})
        labels += [moved(label, *corner) for label in kept]
    key = [layout.windows, params.rim_px, *(one.image for one in group)]
    rim = partial(joints, layout.size, side, params.rim_px)

    def masks(path: Path) -> None:
        laid = layout.lay([_mask(one) for one in group])
        write_png(np.where(rim(), np.uint8(MASK_UNKNOWN), laid), path)

    def ids(path: Path) -> None:
        laid = layout.lay([_ids(one, own) for one, own in zip(group, numbers, strict=True)])
        write_png(np.where(rim(), np.uint16(IDS_UNKNOWN), laid), path)

    sample = Sample(
        name,
        params.source,
        "train",
        work.file(
            ".png",
            lambda path: write_png(layout.lay([read_rgb(one.image) for one in group]), path),
            "rgb",
            *key,
        ),
        layout.size,
        layout.size,
        gsd=group[0].gsd if len({one.gsd for one in group}) == 1 else None,
        labels=tuple(labels),
    )
    known = [one.mask or bool(one.labels) for one in group]
    if any(one.mask for one in group):
        sample = sample.but(mask=work.file(".png", masks, "mask", *key, *known))
    known = [one.ids or bool(one.labels) for one in group]
    if any(one.ids for one in group):
        order = [sorted(own.items()) for own in numbers]
        sample = sample.but(ids=work.file(".png", ids, "ids", *key, *known, order))
    return sample


def _mask(sample: Sample) -> NDArray[np.uint8]:
    """Classes of each pixel; unknown where there are labels but no mask."""
    if sample.mask is not None:
        return read_mask(sample.mask).astype(np.uint8)
    return np.full((sample.height, sample.width), MASK_UNKNOWN * bool(sample.labels), np.uint8)


def _ids(sample: Sample, numbers: dict[int, int]) -> NDArray[np.uint16]:
    """Objects of each pixel, renumbered; unknown where there are labels but no mask."""
    if sample.ids is not None:
        return renumbered(read_mask(sample.ids), numbers)
    return np.full((sample.height, sample.width), IDS_UNKNOWN * bool(sample.labels), np.uint16)
