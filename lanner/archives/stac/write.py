"""The catalogue on disk: documents that name each other relatively, so that all can be moved."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lanner.archives.records import BatchRecord
from lanner.archives.stac.assets import GEOJSON
from lanner.archives.stac.footprints import footprints
from lanner.archives.stac.items import item_href, scene_item
from lanner.archives.stac.models import FACTS, model_href, model_id, model_item
from lanner.core.errors import OutputError
from lanner.core.files import replacing

CATALOG = "catalog.json"
_ARGUMENT = "output"


def write_stac(
    records: Sequence[BatchRecord],
    folder: Path,
    *,
    detectors: Mapping[str, Mapping[str, Any]],
    root_href: str = "..",
) -> Path:
    """Write a static STAC 1.1 catalogue of what was found.

    An item a scene, in `items/NAME/NAME.json`, with every detector that is done; scenes that
    failed or were skipped are no items. An item a detector, in `detectors/`, by the extension
    for machine learning models. The catalogue is written last, and names what is there alone.

    Args:
        records: of the batch, in any order.
        folder: of the catalogue; it is made where it is missing.
        detectors: by name: release, description, classes, bands, gsd, members, weights_sha256,
            config_sha256, licence, and output (`objects` or `raster`).
        root_href: where the batch's folder is, which outputs are named below: relative to
            `folder`, or a whole address.

    Returns:
        The catalogue's own file.

    Raises:
        OutputError: a file cannot be written.
    """
    done: dict[str, list[BatchRecord]] = defaultdict(list)
    for one in sorted(records, key=lambda one: (one.scene.name, one.detector)):
        if one.state == "done" and one.outcome is not None:
            done[one.scene.name].append(one)
    shapes = footprints(records)
    links = []
    for name, facts in sorted(detectors.items()):
        href = model_href(name, facts)
        _write(folder, href, model_item(name, facts, _home()))
        _write(folder, f"{href.rpartition('/')[0]}/{FACTS}", {"name": name, **facts})
        links.append(_item_link(href, model_id(name, facts)))
    for name, found in done.items():
        href = item_href(name)
        item = scene_item(found, shapes.get(name), detectors, root_href, _home())
        _write(folder, href, item)
        links.append(_item_link(href, name))
    return _write(folder, CATALOG, _catalog(done, links))


def _catalog(
    done: Mapping[str, Sequence[BatchRecord]], links: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    names = sorted({one.detector for found in done.values() for one in found})
    features = sum(one.outcome.features for f in done.values() for one in f if one.outcome)
    root = {"rel": "root", "href": f"./{CATALOG}", "type": "application/json"}
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "-".join(["lanner", *names]),
        "title": f"Lanner: {', '.join(names)}" if names else "Lanner",
        "description": f"{features} objects that Lanner found in {len(done)} scenes.",
        "links": [root, *links],
    }


def _home() -> list[dict[str, str]]:
    """Links from an item to the catalogue; both are in the same place for all."""
    return [
        {"rel": rel, "href": f"../../{CATALOG}", "type": "application/json"}
        for rel in ("root", "parent")
    ]


def _item_link(href: str, title: str) -> dict[str, str]:
    return {"rel": "item", "href": f"./{href}", "type": GEOJSON, "title": title}


def _write(folder: Path, href: str, content: Any) -> Path:
    """Write a document of the catalogue; the same content gives the same bytes."""
    path = folder / unquote(href)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            _ARGUMENT,
            path.parent,
            f"cannot be made ({error.strerror or error})",
            "choose another folder",
        ) from error
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
    with replacing(path, _ARGUMENT) as beside:
        # A path may hold bytes that are no Unicode.
        beside.write_bytes(text.encode("utf-8", "replace") + b"\n")
    return path
