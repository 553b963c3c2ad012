"""`--server`: what commands do by a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from lanner.cli.progress import OnProgress, cancel_on_signal, progress_on
from lanner.core.errors import Cancelled, ConfigError, LannerError, ServerError
from lanner.core.job import Cancel, DetectRequest, Progress
from tiling.names import is_remote

if TYPE_CHECKING:
    from lanner.archives.work import RunScene
    from lanner.client.client import Client
    from lanner.client.operation import Operation

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        envvar="LANNER_SERVER",
        show_default=False,
        help="Have a server do it (lanner serve). Scenes that lie here are sent there.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="LANNER_TOKEN",
        show_default=False,
        help="For a --server that asks for one; better in the environment, where no list of "
        "programs shows it.",
    ),
]

SCENES_AT_ONCE = 8
"""Of a batch, where nothing else is said: some are sent or fetched while a server runs others."""

_POLL_S = 0.5


def detect_on_server(
    server: str, token: str | None, request: DetectRequest, out: Sequence[Path], *, quiet: bool
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Have a scene looked at by a server, sending it there if it lies here, and save the result.

    What was sent is deleted once the detection is over. A server that goes away is asked again
    when it is back.

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
    from lanner.client.offers import require_offer

    local = {"gsd auto": request.estimate_gsd, "crs": request.crs}
    refuse(server, run=request.run_dir, candidates=request.candidates, **local)
    console, cancel = Console(stderr=True), Cancel()
    with (
        cancel_on_signal(cancel, console),
        progress_on(console, quiet=quiet) as show,
        Client(server, token=token) as client,
    ):
        require_offer(client, request.detector)

        def report(progress: Progress) -> None:
            cancel.check()
            show(progress)

        with _sent(client, request.scene, report) as scene:
            operation = client.submit(
                scene,
                request.detector,
                gsd=request.gsd,
                device=request.device,
                tile=request.tile,
                members=request.members,
            )
            _followed(operation, report)
        found = operation.result()
        for path in out:
            operation.save(path)
        return found.summary, list(found.summary.get("notes", ()))


@contextmanager
def scenes_on_server(
    server: str,
    token: str | None,
    detectors: Sequence[str],
    **local: object,
) -> Iterator[RunScene]:
    """Give what runs the scenes of a batch by a server, while a block lasts.

    Args:
        server: host:port.
        token: for a server that asks for one.
        detectors: names of released ones.
        local: options by name that a server does not do; refused where they say anything.

    Raises:
        ConfigError: something is asked for that a server does not do.
        LannerError: the server cannot be reached, or has not these detectors.
    """
    from lanner.client.batch_scenes import ServerScenes
    from lanner.client.client import Client

    refuse(server, **local)
    with Client(server, token=token) as client:
        yield ServerScenes(client, detectors)


@contextmanager
def _sent(client: Client, scene: str, report: OnProgress) -> Iterator[Any]:
    """A scene as the server knows it. One that was sent is deleted when the block ends, unless the
    server is lost: its work may go on.
    """
    from lanner.cli.kept_uploads import take_or_send

    if is_remote(scene) or not Path(scene).is_file():
        yield scene
        return
    upload = take_or_send(client, Path(scene), report)
    try:
        yield upload
    except ServerError:
        raise
    except BaseException:
        with suppress(LannerError):
            client.delete_upload(upload)
        raise
    client.delete_upload(upload)


def _followed(operation: Operation, report: OnProgress) -> None:
    """Wait for the end of an operation, and show how far it is; ended by the caller's wish."""
    try:
        while not operation.done:
            report(operation.progress)
            operation.poll(_POLL_S)
    except Cancelled:
        operation.cancel()
        raise


def refuse(server: str, **local: object) -> None:
    """Refuse options, by name, that a server does not do and that say anything.

    Raises:
        ConfigError: one of them does.
    """
    for name, value in local.items():
        if value:
            raise ConfigError(
                "--server", server, f"does nothing of --{name}", f"leave --{name} or --server out"
            )
