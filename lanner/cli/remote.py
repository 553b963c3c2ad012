"""`lanner detect --server`: the same by a server."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.core.errors import Cancelled, ConfigError
from lanner.core.job import Cancel, DetectRequest, Progress
from tiling.names import is_remote

_LOCAL = {
    "run_dir": "--run",
    "candidates": "--candidates",
    "crs": "--crs",
    "estimate_gsd": "--gsd auto",
}
"""What a server is not asked for, by the command's own words."""
_ASK_S = 0.2


def detect_on_server(
    server: str, token: str | None, request: DetectRequest, out: Sequence[Path], *, quiet: bool
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Have a scene looked at by a server, sending it there if it lies here, and save the result.

    Args:
        server: host:port.
        token: for a server that asks for one.
        request: what to find where.
        out: files for what was found.
        quiet: without progress.

    Returns:
        The summary, and what there is to say of the scene.

    Raises:
        ConfigError: something is asked for that a server does not do.
        LannerError: as the server raised it; `Cancelled` after a Ctrl-C.
    """
    from lanner.client.client import Client

    for name, option in _LOCAL.items():
        if getattr(request, name):
            raise ConfigError(
                "--server", server, f"does nothing of {option}", f"leave {option} or --server out"
            )
    console, cancel = Console(stderr=True), Cancel()
    with (
        cancel_on_signal(cancel, console),
        progress_on(console, quiet=quiet) as show,
        Client(server, token=token) as client,
    ):

        def report(progress: Progress) -> None:
            cancel.check()
            show(progress)

        scene: Any = request.scene
        if not is_remote(scene) and Path(scene).is_file():
            scene = client.upload(scene, report)
        operation = client.submit(
            scene,
            request.detector,
            gsd=request.gsd,
            device=request.device,
            tile=request.tile,
            members=request.members,
        )
        try:
            while not operation.refresh().done:
                report(operation.progress)
                time.sleep(_ASK_S)
        except Cancelled:
            operation.cancel()
            raise
        found = operation.result()
        for path in out:
            operation.save(path)
        return found.summary, list(found.summary.get("notes", ()))
