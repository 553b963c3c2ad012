"""`lanner serve`: the server, handed the pipeline."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanner.cli.reporting import Debug, reporting
from lanner.cli.state import state_folder
from lanner.core.errors import Cancelled, ConfigError

if TYPE_CHECKING:
    import grpc

    from lanner.core.job import Cancel
    from server.http.run import TlsFiles
    from server.run import RunningServer


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 50051,
    http_port: Annotated[
        int | None,
        typer.Option(
            "--http-port",
            metavar="PORT",
            min=0,
            max=65535,
            show_default="none: gRPC alone",
            help="Also answer HTTP and JSON there; 0 takes a free one. / describes the calls.",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            metavar="URL",
            show_default="none",
            help="Pages of this origin, such as https://maps.example.org, may call over HTTP. "
            "Give it again for more.",
        ),
    ] = None,
    keep_results: Annotated[
        float,
        typer.Option(
            "--keep-results",
            metavar="DAYS",
            min=0.0,
            help="How long submitted detections and their results are kept after their end.",
        ),
    ] = 30.0,
    keep_results_gb: Annotated[
        float | None,
        typer.Option(
            "--keep-results-gb",
            metavar="GB",
            min=0.0,
            show_default="any",
            help="Most that results take: beyond, the oldest are forgotten.",
        ),
    ] = None,
    keep_uploads: Annotated[
        float,
        typer.Option(
            "--keep-uploads",
            metavar="HOURS",
            min=0.0,
            help="How long uploads are kept after their last use.",
        ),
    ] = 24.0,
    max_upload_gb: Annotated[
        float, typer.Option("--max-upload-gb", metavar="GB", min=0.0, help="Largest upload.")
    ] = 50.0,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Largest scene: its width times its height.")
    ] = 20_000_000_000,
    max_bands: Annotated[
        int, typer.Option("--max-bands", min=1, help="Most bands of a scene.")
    ] = 4096,
    max_expansion: Annotated[
        float,
        typer.Option(
            "--max-expansion",
            metavar="RATIO",
            min=1.0,
            help="Most bytes that a byte of a scene's file may be decoded to.",
        ),
    ] = 2000.0,
    max_client_detections: Annotated[
        int,
        typer.Option(
            "--max-client-detections",
            min=1,
            help="Most detections that one token's client follows on an open connection.",
        ),
    ] = 32,
    max_client_streams: Annotated[
        int,
        typer.Option(
            "--max-client-streams",
            min=1,
            help="Most streams of one token's client in all: results, uploads, watches.",
        ),
    ] = 256,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            show_default=False,
            help="Ask every caller for a token, on this machine, too; the one in this file may do "
            "everything. It is made, readable by you alone, where there is none.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            metavar="PORT",
            min=0,
            max=65535,
            show_default="none",
            help="Tell Prometheus there, at /metrics.",
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option("--metrics-host", help="Address for --metrics-port.")
    ] = "127.0.0.1",
    ready_file: Annotated[
        Path | None,
        typer.Option(
            "--ready-file",
            metavar="FILE",
            show_default=False,
            help="Write the addresses there as JSON once the server listens; removed at its end.",
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            metavar="DIR",
            show_default="the current folder",
            help="Folder whose scenes may be read. Give it again for more folders.",
        ),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Also read http(s):// and s3:// scenes.")
    ] = False,
    remote_host: Annotated[
        list[str] | None,
        typer.Option(
            "--remote-host",
            metavar="HOST",
            show_default="any",
            help="Read remote scenes from this host (or s3://BUCKET) alone, redirects "
            "included. Give it again for more.",
        ),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private",
            help="Also read remote scenes from private addresses, such as those of this network, "
            "of hosts that are not listed.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            show_default="~/.local/state/lanner/server-PORT; with --port 0 none that stays",
            help="Folder of submitted detections and their results; they go on after a restart.",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            show_default="an SQLite file in --data",
            help="Where jobs are kept: sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME "
            "(extra `postgres`) for several servers that share --data.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", help="What a request for `auto` gets: auto, cpu, cuda or cuda:N."),
    ] = "auto",
    ready_for: Annotated[
        list[str] | None,
        typer.Option(
            "--warm",
            metavar="DETECTOR",
            show_default=False,
            help="Load it and try it at once, so that its first request is as quick as the next; "
            "health says NOT_SERVING until then. Give it again for more.",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            min=0.0,
            help="What running detections get to finish after a stop signal.",
        ),
    ] = 10.0,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            metavar="FILE",
            show_default=False,
            help="PEM certificate chain; with --tls-key it turns on TLS.",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="FILE", show_default=False, help="PEM private key."),
    ] = None,
    tls_clients: Annotated[
        Path | None,
        typer.Option(
            "--tls-clients",
            metavar="FILE",
            show_default=False,
            help="PEM certificates of authorities: callers without a certificate of one of these "
            "are refused (mutual TLS).",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Serve detection over gRPC, and over HTTP where asked, until Ctrl-C or SIGTERM.

    **Examples**

    For programs on this machine, scenes below the current folder:

        lanner serve

    The same over HTTP and JSON; http://127.0.0.1:8080/ describes the calls:

        lanner serve --http-port 8080

    With both detectors loaded at once, and not by their first requests:

        lanner serve --warm aircraft --warm roads

    For other machines, with TLS, scenes of an archive; each caller needs a token:

        lanner serve --host 0.0.0.0 --root /archive --tls-cert cert.pem --tls-key key.pem

        lanner token new anna
    """
    busy = threading.Event()
    with _leaving(busy), reporting(debug, "detections that were running did not finish"):
        credentials = _credentials(tls_cert, tls_key, tls_clients)
        from lanner.archives.one_scene import plan_detection
        from lanner.inference.pipeline import check_request, detect, list_detectors
        from lanner.inference.registry import describe_release, find, properties_schema
        from server.options import ServeOptions
        from server.process import serve as run_server
        from server.request import device_name
        from server.retention import Retention
        from server.tokens import token_of
        from server.uploads import UploadLimits
        from server.work import Work
        from tiling.access import close_other_drivers
        from tiling.limits import SceneLimits

        # Callers name scenes: no format but ours is opened in this process, whatever lies where.
        close_other_drivers()
        # What can be told without torch is told before anybody connects.
        device_name(device)
        for name in ready_for or ():
            find(name)
        chosen = cache(partial(_by_name, device))

        def prepare(cancel: Cancel) -> None:
            """Name the device, which takes torch, and warm the detectors on it."""
            busy.set()
            try:
                chosen()
                for name in ready_for or ():
                    from lanner.inference.warm import warm

                    cancel.check()
                    seconds = warm(name, chosen(), cancel=cancel)
                    typer.echo(f"{name} is warm ({seconds:.1f} s)", err=True)
            finally:
                busy.clear()

        def ready(running: RunningServer) -> None:
            typer.echo(f"serving on {running.address}", err=True)
            if running.http_address is not None:
                scheme = "http" if tls is None else "https"
                typer.echo(f"and on {scheme}://{running.http_address}/", err=True)
            if running.metrics_address is not None:
                typer.echo(f"metrics at http://{running.metrics_address}/metrics", err=True)
            if ready_file is not None:
                _write_ready(ready_file, running, tls is not None)

        tls = _tls_files(tls_cert, tls_key, tls_clients)
        options = ServeOptions(
            host=host,
            port=port,
            http_port=http_port,
            origins=tuple(origin or ()),
            metrics_port=metrics_port,
            metrics_host=metrics_host,
            tls=tls,
            uploads=UploadLimits(size=int(max_upload_gb * 1e9), kept_s=keep_uploads * 3600),
            retention=Retention(
                keep_results * 86400,
                None if keep_results_gb is None else int(keep_results_gb * 1e9),
            ),
            token=None if token_file is None else token_of(token_file),
            data=data or state_folder(port),
            database=database,
            roots=tuple(root or [Path.cwd()]),
            allow_remote=allow_remote or bool(remote_host),
            remote_hosts=tuple(remote_host or ()),
            allow_private=allow_private,
            scenes=SceneLimits(max_pixels, max_bands, max_expansion),
            max_client_detections=max_client_detections,
            max_client_streams=max_client_streams,
            auto_device=chosen,
            grace_s=grace,
            credentials=credentials,
        )
        finished = run_server(
            Work(
                detect,
                list_detectors,
                plan_detection,
                properties_schema,
                check_request,
                describe_release,
            ),
            options,
            ready=ready,
            prepare=prepare,
        )
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        if not finished:
            raise Cancelled


def _write_ready(path: Path, running: RunningServer, has_tls: bool) -> None:
    """What another program needs to call this server.

    Raises:
        ConfigError: the file cannot be written.
    """
    http = None
    if running.http_address is not None:
        http = f"{'https' if has_tls else 'http'}://{running.http_address}"
    facts = {"grpc": running.address, "http": http, "tls": has_tls, "pid": os.getpid()}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise ConfigError(
            "--ready-file", path, f"cannot be written ({error.strerror})", "name another"
        ) from error


@contextmanager
def _leaving(busy: threading.Event) -> Iterator[None]:
    """End the process after the block, even where a thread of `busy` work is still under way.

    What it is at then cannot be interrupted, such as reading torch; Python would wait for it.
    """
    code = 0
    try:
        yield
    except typer.Exit as ended:
        if not busy.is_set():
            raise
        code = ended.exit_code
    if busy.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _by_name(device: str) -> str:
    """The one name of a device, such as `cpu` or `cuda:0`: what is warmed is what is asked for.

    Raises:
        DeviceError: unknown, or not on this machine.
    """
    from detectors.device import compute

    return str(compute(device).device)


def _credentials(
    cert: Path | None, key: Path | None, clients: Path | None
) -> grpc.ServerCredentials | None:
    """TLS from both files, or None where neither is given; `clients` has it ask for certificates.

    Raises:
        ConfigError: one without the other, a file that cannot be read, or no such pair.
    """
    if cert is None and key is None:
        if clients is not None:
            raise ConfigError(
                "--tls-clients", clients, "needs TLS", "give --tls-cert and --tls-key"
            )
        return None
    if cert is None or key is None:
        missing, given = ("--tls-cert", key) if cert is None else ("--tls-key", cert)
        raise ConfigError(missing, "", f"is missing beside {given}", "give both or neither")
    import grpc

    chain, secret = _read_all(("--tls-cert", cert), ("--tls-key", key))
    _check_pair(cert, key)
    if clients is None:
        return grpc.ssl_server_credentials([(secret, chain)])
    (authorities,) = _read_all(("--tls-clients", clients))
    return grpc.ssl_server_credentials([(secret, chain)], authorities, require_client_auth=True)


def _tls_files(cert: Path | None, key: Path | None, clients: Path | None) -> TlsFiles | None:
    from server.http.run import TlsFiles

    if cert is None:
        return None
    return TlsFiles(str(cert), str(key), None if clients is None else str(clients))


def _check_pair(cert: Path, key: Path) -> None:
    """Make sure that TLS can begin with them: gRPC would only say that the port cannot be had.

    Raises:
        ConfigError: no certificate chain, no key, one under a password, or not of each other.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # how strong it must be is for gRPC to say
    try:
        # The password is for keys that have one: without it OpenSSL asks on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            "--tls-cert",
            cert,
            f"and {key} are no certificate chain with its key ({error})",
            "give PEM files that belong together, the key without a password",
        ) from error


def _read_all(*files: tuple[str, Path]) -> Sequence[bytes]:
    held = []
    for argument, path in files:
        try:
            held.append(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                argument, path, f"cannot be read ({error.strerror})", "name a readable PEM file"
            ) from error
    return held
