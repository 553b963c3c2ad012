"""What earlier runs of a batch have done: results that stand are not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from detectors.catalog import Entry, check_release
from lanner.archives.ledger import FILE, BatchLedger
from lanner.archives.options import BatchOptions
from lanner.archives.plan import ArchivePlan, PlannedScene, RowStatus
from lanner.archives.records import State
from lanner.core.config import config_sha256
from lanner.core.version import __version__


@dataclass(frozen=True)
class Basis:
    """What a detector's results are made from, beside the scene: code, release, configuration and
    weights, under the names that a ledger's rows keep them by.
    """

    facts: Mapping[str, str]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """That of a detector as it is now."""
        return cls(
            {
                "lanner": __version__,
                "name": entry.config.name,
                "release": entry.config.release,
                "config_sha256": config_sha256(entry.config),
                "weights_sha256": check_release(entry).sha256,
            }
        )


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
    now = {**basis.facts, "stamp": stamp}
    same = state == "done" and all(work.get(name) == value for name, value in now.items())
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
