"""Which type each aircraft is likely to be, and the family that is sure."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.schema import Column
from postprocess.aircraft import evidence, size_fit
from postprocess.aircraft.catalogue import ROOT, Catalogue, read_catalogue
from postprocess.chain_files import FileName
from postprocess.context import Context
from postprocess.frame import column
from postprocess.shapes import Floats

COLUMNS = (
    Column("type", "text", "ICAO designator of the most likely type"),
    Column("type_name", "text", "its name"),
    Column("type_probability", "number", "how likely it is that one"),
    Column("family", "text", "deepest family of the taxonomy that is sure"),
    Column("family_probability", "number", "how likely it belongs there"),
    Column("types", "json", "likely types: icao, name, probability; best first"),
    Column("taxonomy", "json", "path from the root to the family, its name and probability"),
)

SMALLER = 2.0
"""Power by which the temperature rises towards few pixels, as found on rendered scenes."""

CHUNK = 128
"""Objects at once against the whole catalogue: a megabyte for each of some ten arrays."""


class Params(Strict):
    """`top`: types told. `sure`: probability a level of the taxonomy needs. `prior_power`: how
    much numbers built count (0 not at all, 1 in full), `retired` what a type out of service
    counts for. `shape_weight`: how much the wing's sweep and place, its engine pods, the filled
    share and the fuselage count. `temperature`: what the logarithms of probabilities are divided by
    (Guo et al., 2017, "On Calibration of Modern Neural Networks"), below 1 the first is surer;
    an object of `small_px` pixels of the scene has twice that, since its shape says less.
    `catalogue` and `taxonomy` name files: of the release, or paths
    relative to configs/.
    """

    top: int = Field(10, ge=1)
    sure: float = Field(0.8, gt=0.5, le=1)
    prior_power: float = Field(0.35, ge=0, le=1)
    retired: float = Field(0.2, gt=0, le=1)
    shape_weight: float = Field(0.7, ge=0, le=1)
    temperature: float = Field(1.0, gt=0)
    small_px: float = Field(0.0, ge=0)
    catalogue: FileName = "types.yaml"
    taxonomy: FileName = "taxonomy.yaml"


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Add `types` and `taxonomy` from the columns that `orient` measured, and what is first there.

    `types` lists {icao, name, probability}, best first. `taxonomy` is {path, name, probability}:
    the names from 'aircraft' down to the deepest level that is sure, which may be one type.

    Raises:
        ConfigError: the catalogue cannot be read.
    """
    catalogue = read_catalogue(context.file(params.catalogue), context.file(params.taxonomy))
    weights = evidence.prior(catalogue, params.prior_power, params.retired)
    types: list[list[dict[str, Any]]] = []
    levels: list[dict[str, Any]] = []
    families: list[tuple[str, float]] = []
    for low in range(0, len(objects), CHUNK):
        context.cancel.check()
        part = objects.iloc[low : low + CHUNK]
        temperature = _temperature(part, context, params)
        probability = _posterior(part, catalogue, weights, temperature, params)
        types += _best(probability, catalogue, params.top)
        for level, family in _levels(probability, catalogue, params.sure):
            levels.append(level)
            families.append(family)
    result = objects.copy()
    result["type"] = column([best[0]["icao"] for best in types])
    result["type_name"] = column([best[0]["name"] for best in types])
    result["type_probability"] = np.array([best[0]["probability"] for best in types], np.float64)
    result["family"] = column([name for name, _ in families])
    result["family_probability"] = np.array([value for _, value in families], np.float64)
    result["types"] = column(types)
    result["taxonomy"] = column(levels)
    result["note"] = column(
        [
            f"{level['name']} ({level['probability']:.0%}), "
            f"most likely {best[0]['icao']} ({best[0]['probability']:.0%})"
            for level, best in zip(levels, types, strict=True)
        ]
    )
    return result


def size_likelihood(
    objects: gpd.GeoDataFrame, context: Context, params: Params, factors: Floats
) -> Floats:
    """(n, factors) log likelihood of what `orient` measured, were the scene's ground sampling
    `factor` times the one that was assumed; comparable along each row.

    Raises:
        ConfigError: the catalogue cannot be read.
    """
    catalogue = read_catalogue(context.file(params.catalogue), context.file(params.taxonomy))
    weights = evidence.prior(catalogue, params.prior_power, params.retired)
    pods = evidence.pods(catalogue, _numbers(objects, "nacelles"))
    measures = _measures(objects)
    return size_fit.size_likelihood(
        catalogue, measures, pods, weights, params.shape_weight, factors
    )


def _posterior(
    part: gpd.GeoDataFrame,
    catalogue: Catalogue,
    weights: Floats,
    temperature: Floats,
    params: Params,
) -> Floats:
    measures = _measures(part)
    shape = params.shape_weight * evidence.wing_shapes(catalogue, measures)
    log = weights + evidence.size_and_shape(catalogue, measures, shape)
    log = log + params.shape_weight * evidence.pods(catalogue, _numbers(part, "nacelles"))
    log = log + params.shape_weight * evidence.body(catalogue, measures)
    return evidence.posterior(log / temperature[:, None])


def _measures(objects: gpd.GeoDataFrame) -> evidence.Measures:
    return evidence.Measures(
        length=_numbers(objects, "length_m"),
        span=_numbers(objects, "wingspan_m"),
        length_sd=_numbers(objects, "length_sd_m"),
        span_sd=_numbers(objects, "wingspan_sd_m"),
        sweep=_numbers(objects, "sweep_deg"),
        sweep_sd=_numbers(objects, "sweep_sd_deg"),
        wing_at=_numbers(objects, "wing_at"),
        fill=_numbers(objects, "fill"),
        fill_sd=_numbers(objects, "fill_sd"),
        fuselage=_numbers(objects, "fuselage_m"),
        fuselage_sd=_numbers(objects, "fuselage_sd_m"),
        aft=_numbers(objects, "aft_width"),
    )


def _numbers(objects: gpd.GeoDataFrame, name: str) -> Floats:
    return np.asarray(objects[name].to_numpy(np.float64), np.float64)


def _temperature(part: gpd.GeoDataFrame, context: Context, params: Params) -> Floats:
    """(n,) temperature of each object by its longer side in pixels of the scene."""
    temperature = np.full(len(part), params.temperature)
    if params.small_px == 0:
        return temperature
    side = np.fmax(part["length_m"].to_numpy(np.float64), part["wingspan_m"].to_numpy(np.float64))
    pixels = np.maximum(side / max(context.place.gsd), 1.0)
    rise: Floats = 1 + (params.small_px / pixels) ** SMALLER
    return temperature * rise


def _best(probability: Floats, catalogue: Catalogue, top: int) -> list[list[dict[str, Any]]]:
    # Rounded first, so that equal numbers are in the catalogue's order on every machine.
    rounded = np.round(probability, 4)
    order = np.argsort(-rounded, axis=1, kind="stable")[:, :top]
    chosen = np.take_along_axis(rounded, order, axis=1)
    return [
        [
            {"icao": catalogue.types[i].icao, "name": catalogue.types[i].name, "probability": p}
            for i, p in zip(row, values, strict=True)
            if p > 0 or i == row[0]
        ]
        for row, values in zip(order.tolist(), chosen.tolist(), strict=True)
    ]


def _levels(
    probability: Floats, catalogue: Catalogue, sure: float
) -> list[tuple[dict[str, Any], tuple[str, float]]]:
    """The deepest level that is sure, which may be a type, and the deepest family with its own
    probability, of each of (n, types) objects.
    """
    names = sorted(catalogue.families, key=lambda name: (len(catalogue.path(name)), name))
    share = np.round(np.stack([probability[:, catalogue.within[n]].sum(axis=1) for n in names]), 4)
    single = np.round(probability, 4)
    best = single.argmax(axis=1)
    levels = []
    for row in range(len(probability)):
        # Families come root first: the last that is sure is the deepest, and as `sure` is more
        # than one half there is but one a level.
        deepest = max((i for i in range(len(names)) if share[i, row] >= sure), default=0)
        family = names[deepest] if share[deepest, row] >= sure else ROOT
        kind = catalogue.types[int(best[row])]
        type_sure = single[row, best[row]] >= sure
        if type_sure:
            family = kind.family
        path = [catalogue.families[name].name for name in catalogue.path(family)]
        value = min(float(share[names.index(family), row]), 1.0)
        known = path[-1], value
        if type_sure:
            path, value = [*path, kind.name], min(float(single[row, best[row]]), 1.0)
        levels.append(({"path": path, "name": path[-1], "probability": value}, known))
    return levels
