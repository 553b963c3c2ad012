"""From a scene to the end of a detector's chain: tiles, closer looks, steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lanner.core.config import DetectorConfig, config_sha256
from lanner.core.errors import Argument, ConfigError, GsdError, SceneError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.registry import LoadedDetector
from lanner.inference.run_folder import LEDGER, LOOKS, check_run_dir, run_folder
from lanner.inference.stages import Stages

if TYPE_CHECKING:
    from lanner.inference.looks import LookTask
    from lanner.inference.manifest import Manifest
    from lanner.inference.refine import SceneCloser
    from lanner.inference.tiles import Gathered
    from postprocess.chain import Chain, ChainResult
    from postprocess.context import Context
    from tiling.grid import TilePlan
    from tiling.ledger import Ledger
    from tiling.pinned import PinnedFile
    from tiling.scene import Scene

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """What a run has before anything of it is written, while its folder is still there.

    `chain` is the detector's, all of it; `done` what came out of the steps that ran;
    `gathered` what went in; `notes` are on how the scene is read.
    """

    chain: Chain
    done: ChainResult
    context: Context
    manifest: Manifest
    gathered: Gathered
    notes: tuple[str, ...]


@dataclass(frozen=True)
class OpenedRun:
    """A run before its first tile: what it reads, what its tiles depend on, what looks at them.

    `files` are those that the chain reads; `notes` are on how the scene is read.
    """

    scene: Scene
    manifest: Manifest
    loaded: LoadedDetector
    chain: Chain
    files: Mapping[str, PinnedFile]
    notes: tuple[str, ...]


def find_objects(  # noqa: PLR0913
    config: DetectorConfig,
    open_predictor: Callable[[], LoadedDetector],
    request: DetectRequest,
    cancel: Cancel,
    stages: Stages,
    finish: Callable[[Found], T],
    select: Callable[[Chain], Chain] = lambda chain: chain,
    *,
    opened_as: Manifest | None = None,
    announce: Callable[[Sequence[LookTask]], None] = lambda _: None,
) -> T:
    """Everything from the scene to the end of the chain.

    Args:
        config: the detector.
        open_predictor: gives what looks at tiles; called once the scene has been let in.
        request: scene, ground sampling, tile, run folder.
        cancel: looked at between tiles, steps and objects of the closer look.
        stages: told of every stage.
        finish: makes the answer of what was found.
        select: the steps to run, of all.
        opened_as: of the same run, where it was just opened elsewhere.
        announce: told which closer looks are left, before the first of them; what it raises ends
            the run.

    Raises:
        LannerError: any of them; the message says what to do.
    """
    from tiling.access import interrupt, keep_open

    uri = str(request.scene)
    with keep_open(uri), cancel.calling(partial(interrupt, uri)):
        try:
            opened = open_run(config, open_predictor, request, cancel, stages, opened_as)
            return _run_to_end(opened, config, request, cancel, stages, finish, select, announce)
        except SceneError:
            cancel.check()  # it may have failed of that
            raise


def _run_to_end(
    opened: OpenedRun,
    config: DetectorConfig,
    request: DetectRequest,
    cancel: Cancel,
    stages: Stages,
    finish: Callable[[Found], T],
    select: Callable[[Chain], Chain],
    announce: Callable[[Sequence[LookTask]], None],
) -> T:
    """From the first tile to the answer; arguments and errors are those of `find_objects`."""
    scene, manifest, loaded, chain = opened.scene, opened.manifest, opened.loaded, opened.chain
    from postprocess.frame import MANY
    from tiling.ledger import Ledger

    # The open ledger keeps other runs out of the folder until the last raster has been read.
    with (
        run_folder(request.run_dir) as folder,
        Ledger(folder / LEDGER, manifest.key) as ledger,
    ):
        manifest.write(folder)
        gathered, context = _run_tiles(
            scene, config, loaded, manifest, folder, ledger, cancel, stages
        )
        objects = gathered.objects
        with _scene_closer(scene, config, manifest, loaded, folder, cancel, announce) as closer:
            context = replace(context, closer=closer, files=opened.files)
            if request.run_dir is None and not context.rasters and len(objects) < MANY:
                # Nobody can restart it: the snapshots of few objects take longer than the steps.
                done = select(chain).apply(objects, context, progress=stages.pass_on)
            else:
                done = select(chain).run(objects, context, progress=stages.pass_on)
        return finish(Found(chain, done, context, manifest, gathered, opened.notes))


def open_run(
    config: DetectorConfig,
    open_predictor: Callable[[], LoadedDetector],
    request: DetectRequest,
    cancel: Cancel,
    stages: Stages,
    opened_as: Manifest | None = None,
) -> OpenedRun:
    """Everything up to the first tile; arguments and errors are those of `find_objects`."""
    stages.tell("open", 0, 1)
    cancel.check()
    if request.run_dir is not None:
        check_run_dir(request.run_dir, request.scene)
    scene = admitted(request, config)
    plan = tile_plan(scene, config, request.tile)
    checksum = opened_as.scene_sha256 if opened_as else scene.sha256(plan.grid)
    stages.tell("open", 1, 1)
    cancel.check()
    # What can be wrong with the scene is told before libraries and networks are loaded, which
    # takes longer than many a scene.
    from tiling.normalise import require_valid, scene_stretch
    from tiling.notes import notes_of

    stages.tell("normalise", 0, 1)
    if opened_as is None:
        require_valid(scene, config.bands)
        stretch = scene_stretch(scene, config.bands, config.normalise)
    else:
        stretch = opened_as.stretch
    notes = notes_of(scene, plan.grid, stretch)
    stages.tell("normalise", 1, 1)
    cancel.check()
    stages.tell("load", 0, 1)
    from lanner.inference.manifest import Manifest
    from postprocess.chain import Chain
    from postprocess.chain_files import find_files

    chain = Chain.from_specs(config.chain)
    loaded = open_predictor()
    files = find_files(chain.files, loaded.chain_files)
    stages.tell("load", 1, 1)
    cancel.check()
    manifest = Manifest(
        scene_sha256=checksum,
        scene_gsd=scene.gsd,
        detector=config.name,
        release=config.release,
        config_sha256=config_sha256(config),
        weights=loaded.files,
        weights_sha256=loaded.weights_sha256,
        members=loaded.predictor.names,
        identity=loaded.predictor.identity,
        plan=plan,
        stretch=stretch,
        chain_files={name: one.sha256 for name, one in files.items()},
    )
    return OpenedRun(scene, manifest, loaded, chain, files, notes)


def predict_some(
    config: DetectorConfig,
    loaded: LoadedDetector,
    request: DetectRequest,
    manifest: Manifest,
    indices: Sequence[int],
    cancel: Cancel,
) -> list[tuple[int, bytes]]:
    """Some tiles of a run that was opened elsewhere, as its ledger keeps them.

    Args:
        config: the detector.
        loaded: what predicts, of the manifest's weights and number format.
        request: the run's.
        manifest: the run's.
        indices: of the tiles.
        cancel: looked at between tiles.

    Raises:
        Cancelled: the caller asked to stop.
        LannerError: the scene cannot be read there, or memory is short.
    """
    from lanner.inference.tiles import tile_payloads
    from tiling.reader import TileReader

    scene = admitted(request, config)
    reader = TileReader(scene, manifest.plan, config.bands, manifest.stretch)
    done = []
    with closing(tile_payloads(loaded.predictor, reader, indices)) as payloads:
        for one in payloads:
            done.append(one)
            cancel.check()
    return done


def look_at_some(
    config: DetectorConfig,
    loaded: LoadedDetector,
    request: DetectRequest,
    manifest: Manifest,
    tasks: Sequence[LookTask],
    cancel: Cancel,
) -> list[tuple[str, bytes]]:
    """Some closer looks that a run announced, as its ledger keeps them.

    Arguments and errors are those of `predict_some`; `tasks` are the looks.
    """
    scene = admitted(request, config)
    with _scene_closer(scene, config, manifest, loaded, Path(), cancel) as closer:
        assert closer is not None, "who announced looks had networks for them"
        return closer.payloads(tasks)


def _run_tiles(
    scene: Scene,
    config: DetectorConfig,
    loaded: LoadedDetector,
    manifest: Manifest,
    folder: Path,
    ledger: Ledger,
    cancel: Cancel,
    stages: Stages,
) -> tuple[Gathered, Context]:
    """The tile work: candidates or raster, and the context that the chain runs in.

    Raises:
        SceneError: too much of the scene cannot be read.
    """
    from lanner.inference.previews import preview_texts
    from lanner.inference.tiles import blend, gather, predict_tiles
    from postprocess.context import Context, DetectorFacts
    from tiling.names import display_name
    from tiling.reader import TileReader
    from tiling.unread import is_broken

    plan, predictor = manifest.plan, loaded.predictor
    reader = TileReader(scene, plan, config.bands, manifest.stretch)
    rasters = {}
    preview = partial(preview_texts, plan=plan, place=scene.place, classes=config.classes)
    predict_tiles(predictor, reader, ledger, cancel, stages, preview)
    gathered = gather(ledger, plan, config.classes, predictor.names, cancel)
    if is_broken(gathered.unread, plan.grid):
        raise SceneError(
            "scene",
            display_name(scene.uri),
            f"{len(gathered.unread)} of its blocks cannot be read",
            "the file is cut off or damaged: fetch it again",
        )
    if predictor.channels:
        rasters = blend(folder, ledger, plan, predictor, scene.place, cancel, stages)
    facts = DetectorFacts(
        config.name, config.release, manifest.weights_sha256, manifest.config_sha256
    )
    context = Context(
        scene_id=scene.id,
        acquired=scene.acquired,
        place=scene.place,
        grid=plan.grid,
        plan=plan,
        detector=facts,
        workdir=folder,
        rasters=rasters,
        cancel=cancel,
        calibrate=getattr(predictor, "calibrate", None),
        members=predictor.names,
    )
    return gathered, context


@contextmanager
def _scene_closer(
    scene: Scene,
    config: DetectorConfig,
    manifest: Manifest,
    loaded: LoadedDetector,
    folder: Path,
    cancel: Cancel,
    announce: Callable[[Sequence[LookTask]], None] = lambda _: None,
) -> Iterator[SceneCloser | None]:
    """What looks at single objects again; None where this predictor cannot."""
    from lanner.inference.engine import on_engine
    from lanner.inference.looks import looks_key
    from lanner.inference.refine import SceneCloser
    from tiling.ledger import NamedLedger

    outline = getattr(loaded.predictor, "outline", None)
    if outline is None:
        yield None
        return
    grid, stretch = manifest.plan.grid, manifest.stretch
    ledger = partial(NamedLedger, folder / LOOKS, looks_key(manifest, config))
    each = partial(on_engine, loaded.predictor)
    with closing(
        SceneCloser(
            scene,
            config.bands,
            grid,
            stretch,
            outline,
            cancel,
            ledger,
            each=each,
            announce=announce,
        )
    ) as closer:
        yield closer


def admitted(request: DetectRequest, config: DetectorConfig) -> Scene:
    """The scene, with the bands and the ground sampling that the detector needs."""
    from tiling.scene import open_scene

    scene = open_scene(request.scene, gsd=request.gsd, crs=request.crs)
    scene.band_indices(config.bands)
    low, high = config.gsd_range
    worst = max(scene.gsd, key=lambda gsd: max(low / gsd, gsd / high))
    if config.takes(worst):
        return scene
    takes = f"{config.name} takes {low:g} to {high:g} m"
    if request.gsd is not None:
        raise GsdError(
            Argument("gsd"),
            request.gsd,
            f"is no ground sampling for this detector: {takes}",
            f"correct `gsd`, or give a scene of {low:g} to {high:g} m",
        )
    raise GsdError(
        "scene",
        request.scene,
        f"has {worst:.3g} m pixels, {takes}",
        "this detector cannot use so coarse a scene; give a finer one"
        if worst > high
        else f"make it coarser first: gdalwarp -tr, to {low:g} m or more",
    )


def tile_plan(scene: Scene, config: DetectorConfig, tile: int | None) -> TilePlan:
    """The tiles: of the side asked for, or at most the configured one.

    The configured side is a bound on memory. Within it the tiles are made as small as the same
    number of them allows, so that a small scene is not mostly padding.
    """
    from tiling.grid import TilePlan

    grid = scene.grid(config.gsd)
    if tile is None:
        step = config.tile - 2 * config.halo
        evenly = max(ceil(size / ceil(size / step)) for size in (grid.width, grid.height))
        return TilePlan(grid, min(ceil(evenly / 32) * 32, step) + 2 * config.halo, config.halo)
    if tile % 32 or tile <= 2 * config.halo:
        least = 2 * config.halo + 32
        raise ConfigError(
            Argument("tile"),
            tile,
            f"is no multiple of 32 of at least {least}",
            f"use {max(least, ceil(tile / 32) * 32)}",
        )
    return TilePlan(grid, tile, config.halo)
