"""What a raster's bands are called, from their descriptions, colour interpretation or order."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from lanner.core.errors import BandError

RGB = ("red", "green", "blue")

_SYNONYMS = {
    "red": "red",
    "r": "red",
    "green": "green",
    "g": "green",
    "blue": "blue",
    "b": "blue",
    "nir": "nir",
    "nir1": "nir",
    "near infrared": "nir",
    "near ir": "nir",
    "nearinfrared": "nir",
    "red edge": "rededge",
    "rededge": "rededge",
    "coastal": "coastal",
    "coastal blue": "coastal",
    "coastal aerosol": "coastal",
    "gray": "gray",
    "grey": "gray",
    "pan": "gray",
    "panchromatic": "gray",
    "luminance": "gray",
    "alpha": "alpha",
    # Sentinel-2 and the harmonised Landsat set: the leading zero is theirs alone.
    "b02": "blue",
    "b03": "green",
    "b04": "red",
    "b08": "nir",
}
_INTERPRETED = {
    ColorInterp.red: "red",
    ColorInterp.green: "green",
    ColorInterp.blue: "blue",
    ColorInterp.alpha: "alpha",
    ColorInterp.nir: "nir",
    ColorInterp.rededge: "rededge",
    ColorInterp.coastal: "coastal",
    ColorInterp.pan: "gray",
    ColorInterp.swir: "swir",
}
# What software writes when it has nothing to say.
_EMPTY = re.compile(r"(band|layer|channel|b)?[ _-]?[1-9]?\d*")


@dataclass(frozen=True)
class Bands:
    """Names of the data bands in file order, their 1-based indices, and the alpha band's."""

    names: tuple[str, ...]
    indices: tuple[int, ...]
    alpha: int | None


def name_bands(dataset: DatasetReader, uri: str) -> Bands:
    """Name every band of an open raster; `uri` is its name for messages.

    A description counts before the colour interpretation. Where neither says anything, three or
    more bands are red, green, blue and `bandN`, and a single band is gray. The alpha band is
    set apart: it is validity, not data.

    Raises:
        BandError: descriptions that are no UTF-8; to pass them over could swap colours.
    """
    try:
        described = [_described(text) for text in dataset.descriptions]
    except UnicodeDecodeError as error:
        raise BandError(
            "bands",
            ascii(error.object),
            f"{uri} has band descriptions that are no UTF-8",
            "write them anew with gdal_edit.py or rio edit-info",
        ) from error
    interps = dataset.colorinterp
    named = [d or _INTERPRETED.get(i) for d, i in zip(described, interps, strict=True)]
    alpha = next((i for i, c in enumerate(interps, 1) if c == ColorInterp.alpha), None)
    if alpha is None and dataset.count > 1 and "alpha" in named:
        alpha = named.index("alpha") + 1
    data = [i for i in range(1, dataset.count + 1) if i != alpha]
    if not any(named[i - 1] for i in data):
        if len(data) >= 3:
            for index, name in zip(data, RGB, strict=False):
                named[index - 1] = name
        elif len(data) == 1:
            named[data[0] - 1] = "gray"
    names: list[str] = []
    for index in data:
        name = named[index - 1] or f"band{index}"
        names.append(f"{name}{index}" if name in names else name)
    return Bands(tuple(names), tuple(data), alpha)


def choose(found: Bands, wanted: tuple[str, ...], uri: str) -> tuple[int, ...]:
    """The 1-based file bands for the wanted names; a lone band serves every colour.

    Raises:
        BandError: a wanted band is not there.
    """
    if len(found.names) == 1 and set(wanted) <= {*RGB, "gray", found.names[0]}:
        return found.indices * len(wanted)
    missing = [name for name in wanted if name not in found.names]
    if missing:
        raise BandError(
            "bands",
            ",".join(wanted),
            f"{uri} has no {', '.join(missing)} band, only {', '.join(found.names)}",
            "name its bands with band descriptions (gdal_edit.py or rio edit-info), "
            "or use a detector for the bands it has",
        )
    return tuple(found.indices[found.names.index(name)] for name in wanted)


def _described(text: str | None) -> str | None:
    """The canonical name of a description, or None where it says nothing."""
    plain = re.sub(r"[\s_-]+", " ", (text or "").strip().lower())
    # GDAL's own of Sentinel-2: "B4, central wavelength 665 nm".
    plain = re.sub(r", central wavelength .*", "", plain)
    if plain in _SYNONYMS:
        return _SYNONYMS[plain]
    bare = re.sub(r"^b(and)? ?\d+ ?[:(]? ?|^band | band$|\)$", "", plain).strip()
    if bare in _SYNONYMS:
        return _SYNONYMS[bare]
    return None if _EMPTY.fullmatch(plain) else plain
