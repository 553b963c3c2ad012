"""What a detector's results are made from, beside the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from detectors.catalog import Entry, check_release
from lanner.core.config import config_sha256
from lanner.core.version import __version__


@dataclass(frozen=True)
class Basis:
    """Code, release, configuration and weights that results are made from, under the names that a
    ledger's rows keep them by: those of a detector, then those of the one that its scenes of a
    single band go to.
    """

    facts: tuple[Mapping[str, str], ...]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """That of a detector as it is now."""
        from lanner.inference.registry import with_panchromatic

        return cls(tuple(_facts(one) for one in with_panchromatic(entry)))

    def made(self, work: Mapping[str, Any]) -> bool:
        """Whether a row's result, kept with what it was done from, is one of this basis."""
        return any(
            all(work.get(name) == value for name, value in facts.items()) for facts in self.facts
        )


def _facts(entry: Entry) -> dict[str, str]:
    return {
        "lanner": __version__,
        "name": entry.config.name,
        "release": entry.config.release,
        "config_sha256": config_sha256(entry.config),
        "weights_sha256": check_release(entry).sha256,
    }
