"""Which way an aircraft points and how big it is on the ground."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.schema import Column
from postprocess.aircraft.boxsize import from_boxes
from postprocess.aircraft.extent import Extent, extents, thinness, without_stairs
from postprocess.aircraft.fuselage import fuselage
from postprocess.aircraft.missed import missed
from postprocess.aircraft.nacelles import nacelles
from postprocess.aircraft.profile import Profile, profile
from postprocess.aircraft.silhouette import CHUNK, Silhouettes, axes, silhouettes, upright
from postprocess.context import Context
from postprocess.frame import column, seen_px
from postprocess.shapes import Bools, Floats, Shapes, bounds, scaled

COLUMNS = (
    Column("length_m", "number", "nose to tail, metres on the ground"),
    Column("wingspan_m", "number", "tip to tip, metres on the ground"),
    Column("length_sd_m", "number", "1-sigma error of the length, metres"),
    Column("wingspan_sd_m", "number", "1-sigma error of the wingspan, metres"),
    Column("heading_deg", "number", "azimuth from tail to nose, degrees clockwise from north"),
    Column("axis_deg", "number", "azimuth of the fuselage, 0 to 180 degrees, either end"),
    Column("heading_confidence", "number", "probability that the nose is at that end"),
    Column("symmetry", "number", "IoU of the outline with its mirror about the fuselage"),
    Column("sweep_deg", "number", "sweep of the wing's leading edge, degrees"),
    Column("sweep_sd_deg", "number", "1-sigma error of the sweep, degrees"),
    Column("wing_at", "number", "place of the wing along the fuselage, 0 nose to 1 tail"),
    Column("nacelles", "number", "engine pods that stand out before each wing"),
    Column("fill", "number", "area of the outline over length times wingspan"),
    Column("fill_sd", "number", "1-sigma error of that share"),
    Column("fuselage_m", "number", "width of the fuselage ahead of the wing, metres"),
    Column("fuselage_sd_m", "number", "1-sigma error of that width, metres"),
    Column("aft_width", "number", "what is widest behind the wing, in widths of the fuselage"),
)
MEASURES = tuple(one.name for one in COLUMNS)


FINE_BINS = 96
"""A finer view than the profile's: an engine pod is a thirtieth of the wingspan."""


BODY_ASYMMETRY = 0.4
"""Share of the error of a length that an outline without symmetry has across the fuselage."""


class Params(Strict):
    """`end_px`: 1-sigma error of either end of an outline, in the pixels that it was seen in.
    `nose_px` and `tip_px` are what a contour between pixels loses of the length (pointed ends)
    and of the wingspan.
    `model_sd`: relative error that does not shrink with resolution (tilt, dihedral, a leaning
    tail). `asymmetry_sd`: relative error of an outline with no symmetry at all; what the two sides
    do not share is a shadow, a neighbour or a part that was not seen.
    `swell_px`: what a network's outlines add to length and wingspan of objects of few pixels (of
    the scene, or of the picture where that is coarser), less and less up to `swell_until_px`: a
    blurred edge is drawn outside.
    `heading_at` and `axis_at`: least confidence at which a heading is told, or at least the axis.
    """

    end_px: float = Field(0.5, gt=0)
    nose_px: float = 0.7
    tip_px: float = 0.1
    model_sd: float = Field(0.04, ge=0)
    asymmetry_sd: float = Field(0.16, ge=0)
    swell_px: float = Field(0.0, ge=0)
    swell_until_px: float = Field(45.0, gt=0)
    heading_at: float = Field(0.0, ge=0, le=1)
    axis_at: float = Field(0.0, ge=0, le=1)


POINT_PX, POINT_SD_PX = 0.9, 1.1
"""What an end that runs into a thin point loses besides, and how uncertain that is: the needle
nose of a fighter loses up to 3 pixels, the tip of a light wing less than one.
"""

STAIRS_PX = (0.1, -0.55)
"""The same two for outlines along pixel sides: blunt tips gain by the luckiest of their pixels.
Both pairs were found with silhouettes of known size, drawn at every angle (see the tests)."""


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Measure each object; see `COLUMNS`.

    Lengths are geodesic metres with 1-sigma errors, `heading_deg` the geodesic azimuth from tail
    to nose, clockwise from true north, with `heading_confidence` that it is right to the side of
    the nose, missing where that is too low; `axis_deg` is the same without a side. `symmetry` is
    the mirror IoU about the fuselage, `sweep_deg` (and its 1-sigma error) that of the wing's
    leading edge, `wing_at` its place along the fuselage (0 nose, 1 tail), `nacelles` the engine
    pods that stand out before each wing and `fill` (with its error) the outline's area over length
    times wingspan. `fuselage_m` (with its error) is the width of the fuselage ahead of the wing,
    `aft_width` what is widest between wing and tail, in such widths. Where only a box is known,
    sizes are wide estimates and the rest is missing (NaN).
    """
    result = objects.copy()
    values = {name: np.full(len(objects), np.nan) for name in MEASURES}
    drawn = (objects["outline_source"] == "mask").to_numpy(bool)
    if drawn.any():
        _from_outlines(objects, drawn, values, context, params)
    if (~drawn).any():
        _from_boxes(objects, ~drawn, values, context, params)
    for name in MEASURES:
        result[name] = pd.Series(values[name], index=result.index)
    result["note"] = column(_notes(values, drawn))
    return result


def _from_outlines(
    objects: gpd.GeoDataFrame,
    rows: Bools,
    values: dict[str, Floats],
    context: Context,
    params: Params,
) -> None:
    outlines, stairs = without_stairs(np.asarray(objects["outline"].values, object)[rows])
    pixel = _resolved_px(objects, context)[rows]
    boxes = np.array(objects["box"][rows].tolist(), np.float64).reshape(-1, 4)
    outlines = scaled(outlines, 1 / pixel)
    places = np.flatnonzero(rows)
    for low in range(0, len(outlines), CHUNK):
        context.cancel.check()
        part = slice(low, low + CHUNK)
        found = _measured(outlines[part], stairs[part], pixel[part], boxes[part], context, params)
        for name, value in found.items():
            values[name][places[part]] = value


def _resolved_px(objects: gpd.GeoDataFrame, context: Context) -> Floats:
    """(n,) side of the pixels that an outline errs by, in grid pixels: the picture's that it was
    seen in, or the scene's own where that was enlarged.
    """
    pixel = seen_px(objects)
    own = max(context.place.gsd) / context.grid.gsd
    return np.maximum(pixel, np.minimum(own, 1.0))


def _measured(
    outlines: Shapes,
    stairs: Bools,
    pixel: Floats,
    boxes: Floats,
    context: Context,
    params: Params,
) -> dict[str, Floats]:
    """All of `MEASURES` for n outlines, (n,) each.

    Outlines are in the pixels that they were seen in, whose (n,) sides are `pixel` grid pixels;
    `boxes` (n, 4) are in grid pixels.
    """
    lost = np.where(stairs[:, None], STAIRS_PX, (params.nose_px, params.tip_px)) / 2
    drawn = silhouettes(outlines)
    found = axes(drawn)
    reach = extents(outlines, found.centre, found.angle)
    profiles = _profiles(drawn, found.angle, reach)
    # Read once more from the other end where that end is the nose.
    turned = profiles.nose_first < 0
    nose_angle = found.angle + np.pi * turned
    reach = extents(outlines, found.centre, nose_angle)
    profiles = profiles.where(turned, _profiles(drawn, nose_angle, reach, turned))
    ahead = np.stack([np.cos(nose_angle), np.sin(nose_angle)], axis=1)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    ends = [(ahead, reach.front), (ahead, reach.back), (aside, reach.left), (aside, reach.right)]
    far_ends = [found.centre + way * far[:, None] for way, far in ends]
    inward = [-ahead, ahead, aside, -aside]
    thin = [thinness(outlines, end, way) for end, way in zip(far_ends, inward, strict=True)]
    more = [lost[:, 0] + POINT_PX * thin[0], lost[:, 0] + POINT_PX * thin[1]]
    more += [lost[:, 1] + POINT_PX / 3 * thin[2], lost[:, 1] + POINT_PX / 3 * thin[3]]
    nose, tail, left, right = (
        end - way * far[:, None] for end, way, far in zip(far_ends, inward, more, strict=True)
    )
    outward: Floats = -np.stack(inward)
    tips: Floats = np.stack([nose, tail, left, right])
    short = missed(tips, outward, bounds(outlines), boxes, pixel)
    # The object ends anywhere between the outline's end and the box: the middle is taken.
    nose, tail = (tips[i] + outward[i] * short[i][:, None] / 2 for i in (0, 1))
    on_grid = [end * pixel[:, None] for end in (tail, nose, left, right)]
    length, span = context.distance_m(*on_grid[:2]), context.distance_m(*on_grid[2:])
    gsd = length / np.maximum(np.hypot(*(nose - tail).T), 1e-9)
    axis_right = 1 / (1 + np.exp(-20 * (found.symmetry - found.rival)))
    noise = np.sqrt(2) * params.end_px * gsd
    mixed = (1 - axis_right) * (length - span) ** 2
    model_sd = np.hypot(params.model_sd, params.asymmetry_sd * (1 - found.symmetry))
    uneven = 0.35 * np.abs(reach.right + reach.left) * gsd
    blur_length, blur_span = (POINT_SD_PX * np.hypot(thin[i], thin[i + 1]) * gsd for i in (0, 2))
    unseen = np.hypot(short[0], short[1]) / np.sqrt(12) * gsd
    length_px, span_px = reach.front - reach.back, reach.right - reach.left
    nose_right = 1 / (1 + np.exp(-1.4 * np.maximum(profiles.nose_first, 0)))
    fine = upright(drawn.stack, nose_angle, FINE_BINS)
    body = fuselage(
        fine,
        short[0] / 2 / drawn.reach,
        (length_px + (short[0] + short[1]) / 2) / drawn.reach,
        span_px / drawn.reach,
        span_px,
    )
    wide = drawn.reach * gsd
    blurred = BODY_ASYMMETRY * params.asymmetry_sd * (1 - found.symmetry) * length
    fade = [np.exp(-((n / params.swell_until_px) ** 4)) for n in (length_px, span_px)]
    azimuth = context.azimuth_deg(*on_grid[:2])
    return {
        "length_m": np.maximum(length - params.swell_px * fade[0] * gsd, gsd),
        "wingspan_m": np.maximum(span - params.swell_px * fade[1] * gsd, gsd),
        "length_sd_m": np.sqrt(
            noise**2 + (model_sd * length) ** 2 + mixed + blur_length**2 + unseen**2
        ),
        "wingspan_sd_m": np.sqrt(
            noise**2 + (model_sd * span) ** 2 + mixed + uneven**2 + blur_span**2
        ),
        "heading_deg": np.where(axis_right * nose_right >= params.heading_at, azimuth, np.nan),
        "axis_deg": np.where(axis_right >= params.axis_at, azimuth % 180, np.nan),
        "heading_confidence": axis_right * nose_right,
        "symmetry": found.symmetry,
        "sweep_deg": profiles.sweep_deg,
        "sweep_sd_deg": np.hypot(4.0, 200.0 / np.maximum(span_px, 1.0)),
        "wing_at": profiles.wing_at,
        "nacelles": nacelles(fine, span_px / drawn.reach, 1 / drawn.reach, span_px),
        "fill": shapely.area(outlines) * gsd**2 / np.maximum(length * span, 1e-9),
        # A rim that runs 0.35 pixel too far out or in adds that much all around.
        "fill_sd": 0.7 / np.maximum(length_px, 1.0) + 0.7 / np.maximum(span_px, 1.0),
        "fuselage_m": body.width * wide,
        "fuselage_sd_m": np.hypot(np.hypot(0.7 * gsd, body.uneven * wide), blurred),
        "aft_width": body.aft,
    }


def _profiles(
    drawn: Silhouettes, angle: Floats, reach: Extent, some: Bools | None = None
) -> Profile:
    """Profiles of all silhouettes, or those of `some`."""
    pick = slice(None) if some is None else some
    length, span = (
        (reach.front - reach.back) / drawn.reach,
        (reach.right - reach.left) / drawn.reach,
    )
    return profile(upright(drawn.stack[pick], angle[pick]), length[pick], span[pick])


def _from_boxes(
    objects: gpd.GeoDataFrame,
    rows: Bools,
    values: dict[str, Floats],
    context: Context,
    params: Params,
) -> None:
    x0, y0, x1, y1 = bounds(objects.geometry.values)[rows].T
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    width = context.distance_m(np.stack([x0, middle_y], axis=1), np.stack([x1, middle_y], axis=1))
    height = context.distance_m(np.stack([middle_x, y0], axis=1), np.stack([middle_x, y1], axis=1))
    gsd = np.sqrt(width * height / np.maximum((x1 - x0) * (y1 - y0), 1e-9))
    sizes = from_boxes(width, height)
    noise = np.sqrt(2) * params.end_px * gsd * 2  # a box is drawn less well than an outline
    values["length_m"][rows] = sizes.length
    values["wingspan_m"][rows] = sizes.span
    values["length_sd_m"][rows] = np.hypot(sizes.length_sd, noise)
    values["wingspan_sd_m"][rows] = np.hypot(sizes.span_sd, noise)


def _notes(values: dict[str, Floats], drawn: Bools) -> list[str]:
    names = ("length_m", "wingspan_m", "fuselage_m", "heading_deg", "heading_confidence")
    notes = []
    for fine, *row in zip(drawn, *(values[name] for name in names), strict=True):
        length, span, wide, heading, sure = row
        if fine:
            body = f", fuselage {wide:.1f} m" if np.isfinite(wide) else ""
            way = f"heading {heading:.0f}" if np.isfinite(heading) else "heading not known"
            notes.append(f"{length:.1f} x {span:.1f} m{body}, {way} (nose {sure:.0%} sure)")
        else:
            notes.append(f"about {length:.0f} x {span:.0f} m, from the box alone")
    return notes
