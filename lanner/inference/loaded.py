"""Networks that stay loaded from one request to the next, and those that are let go."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detectors.catalog import Entry

if TYPE_CHECKING:
    from detectors.ensemble import Ensemble

MOST = 4
"""Ensembles that stay loaded."""


@dataclass(frozen=True)
class RequestKey:
    """What a request names: `NAME`, `NAME@RELEASE` or a path; its device and members."""

    detector: str
    device: str
    members: tuple[str, ...] | None


@dataclass(frozen=True)
class EnsembleKey:
    """What that means now: equal ones are one ensemble. `config` and `weights` are checksums."""

    config: str
    weights: str
    device: str
    members: tuple[str, ...] | None
    entry: Entry = field(compare=False)


class LoadedEnsembles:
    """The ensembles that were asked for last, each loaded once. Threads may share it.

    An ensemble is let go when nothing that was asked for means it any more: its detector has
    another default, its release was removed, or others were asked for since. A detection that is
    under way holds its own until its end.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._asked: OrderedDict[RequestKey, EnsembleKey] = OrderedDict()
        self._ensembles: dict[EnsembleKey, Ensemble] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ensembles)

    def get(self, asked: RequestKey, wanted: EnsembleKey) -> Ensemble:
        """The ensemble for a request; loaded where it is not yet.

        Raises:
            WeightsError, ConfigError, DeviceError: as of `Ensemble`.
        """
        with self._lock:
            for other, meant in list(self._asked.items()):
                if other.detector == asked.detector and not _is_of(meant, wanted):
                    del self._asked[other]
            self._asked[asked] = wanted
            self._asked.move_to_end(asked)
            self._let_go()
            found = self._ensembles.get(wanted)
            if found is None:
                found = self._load(asked, wanted)
            return found

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._asked.clear()
            self._let_go()

    def _load(self, asked: RequestKey, wanted: EnsembleKey) -> Ensemble:
        from detectors.ensemble import Ensemble

        entry = wanted.entry
        try:
            made = Ensemble(entry.config, entry.release_dir, wanted.device, wanted.members)
        except BaseException:
            self._asked.pop(asked, None)
            raise
        self._ensembles[wanted] = made
        return made

    def _let_go(self) -> None:
        for asked, wanted in list(self._asked.items()):
            if not wanted.entry.release_dir.is_dir():
                del self._asked[asked]
        while len(set(self._asked.values())) > self._most:
            self._asked.popitem(last=False)
        kept = set(self._asked.values())
        gone = [wanted for wanted in self._ensembles if wanted not in kept]
        for wanted in gone:
            del self._ensembles[wanted]
        if gone:
            _free()


def _is_of(one: EnsembleKey, other: EnsembleKey) -> bool:
    """Whether both are of one detector and release, whatever their devices and members."""
    return (one.config, one.entry.release_dir) == (other.config, other.entry.release_dir)


def _free() -> None:
    """Give memory of networks that were let go back to the machine and its device.

    Before others are loaded: a device may not hold both.
    """
    import torch

    from lanner.core.machine import trim_heap

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim_heap()
