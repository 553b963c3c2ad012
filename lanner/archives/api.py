"""Archives from Python: `lanner.batch` and `lanner.plan`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from detectors.catalog import Entry, check_release
from lanner.archives.ledger import FILE, BatchLedger
from lanner.archives.options import FORMATS, BatchOptions
from lanner.archives.pages import report_of
from lanner.archives.plan import ArchivePlan, plan_archive
from lanner.archives.records import BatchRecord
from lanner.archives.resume import resumed
from lanner.archives.run import BatchResult, run_batch
from lanner.archives.scenes import SceneFilter
from lanner.archives.sources import check_filter, find_scenes
from lanner.archives.work import RunScene, run_job
from lanner.core.errors import Argument, ConfigError, SceneError
from lanner.core.job import Cancel, Progress
from lanner.inference.registry import find, pinned

Sources = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def plan(  # noqa: PLR0913
    sources: Sources,
    detector: str | Sequence[str],
    *,
    formats: str | Sequence[str] = "gpkg",
    chosen: SceneFilter | None = None,
    device: str = "auto",
    tile: int | None = None,
    gsd: float | None = None,
    crs: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Cancel | None = None,
) -> ArchivePlan:
    """Say what running detectors over an archive would be, before anything is run.

    Args:
        sources: folders, globs, lists, STAC items, catalogues and APIs, GeoParquet of items,
            `s3://` and `https://` prefixes, one or more.
        detector: one or more released names (each at its default release), `NAME@RELEASE` or YAML
            files.
        formats: files of each scene: gpkg, geojson, fgb, parquet.
        chosen: which scenes are wanted; None takes all.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        tile: side of a tile in detector pixels.
        gsd: metres a pixel, in place of what scenes say.
        crs: CRS of scenes that say none.
        on_progress: told of sources and of scenes that are opened.
        cancel: set it from another thread to stop.

    Raises:
        LannerError: a source or detector cannot be used; the message says what to do.
    """
    options = BatchOptions(_names(detector), _formats(formats), device, tile, gsd, crs)
    return _planned(
        _sources(sources),
        _entries(options),
        options,
        chosen or SceneFilter(),
        cancel or Cancel(),
        on_progress or _ignore,
    )


def batch(  # noqa: PLR0913
    sources: Sources,
    detector: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    formats: str | Sequence[str] = "gpkg",
    chosen: SceneFilter | None = None,
    on: str = "local",
    workers: int = 0,
    worker_cores: int = 0,
    retry_failed: bool = False,
    device: str = "auto",
    tile: int | None = None,
    gsd: float | None = None,
    crs: str | None = None,
    candidates: bool = False,
    on_plan: Callable[[ArchivePlan], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_record: Callable[[BatchRecord], None] | None = None,
    run_scene: RunScene = run_job,
    cancel: Cancel | None = None,
) -> BatchResult:
    """Run detectors over an archive; the same call goes on where an earlier one stopped.

    Args:
        sources: as of `plan`.
        detector: as of `plan`.
        out: folder for everything: a new one, or that of the same batch.
        formats: as of `plan`.
        chosen: as of `plan`.
        on: where scenes are run: "local" (several at once on this machine), "serial", "ray" (the
            workers of a Ray cluster; "ray://HOST:10001" names one), or an executor that a package
            brings.
        workers: how many scenes or processes at once; 0: as suits the executor.
        worker_cores: cores of each worker of a cluster; 0: one.
        retry_failed: whether scenes that failed are tried again.
        device: as of `plan`.
        tile: as of `plan`.
        gsd: as of `plan`.
        crs: as of `plan`.
        candidates: whether what is not worth a look is written, too.
        on_plan: given the plan before anything is run; it tells what earlier runs have done.
        on_progress: told of every stage.
        on_record: given each scene's record when it is done or failed.
        run_scene: runs one scene; here, unless another machine does it.
        cancel: set it from another thread to stop.

    Raises:
        LannerError: nothing can be run; scenes that fail by themselves are in the result.
    """
    options = BatchOptions(_names(detector), _formats(formats), device, tile, gsd, crs, candidates)
    cancel, tell = cancel or Cancel(), on_progress or _ignore
    options = replace(options, pinned={name: pinned(name) for name in options.detectors})
    entries = _entries(options)
    planned = _planned(_sources(sources), entries, options, chosen or SceneFilter(), cancel, tell)
    planned = resumed(planned, entries, options, Path(out), retry_failed=retry_failed)
    if on_plan is not None:
        on_plan(planned)
    return run_batch(
        planned,
        entries,
        options,
        Path(out),
        on=on,
        executor={
            name: value
            for name, value in (("workers", workers), ("worker_cores", worker_cores))
            if value
        },
        retry_failed=retry_failed,
        run_scene=run_scene,
        cancel=cancel,
        tell=tell,
        follow=on_record or _ignore_record,
    )


def report(out: str | os.PathLike[str]) -> Path:
    """Write the report of a batch anew, from its ledger; also while it runs.

    Args:
        out: folder of the batch.

    Raises:
        OutputError: it holds no batch, or the report cannot be written.
        UnknownDetectorError: a detector of the batch is not here any more.
    """
    folder = Path(out)
    with BatchLedger(folder / FILE, None) as ledger:
        settings, records = ledger.settings, ledger.records()
    options = BatchOptions(
        tuple(settings["detectors"]),
        tile=settings["tile"],
        gsd=settings["gsd"],
        crs=settings["crs"],
    )
    return report_of(records, _entries(options), options, folder)


def _planned(
    sources: Sequence[str],
    entries: Sequence[Entry],
    options: BatchOptions,
    chosen: SceneFilter,
    cancel: Cancel,
    tell: Callable[[Progress], None],
) -> ArchivePlan:
    check_filter(chosen)
    found = find_scenes(
        sources, chosen, cancel, lambda source, count: tell(Progress("sources", count, 0, source))
    )
    if not found.scenes and not found.skipped:
        why = " ".join(found.notes)
        raise SceneError(
            "source",
            ", ".join(sources),
            f"holds no scene that is wanted ({why})" if why else "holds no scene",
            "widen the filters" if why else "give a folder or list of rasters",
        )
    return plan_archive(
        found,
        entries,
        options,
        chosen,
        cancel,
        lambda done, total: tell(Progress("open", done, total)),
    )


def _entries(options: BatchOptions) -> tuple[Entry, ...]:
    """Detectors that can run, each once."""
    entries = tuple(find(options.found_as(name)) for name in options.detectors)
    names = [entry.config.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ConfigError(
            Argument("detector"),
            ", ".join(twice),
            "is given twice" if twice else "names no detector",
            "name each detector once",
        )
    for entry in entries:
        check_release(entry)
    return entries


def _names(detector: str | Sequence[str]) -> tuple[str, ...]:
    return (detector,) if isinstance(detector, str) else tuple(detector)


def _sources(sources: Sources) -> tuple[str, ...]:
    if isinstance(sources, str | os.PathLike):
        return (os.fspath(sources),)
    return tuple(os.fspath(one) for one in sources)


def _formats(formats: str | Sequence[str]) -> tuple[str, ...]:
    asked = (formats,) if isinstance(formats, str) else tuple(formats)
    wrong = [one for one in asked if one not in FORMATS]
    if wrong or not asked:
        raise ConfigError(
            "formats",
            wrong[0] if wrong else "",
            "is no format of files" if wrong else "names no format",
            f"choose from {', '.join(FORMATS)}",
        )
    return tuple(dict.fromkeys(asked))


def _ignore(progress: Progress) -> None:
    """For callers who do not follow the progress."""


def _ignore_record(record: BatchRecord) -> None:
    """For callers who do not follow the scenes."""
