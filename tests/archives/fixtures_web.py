"""A real HTTP server on the loopback that answers as a test says.

Use: `from tests.archives.fixtures_web import Asked, Reply, serving`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """One answer: JSON for a mapping, else bytes or text."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """Where a server is, and what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Site, Asked], Reply]) -> Iterator[Site]:
    """A server that answers each request with what `answer` makes of it."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Nothing is printed."""

        def do_GET(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def reply(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                json.loads(data) if data else None,
                {key.lower(): value for key, value in self.headers.items()},
            )
            site.asked.append(asked)
            reply = answer(site, asked)
            body, kind = reply.body, "text/html"
            if isinstance(body, dict | list):
                body, kind = json.dumps(body), "application/json"
            body = body.encode() if isinstance(body, str) else body
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), **reply.headers}
            self.send_response(reply.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    site.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield site
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@contextmanager
def pages(content: dict[str, Any]) -> Iterator[Site]:
    """A server of fixed documents by path; others are not found."""

    def answer(_: Site, asked: Asked) -> Reply:
        found = content.get(asked.path)
        if isinstance(found, Reply):
            return found
        return Reply("gone", 404) if found is None else Reply(found)

    with serving(answer) as site:
        yield site
