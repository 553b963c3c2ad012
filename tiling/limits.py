"""How large a raster may be where strangers name scenes; nobody's own scenes are limited."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from lanner.core.errors import Argument, ConfigError


@dataclass(frozen=True)
class SceneLimits:
    """What one raster may hold. A decoded block has a bound of its own (`tiling.blocks`).

    Attributes:
        pixels: width times height.
        bands: how many; reading the names of 65,535 takes a minute.
        expansion: bytes once decoded for a byte of its files, where all is more than one block may
            take: deflated zeros come to 1,030. Blocks that a sparse file does not store count
            nothing. Remote rasters, whose size nobody announces, are let pass.
    """

    pixels: int = 20_000_000_000
    bands: int = 4096
    expansion: float = 2000.0

    def __post_init__(self) -> None:
        """See that they are limits.

        Raises:
            ConfigError: one of them lets nothing in, or is no number.
        """
        for name in ("pixels", "bands", "expansion"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 1):
                raise ConfigError(Argument(f"max_{name}"), value, "is no limit", "give 1 or more")


class _Process:
    """What is one for the process."""

    limits: SceneLimits | None = None


def limit_scenes(limits: SceneLimits | None) -> None:
    """Hold all scenes of this process to limits from now on; None: to none."""
    _Process.limits = limits


def scene_limits() -> SceneLimits | None:
    """The limits of this process."""
    return _Process.limits
