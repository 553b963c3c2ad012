"""The tile work of a run: every tile looked at once, remembered, then read back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from detectors.rasters import fuse_levels
from detectors.results import TileResult, decode
from lanner.core.config import VOTE, Member
from lanner.core.errors import Argument, DeviceMemoryError, OutputError
from lanner.core.job import Cancel
from lanner.inference.engine import Engine, Predictor, engine_of
from lanner.inference.stages import Stages
from postprocess.frame import candidates
from tiling.blend import Blender
from tiling.names import is_remote
from tiling.rows import BLOCK, RowsFile

Mask = NDArray[np.bool_]

RASTER = "probability"

if TYPE_CHECKING:
    import geopandas as gpd

    from detectors.views import Outline
    from tiling.grid import Tile, TilePlan
    from tiling.ledger import Ledger
    from tiling.place import Place
    from tiling.reader import TileImage, TileReader


def predict_tiles(
    predictor: Predictor,
    reader: TileReader,
    ledger: Ledger,
    cancel: Cancel,
    stages: Stages,
    preview: Callable[[int, bytes], Sequence[str]],
) -> None:
    """Look at every tile that the ledger does not hold yet.

    Args:
        predictor: what looks.
        reader: of the tiles.
        ledger: what is found goes there.
        cancel: looked at between tiles.
        stages: told of every tile.
        preview: what a tile's payload in the ledger shows, for those who follow the run.

    Raises:
        Cancelled: the caller went away; what is in the ledger stays.
        SceneError: a tile cannot be read.
        DeviceMemoryError: memory is short for a tile.
    """
    plan = reader.plan
    todo = [index for index in range(len(plan)) if not ledger.done(index)]
    done = len(plan) - len(todo)
    stages.tell("detect", done, len(plan))
    cancel.check()
    with closing(tile_payloads(predictor, reader, todo)) as payloads:
        for index, payload in payloads:
            ledger.put(index, payload)
            done += 1
            stages.tell("detect", done, len(plan), partial(preview, index, payload))
            cancel.check()
    cancel.check()


def tile_payloads(
    predictor: Predictor, reader: TileReader, indices: Sequence[int]
) -> Generator[tuple[int, bytes], None, None]:
    """Tiles and what the networks say of them, as a ledger keeps it, in the order given.

    Raises:
        SceneError: a tile cannot be read.
        DeviceMemoryError: memory is short for a tile.
    """
    try:
        with (
            engine_of(predictor).opened() as engine,
            closing(_payloads(predictor, engine, reader, indices)) as payloads,
        ):
            yield from payloads
    except MemoryError as error:
        raise DeviceMemoryError(
            Argument("tile"),
            reader.plan.tile,
            f"needs more memory than there is ({error})",
            "give a smaller one",
        ) from error


def _payloads(
    predictor: Predictor, engine: Engine, reader: TileReader, todo: Sequence[int]
) -> Generator[tuple[int, bytes], None, None]:
    """Tiles and what is said of them, in order.

    Tiles that do not fill the workers of a CPU any more take all cores one by one, unless other
    scenes want them.
    """
    side = reader.plan.tile
    at_once = engine.workers // engine.slots(predictor, side)
    alone = len(todo) - len(todo) % at_once if predictor.shares_cores else len(todo)
    plan, ahead = reader.plan, deque[tuple[int, "Future[bytes]"]]()
    with _ways(predictor, reader, todo) as ways:
        try:
            for k, (index, get) in enumerate(ways):
                answer = engine.submit(predictor, side, plan.grid, get, k >= alone)
                ahead.append((index, answer))
                if len(ahead) == 2 * engine.workers * max(1, predictor.batch):
                    yield _first(ahead)
            while ahead:
                yield _first(ahead)
        finally:
            for _, future in ahead:
                future.cancel()
            wait([future for _, future in ahead])


@contextmanager
def _ways(
    predictor: Predictor, reader: TileReader, indices: Sequence[int]
) -> Iterator[Iterator[tuple[int, Callable[[], TileImage]]]]:
    """Tiles' indices, and a way to each tile that any thread may go until the block ends.

    Reading ahead hides the latency of a network or feeds a device of its own; on cores that also
    look, whoever looks at a tile reads it.
    """
    if not predictor.shares_cores or is_remote(reader.scene.uri):
        with closing(reader.tiles(indices)) as images:
            yield ((image.tile.index, partial(_same, image)) for image in images)
        return
    with reader.opened() as read:
        yield ((index, partial(read, index)) for index in indices)


def _same(image: TileImage) -> TileImage:
    return image


def _first(ahead: deque[tuple[int, Future[bytes]]]) -> tuple[int, bytes]:
    index, future = ahead.popleft()
    return index, future.result()


def recall(ledger: Ledger, plan: TilePlan, cancel: Cancel) -> Iterator[tuple[int, TileResult]]:
    """Every tile's result, in index order, as it was remembered."""
    for index in range(len(plan)):
        cancel.check()
        yield index, decode(ledger.get(index))


@dataclass(frozen=True)
class Gathered:
    """What all tiles come to.

    Attributes:
        objects: the candidates frame.
        capped: how often a safety cap on boxes was hit.
        unread: blocks of the scene's file that could not be read, x0 y0 x1 y1 in its pixels, from
            top to bottom.
    """

    objects: gpd.GeoDataFrame
    capped: int
    unread: tuple[tuple[int, int, int, int], ...]


def gather(
    ledger: Ledger, plan: TilePlan, classes: Sequence[str], names: Sequence[str], cancel: Cancel
) -> Gathered:
    """What the tiles of a ledger come to."""
    capped, some = 0, []
    unread = set[tuple[int, int, int, int]]()
    for index, result in recall(ledger, plan, cancel):
        capped += result.capped
        unread.update(result.unread)
        if len(result):
            some.append((index, result))
    tiles = np.repeat([index for index, _ in some], [len(result) for _, result in some])
    votes = np.concatenate([np.empty((0, len(names))), *(r.votes for _, r in some)])
    outlines = [ring for _, result in some for ring in result.outlines]
    frame = candidates(
        np.concatenate([np.empty((0, 4)), *(r.boxes for _, r in some)]),
        scores=np.concatenate([np.empty(0), *(r.scores for _, r in some)]),
        votes=[_votes(row, names) for row in votes.tolist()],
        tiles=tiles,
        cuts=np.concatenate([np.empty(0, np.int64), *(r.cuts for _, r in some)]),
        labels=[classes[i] for _, result in some for i in result.labels.tolist()],
        outlines=valid_polygons(outlines),
    )
    return Gathered(frame, capped, tuple(sorted(unread, key=lambda one: (one[1], one[0]))))


def blend(
    folder: Path,
    ledger: Ledger,
    plan: TilePlan,
    predictor: Predictor,
    place: Place,
    cancel: Cancel,
    stages: Stages,
) -> dict[str, Path]:
    """Merge the tiles' probabilities into rasters on the grid.

    `RASTER` has what the members say together, and where there are several each `vote-NAME` what
    one of them says. Only what a tile saw with enough around it is merged, see `trusted`. Of a
    folder that was used before votes of other members are removed: they would look like this
    run's.

    Returns:
        Files below `folder` by the names of the rasters.

    Raises:
        Cancelled: the caller went away; rasters that are there are whole.
        OutputError: a raster cannot be written, or an old one not be removed.
    """
    channels = tuple(predictor.channels)
    raster_members: Sequence[Member] = getattr(predictor, "raster_members", ())
    names = [one.vote for one in raster_members] if len(raster_members) > 1 else [RASTER]
    paths = {name: folder / f"{name}.tif" for name in names}
    _remove({*folder.glob(f"{VOTE}*.tif")} - {*paths.values()})
    total = len(plan) * len(names)
    stages.tell("blend", 0, total)
    # One after another: of each a band of rows as wide as the scene is held.
    for turn, path in enumerate(paths.values()):
        part = slice(turn * len(channels), (turn + 1) * len(channels))
        with Blender(path, plan, len(channels), channels, place) as blender:
            for index, result in recall(ledger, plan, cancel):
                tile = plan[index]
                if result.probability is None or result.valid is None:
                    blender.add(tile, None, None)
                else:
                    values = result.probability[part].astype(np.float32) / np.float32(255)
                    blender.add(tile, values, result.valid & trusted(plan, tile))
                stages.tell("blend", turn * len(plan) + index + 1, total)
    if len(names) == 1:
        return paths
    whole = folder / f"{RASTER}.tif"
    with RowsFile(whole, plan.grid, channels, place) as out:
        _fuse(raster_members, list(paths.values()), out, cancel)
    return {RASTER: whole, **paths}


def _fuse(
    raster_members: Sequence[Member], paths: Sequence[Path], out: RowsFile, cancel: Cancel
) -> None:
    """Write what the members say together, some rows at a time."""
    with ExitStack() as stack:
        files = [stack.enter_context(rasterio.open(path)) for path in paths]
        for top in range(0, files[0].height, BLOCK):
            cancel.check()
            window = Window(0, top, files[0].width, min(BLOCK, files[0].height - top))
            fused = fuse_levels(raster_members, [file.read(window=window) for file in files])
            out.write(np.concatenate([fused, files[0].dataset_mask(window=window)[None]]))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(
                Argument("run_dir"),
                path,
                f"is an earlier run's and cannot be removed ({error.strerror})",
                "remove it, or name a new folder",
            ) from error


def trusted(plan: TilePlan, tile: Tile) -> Mask:
    """Pixels of a window, (tile, tile) bool, that the network saw with enough around them.

    The core and a third of the halo: near the window's border a network sees padding in place
    of ground and may be off by half a probability. At the grid's border every tile sees the
    same, so there all is trusted.
    """
    spare = plan.halo // 3
    inside = []
    for low, high, first, size in (
        (tile.core.y0, tile.core.y1, tile.window.y0, plan.grid.height),
        (tile.core.x0, tile.core.x1, tile.window.x0, plan.grid.width),
    ):
        at = np.arange(first, first + plan.tile)
        start = low - spare if low > 0 else first
        end = high + spare if high < size else first + plan.tile
        inside.append((at >= start) & (at < end))
    return np.logical_and.outer(*inside)


def _votes(row: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """Member to score, of those that saw the object."""
    return {name: score for name, score in zip(names, row, strict=True) if not isnan(score)}


def valid_polygons(rings: Sequence[Outline | None]) -> list[shapely.Polygon | None]:
    """Valid polygons of rings; None stays None."""
    drawn = [i for i, ring in enumerate(rings) if ring is not None]
    shapes = np.asarray([shapely.polygons(rings[i]) for i in drawn], object)
    # Rounding to the ledger's steps may fold a hair of an outline over itself.
    bad = np.flatnonzero(~shapely.is_valid(shapes))
    for i in bad.tolist():
        parts = shapely.get_parts(shapely.buffer(shapes[i], 0))
        shapes[i] = parts[int(np.argmax(shapely.area(parts)))] if len(parts) else None
    result: list[shapely.Polygon | None] = [None] * len(rings)
    for i, shape in zip(drawn, shapes.tolist(), strict=True):
        result[i] = shape
    return result
