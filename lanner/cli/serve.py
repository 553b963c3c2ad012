"""`lanner serve`: the server, handed the pipeline."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanner.cli.reporting import Debug, reporting
from lanner.cli.settings import Config, merged, with_settings
from lanner.cli.state import state_folder
from lanner.core.errors import Cancelled, ConfigError

if TYPE_CHECKING:
    import grpc

    from lanner.core.job import Cancel
    from server.http.run import TlsFiles
    from server.options import ServeOptions
    from server.run import RunningServer
    from server.settings import Settings


@with_settings()
def serve(
    given: dict[str, Any],
    config: Config = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print what holds as YAML, with where each value comes from, and exit.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve detection over gRPC, and over HTTP where asked, until Ctrl-C or SIGTERM.

    An option may be an environment variable, such as LANNER_SERVE_HTTP_PORT=8080, or a key of the
    file that --config names, such as http_port: 8080.

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
        found = merged(given, config)
        if print_config:
            from server.settings_sources import as_yaml

            typer.echo(as_yaml(found), nl=False)
            return
        _run(found.settings, busy)


def _run(settings: Settings, busy: threading.Event) -> None:
    """Serve until a signal comes.

    Raises:
        LannerError: as of `server.process.serve`; `Cancelled`: detections were cut short.
    """
    credentials = _credentials(settings.tls_cert, settings.tls_key, settings.tls_clients)
    from lanner.archives.one_scene import plan_detection
    from lanner.inference.pipeline import check_request, detect, list_detectors
    from lanner.inference.registry import describe_release, find, properties_schema
    from server.process import serve as run_server
    from server.request import device_name
    from server.work import Work
    from tiling.access import close_other_drivers

    # Callers name scenes: no format but ours is opened in this process, whatever lies where.
    close_other_drivers()
    # What can be told without torch is told before anybody connects.
    device_name(settings.device)
    for name in settings.warm:
        find(name)
    chosen = cache(partial(_by_name, settings.device))

    def prepare(cancel: Cancel) -> None:
        """Name the device, which takes torch, and warm the detectors on it."""
        busy.set()
        try:
            chosen()
            for name in settings.warm:
                from lanner.inference.warm import warm

                cancel.check()
                seconds = warm(name, chosen(), cancel=cancel)
                typer.echo(f"{name} is warm ({seconds:.1f} s)", err=True)
        finally:
            busy.clear()

    options = _serve_options(settings, chosen, credentials)
    ready_file = settings.ready_file

    def ready(running: RunningServer) -> None:
        typer.echo(f"serving on {running.address}", err=True)
        if running.http_address is not None:
            scheme = "http" if options.tls is None else "https"
            typer.echo(f"and on {scheme}://{running.http_address}/", err=True)
        if running.metrics_address is not None:
            typer.echo(f"metrics at http://{running.metrics_address}/metrics", err=True)
        if ready_file is not None:
            _write_ready(ready_file, running, options.tls is not None)

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


def _serve_options(
    settings: Settings, chosen: Callable[[], str], credentials: grpc.ServerCredentials | None
) -> ServeOptions:
    """How to serve by `settings`: `chosen` tells the device of requests for `auto`.

    Raises:
        ConfigError: the token's file cannot be used.
    """
    from server.options import ServeOptions
    from server.retention import Retention
    from server.tokens import token_of
    from server.uploads import UploadLimits
    from tiling.limits import SceneLimits

    return ServeOptions(
        host=settings.host,
        port=settings.port,
        http_port=settings.http_port,
        origins=settings.origin,
        metrics_port=settings.metrics_port,
        metrics_host=settings.metrics_host,
        data=settings.data or state_folder(settings.port),
        database=settings.database,
        roots=settings.root or (Path.cwd(),),
        allow_remote=settings.allow_remote or bool(settings.remote_host),
        remote_hosts=settings.remote_host,
        allow_private=settings.allow_private,
        scenes=SceneLimits(settings.max_pixels, settings.max_bands, settings.max_expansion),
        per_device=settings.per_device,
        max_waiting=settings.max_waiting,
        max_jobs=settings.max_jobs,
        lease_s=settings.lease,
        max_streams=settings.max_streams,
        max_client_detections=settings.max_client_detections,
        max_client_streams=settings.max_client_streams,
        auto_device=chosen,
        grace_s=settings.grace,
        keepalive_s=settings.keepalive,
        uploads=UploadLimits(
            size=int(settings.max_upload_gb * 1e9), kept_s=settings.keep_uploads * 3600
        ),
        retention=Retention(
            settings.keep_results * 86400,
            None if settings.keep_results_gb is None else int(settings.keep_results_gb * 1e9),
        ),
        token=None if settings.token_file is None else token_of(settings.token_file),
        credentials=credentials,
        tls=_tls_files(settings.tls_cert, settings.tls_key, settings.tls_clients),
    )


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
