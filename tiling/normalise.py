"""Raw values to 0..1 by statistics of the whole scene, so that no tile has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lanner.core.config import Normalise
from lanner.core.errors import SceneError
from tiling.access import opened
from tiling.blocks import share_beyond
from tiling.collar import Collar, find_collar
from tiling.grid import Box
from tiling.names import display_name, is_remote
from tiling.raw import Source
from tiling.scene import Scene
from tiling.stored import holds_nothing
from tiling.unread import MOST, area, common, read_through

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_PATCHES, _SIDE = 20, 50
"""The sample: 20 x 20 patches of 50 x 50 pixels spread evenly, a million pixels. Patches and
not single pixels, so that a tiled file is decoded in 400 places and not everywhere."""
_ENOUGH = 1 << 14
"""Valid pixels that make the sample trustworthy; with fewer the whole scene is looked through."""
_MOST = 1 << 20
_STRIP_BYTES = 64 << 20
_DARK, _HOT, _FLAT = 64, 10, 8
"""An 8-bit scene is dark where at most `_HOT` samples reach `_DARK`, a quarter of the range; one
of fewer than `_FLAT` steps shows nothing that could be stretched."""


@dataclass(frozen=True)
class Stretch:
    """A linear stretch for each band: `low` becomes 0 and `high` 1, clipped.

    Where a band is constant (`low == high`) every valid pixel becomes 0.5.

    Attributes:
        low, high: of each band, in the file's units.
        fill: value of an undeclared border, which is no data where every band holds it; None
            where there is none.
        notes: what the user should be told of it, a sentence each.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    fill: float | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def apply(self, raw: Floats, valid: Mask) -> Floats:
        """Normalise.

        Args:
            raw: (bands, h, w) float32 in the file's units.
            valid: (h, w) bool.

        Returns:
            (bands, h, w) float32 in 0..1, 0 where invalid.
        """
        low = np.asarray(self.low, np.float32)[:, None, None]
        span = np.asarray([h - lo for lo, h in zip(self.low, self.high, strict=True)], np.float32)[
            :, None, None
        ]
        flat = ~(span > 0)
        out = raw - low
        out /= np.where(flat, np.float32(1), span)
        np.clip(out, 0, 1, out=out)
        if flat.any():
            out[flat[:, 0, 0]] = 0.5
        if not valid.all():
            out[:, ~valid] = 0
        return np.asarray(out, np.float32)


def scene_stretch(scene: Scene, bands: tuple[str, ...], spec: Normalise) -> Stretch:
    """The stretch of a scene, from one sample of its valid pixels; the same on every call.

    8-bit scenes in mode `auto` are divided by 255; a few pixels are read, to see that they are
    not dark throughout. Otherwise each band runs between its `percentiles`, or between its
    extremes where those coincide. A border that is not declared does not count.

    Raises:
        BandError: a band is missing.
        SceneError: the scene holds no valid pixel, or cannot be read.
    """
    indices = scene.band_indices(bands)
    if spec.mode == "auto" and scene.dtype == "uint8":
        note = _dark(scene, indices)
        if note is None:
            return Stretch((0.0,) * len(indices), (255.0,) * len(indices))
        notes = [note]
    else:
        notes = []
    sample, collar = _sample(scene, indices)
    fill = None
    if collar is not None:
        fill = collar.value if collar.alone else None
        notes.append(_border_note(collar))
    values = sample.astype(np.float64)
    low, high = np.percentile(values, spec.percentiles, axis=1)
    flat = ~(high > low)
    low[flat], high[flat] = values[flat].min(axis=1), values[flat].max(axis=1)
    return Stretch(tuple(low.tolist()), tuple(high.tolist()), fill, tuple(notes))


def _border_note(collar: Collar) -> str:
    """What a user is told of an undeclared border."""
    taken = "no data" if collar.alone else "a border (inside, the same value counts)"
    return (
        f"{collar.share:.1%} of the scene are a border of {collar.value:g} that it does not "
        f"declare; that was taken for {taken}. To declare it: gdal_edit.py -a_nodata "
        f"{collar.value:g} SCENE"
    )


def _dark(scene: Scene, indices: tuple[int, ...]) -> str | None:
    """What a user is told of an 8-bit scene that is dark throughout; None of any other.

    Most scenes are seen to be none of those at the first look.
    """
    with opened(scene.uri) as dataset:
        source = Source(dataset, scene.uri, indices, scene.found.alpha)
        for box in _glances(scene):
            pixels, valid, _ = read_through(source, box)
            if (pixels[:, valid] >= _DARK).sum() > _HOT:
                return None
        values, _ = _spread_out(scene, source)
    if values.shape[1] <= _HOT:
        return None
    top = np.partition(values, -_HOT - 1, axis=None)[-_HOT - 1]
    low = values.min()
    if top >= _DARK or top - low < _FLAT:
        return None
    return (
        f"The scene is dark: it uses {low} to {top} of 0 to 255. Its contrast was stretched as "
        "that of 16-bit scenes is."
    )


def require_valid(scene: Scene, bands: tuple[str, ...]) -> None:
    """Make sure that the scene holds something to look at.

    Reads as little as it takes to meet one valid pixel.

    Raises:
        BandError: a band is missing.
        SceneError: the scene holds no valid pixel, or cannot be read, or its file was cut off.
    """
    indices = scene.band_indices(bands)
    with opened(scene.uri) as dataset:
        _require_whole(scene, dataset)
        source = Source(dataset, scene.uri, indices, scene.found.alpha)
        for box in (*_patches(scene), *_strips(scene, len(indices))):
            if not holds_nothing(dataset, box.y0, box.y1) and read_through(source, box)[1].any():
                return
    raise _empty(scene)


def _require_whole(scene: Scene, dataset: DatasetReader) -> None:
    """Refuse a local file that was cut off, before any work is spent on the rest of it.

    Raises:
        SceneError: it ends before more of its blocks than may be unreadable.
    """
    if is_remote(scene.uri):
        return
    share = share_beyond(dataset, Path(scene.uri).stat().st_size)
    if share > MOST:
        raise SceneError(
            "scene",
            display_name(scene.uri),
            f"was cut off: {share:.0%} of its blocks lie beyond its end",
            "fetch it again",
        )


def _empty(scene: Scene) -> SceneError:
    return SceneError(
        "scene",
        display_name(scene.uri),
        "holds no valid pixel (all nodata or masked)",
        "give a scene with data, or correct its nodata value with gdal_edit.py -unsetnodata SCENE",
    )


def _sample(scene: Scene, indices: tuple[int, ...]) -> tuple[NDArray[np.generic], Collar | None]:
    """Valid pixels spread over the scene, (bands, n), n at most about a million.

    An undeclared border is left out, and told.
    """
    with opened(scene.uri) as dataset:
        source = Source(dataset, scene.uri, indices, scene.found.alpha)
        found, collar = _spread_out(scene, source)
        if found.shape[1] >= min(_ENOUGH, scene.width * scene.height) or collar is not None:
            return found, collar
        stride = max(1, round(np.sqrt(scene.width * scene.height / _MOST)))
        parts = []
        for box in _strips(scene, len(indices)):
            if holds_nothing(dataset, box.y0, box.y1):
                continue
            pixels, valid, _ = read_through(source, box)
            thin = (slice(-box.y0 % stride, None, stride), slice(None, None, stride))
            # Where so little is valid that thinning may miss it, a few pixels come in row order.
            kept = pixels[:, *thin][:, valid[thin]]
            parts.append(kept if kept.shape[1] else pixels[:, valid][:, :1024])
        found = np.concatenate(parts, axis=1) if parts else found[:, :0]
    if not found.shape[1]:
        raise _empty(scene)
    return found, None


def _spread_out(scene: Scene, source: Source) -> tuple[NDArray[np.generic], Collar | None]:
    """Valid pixels of `_patches` without an undeclared border, and the border."""
    boxes = _patches(scene)
    read = [read_through(source, box) for box in boxes]
    lost = [sum(area(common(one, box)) for one in r[2]) for box, r in zip(boxes, read, strict=True)]
    if sum(lost) > MOST * sum(map(area, boxes)):
        source.read(boxes[int(np.argmax(lost))])
    patches = [(pixels, valid) for pixels, valid, _ in read]
    collar = find_collar(patches, len({box.x0 for box in boxes}))
    known = [valid for _, valid in patches]
    if collar is not None:
        known = [valid & ~border for valid, border in zip(known, collar.where, strict=True)]
    parts = [pixels[:, valid] for (pixels, _), valid in zip(patches, known, strict=True)]
    return np.concatenate(parts, axis=1), collar


def _glances(scene: Scene) -> Iterator[Box]:
    """A few small boxes from the middle outwards."""
    side = min(_SIDE, scene.width, scene.height)
    for share in (0.5, 0.3, 0.7, 0.1, 0.9):
        for other in (0.5, 0.25, 0.75):
            x = int(share * (scene.width - side))
            y = int(other * (scene.height - side))
            yield Box(x, y, x + side, y + side)


def _patches(scene: Scene) -> list[Box]:
    """The sample's boxes: the whole scene where it is small."""
    if scene.width * scene.height <= _MOST:
        return [Box(0, 0, scene.width, scene.height)]
    across, down = _spread(scene.width), _spread(scene.height)
    return [Box(x0, y0, x1, y1) for y0, y1 in down for x0, x1 in across]


def _spread(size: int) -> list[tuple[int, int]]:
    """Runs of `_SIDE` pixels spread evenly over an axis; all of a short one, in one run."""
    if size <= _PATCHES * _SIDE:
        return [(0, size)]
    starts = np.linspace(0, size - _SIDE, _PATCHES).astype(int).tolist()
    return [(s, s + _SIDE) for s in starts]


def _strips(scene: Scene, bands: int) -> Iterator[Box]:
    """The whole scene from top to bottom, in strips of bounded memory."""
    step = max(1, _STRIP_BYTES // (scene.width * bands * 8))
    for top in range(0, scene.height, step):
        yield Box(0, top, scene.width, min(top + step, scene.height))
