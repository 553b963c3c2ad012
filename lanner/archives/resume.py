"""What earlier runs of a batch have done: results that stand are not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detectors.catalog import Entry
from lanner.archives.basis import Basis
from lanner.archives.ledger import FILE, BatchLedger
from lanner.archives.options import BatchOptions
from lanner.archives.plan import ArchivePlan, PlannedScene, RowStatus
from lanner.archives.records import State


def row_status(
    state: State,
    work: Mapping[str, Any],
    stamp: str,
    basis: Basis,
    out: Path,
    *,
    retry_failed: bool,
) -> RowStatus:
    """What a row of a ledger leaves to do.

    Args:
        state: of the row.
        work: what it was done from, as the ledger keeps it.
        stamp: of the scene as it is now.
        basis: of the detector as it is now.
        out: folder of the batch.
        retry_failed: whether what failed is tried again.
    """
    if state == "failed":
        return "to run" if retry_failed or work.get("stamp") != stamp else "failed"
    same = state == "done" and work.get("stamp") == stamp and basis.made(work)
    whole = same and all((out / name).is_file() for name in work.get("files", ()))
    return "done" if whole else "to run"


def resumed(
    plan: ArchivePlan,
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    *,
    retry_failed: bool = False,
) -> ArchivePlan:
    """The plan of a batch that goes on in a folder; the same where nothing was run there yet.

    Raises:
        OutputError: the folder is another batch's, or its ledger cannot be read.
    """
    if not (out / FILE).is_file():
        return plan
    with BatchLedger(out / FILE, options.settings()) as ledger:
        works = ledger.works()
    bases = [Basis.of(entry) for entry in detectors]

    def one(scene: PlannedScene) -> PlannedScene:
        found: list[RowStatus] = []
        for name, basis in zip(options.detectors, bases, strict=True):
            state, work = works.get((scene.ref.name, name), ("waiting", {}))
            stamp = scene.facts.stamp
            found.append(row_status(state, work, stamp, basis, out, retry_failed=retry_failed))
        return replace(scene, status=tuple(found))

    return replace(plan, scenes=tuple(one(scene) for scene in plan.scenes))
