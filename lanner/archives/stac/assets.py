"""Output files as assets of an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from lanner.archives.records import BatchRecord
from lanner.archives.stac.hrefs import joined

GEOJSON = "application/geo+json"
_LABELS = ("data", "labels", "labels-vector")
_TYPES: dict[str, tuple[str, tuple[str, ...]]] = {
    ".geojson": (GEOJSON, _LABELS),
    ".json": (GEOJSON, _LABELS),
    ".gpkg": ("application/geopackage+sqlite3", ("data",)),
    ".fgb": ("application/vnd.flatgeobuf", ("data",)),
    ".parquet": ("application/vnd.apache.parquet", ("data",)),
    ".png": ("image/png", ("overview",)),
    ".qml": ("application/xml", ("metadata",)),
}
"""Media type and roles by ending: labels of vectors are GeoJSON to the label extension."""


def assets_of(records: Sequence[BatchRecord], root: str) -> dict[str, dict[str, Any]]:
    """The output files of a scene, by detector and kind of file.

    Args:
        records: of one scene, all done.
        root: address of the batch's folder, as the item names it.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in records:
        for file in one.outcome.outputs if one.outcome is not None else ():
            path = PurePosixPath(file)
            kind, roles = _TYPES.get(path.suffix.lower(), ("", ("data",)))
            found[_key(f"{one.detector}-{path.suffix[1:].lower() or path.name}", found)] = {
                "href": joined(root, file),
                **({"type": kind} if kind else {}),
                "title": f"{one.detector}: {path.name}",
                "roles": list(roles),
            }
    return found


def _key(wanted: str, taken: dict[str, dict[str, Any]]) -> str:
    """A key that no other asset has."""
    key, n = wanted, 1
    while key in taken:
        n += 1
        key = f"{wanted}-{n}"
    return key
