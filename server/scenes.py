"""Which scenes a caller may name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lanner.core.errors import SceneError
from tiling.addresses import Endpoint, HostRule
from tiling.names import display_name

_REMOTE = ("http", "https", "s3")


@dataclass(frozen=True)
class ScenePolicy:
    """Local scenes lie inside one of `roots`; remote ones are refused unless `allow_remote`.

    Where `hosts` are listed, remote ones come from those alone: `host`, `host:port`, `*.domain`
    or `s3://bucket`. Redirects are looked at where they are followed (`tiling.relay`).
    """

    roots: tuple[Path, ...]
    allow_remote: bool = False
    hosts: tuple[str, ...] = ()

    def resolve(self, uri: str) -> str:
        """What to open for `uri`: an absolute path without symbolic links, or the address.

        A relative path is looked for under each root in order. Messages never tell what
        exists outside the roots, nor where the roots are.

        Raises:
            SceneError: empty, no name of a file, outside the roots, not a file, or an address
                that is refused.
        """
        if not uri.strip():
            raise SceneError("scene", uri, "is empty", "name a GeoTIFF")
        if "\0" in uri:
            raise SceneError("scene", uri, "holds a NUL, which no name may", "check the path")
        if "://" in uri or uri.startswith("/vsi"):
            return self._remote(uri)
        inside = False
        for root in self.roots:
            try:
                home = root.resolve()
                path = (home / uri).resolve()
                if not path.is_relative_to(home):
                    continue
                inside = True
                # Behind a loop of links what comes after it is left unresolved, unless strictly.
                if path.is_file() and (home / uri).resolve(strict=True) == path:
                    return str(path)
            except (OSError, RuntimeError, ValueError):
                # A name that no file can have (too long, a NUL, a loop of links) or a
                # folder that may not be entered: the same as no file.
                continue
        if inside:
            raise SceneError("scene", uri, "is no file on the server", "check the path")
        raise SceneError(
            "scene",
            uri,
            "is outside the folders this server may read",
            "move it there, or ask whoever runs the server to add its folder",
        )

    def _remote(self, uri: str) -> str:
        """`uri` itself where it may be fetched."""
        # Not by urlsplit, which takes some of these for no URL at all.
        scheme = uri.partition("://")[0].lower() if "://" in uri else uri.split("/")[1]
        if scheme not in _REMOTE:
            raise SceneError(
                "scene",
                display_name(uri),
                f"{scheme} is not a kind of address this server opens",
                "give a path, or an http://, https:// or s3:// address",
            )
        if not self.allow_remote:
            raise SceneError(
                "scene",
                display_name(uri),
                "this server opens no remote scenes",
                "give a path, or ask whoever runs the server to allow them",
            )
        if self.hosts and not self._listed(uri, scheme):
            raise SceneError(
                "scene",
                display_name(uri),
                "is on no host that this server may read from",
                "give an address on another host, or have the server started with that one too",
            )
        return uri

    def _listed(self, uri: str, scheme: str) -> bool:
        """Whether an address is on one of `hosts`."""
        if scheme == "s3":
            bucket = re.split(r"[/?#]", uri.partition("://")[2], maxsplit=1)[0]
            return f"s3://{bucket}" in self.hosts
        end = Endpoint.of(uri)
        return end is not None and any(
            HostRule.of(host).admits(end.host, end.port)
            for host in self.hosts
            if not host.startswith("s3://")
        )
