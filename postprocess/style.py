"""A QGIS style for every output: accepted in green and on top, to review in orange, with labels,
map tips and a name for each feature.
"""

from __future__ import annotations

import glob
import hashlib
import xml.etree.ElementTree as ET
from pathlib import Path

import geopandas as gpd

from lanner.core.errors import Argument
from lanner.core.files import followed, replacing
from lanner.core.schema import Schema

RASTERS = (".tif", ".tiff", ".jp2", ".j2k", ".png", ".jpg", ".jpeg", ".ntf", ".nitf", ".img")
"""Endings of the rasters that are scenes."""

_MARK = b"<!--lanner "

_CATEGORIES = "Symbology|Labeling|Fields|Forms|MapTips|AttributeTable"

COLOURS = {
    "accept": ("accepted", "38,160,90,255"),
    "review": ("to review", "240,140,20,255"),
}


_LABEL = {
    # A type is told with its own probability, not with that of the object.
    False: """coalesce(attribute('family'), "label") || ' ' || round("confidence" * 100) || ' %'
|| if(attribute('type_probability') >= 0.5, '\n' || attribute('type') || ' '
|| round(attribute('type_probability') * 100) || ' %', '')""",
    True: """coalesce(attribute('road_class'), "label")""",
}
"""Labels of areas and of lines; `attribute` is null where a layer has no such column."""

_MAP_TIP = """<b>[% coalesce(attribute('family'), attribute('road_class'), "label") %]</b><br>
confidence [% round("confidence" * 100) %] %, [% "decision" %]
[% coalesce('<br>' || attribute('reason'), '') %]
[% coalesce('<br>likely ' || attribute('type') || ' ' || attribute('type_name') || ', '
|| round(attribute('type_probability') * 100) || ' %', '') %]
[% coalesce('<br>length ' || round(attribute('length_m'), 1) || ' m', '') %]
[% coalesce('<br>wingspan ' || round(attribute('wingspan_m'), 1) || ' m', '') %]
[% coalesce('<br>width ' || round(attribute('width_m'), 1) || ' m', '') %]"""

_NAME = """coalesce(attribute('family'), attribute('road_class'), "label") || ' '
|| round("confidence" * 100) || ' %'"""
"""What QGIS calls a feature in forms and results."""

_LABEL_SCALE = 20_000
"""Labels are drawn from 1 to this on."""


CANDIDATES = {"candidate": ("not worth a look", "120,120,120,255")}
"""The same for what was left out."""


def _shares_style_file(path: Path) -> bool:
    """Whether a raster of the same name lies beside `path`: QGIS gives one .qml to both."""
    return any(
        one.suffix.lower() in RASTERS and one.is_file()
        for one in followed(path).parent.glob(f"{glob.escape(path.stem)}.*")
    )


def write_style(path: Path, wanted: bytes | None) -> None:
    """Write `path` with the ending .qml, which QGIS loads by itself.

    One that is there stays, since somebody may have edited it, unless it is as this wrote it.
    None is written where a raster would get it too.

    Raises:
        OutputError: it cannot be written.
    """
    if wanted is None or _shares_style_file(path):
        return
    target = followed(path.with_suffix(".qml"))
    if target.exists() and not is_unedited(_held(target)):
        return
    with replacing(target, Argument("path")) as beside:
        beside.write_bytes(wanted)


def style_of(frame: gpd.GeoDataFrame, schema: Schema | None = None) -> bytes | None:
    """The style of a frame's features; None where neither they nor a schema tell their kind."""
    if not len(frame):
        return None if schema is None else style(lines=schema.geometry == "LineString")
    candidates = "decision" in frame and bool((frame["decision"] == "candidate").all())
    lines = bool(frame.geom_type.str.contains("LineString").any())
    return style(lines=lines, candidates=candidates)


def _held(path: Path) -> bytes:
    """What a file holds; nothing where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def is_unedited(held: bytes) -> bool:
    """Whether a style is as this or another version of Lanner wrote it.

    Each ends in a comment with its checksum, which no program keeps that saves it again.
    """
    body, mark, _ = held.rpartition(_MARK)
    return bool(mark) and held == _marked(body)


def _marked(body: bytes) -> bytes:
    return body + _MARK + hashlib.sha256(body).hexdigest()[:16].encode() + b"-->\n"


def style(*, lines: bool, candidates: bool = False) -> bytes:
    """The style as XML (QGIS 3.22 and later): a colour a decision, for lines or for areas.

    Args:
        lines: whether features are lines.
        candidates: whether they are what was left out.
    """
    root = ET.Element("qgis", version="3.22.0", styleCategories=_CATEGORIES)
    renderer = ET.SubElement(
        root,
        "renderer-v2",
        type="categorizedSymbol",
        attr="decision",
        symbollevels="0",
        enableorderby="1",
        forceraster="0",
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    colours = CANDIDATES if candidates else COLOURS
    for position, (value, (label, colour)) in enumerate(colours.items()):
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
    order = ET.SubElement(renderer, "orderby")
    clause = ET.SubElement(order, "orderByClause", asc="1", nullsFirst="1")
    clause.text = "\"decision\" = 'accept'"  # drawn last, on top
    _add_labels(root, lines=lines)
    ET.SubElement(root, "previewExpression").text = _NAME
    ET.SubElement(root, "mapTip").text = _MAP_TIP
    ET.SubElement(root, "attributetableconfig", sortExpression='"decision"', sortOrder="0")
    ET.indent(root, " ")
    head = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return _marked((head + ET.tostring(root, encoding="unicode") + "\n").encode("utf-8"))


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


def _add_labels(root: ET.Element, *, lines: bool) -> None:
    labeling = ET.SubElement(root, "labeling", type="simple")
    settings = ET.SubElement(labeling, "settings")
    text = ET.SubElement(
        settings,
        "text-style",
        fieldName=_LABEL[lines],
        isExpression="1",
        fontSize="8",
        fontSizeUnit="Point",
        textColor="20,20,20,255",
        multilineHeight="1",
    )
    ET.SubElement(
        text,
        "text-buffer",
        bufferDraw="1",
        bufferSize="0.8",
        bufferSizeUnits="MM",
        bufferColor="255,255,255,220",
    )
    # Beside areas, along lines.
    ET.SubElement(settings, "placement", placement="2" if lines else "8", dist="1")
    ET.SubElement(
        settings,
        "rendering",
        scaleVisibility="1",
        scaleMin="0",
        scaleMax=str(_LABEL_SCALE),
        mergeLines="1" if lines else "0",
    )
