"""What a name says of a file: a raster, a list, a catalogue, or nothing that is wanted."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote

from tiling.names import beginning

RASTERS = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".ntf", ".nitf", ".img")
LISTS = (".txt", ".csv")
DOCUMENTS = (".json", ".geojson")
TABLES = (".parquet", ".geoparquet")

KINDS = (
    "a folder, a pattern such as archive/2024-*/*.tif, a raster, a list (.txt, .csv), a STAC "
    "document (.json), a STAC API, a GeoParquet of STAC items (.parquet), an s3:// address or an "
    "https:// address of a directory listing"
)
"""Every kind of source there is, for messages."""


def ending(source: str) -> str:
    """The ending of a path or of an address's path, in small letters, with its dot."""
    return posixpath.splitext(file_name(source))[1].lower()


def file_name(source: str) -> str:
    """The last part of a path or address, as people would write it; empty for a folder's."""
    if beginning(source) not in ("http://", "https://"):  # in an S3 key nothing is escaped
        return source.rpartition("/")[2]
    path = re.split("[?#]", source, maxsplit=1)[0].partition("://")[2]
    return unquote(path.rpartition("/")[2]) if "/" in path else ""


def stem(source: str) -> str:
    """The file name without its ending."""
    return posixpath.splitext(file_name(source))[0]


def is_raster(name: str) -> bool:
    """Whether a file's name is that of a raster that a folder is searched for.

    Sidecars (.ovr, .msk, .aux.xml) have endings of their own; hidden files are none.
    """
    return not is_hidden(name) and name.lower().endswith(RASTERS)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is meant to be left alone."""
    return name.startswith(".")
