"""What cannot be an aircraft at its size is rejected, with the reason."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from pydantic import Field, model_validator

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.frame import column
from postprocess.shapes import Floats, area, bounds

BY_SIZE = True


class Params(Strict):
    """Limits in metres and ratios; a size is only out when it is so by `margin_sd` of its own
    error. The largest aircraft built is 84 m by 88 m, the smallest crewed ones about 4 m.
    """

    length_m: tuple[float, float] = (4.0, 90.0)
    wingspan_m: tuple[float, float] = (3.5, 100.0)
    span_per_length: tuple[float, float] = (0.3, 4.0)
    fill: tuple[float, float] = (0.1, 0.9)
    margin_sd: float = Field(2.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        for name in ("length_m", "wingspan_m", "span_per_length", "fill"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                raise ValueError(f"{name} must rise from 0 or more, got {[low, high]}")
        return self


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Set `rejected` where length, wingspan, their ratio or the filled area says no.

    The area is that of the mask's outline over its length times wingspan: an aircraft fills a
    quarter to a half, a square shed all of it, a pole next to nothing. Needs the columns of
    `orient`.
    """
    result = objects.copy()
    length, span = _numbers(objects, "length_m"), _numbers(objects, "wingspan_m")
    length_sd, span_sd = _numbers(objects, "length_sd_m"), _numbers(objects, "wingspan_sd_m")
    ratio = span / np.maximum(length, 1e-9)
    ratio_sd = ratio * np.hypot(
        length_sd / np.maximum(length, 1e-9), span_sd / np.maximum(span, 1e-9)
    )
    fill = _fill(objects)
    tests = (
        ("length", "m", length, length_sd, params.length_m),
        ("wingspan", "m", span, span_sd, params.wingspan_m),
        ("wingspan over length", "", ratio, ratio_sd, params.span_per_length),
        ("filled share", "", fill, np.zeros_like(fill), params.fill),
    )
    reasons = objects["rejected"].tolist()
    for name, unit, value, sd, (low, high) in tests:
        slack = params.margin_sd * sd
        for row in np.flatnonzero((value + slack < low) | (value - slack > high)).tolist():
            if reasons[row] is None:
                reasons[row] = (
                    f"{name} {value[row]:.2f} +- {sd[row]:.2f} {unit}".strip()
                    + f" is not within {low:g} to {high:g}"
                )
    result["rejected"] = column(reasons)
    result["note"] = column(
        ["an aircraft could be this size" if reason is None else reason for reason in reasons]
    )
    return result


def _fill(objects: gpd.GeoDataFrame) -> Floats:
    """Outline area over length times wingspan, in pixels through the box's own scale; NaN for
    objects without an outline, which no limit rejects.
    """
    drawn = (objects["outline_source"] == "mask").to_numpy(bool)
    fill = np.full(len(objects), np.nan)
    outlines = np.asarray(objects["outline"].values, object)[drawn]
    # The least rotated rectangle is the same on any scale and needs no metres.
    around = shapely.area(shapely.minimum_rotated_rectangle(outlines))
    around = np.where(around > 0, around, area(bounds(outlines)))
    fill[drawn] = shapely.area(outlines) / np.maximum(around, 1e-9)
    return fill


def _numbers(objects: gpd.GeoDataFrame, name: str) -> Floats:
    return np.asarray(objects[name].to_numpy(np.float64), np.float64)
