"""The picture of a result: a scene, reduced, with what was found drawn onto it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window
from shapely.geometry import shape

from lanner.core.errors import ConfigError, OutputError, SceneError
from postprocess.page import Floats, Key, Mark, Page, Rgb, compose
from tiling.access import opened
from tiling.palette import Palette
from tiling.scene import Scene, open_scene

ACCEPT: Rgb = (64, 224, 144)
REVIEW: Rgb = (255, 176, 32)
PLAIN: Rgb = (90, 200, 250)
ROADS: dict[str, Rgb] = {
    "motorway": (240, 82, 110),
    "primary": (255, 146, 64),
    "secondary": (255, 211, 77),
    "residential": (120, 214, 255),
    "service": (178, 190, 255),
    "unclassified": (225, 228, 232),
    "track": (202, 160, 112),
    "path": (170, 200, 140),
}
"""Colours by road class; any other class is drawn as `unclassified`."""

Box = tuple[float, float, float, float]

LIKELY = 0.5
"""Probability from which a type is written beside the family."""


def draw_overlay(
    scene_uri: str | Path,
    found: Any,
    out_png: Path,
    *,
    max_side: int = 1600,
    around: Box | None = None,
    title: str | None = None,
    gsd: float | None = None,
    crs: str | None = None,
) -> Path:
    """Write a PNG of the scene with detections outlined, labelled and explained by a legend.

    Args:
        scene_uri: path or URL of the scene.
        found: features as texts or mappings (lon/lat, or scene pixels where the scene has no
            CRS), or a GeoDataFrame in the scene's CRS with the same columns.
        out_png: file to write.
        max_side: greatest side of the picture in pixels, 64 to 8000.
        around: scene pixels (x0, y0, x1, y1) for a close-up; clipped to the scene.
        title: heading; by default the scene's name.
        gsd: metres a pixel where the scene cannot say.
        crs: its CRS where the scene says none.

    Returns:
        `out_png`.

    Raises:
        ConfigError: `max_side` or `around` cannot be drawn.
        SceneError: the scene cannot be read.
        OutputError: the picture cannot be written.
    """
    if not 64 <= max_side <= 8000:
        raise ConfigError("max_side", max_side, "is not between 64 and 8000", "choose one that is")
    scene = open_scene(scene_uri, gsd=gsd, crs=crs)
    box = _clip(around, scene)
    rgb = _picture(scene, box, max_side)
    scale = np.array([rgb.shape[1] / (box[2] - box[0]), rgb.shape[0] / (box[3] - box[1])])
    pairs = [
        (mark, facts)
        for geometry, facts in _rows(found, scene)
        if (mark := _mark(geometry, facts, box, scale, close=around is not None)) is not None
    ]
    middle = np.array([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]])
    north = -float(scene.place.azimuth_deg(middle, middle - [[0.0, 50.0]])[0])
    page = Page(
        title=title or scene.id,
        note=" | ".join(
            filter(
                None,
                [scene.acquired, f"{scene.width} x {scene.height} px", f"{scene.gsd[1]:.2g} m"],
            )
        ),
        keys=_keys(facts for _, facts in pairs),
        metres=float(scene.gsd[0] / scale[0]),
        north=north,
        marks=[mark for mark, _ in pairs],
    )
    try:
        compose(rgb, page).save(out_png, "PNG")
    except OSError as error:
        raise OutputError(
            "out_png",
            out_png,
            f"cannot be written ({error})",
            "choose a folder that exists and has room",
        ) from error
    return out_png


def _clip(around: Box | None, scene: Scene) -> tuple[int, int, int, int]:
    """Whole scene pixels to show."""
    if around is None:
        return 0, 0, scene.width, scene.height
    x0, y0 = max(0, int(np.floor(around[0]))), max(0, int(np.floor(around[1])))
    x1 = min(scene.width, int(np.ceil(around[2])))
    y1 = min(scene.height, int(np.ceil(around[3])))
    if x1 - x0 < 4 or y1 - y0 < 4:
        raise ConfigError(
            "around",
            around,
            f"shows nothing of {scene.width} x {scene.height} px",
            "give x0, y0, x1, y1 in pixels of this scene",
        )
    return x0, y0, x1, y1


def _picture(scene: Scene, box: tuple[int, int, int, int], max_side: int) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 with square ground pixels; missing pixels dark, dark scenes stretched."""
    gx, gy = scene.gsd
    # EPSG:3857 is off square by a third of a percent: not worth resampling for.
    gy = gx if abs(gx / gy - 1) < 0.01 else gy
    ground = (box[2] - box[0]) * gx, (box[3] - box[1]) * gy
    # A close-up is enlarged at most fourfold; the whole scene only to make its pixels square.
    finest = min(gx, gy) / (4 if box[2] - box[0] < scene.width else 1)
    metres = max(max(ground) / max_side, finest)
    shape_ = max(1, round(ground[1] / metres)), max(1, round(ground[0] / metres))
    names = (
        ("red", "green", "blue")
        if {"red", "green", "blue"} <= set(scene.bands)
        else (scene.bands[0],) * 3
    )
    window = Window(box[0], box[1], box[2] - box[0], box[3] - box[1])
    larger = shape_[0] > window.height or shape_[1] > window.width
    how = Resampling.cubic if larger else Resampling.average
    with opened(scene.uri) as file:
        try:
            palette = Palette.of(file)
            if palette is None:
                raw = file.read(
                    scene.band_indices(names), window=window, out_shape=(3, *shape_), resampling=how
                )
            else:  # between two numbers of a palette lies nothing
                numbers = file.read(1, window=window, out_shape=shape_)
                raw, _ = palette.expand(numbers, scene.band_indices(names))
            valid = (
                file.dataset_mask(window=window, out_shape=shape_, resampling=Resampling.nearest)
                > 0
            )
        except RasterioError as error:
            raise SceneError(
                "scene", scene.uri, f"cannot be read ({error})", "check that the file is whole"
            ) from error
    data = np.moveaxis(raw, 0, -1).astype(np.float32)
    valid &= np.isfinite(data).all(-1)
    if scene.dtype != "uint8" and valid.any():
        low, high = np.percentile(data[valid], (0.5, 99.5))
        data = (data - low) / max(float(high - low), 1e-6) * 255
    data = np.where(valid[..., None], data, 20.0)
    return np.asarray(np.clip(data + 0.5, 0, 255).astype(np.uint8))


def _rows(found: Any, scene: Scene) -> Iterable[tuple[Any, Mapping[str, Any]]]:
    """(geometry in scene pixels, properties) of every feature."""
    place = scene.place
    if hasattr(found, "geometry") and hasattr(found, "columns"):
        for row, geometry in zip(found.to_dict("records"), found.geometry, strict=True):
            yield _moved(geometry, place.from_crs if place.crs is not None else None), row
        return
    for item in found:
        feature = json.loads(item) if isinstance(item, str) else item
        way = place.from_lonlat if place.crs is not None else None
        yield _moved(shape(feature["geometry"]), way), feature["properties"]


def _moved(geometry: Any, way: Any) -> Any:
    return geometry if way is None else shapely.transform(geometry, way)


def _mark(
    geometry: Any,
    facts: Mapping[str, Any],
    box: tuple[int, int, int, int],
    scale: Floats,
    *,
    close: bool,
) -> Mark | None:
    """How one feature is drawn, or None where it is out of view."""
    view = shapely.box(*box)
    if geometry is None or geometry.is_empty or not geometry.intersects(view):
        return None
    parts = shapely.get_parts(geometry)
    closed = parts[0].geom_type == "Polygon"
    lines = [p.exterior if closed else p for p in parts]
    paths = tuple((shapely.get_coordinates(line) - np.array(box[:2])) * scale for line in lines)
    review = facts.get("decision") == "review"
    if not closed:
        wide = float(np.clip(2.4 * scale[0], 1.8, 4.0))
        return Mark(paths, _road_colour(facts), closed=False, dashed=review, width=wide)
    side = float(np.ptp(np.concatenate(paths), axis=0).max())
    return Mark(
        paths,
        _colour(facts),
        closed=True,
        width=2.2 if side > 40 else 1.5,
        text=_text(facts) if side > 13 or close else "",
        rank=side + _confidence(facts),
    )


def _confidence(facts: Mapping[str, Any]) -> float:
    value = facts.get("confidence")
    return float(value) if isinstance(value, int | float) else 0.0


def _colour(facts: Mapping[str, Any]) -> Rgb:
    return {"accept": ACCEPT, "review": REVIEW}.get(str(facts.get("decision")), PLAIN)


def _road_colour(facts: Mapping[str, Any]) -> Rgb:
    return ROADS.get(str(facts.get("road_class")), ROADS["unclassified"])


def _text(facts: Mapping[str, Any]) -> str:
    """Family or label with the object's confidence; the type with its own, where it is likely."""
    name = facts.get("icao") or facts.get("family") or facts.get("label")
    percent = f"{_confidence(facts):.0%}" if facts.get("confidence") is not None else ""
    whole = " ".join(filter(None, [str(name) if name else "", percent]))
    probability = facts.get("type_probability")
    if isinstance(probability, float) and probability >= LIKELY:
        whole += f", {facts.get('type')} {probability:.0%}"
    return whole


def _keys(rows: Iterable[Mapping[str, Any]]) -> tuple[Key, ...]:
    """Legend entries for what is there, with counts."""
    decisions: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    doubtful = 0
    for facts in rows:
        if facts.get("road_class") is not None or facts.get("label") == "road":
            classes[str(facts.get("road_class") or "unclassified")] += 1
            doubtful += facts.get("decision") == "review"
        else:
            decisions[str(facts.get("decision") or facts.get("label") or "object")] += 1
    keys = [
        Key(f"{name} ({count})", _colour({"decision": name}))
        for name, count in sorted(decisions.items())
    ]
    rank: Sequence[str] = list(ROADS)
    for name in sorted(classes, key=lambda n: (rank.index(n) if n in rank else 99, n)):
        keys.append(Key(f"{name} ({classes[name]})", _road_colour({"road_class": name}), line=True))
    if doubtful:
        keys.append(Key(f"road to review ({doubtful})", ROADS["unclassified"], True, True))
    return tuple(keys) or (Key("nothing found", PLAIN),)
