"""What was found in one scene, as a STAC item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lanner.archives.records import BatchRecord
from lanner.archives.stac.assets import GEOJSON, assets_of
from lanner.archives.stac.footprints import bounds, geometry
from lanner.archives.stac.hrefs import below, up, whole
from lanner.archives.stac.models import model_link
from lanner.archives.stac.moments import taken
from lanner.core.version import __version__

if TYPE_CHECKING:
    import shapely

LABEL = "https://stac-extensions.github.io/label/v1.0.1/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
LEVEL = "L4"
"""What models make of lower levels, to the processing extension."""

_DECISIONS = ("accept", "review")
_SCENES = {".tif": "image/tiff; application=geotiff", ".jp2": "image/jp2"}
_DEPTH = 2
"""Folders between the catalogue and an item."""

Facts = Mapping[str, Mapping[str, Any]]


def item_href(name: str) -> str:
    """The item of a scene, as the catalogue names it."""
    return below("items", name, f"{name}.json")


def scene_item(
    records: Sequence[BatchRecord],
    shape: shapely.Geometry | None,
    detectors: Facts,
    root: str,
    links: Sequence[Any],
) -> dict[str, Any]:
    """The item of a scene.

    Args:
        records: of the scene, all done, in the order of their detectors.
        shape: its footprint; None where it has no place.
        detectors: facts by the detector's name.
        root: address of the batch's folder, as the catalogue names it.
        links: to the catalogue.
    """
    first = records[0]
    box = None if shape is None else bounds([shape])
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [LABEL, PROCESSING],
        "id": first.scene.name,
        "geometry": None if shape is None or box is None else geometry(shape),
        **({} if box is None else {"bbox": box}),
        "properties": {
            "title": first.scene.name,
            **_times(records),
            **_labels(records, detectors),
            **_processing(records, detectors),
            "lanner:detectors": {one.detector: _outcome(one, detectors) for one in records},
        },
        "links": [*links, *_sources(first), *_models(records, detectors)],
        "assets": assets_of(records, up(root, _DEPTH)),
    }


def _times(records: Sequence[BatchRecord]) -> dict[str, str | None]:
    acquired = next(
        (one.facts.acquired for one in records if one.facts and one.facts.acquired),
        records[0].scene.acquired,
    )
    return taken(acquired)


def _labels(records: Sequence[BatchRecord], detectors: Facts) -> dict[str, Any]:
    """Fields of the label extension."""
    labels: Counter[str] = Counter()
    decisions: Counter[str] = Counter(dict.fromkeys(_DECISIONS, 0))
    for one in records:
        for name in detectors.get(one.detector, {}).get("classes", ()):
            labels[str(name)] += 0
        for label, counts in one.outcome.counts.items() if one.outcome else ():
            labels[label] += sum(counts.values())
            decisions.update(counts)
    found = {"label": labels, "decision": decisions}
    names = " and ".join(_named(one.detector, detectors) for one in records)
    return {
        "label:type": "vector",
        "label:description": (
            f"Objects of {names}, found automatically. `confidence` is calibrated: of objects with "
            "0.8 about 80 % are right. `decision` says which are sure enough to be used."
        ),
        "label:properties": list(found),
        "label:tasks": ["detection"],
        "label:methods": ["automated"],
        "label:classes": [{"name": key, "classes": sorted(n)} for key, n in found.items()],
        "label:overviews": [
            {
                "property_key": key,
                "counts": [{"name": name, "count": n[name]} for name in sorted(n)],
            }
            for key, n in found.items()
        ],
    }


def _processing(records: Sequence[BatchRecord], detectors: Facts) -> dict[str, Any]:
    """Fields of the processing extension."""
    software = {"Lanner": __version__}
    for one in records:
        release = detectors.get(one.detector, {}).get("release")
        if release:
            software[f"Lanner detector {one.detector}"] = str(release)
    names = " and ".join(_named(one.detector, detectors) for one in records)
    return {
        "processing:level": LEVEL,
        "processing:lineage": f"Lanner {__version__} ran {names} over the scene.",
        "processing:software": software,
    }


def _named(name: str, detectors: Facts) -> str:
    release = detectors.get(name, {}).get("release")
    return f"the detector {name} {release}" if release else f"the detector {name}"


def _outcome(one: BatchRecord, detectors: Facts) -> dict[str, Any]:
    """What one detector made of it: how many, and how many of them are right."""
    outcome = one.outcome
    assert outcome is not None  # only records that are done become items
    release = detectors.get(one.detector, {}).get("release")
    return {
        **({"release": str(release)} if release else {}),
        "features": outcome.features,
        "expected": round(outcome.expected, 3),
        "expected_sd": round(outcome.expected_sd, 3),
        "key": outcome.key,
        **({"notes": list(outcome.notes)} if outcome.notes else {}),
    }


def _sources(one: BatchRecord) -> list[dict[str, str]]:
    """Links to the scene, and to the item that a catalogue has of it."""
    links = []
    if one.scene.item is not None:
        href = whole(one.scene.item)
        # `source` is the label extension's word for the same.
        links += [{"rel": rel, "href": href, "type": GEOJSON} for rel in ("derived_from", "source")]
    href = whole(one.scene.uri)
    kind = next((kind for end, kind in _SCENES.items() if href.lower().endswith(end)), None)
    links.append({"rel": "via", "href": href, **({"type": kind} if kind else {})})
    return links


def _models(records: Sequence[BatchRecord], detectors: Facts) -> list[dict[str, str]]:
    return [
        model_link(one.detector, detectors[one.detector], "../" * _DEPTH)
        for one in records
        if one.detector in detectors
    ]
