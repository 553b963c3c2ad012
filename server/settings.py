"""What an operator can set: one definition of every key, its default and its meaning.

The command line, the environment, the file and the documentation all go by this. It imports
little, since the command line makes its options of it.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le

VARIABLE = "LANNER_SERVE_"
"""Before the name of a key in capitals: its environment variable."""


@dataclass(frozen=True)
class Meaning:
    """What people are told of a key.

    Attributes:
        text: what it does.
        metavar: what its value is called in help; None: by its type.
        default: in words, where the value itself says little; None: the value.
        is_secret: whether its value is never shown.
        short: a one-letter option; empty: none.
    """

    text: str
    metavar: str | None = None
    default: str | None = None
    is_secret: bool = False
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All keys. A key is named as its option is, with _ for -."""

    host: Annotated[str, Meaning("Address to listen on; 0.0.0.0 lets other machines in.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int, Ge(0), Le(65535), Meaning("Port of gRPC; 0 takes a free one.", short="-p")
    ] = 50051
    http_port: Annotated[
        int | None,
        Ge(0),
        Le(65535),
        Meaning(
            "Also answer HTTP and JSON there; 0 takes a free one. / describes the calls.",
            "PORT",
            "none: gRPC alone",
        ),
    ] = None
    origin: Annotated[
        tuple[str, ...],
        Meaning(
            "Pages of this origin, such as https://maps.example.org, may call over HTTP.", "URL"
        ),
    ] = ()
    root: Annotated[
        tuple[Path, ...],
        Meaning("Folder whose scenes may be read.", "DIR", "the current folder"),
    ] = ()
    allow_remote: Annotated[bool, Meaning("Also read http(s):// and s3:// scenes.")] = False
    remote_host: Annotated[
        tuple[str, ...],
        Meaning(
            "Read remote scenes from this host (or s3://BUCKET) alone, redirects included.",
            "HOST",
            "any",
        ),
    ] = ()
    allow_private: Annotated[
        bool,
        Meaning(
            "Also read remote scenes from private addresses, such as those of this network, of "
            "hosts that are not listed."
        ),
    ] = False
    data: Annotated[
        Path | None,
        Meaning(
            "Folder of submitted detections and their results; they go on after a restart.",
            "DIR",
            "~/.local/state/lanner/server-PORT; for port 0 none that stays",
        ),
    ] = None
    database: Annotated[
        str | None,
        Meaning(
            "Where jobs are kept: sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME (extra "
            "`postgres`) for several servers that share the folder of `data`.",
            "URL",
            "an SQLite file in `data`",
            is_secret=True,
        ),
    ] = field(default=None, repr=False)
    keep_results: Annotated[
        float,
        Ge(0),
        Meaning("How long submitted detections and results are kept after their end.", "DAYS"),
    ] = 30.0
    keep_results_gb: Annotated[
        float | None,
        Ge(0),
        Meaning("Most that results take: beyond, the oldest are forgotten.", "GB", "any"),
    ] = None
    keep_uploads: Annotated[
        float, Ge(0), Meaning("How long uploads are kept after their last use.", "HOURS")
    ] = 24.0
    max_upload_gb: Annotated[float, Ge(0), Meaning("Largest upload.", "GB")] = 50.0
    max_pixels: Annotated[int, Ge(1), Meaning("Largest scene: its width times its height.")] = (
        20_000_000_000
    )
    max_bands: Annotated[int, Ge(1), Meaning("Most bands of a scene.")] = 4096
    max_expansion: Annotated[
        float,
        Ge(1),
        Meaning("Most bytes that a byte of a scene's file may be decoded to.", "RATIO"),
    ] = 2000.0
    token_file: Annotated[
        Path | None,
        Meaning(
            "Ask every caller for a token, on this machine, too; the one in this file may do "
            "everything. It is made, readable by you alone, where there is none.",
            "FILE",
        ),
    ] = None
    tls_cert: Annotated[
        Path | None, Meaning("PEM certificate chain; with `tls_key` it turns on TLS.", "FILE")
    ] = None
    tls_key: Annotated[Path | None, Meaning("PEM private key.", "FILE")] = None
    tls_clients: Annotated[
        Path | None,
        Meaning(
            "PEM certificates of authorities: callers without a certificate of one of these are "
            "refused (mutual TLS).",
            "FILE",
        ),
    ] = None
    metrics_port: Annotated[
        int | None, Ge(0), Le(65535), Meaning("Tell Prometheus there, at /metrics.", "PORT")
    ] = None
    metrics_host: Annotated[str, Meaning("Address for `metrics_port`.")] = "127.0.0.1"
    ready_file: Annotated[
        Path | None,
        Meaning(
            "Write the addresses there as JSON once the server listens; removed at its end.", "FILE"
        ),
    ] = None
    device: Annotated[
        str, Meaning("What a request for `auto` gets: auto, cpu, cuda or cuda:N.")
    ] = "auto"
    warm: Annotated[
        tuple[str, ...],
        Meaning(
            "Load this detector and try it at once, so that its first request is as quick as the "
            "next; health says NOT_SERVING until then.",
            "DETECTOR",
        ),
    ] = ()
    per_device: Annotated[int, Ge(1), Meaning("Detections that compute on one device at once.")] = 2
    max_waiting: Annotated[
        int, Ge(0), Meaning("Detections that wait in line while their callers do.")
    ] = 16
    max_streams: Annotated[
        int, Ge(1), Meaning("Detections with a caller that reads, open in all.")
    ] = 64
    max_client_detections: Annotated[
        int,
        Ge(1),
        Meaning("Those of one client, where clients are told apart by tokens."),
    ] = 32
    max_client_streams: Annotated[
        int,
        Ge(1),
        Meaning("Streams of one such client in all: detections, results, uploads, watches."),
    ] = 256
    max_jobs: Annotated[int, Ge(1), Meaning("Submitted detections that wait in their line.")] = 1000
    lease: Annotated[
        float,
        Ge(1),
        Meaning(
            "Jobs of a server that is silent for so long go to another one of the same database.",
            "SECONDS",
        ),
    ] = 30.0
    keepalive: Annotated[
        float,
        Ge(1),
        Meaning(
            "A silent client is asked for a sign of life after this, and given up after as long "
            "again.",
            "SECONDS",
        ),
    ] = 10.0
    grace: Annotated[
        float,
        Ge(0),
        Meaning("What running detections get to finish after a stop signal.", "SECONDS"),
    ] = 10.0


@dataclass(frozen=True)
class Key:
    """A key of `Settings`.

    Attributes:
        name: in a file.
        kind: str, int, float, bool or Path; that of the items where `is_list`.
        is_list: whether it takes several.
        default: its value where nobody says another.
        least: smallest value of a number; None: any.
        most: largest value; None: any.
        meaning: what people are told.
    """

    name: str
    kind: type
    is_list: bool
    default: Any
    least: float | None
    most: float | None
    meaning: Meaning

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return VARIABLE + self.name.upper()

    @property
    def option(self) -> str:
        """Its option of the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """Its default in words."""
        if self.meaning.default is not None:
            return self.meaning.default
        if self.default in (None, ()):
            return "none"
        if isinstance(self.default, bool):
            return "true" if self.default else "false"
        return f"{self.default:g}" if self.kind is float else str(self.default)

    @property
    def form(self) -> str:
        """What a value must be, in words."""
        words = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
        text = words.get(self.kind, "a text")
        if self.most is not None:
            text += f" from {self.least:g} to {self.most:g}"
        elif self.least is not None:
            text += f" of at least {self.least:g}"
        return f"a list, each {text}" if self.is_list else text


@cache
def keys() -> tuple[Key, ...]:
    """All keys, in the order of `Settings`."""
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(_key(one.name, hints[one.name], one.default) for one in fields(Settings))


def _key(name: str, hint: Any, default: Any) -> Key:
    assert default is not MISSING
    whole, *extras = get_args(hint)
    is_list = get_origin(whole) is tuple
    kind = next(
        (one for one in get_args(whole) if one not in (NoneType, Ellipsis)),
        whole,
    )
    found = {type(one): one for one in extras}
    return Key(
        name,
        kind,
        is_list,
        default,
        found[Ge].ge if Ge in found else None,
        found[Le].le if Le in found else None,
        found[Meaning],
    )
