"""What a raster's bands are called, from their descriptions, colour interpretation or order."""

from __future__ import annotations

from dataclasses import dataclass

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from lanner.core.errors import BandError
from tiling.band_names import folded, known_name, last_word, says_nothing
from tiling.palette import Palette

RGB = ("red", "green", "blue")

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


@dataclass(frozen=True)
class Bands:
    """Names of the data bands in file order, their 1-based indices, and the alpha band's.

    Of a raster of palette numbers the bands are its colours (`tiling.raw.Source`).
    """

    names: tuple[str, ...]
    indices: tuple[int, ...]
    alpha: int | None


def name_bands(dataset: DatasetReader, uri: str) -> Bands:
    """Name every band of an open raster; `uri` is its name for messages.

    A description that is known counts first, in any of the languages of `tiling.band_names`, or
    at the end of longer ones where these tell red, green and blue apart; then the colour
    interpretation, and last a description as it is. Where nothing says anything, three or more
    bands are red, green, blue and `bandN`, and a single band is gray. The colours of palette
    numbers are red, green and blue, or gray where all are. The alpha band is set apart: it is
    validity, not data.

    Raises:
        BandError: descriptions that are no UTF-8; to pass them over could swap colours.
    """
    try:
        described = [folded(text or "") for text in dataset.descriptions]
    except UnicodeDecodeError as error:
        raise BandError(
            "bands",
            ascii(error.object),
            f"{uri} has band descriptions that are no UTF-8",
            "write them anew with gdal_edit.py or rio edit-info",
        ) from error
    interps = dataset.colorinterp
    palette = Palette.of(dataset)
    if palette is not None:
        alpha = 2 if ColorInterp.alpha in interps else None
        names = ("gray",) if palette.is_gray else RGB
        return Bands(names, tuple(range(1, len(names) + 1)), alpha)
    named = _merged_names(described, [_INTERPRETED.get(interp) for interp in interps])
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
    found: list[str] = []
    for index in data:
        name = named[index - 1] or f"band{index}"
        found.append(f"{name}{index}" if name in found else name)
    return Bands(tuple(found), tuple(data), alpha)


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


def _merged_names(described: list[str], interpreted: list[str | None]) -> list[str | None]:
    """Names from folded descriptions and colour interpretations; None where neither says any."""
    known = [known_name(text) for text in described]
    ends = [name or last_word(text) for name, text in zip(known, described, strict=True)]
    if set(RGB) <= set(ends):
        known = ends
    # Software sets interpretations by the number of bands alone: where one contradicts what is
    # known, the others do not outdo a description either.
    pairs = zip(known, interpreted, strict=True)
    trusted = all(name is None or interp in (None, name) for name, interp in pairs)
    return [
        name
        or (interp if trusted or says_nothing(text) else None)
        or (None if says_nothing(text) else text)
        or interp
        for name, interp, text in zip(known, interpreted, described, strict=True)
    ]
