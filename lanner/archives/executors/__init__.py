"""Where the scenes of a batch are run: one by one, side by side, or on other machines.

A package offers an executor by an entry point in the group `lanner.executors` that names a module
with a function `run(jobs, cancel, params)` and a pydantic model `Params`. `run` gives
`Begun` and `Ended` events as they come, from the thread that iterates; what is not done when it is
closed is not begun any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lanner.archives.work import DetectorDone, SceneJob
from lanner.core.errors import Argument, ConfigError
from lanner.core.plugins import Plugins

BUILTIN = {
    "serial": "lanner.archives.executors.serial",
    "local": "lanner.archives.executors.local",
}
"""Name to module."""

PLUGINS = Plugins(
    "lanner.executors", BUILTIN, "executor", Argument("on"), "docs/batch.md", ConfigError
)


@dataclass(frozen=True)
class Begun:
    """A worker has begun with a scene."""

    job: SceneJob


@dataclass(frozen=True)
class Ended:
    """A worker is done with a scene."""

    job: SceneJob
    done: Sequence[DetectorDone]
