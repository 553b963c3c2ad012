"""A QGIS style beside every output: accepted in green, to review in orange."""

from __future__ import annotations

import glob
import xml.etree.ElementTree as ET
from pathlib import Path

import geopandas as gpd

from lanner.core.errors import Argument
from lanner.core.files import followed, replacing

RASTERS = (".tif", ".tiff", ".jp2", ".j2k", ".png", ".jpg", ".jpeg", ".ntf", ".nitf", ".img")
"""Endings of the rasters that are scenes."""

COLOURS = {
    "accept": ("accepted", "38,160,90,255"),
    "review": ("to review", "240,140,20,255"),
}


def _shares_style_file(path: Path) -> bool:
    """Whether a raster of the same name lies beside `path`: QGIS gives one .qml to both."""
    return any(
        one.suffix.lower() in RASTERS and one.is_file()
        for one in followed(path).parent.glob(f"{glob.escape(path.stem)}.*")
    )


def write_style(path: Path, frame: gpd.GeoDataFrame) -> None:
    """Write `path` with the ending .qml, which QGIS loads by itself.

    One that is there stays, since somebody may have edited it, unless it is as this wrote it.
    None is written for an empty frame, since nothing tells whether lines or areas come later, and
    where a raster would get it too.

    Raises:
        OutputError: it cannot be written.
    """
    wanted = style_of(frame)
    if wanted is None or _shares_style_file(path):
        return
    target = followed(path.with_suffix(".qml"))
    if target.exists() and _held(target) not in (style(lines=True), style(lines=False)):
        return
    with replacing(target, Argument("path")) as beside:
        beside.write_bytes(wanted)


def style_of(frame: gpd.GeoDataFrame) -> bytes | None:
    """The style of a frame's features; None where there are none."""
    if not len(frame):
        return None
    return style(lines=bool(frame.geom_type.str.contains("LineString").any()))


def _held(path: Path) -> bytes | None:
    """What a file holds; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def style(*, lines: bool) -> bytes:
    """The style as XML: a colour a decision, for lines or for areas."""
    root = ET.Element("qgis", version="3.28.0", styleCategories="Symbology")
    renderer = ET.SubElement(
        root,
        "renderer-v2",
        type="categorizedSymbol",
        attr="decision",
        symbollevels="0",
        enableorderby="0",
        forceraster="0",
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for position, (value, (label, colour)) in enumerate(COLOURS.items()):
        name = str(position)
        ET.SubElement(
            categories,
            "category",
            value=value,
            label=label,
            symbol=name,
            render="true",
            type="string",
        )
        symbol = ET.SubElement(
            symbols,
            "symbol",
            type="line" if lines else "fill",
            name=name,
            alpha="1",
            clip_to_extent="1",
            force_rhr="0",
        )
        layer = ET.SubElement(
            symbol,
            "layer",
            {"class": "SimpleLine" if lines else "SimpleFill"},
            enabled="1",
            locked="0",
            **{"pass": "0"},
        )
        options = ET.SubElement(layer, "Option", type="Map")
        for key, text in _options(colour, lines=lines).items():
            ET.SubElement(options, "Option", type="QString", name=key, value=text)
    ET.indent(root, " ")
    head = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return (head + ET.tostring(root, encoding="unicode") + "\n").encode("utf-8")


def _options(colour: str, *, lines: bool) -> dict[str, str]:
    if lines:
        return {"line_color": colour, "line_width": "0.6", "line_width_unit": "MM"}
    faint = colour.rsplit(",", 1)[0] + ",40"
    return {
        "color": faint,
        "style": "solid",
        "outline_color": colour,
        "outline_style": "solid",
        "outline_width": "0.5",
        "outline_width_unit": "MM",
    }
