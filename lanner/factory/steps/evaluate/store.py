"""Files of raw predictions: one set of arrays an image, and what is known of all."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from detectors.views import Floats, Ints, Views
from lanner.core.errors import DatasetError
from lanner.core.files import replacing
from lanner.factory.files import WORKDIR, write_text

if TYPE_CHECKING:
    from tiling.grid import TilePlan
    from tiling.place import Place
    from tiling.scene import Scene

FACTS = "predict.json"
SAMPLES = "samples.jsonl"

AGAIN = "predict again: lanner factory evaluate CONFIG.yaml --force"

_ROWS = ("tile", "member", "boxes", "scores", "labels", "sizes", "vertices")
_ARRAYS = (*_ROWS, "full", "holed", "bits", "side")
"""Names in a file of what was seen on one image."""


@dataclass(frozen=True)
class ImageViews:
    """What all members saw on one image; rows in order of tile, member, then as they came.

    `tile` and `member` (n,) numbers, `boxes` (n, 4) in pixels of the tile, `scores` and `labels`
    (n,), `rings` n outlines or None. `full` (tiles, 4) is the rectangle x0 y0 x1 y1 of each
    tile's pixels that holds all valid ones, `holes` the valid pixels of tiles in whose
    rectangle some are not.
    """

    tile: Ints
    member: Ints
    boxes: Floats
    scores: Floats
    labels: Ints
    rings: tuple[Floats | None, ...]
    full: Ints
    holes: dict[int, NDArray[np.bool_]]


def stem(sample_id: str) -> str:
    """A file name that is unique to a sample."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", sample_id)[-48:]
    return f"{plain}-{hashlib.sha256(sample_id.encode()).hexdigest()[:10]}"


def raster(name: str, member: str) -> str:
    """File name of one member's probability raster."""
    return f"{name}.{member}.tif"


def write_json(facts: dict[str, Any], path: Path) -> None:
    """Write sorted JSON, whole or not at all."""
    text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_text(text, path)


def read_facts(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote; None where there is no such file.

    Raises:
        DatasetError: damaged.
    """
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(
            "predictions", path, f"cannot be read ({error})", f"delete it and {AGAIN}"
        ) from error
    return facts


def write_views(
    tiles: Sequence[tuple[int, NDArray[np.bool_], tuple[Views, ...]]], path: Path
) -> None:
    """Keep what was seen on every tile: (index, valid (tile, tile), views by member)."""
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in _ROWS}
    full, holed, bits = [], [], []
    for index, valid, views in tiles:
        full.append(_rectangle(valid))
        x0, y0, x1, y1 = full[-1]
        if not valid[y0:y1, x0:x1].all():
            holed.append(index)
            bits.append(np.packbits(valid))
        for number, view in enumerate(views):
            count = len(view)
            rows["tile"].append(np.full(count, index, np.int64))
            rows["member"].append(np.full(count, number, np.int64))
            rows["boxes"].append(view.boxes)
            rows["scores"].append(view.scores)
            rows["labels"].append(view.labels)
            rings = [ring for ring in view.outlines if ring is not None]
            sizes = [0 if ring is None else len(ring) for ring in view.outlines]
            rows["sizes"].append(np.asarray(sizes, np.int64))
            rows["vertices"] += rings
    none = {"boxes": np.empty((0, 4)), "vertices": np.empty((0, 2)), "scores": np.empty(0)}
    arrays = {
        name: np.concatenate([none.get(name, np.empty(0, np.int64)), *parts])
        for name, parts in rows.items()
    }
    side = len(tiles[0][1]) if tiles else 0
    with replacing(path, WORKDIR) as beside:
        np.savez_compressed(
            beside,
            allow_pickle=False,
            full=np.asarray(full, np.int64).reshape(-1, 4),
            holed=np.asarray(holed, np.int64),
            bits=np.stack(bits) if bits else np.empty((0, 0), np.uint8),
            side=np.asarray(side),
            **arrays,
        )


def read_views(path: Path) -> ImageViews:
    """What `write_views` wrote.

    Raises:
        DatasetError: missing or damaged.
    """
    try:
        with np.load(path) as stored:
            data = {name: stored[name] for name in stored.files}
        missing = {*_ARRAYS} - data.keys()
        if missing:
            raise ValueError(f"it holds no {', '.join(sorted(missing))}")
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DatasetError(
            "predictions", path, f"cannot be read ({error})", f"delete it and {AGAIN}"
        ) from error
    side = int(data["side"])
    pieces = np.split(data["vertices"], np.cumsum(data["sizes"])[:-1]) if len(data["sizes"]) else []
    holes = {
        int(index): np.unpackbits(row, count=side * side).reshape(side, side).astype(bool)
        for index, row in zip(data["holed"], data["bits"], strict=True)
    }
    return ImageViews(
        data["tile"],
        data["member"],
        data["boxes"],
        data["scores"],
        data["labels"],
        tuple(ring if len(ring) else None for ring in pieces),
        data["full"],
        holes,
    )


def geometry(scene: Scene, plan: TilePlan) -> dict[str, Any]:
    """Where an image lies and how it was tiled, as plain data."""
    place, grid = scene.place, plan.grid
    return {
        "scene": {
            "id": scene.id,
            "acquired": scene.acquired,
            "size": [scene.width, scene.height],
            "affine": list(place.affine)[:6],
            "crs": None if place.crs is None else place.crs.to_wkt(),
            "gsd": list(place.gsd),
            **({"overruled": True} if place.overruled else {}),
        },
        "plan": {
            "tile": plan.tile,
            "halo": plan.halo,
            "size": [grid.width, grid.height],
            "scale": list(grid.scale),
            "gsd": grid.gsd,
        },
    }


def placed(facts: dict[str, Any]) -> tuple[Place, TilePlan]:
    """Place and tiles as `geometry` told them."""
    import pyproj
    from affine import Affine

    from tiling.grid import Grid, TilePlan
    from tiling.place import Place

    scene, plan = facts["scene"], facts["plan"]
    crs = None if scene["crs"] is None else pyproj.CRS.from_wkt(scene["crs"])
    gsd = (scene["gsd"][0], scene["gsd"][1])
    place = Place(Affine(*scene["affine"]), crs, gsd, scene.get("overruled", False))
    scale = (plan["scale"][0], plan["scale"][1])
    width, height = scene["size"]
    grid = Grid(plan["size"][0], plan["size"][1], scale, plan["gsd"], width, height)
    return place, TilePlan(grid, plan["tile"], plan["halo"])


def _rectangle(valid: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of the least rectangle that holds every valid pixel; empty where none is."""
    rows, cols = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
