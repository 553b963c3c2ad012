"""Reading over HTTP: bounded in time and size, asked again where that may help."""

from __future__ import annotations

import ssl
import string
import time
import zlib
from base64 import b64encode
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from lanner.archives.sources.unread import UnreadError
from lanner.core.job import Cancel
from lanner.core.version import __version__
from tiling.names import beginning, display_name

TIMEOUT_S = 30.0
"""For a connection, and between two pieces of an answer."""
LONGEST_S = 600.0
"""For a whole answer."""
MOST_BYTES = 1 << 26
"""Of an answer, once it is unpacked."""
PAUSES_S = (0.25, 0.5, 1.0, 2.0)
"""Before the same is asked once more."""
LONGEST_PAUSE_S = 30.0
"""That a server may ask for."""

_AGAIN = (429, 500, 502, 503, 504)
_CHUNK = 1 << 16
_SEE_OTHER = 303


@dataclass(frozen=True)
class Answer:
    """What came: where it was in the end, its media type in small letters, and its bytes."""

    address: str
    kind: str
    body: bytes


def fetch(
    address: str, cancel: Cancel, body: bytes | None = None, most: int = MOST_BYTES
) -> Answer:
    """What an http or https address answers.

    Args:
        address: with `user:password@` where the server asks for them.
        cancel: looked at between pieces and while waiting.
        body: JSON to send with POST; without it the address is asked with GET.
        most: bytes that are read; one more is refused.

    Raises:
        UnreadError: it cannot be reached, answers with an error even when asked again, or with
            too much.
        Cancelled: the caller asked to stop.
    """
    for pause in (*PAUSES_S, None):
        cancel.check()
        try:
            return _once(address, cancel, body, most)
        except _BrieflyError as error:
            if pause is None:
                raise error.unread from error
            _wait(max(pause, error.wait), cancel)
    raise AssertionError("the last pause is None")


class _BrieflyError(Exception):
    """An answer that may be another one in a moment."""

    def __init__(self, unread: UnreadError, wait: float = 0.0) -> None:
        super().__init__()
        self.unread = unread
        self.wait = wait


def _once(address: str, cancel: Cancel, body: bytes | None, most: int) -> Answer:
    try:
        with _open(_request(address, body)) as response:
            kind = (response.headers.get_content_type() or "").lower()
            if kind.startswith("image/"):
                return Answer(address, kind, b"")  # a scene: it is not fetched to be found
            data = _read(response, address, cancel, most)
            return Answer(with_user(str(response.url), address), kind, data)
    except HTTPError as error:
        with error:
            raise _refused(address, error) from error
    except (ValueError, InvalidURL, zlib.error) as error:
        raise UnreadError(
            address, "is no address that can be read", "correct the address"
        ) from error
    except (OSError, HTTPException) as error:
        unread = UnreadError(
            address,
            f"cannot be reached ({_reason(error)})",
            "check the address and the network, and run it again",
            later=True,
            reached=False,
        )
        raise _BrieflyError(unread) from error


def _request(address: str, body: bytes | None) -> Request:
    """The request, with user and password where they belong."""
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError("no host")
    host = parts.netloc.rpartition("@")[2]
    plain = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    request = Request(quote(plain, safe=string.punctuation), data=body)
    request.add_header("User-Agent", f"lanner/{__version__}")
    request.add_header("Accept", "application/geo+json, application/json, text/html, */*;q=0.5")
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # A header of this kind does not go along with a redirect to another server.
        request.add_unredirected_header(
            "Authorization", f"Basic {b64encode(login.encode()).decode()}"
        )
    return request


def with_user(address: str, before: str) -> str:
    """An address on the server of `before` with its user and password; others as they are."""
    old, new = urlsplit(before), urlsplit(address)
    user, at, host = old.netloc.rpartition("@")
    if not at or new.netloc != host:
        return address
    return urlunsplit((new.scheme, f"{user}@{host}", new.path, new.query, new.fragment))


class _Redirects(HTTPRedirectHandler):
    """Redirects to the same scheme, or from http to https; never to a file or to plain text."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> Request | None:
        before, after = beginning(req.full_url), beginning(newurl)
        if after != before and (before, after) != ("http://", "https://"):
            raise UnreadError(
                req.full_url,
                f"redirects to {display_name(newurl)}, which is no {before} address",
                "give the address that it leads to, where you trust it",
                status=code,
            )
        # What is sent goes along, which browsers do not do: a search without its terms is another.
        data = None if code == _SEE_OTHER else req.data
        other = Request(newurl.replace(" ", "%20"), data=data, headers=dict(req.headers))
        login = req.unredirected_hdrs.get("Authorization")
        if login and urlsplit(newurl).netloc == urlsplit(req.full_url).netloc:
            other.add_unredirected_header("Authorization", login)
        return other


@cache
def _tls() -> ssl.SSLContext:
    """The machine's certificates, which take a while to read."""
    return ssl.create_default_context()


def _open(request: Request) -> HTTPResponse:
    """An answer, through the proxy that the environment names."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPHandler(),
        HTTPSHandler(context=_tls()),
        _Redirects(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    response = opener.open(request, timeout=TIMEOUT_S)
    assert isinstance(response, HTTPResponse)
    return response


def _read(response: HTTPResponse, address: str, cancel: Cancel, most: int) -> bytes:
    """The whole body, unpacked where a server packs what nobody asked it to."""
    packed = response.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip")
    unpack = zlib.decompressobj(wbits=31) if packed else None
    parts: list[bytes] = []
    size, end = 0, time.monotonic() + LONGEST_S
    while data := response.read1(_CHUNK):
        cancel.check()
        if unpack is not None:
            data = unpack.decompress(data, most + 1 - size)
        parts.append(data)
        size += len(data)
        if size > most:
            raise UnreadError(
                address,
                f"answers with more than {most >> 20} MiB",
                "give an address that answers with less",
            )
        if time.monotonic() > end:
            raise TimeoutError(f"no end after {LONGEST_S:g} s")
    if response.length:  # read1 does not tell of a connection that was cut
        raise ConnectionError("the answer was cut off")
    return b"".join(parts)


def _refused(address: str, error: HTTPError) -> Exception:
    """What an error of the server means to whoever asked."""
    code = error.code
    if code in _AGAIN:
        unread = UnreadError(
            address,
            f"answers with the error {code}",
            "run it again later, or tell who runs that server",
            status=code,
            later=True,
        )
        return _BrieflyError(unread, _asked_wait(error.headers))
    remedy = "correct the address"
    if code in (401, 403):
        remedy = "give an address that you may read: https://USER:PASSWORD@HOST/ or a signed one"
    elif 300 <= code < 400:
        remedy = "give the address that it leads to in the end"
    return UnreadError(address, f"answers with the error {code}", remedy, status=code)


def _asked_wait(headers: Message) -> float:
    """Seconds that a server asks to wait, within reason."""
    asked = (headers.get("Retry-After") or "").strip()
    return min(float(asked), LONGEST_PAUSE_S) if asked.isdecimal() else 0.0


def _reason(error: BaseException) -> str:
    """The system's words for what failed; a library's may repeat the address."""
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, str):
        return inner
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    if isinstance(inner, OSError):
        text = getattr(inner, "verify_message", None) or inner.strerror
        if text is None and len(inner.args) == 1:
            text = str(inner.args[0])
        return text or type(inner).__name__
    return type(inner).__name__


def _wait(seconds: float, cancel: Cancel) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        cancel.check()
        time.sleep(min(left, 0.1))
