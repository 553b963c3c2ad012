"""Ground truth of a rendered scene as RFC 7946 GeoJSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon, box, mapping
from shapely.geometry.polygon import orient

from lanner.core.errors import OutputError
from lanner.synth import airframe
from lanner.synth.airfield import Slot
from lanner.synth.raster import F64, polygon_mask
from lanner.synth.roads import Road
from lanner.synth.world import World


def truth(world: World) -> dict[str, Any]:
    """The FeatureCollection: aircraft first, then roads, each in a fixed order.

    Aircraft are Polygons (outline seen from above) with `icao`, `name`, `length_m`,
    `wingspan_m`, `heading_deg` (from true north), `box_px` [x0, y0, x1, y1] within the scene,
    `outline_px` and `visible` (share of the outline neither clouded, missing nor outside).
    Roads are LineStrings cut to the scene with `road_class`, `width_m`, `length_m`,
    `line_px` and `visible`.
    """
    features = [f for slot in world.aircraft if (f := _aircraft(world, slot)) is not None]
    for road in world.roads:
        features += _road(world, road)
    return {"type": "FeatureCollection", "features": features}


def write_truth(world: World, path: Path) -> dict[str, int]:
    """Write `truth` as compact UTF-8 text.

    Returns:
        How many features of each label there are in the scene.

    Raises:
        OutputError: the file cannot be written.
    """
    collection = truth(world)
    text = json.dumps(collection, separators=(",", ":"), allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "truth", path, f"cannot be written ({error.strerror})", "choose another place"
        ) from error
    labels = [feature["properties"]["label"] for feature in collection["features"]]
    return {name: labels.count(name) for name in ("aircraft", "road")}


def outline_px(world: World, slot: Slot) -> F64:
    """(n, 2) scene pixels of an aircraft's outline."""
    kind, pose = slot
    metres = pose.place(airframe.true_airframe(kind).outline)
    return np.asarray(metres / np.array(world.place.gsd), np.float64)


def in_view(world: World, xy: F64) -> Any:
    """(n,) whether (n, 2) scene pixels are in the scene, valid and not mostly clouded."""
    spec = world.spec
    within = ((xy >= 0) & (xy < [spec.width, spec.height])).all(1)
    return within & world.sky.valid(xy) & (world.sky.cloud(xy) < 0.5)


def _aircraft(world: World, slot: Slot) -> dict[str, Any] | None:
    kind, pose = slot
    ring = outline_px(world, slot)
    (x0, y0), (x1, y1) = np.floor(ring.min(0)), np.ceil(ring.max(0))
    spec = world.spec
    cut = [max(int(x0), 0), max(int(y0), 0), min(int(x1), spec.width), min(int(y1), spec.height)]
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return None
    mask = polygon_mask(ring, (int(y1 - y0), int(x1 - x0)), (int(x0), int(y0)))
    rows, cols = np.nonzero(mask)
    centres = np.stack([cols + x0 + 0.5, rows + y0 + 0.5], 1)
    visible = float(in_view(world, centres).mean()) if len(centres) else 0.0
    nose = np.array([np.cos(pose.angle), np.sin(pose.angle)]) * kind.length / 2
    middle = np.array([pose.x, pose.y])
    gsd = np.array(world.place.gsd)
    heading = world.place.azimuth((middle - nose) / gsd, (middle + nose) / gsd)
    # Counterclockwise in longitude and latitude, whichever way the pixels run.
    polygon = orient(Polygon(np.round(world.place.to_lonlat(ring), 8)), 1.0)
    return {
        "type": "Feature",
        "properties": {
            "label": "aircraft",
            "icao": kind.icao,
            "name": kind.name,
            "length_m": kind.length,
            "wingspan_m": kind.span,
            "heading_deg": round(heading, 3),
            "box_px": cut,
            "outline_px": np.round(ring, 3).tolist(),
            "visible": round(visible, 4),
        },
        "geometry": mapping(polygon),
    }


def _road(world: World, road: Road) -> list[dict[str, Any]]:
    line = LineString(road.line / np.array(world.place.gsd))
    frame = box(0, 0, world.spec.width, world.spec.height)
    features = []
    for part in shapely.get_parts(line.intersection(frame)):
        if part.geom_type != "LineString" or part.length < 1e-6:
            continue
        xy = shapely.get_coordinates(part)
        samples = np.linspace(0.0, 1.0, max(8, int(part.length / 2)))
        points = shapely.get_coordinates(part.interpolate(samples, normalized=True))
        # The far border belongs to no pixel; step back inside.
        points = np.clip(points, 0.0, np.array([world.spec.width, world.spec.height]) - 1e-6)
        features.append(
            {
                "type": "Feature",
                "properties": {
                    "label": "road",
                    "road_class": road.kind,
                    "width_m": road.width,
                    "length_m": round(world.place.length(xy), 3),
                    "line_px": np.round(xy, 3).tolist(),
                    "visible": round(float(in_view(world, points).mean()), 4),
                },
                "geometry": mapping(LineString(np.round(world.place.to_lonlat(xy), 8))),
            }
        )
    return features
