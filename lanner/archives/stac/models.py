"""A detector as a STAC item by the extension for machine learning models (MLM)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lanner.archives.stac.assets import GEOJSON
from lanner.archives.stac.hrefs import below

MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
VERSION = "https://stac-extensions.github.io/version/v1.2.0/schema.json"
FACTS = "detector.json"
"""What is beside the item: the facts as they were given."""

_KINDS = {"retinanet": "RetinaNet", "resunet": "ResUNet"}
_WORLD = [-180.0, -90.0, 180.0, 90.0]
_ALWAYS = {
    "datetime": None,
    "start_datetime": "1900-01-01T00:00:00Z",
    "end_datetime": "9999-12-31T23:59:59Z",
}
"""The practice of the extension for a model that is not bound to a time."""


def model_id(name: str, facts: Mapping[str, Any]) -> str:
    """What the item of a detector is called, and its folder."""
    release = str(facts.get("release", ""))
    return f"{name}-{release}" if release else name


def model_name(name: str) -> str:
    """The detector's name as the extension writes it, which ends in a letter or digit."""
    return f"Lanner {name}".rstrip("-_.")


def model_href(name: str, facts: Mapping[str, Any]) -> str:
    """The item of a detector, as the catalogue names it."""
    key = model_id(name, facts)
    return below("detectors", key, f"{key}.json")


def model_item(name: str, facts: Mapping[str, Any], links: Sequence[Any]) -> dict[str, Any]:
    """The item of a detector.

    Args:
        name: of the detector.
        facts: release, description, classes, bands, gsd, members, weights_sha256, config_sha256,
            licence, and output (`objects` or `raster`); what is missing is not told.
        links: to the catalogue.
    """
    bands = [{"name": str(band)} for band in facts.get("bands", ())]
    classes = _classes(facts.get("classes", ()))
    tasks = _tasks(facts)
    west, south, east, north = _WORLD
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [CLASSIFICATION, MLM, VERSION],
        "id": model_id(name, facts),
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": _WORLD,
        "properties": {
            "title": f"Detector {name} {facts.get('release', '')}".strip(),
            "description": str(facts.get("description") or f"The detector {name} of Lanner."),
            **_ALWAYS,
            **({"gsd": float(facts["gsd"])} if facts.get("gsd") else {}),
            **({"bands": bands} if bands else {}),
            **({"version": str(facts["release"])} if facts.get("release") else {}),
            **_licence(facts.get("licence")),
            "mlm:name": model_name(name),
            "mlm:architecture": _architecture(facts.get("members", ())),
            "mlm:framework": "PyTorch",
            "mlm:tasks": tasks,
            "mlm:input": [_input(facts, [band["name"] for band in bands])],
            "mlm:output": [_output(tasks, classes)],
            **({"classification:classes": classes} if classes else {}),
            **{
                f"lanner:{key}": str(facts[key])
                for key in ("weights_sha256", "config_sha256")
                if facts.get(key)
            },
        },
        "links": list(links),
        "assets": {
            "model": {
                "href": f"./{FACTS}",
                "type": "application/json",
                "title": "What Lanner knows the networks by",
                "roles": ["mlm:model", "metadata"],
                "mlm:artifact_type": "lanner.detector",
                **({"bands": bands} if bands else {}),
            }
        },
    }


def model_link(name: str, facts: Mapping[str, Any], up: str) -> dict[str, str]:
    """From what was found to the detector that found it, as the extension wants it."""
    return {
        "rel": "derived_from",
        "href": f"{up}{model_href(name, facts)}",
        "type": GEOJSON,
        "title": f"Detector {name} {facts.get('release', '')}".strip(),
        "mlm:name": model_name(name),
    }


def _classes(names: Sequence[Any]) -> list[dict[str, Any]]:
    """Numbers and names, of which the extension takes letters, digits, - and _ alone."""
    found = []
    for value, title in enumerate(str(one) for one in names):
        name = re.sub(r"[^0-9A-Za-z_-]+", "_", title) or f"class_{value}"
        found.append({"value": value, "name": name, **({"title": title} if name != title else {})})
    return found


def _kind(member: Any) -> str:
    kind = str(member.get("kind", member.get("name", ""))) if isinstance(member, Mapping) else None
    return str(member) if kind is None else kind


def _architecture(members: Sequence[Any]) -> str:
    kinds = sorted({_KINDS.get(_kind(one), _kind(one)) for one in members} - {""})
    if not kinds:
        return "unknown"
    return kinds[0] if len(members) == 1 else f"Ensemble of {', '.join(kinds)}"


def _tasks(facts: Mapping[str, Any]) -> list[str]:
    """Objects have boxes and outlines; a raster is a class for each pixel."""
    kinds = {_kind(one) for one in facts.get("members", ())}
    output = facts.get("output") or ("raster" if kinds == {"resunet"} else "objects")
    if output == "raster":
        return ["semantic-segmentation"]
    return ["object-detection", *(["instance-segmentation"] if "resunet" in kinds else [])]


def _input(facts: Mapping[str, Any], bands: list[str]) -> dict[str, Any]:
    gsd = facts.get("gsd")
    return {
        "name": "scene",
        **({"description": f"Resampled to {gsd:g} m pixels on reading."} if gsd else {}),
        "bands": bands,
        "input": {
            "shape": [-1, len(bands) or -1, -1, -1],
            "dim_order": ["batch", "bands" if bands else "channel", "height", "width"],
            "data_type": "float32",
        },
    }


def _output(tasks: list[str], classes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "features",
        "description": "Vector features with class, calibrated confidence and decision.",
        "tasks": tasks,
        "result": {"shape": [-1], "dim_order": ["feature"], "data_type": "other"},
        "classification:classes": classes,
    }


def _licence(text: Any) -> dict[str, str]:
    """An SPDX name as STAC writes it; other words beside `other`."""
    if not text:
        return {}
    if re.fullmatch(r"[A-Za-z0-9.+-]+", str(text)):
        return {"license": str(text)}
    return {"license": "other", "lanner:licence": str(text)}
