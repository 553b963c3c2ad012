"""From a scene to features: the one flow that every front end runs.

Heavy libraries are imported when a run begins, so that asking for help stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from detectors.catalog import Entry, choose
from lanner.core.config import DetectorConfig
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress, candidates_layer
from lanner.inference.manifest import features_sha256
from lanner.inference.registry import (
    DetectorInfo,
    LoadedDetector,
    find,
    find_beside,
    list_detectors,
    load,
)
from lanner.inference.run import admitted, find_objects
from lanner.inference.stages import Stages
from tiling.names import is_remote

if TYPE_CHECKING:
    import geopandas as gpd

    from lanner.inference.ground_sampling import GsdEstimate
    from lanner.inference.looks import LookTask
    from lanner.inference.manifest import Manifest
    from lanner.inference.run import Found

__all__ = [
    "DetectorInfo",
    "LoadedDetector",
    "check_request",
    "detect",
    "detect_with",
    "list_detectors",
]


def detect(
    request: DetectRequest, cancel: Cancel, on_progress: Callable[[Progress], None]
) -> DetectResult:
    """Run one detector over one scene.

    With `request.run_dir` finished tiles, closer looks, rasters and snapshots are kept there,
    and the same request resumes from them, to the same bytes as an undisturbed run. Without it
    they live in a temporary folder until the run ends.

    Raises:
        LannerError: any of them; the message says what to do.
    """
    entry = find(request.detector)
    choose(entry.config, request.members)
    entry = detector_for_scene(entry, request)
    return detect_with(entry.config, lambda: load(entry, request), request, cancel, on_progress)


def check_request(request: DetectRequest) -> None:
    """Look at a request and, where it is a file, its scene, as `detect` does before it loads
    networks. A remote scene would have to be fetched, and is not looked at.

    Raises:
        LannerError: it cannot be run.
    """
    entry = find(request.detector)
    choose(entry.config, request.members)
    if not is_remote(request.scene):
        # What an estimated ground sampling is good for shows when it is known.
        asked = replace(request, gsd=entry.config.gsd) if request.estimate_gsd else request
        admitted(asked, detector_for_scene(entry, asked).config)


def detector_for_scene(entry: Entry, request: DetectRequest) -> Entry:
    """The detector for a scene: the `panchromatic_detector` of the one asked for, where a single
    band would have to serve all its colours; the one asked for itself where members are named.

    Raises:
        UnknownDetectorError: there is no detector of that name.
        SceneError, GsdError, PlaceError: the scene cannot be used.
        BandError: it has not the bands.
    """
    from tiling.scene import open_scene

    config = entry.config
    if config.panchromatic_detector is None or request.members is not None:
        return entry
    # Bands are asked for here and not yet metres.
    gsd = config.gsd if request.estimate_gsd else request.gsd
    bands = open_scene(request.scene, gsd=gsd, crs=request.crs).band_indices(config.bands)
    if len(set(bands)) > 1 or len(set(config.bands)) == 1:
        return entry
    return find_beside(entry.path.parent, config.panchromatic_detector)


def detect_with(
    config: DetectorConfig,
    open_predictor: Callable[[], LoadedDetector],
    request: DetectRequest,
    cancel: Cancel,
    on_progress: Callable[[Progress], None],
    *,
    opened_as: Manifest | None = None,
    announce: Callable[[Sequence[LookTask]], None] = lambda _: None,
) -> DetectResult:
    """The same with other predictor, such as those of a test that knows the truth.

    Args:
        config: the detector; `request.detector` is not looked at.
        open_predictor: gives what looks at tiles; called once the scene has been let in.
        request: scene, ground sampling, tile, run folder.
        cancel: looked at between tiles, steps and objects of the closer look.
        on_progress: told of every stage: open, normalise, load, detect, blend, the chain's steps,
            objects of a step that takes long, write.
        opened_as: the run's manifest, where it was just opened elsewhere.
        announce: told which closer looks are left, before the first of them; what it raises ends
            the run.
    """
    stages = Stages(on_progress)
    estimate, asked = None, request
    if request.estimate_gsd:
        from lanner.inference.estimate import estimated

        estimate = estimated(config, open_predictor, request, cancel, stages)
        request = replace(request, gsd=estimate.gsd, estimate_gsd=False)

    def finish(found: Found) -> DetectResult:
        from lanner.inference.estimate import gsd_notes

        if estimate is None:
            said = gsd_notes(found, config, open_predictor, request, cancel)
        else:
            said = (estimate.sentence,)
        result = _written(found, stages, (*found.notes, *said), estimate)
        if request.candidates:
            result = replace(result, candidates=_left_out(found, result.summary))
        if request.run_dir is not None:
            found.manifest.record(request.run_dir, asked, config, result)
        return result

    return find_objects(
        config,
        open_predictor,
        request,
        cancel,
        stages,
        finish,
        opened_as=opened_as,
        announce=announce,
    )


def _written(
    found: Found, stages: Stages, notes: Sequence[str], estimate: GsdEstimate | None
) -> DetectResult:
    """Feature texts, frame and summary."""
    from postprocess.writers import features, scene_frame
    from tiling.unread import unread_note

    context, schema, objects = found.context, found.chain.schema, found.done.objects
    context.cancel.check()
    stages.tell("write", 0, 1)
    texts = features(objects, context, schema)
    frame = scene_frame(objects, context, schema)
    stages.tell("write", 1, 1)
    lost = unread_note(found.gathered.unread, found.manifest.plan.grid)
    summary = {**_summary(found, stages), "notes": [*notes, *lost]}
    summary["features_sha256"] = features_sha256(texts)
    if estimate is not None:
        summary["gsd_estimate"] = asdict(estimate)
    return DetectResult(texts, summary, frame, schema, context.detector.name)


def _left_out(found: Found, summary: Mapping[str, Any]) -> DetectResult:
    """What the chain left out, as features: each says why."""
    from postprocess.writers import features, scene_frame

    context, schema, rejected = found.context, found.chain.schema, found.done.rejected
    objects = rejected.assign(decision="candidate", reason=rejected["rejected"])
    frame = scene_frame(objects, context, schema)
    layer = candidates_layer(context.detector.name)
    return DetectResult(features(objects, context, schema), summary, frame, schema, layer)


def _summary(found: Found, stages: Stages) -> dict[str, Any]:
    facts = found.manifest.all_facts()
    grid, context = found.manifest.plan.grid, found.context
    crs = context.place.crs
    scene = {"id": context.scene_id, "acquired": context.acquired, "crs": crs and crs.name}
    return {
        **facts,
        "scene": {**scene, **facts["scene"]},
        "objects": len(found.done.objects),
        "rejected": len(found.done.rejected),
        "counts": _counts(found.done.objects),
        "cap_hits": found.gathered.capped,
        "unread": [list(box) for box in found.gathered.unread],
        "megapixels": round(grid.width * grid.height / 1e6, 6),
        "seconds": stages.seconds(),
    }


def _counts(objects: gpd.GeoDataFrame) -> dict[str, dict[str, int]]:
    """Number of objects by label and decision."""
    decisions = objects["decision"] if "decision" in objects else ["review"] * len(objects)
    counts: dict[str, dict[str, int]] = {}
    for label, decision in sorted(zip(objects["label"], decisions, strict=True)):
        row = counts.setdefault(label, {})
        row[decision] = row.get(decision, 0) + 1
    return counts
