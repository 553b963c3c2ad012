"""What opening one scene tells before anything of it is run: its place, its tiles, its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detectors.catalog import Entry
from lanner.archives.options import BatchOptions
from lanner.archives.records import ErrorFacts, Ring, SceneFacts
from lanner.archives.scenes import SceneRef
from lanner.core.errors import LannerError, SceneError
from tiling.names import is_remote

if TYPE_CHECKING:
    from tiling.scene import Scene

EDGE = 8
"""Points along each side of a footprint: a side of a projected scene is no line of longitude."""


@dataclass(frozen=True)
class OpenedScene:
    """A scene that was let in: its facts, and for each detector tiles and megapixels to run."""

    facts: SceneFacts
    tiles: tuple[int, ...]
    megapixels: tuple[float, ...]


def open_for(
    ref: SceneRef, detectors: tuple[Entry, ...], options: BatchOptions
) -> OpenedScene | ErrorFacts:
    """Open a scene and say what running detectors over it would be, or why it cannot be used."""
    from lanner.inference.pipeline import detector_for_scene
    from lanner.inference.run import admitted, tile_plan

    tiles, megapixels = [], []
    try:
        scene = None
        for entry in detectors:
            request = options.request(ref, entry.config.name)
            config = detector_for_scene(entry, request).config
            scene = admitted(request, config)
            plan = tile_plan(scene, config, options.tile)
            tiles.append(len(plan))
            megapixels.append(plan.grid.width * plan.grid.height / 1e6)
        assert scene is not None
        return OpenedScene(facts_of(scene, ref), tuple(tiles), tuple(megapixels))
    except LannerError as error:
        return error_facts(error)
    except OSError as error:
        gone = SceneError("scene", ref.uri, f"cannot be read ({error.strerror})", "put it back")
        return error_facts(gone)


def facts_of(scene: Scene, ref: SceneRef) -> SceneFacts:
    """What is kept of an opened scene."""
    from tiling.stored import stored_bytes

    return SceneFacts(
        width=scene.width,
        height=scene.height,
        gsd=float((scene.gsd[0] * scene.gsd[1]) ** 0.5),
        bands=scene.bands,
        dtype=scene.dtype,
        crs=None if scene.place.crs is None else scene.place.crs.to_string(),
        acquired=scene.acquired or ref.acquired,
        footprint=_footprint(scene),
        bytes=stored_bytes(scene.uri),
        stamp=stamp_of(scene),
    )


def stamp_of(scene: Scene) -> str:
    """Changes when the scene's files do: name, size and time of the local ones, sidecars included;
    the content's checksum of a remote one, which reads its structure and a few blocks.
    """
    from tiling.access import opened

    if is_remote(scene.uri):
        return scene.sha256()
    with opened(scene.uri) as dataset:
        files = sorted(Path(name) for name in dataset.files)
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


def _footprint(scene: Scene) -> Ring | None:
    """Longitude and latitude along the border of a scene; None without a CRS."""
    import numpy as np

    if scene.place.crs is None:
        return None
    part = np.arange(EDGE) / EDGE
    w, h = scene.width, scene.height
    x = np.concatenate([part * w, np.full(EDGE, w), (1 - part) * w, np.zeros(EDGE)])
    y = np.concatenate([np.zeros(EDGE), part * h, np.full(EDGE, h), (1 - part) * h])
    lonlat = scene.place.to_lonlat(np.stack([x, y], axis=1))
    if not np.isfinite(lonlat).all():
        return None
    ring = [(round(float(a), 7), round(float(b), 7)) for a, b in lonlat]
    return (*ring, ring[0])


def error_facts(error: LannerError) -> ErrorFacts:
    """An error as it is kept."""
    value = " ".join(str(error.value).split())
    return ErrorFacts(
        type(error).__name__, str(error.argument), value[:300], error.problem, error.remedy
    )
