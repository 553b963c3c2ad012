"""STAC items as rows of a GeoParquet file, in the layout of stac-geoparquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lanner.archives.sources.entries import Entries, Search
from lanner.archives.sources.items import scene_of
from lanner.archives.sources.reading import read
from lanner.archives.sources.unread import UnreadError
from tiling.names import is_remote

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MOST_BYTES = 1 << 30
"""Of a file at an address, which is fetched whole."""

_NEEDED = ("id", "assets")
_FACTS = ("datetime", "start_datetime", "end_datetime", "eo:cloud_cover")
_COLUMNS = (*_NEEDED, "bbox", "geometry", "collection", "links", "properties", *_FACTS)
_ROWS = 1024


def table_scenes(source: str, search: Search) -> Entries:
    """The scenes of the rows of a GeoParquet of STAC items.

    Raises:
        UnreadError: it is no Parquet file, has other columns or no rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if is_remote(source):
            answer = read(source, search.cancel, MOST_BYTES)
            table = pq.ParquetFile(pa.BufferReader(answer.body))
        else:
            table = pq.ParquetFile(source)
        empty = True
        for item in _items(table, source, search):
            empty = False
            yield scene_of(item, source, search.chosen)
    except (pa.ArrowException, OSError) as error:
        raise UnreadError(
            source, "cannot be read as Parquet", "write it anew, or fetch it again"
        ) from error
    if empty:
        raise UnreadError(source, "holds no rows", "give another catalogue")


def _items(table: pq.ParquetFile, source: str, search: Search) -> Iterator[Mapping[str, Any]]:
    names = table.schema_arrow.names
    lacking = [one for one in _NEEDED if one not in names]
    if lacking:
        raise UnreadError(
            source,
            f"is no GeoParquet of STAC items: it has no column {' or '.join(lacking)}",
            "write it with stac-geoparquet",
        )
    columns = [one for one in _COLUMNS if one in names]
    for batch in table.iter_batches(_ROWS, columns=columns):
        search.cancel.check()
        yield from map(_item, batch.to_pylist())


def _item(row: dict[str, Any]) -> Mapping[str, Any]:
    """A row as an item's JSON: facts that have columns of their own are put back."""
    properties = _plain(row.get("properties"))
    facts = {key: _plain(row[key]) for key in _FACTS if row.get(key) is not None}
    return {
        "id": row["id"],
        "assets": _plain(row["assets"]),
        "bbox": _bbox(row.get("bbox")),
        "geometry": _geometry(row.get("geometry")),
        "collection": row.get("collection"),
        "links": _plain(row.get("links")),
        "properties": {**(properties if isinstance(properties, dict) else {}), **facts},
    }


def _plain(value: Any) -> Any:
    """A value without what a row lacks and others have, which columns hold as null.

    Text of JSON is read, pairs of a map become one, and times are written as ISO 8601.
    """
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _plain(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        if value and all(isinstance(one, tuple) for one in value):
            return _plain(dict(value))
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    return value


def _bbox(value: Any) -> list[Any] | None:
    """Bounds of a struct, or of a list as it is."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else None
    return [value.get(one) for one in ("xmin", "ymin", "xmax", "ymax")]


def _geometry(value: Any) -> Any:
    import shapely

    if not isinstance(value, bytes):
        return _plain(value)
    try:
        return shapely.from_wkb(value)
    except shapely.errors.ShapelyError:
        return None
