"""Names of scenes: a path, or an address of a kind that is let in. Needs no library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lanner.core.errors import SceneError

REMOTE = {"http://": "/vsicurl/http://", "https://": "/vsicurl/https://", "s3://": "/vsis3/"}
"""URL beginnings and GDAL's own file systems for them."""


def beginning(uri: str) -> str:
    """The beginning of a URL up to its slashes; capitals there say nothing (RFC 3986, 3.1)."""
    scheme, slashes, _ = uri.partition("://")
    return scheme.lower() + slashes


def is_remote(uri: str) -> bool:
    """Whether the scene is read over the network."""
    return beginning(uri) in REMOTE


_HOST = re.compile(r"(\[[^]]*\]|[^:@]*)(:\d*)?")


def display_name(uri: str) -> str:
    """The name for messages: a path as it is; an address without its user, query and fragment.

    Those may hold a password or a signature. A host that could be part of a password, as with an
    unescaped slash in one, is not shown.
    """
    scheme, slashes, rest = uri.partition("://")
    if not slashes:
        return uri
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    host = host.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return f"{scheme}://..."
    return f"{scheme}://{host}{slash}{path}"


def secrets_of(address: str) -> tuple[str, ...]:
    """Parts of an address that `display_name` leaves out: user with password, query, fragment."""
    rest = address.partition("://")[2]
    place, *more = re.split(r"[?#]", rest, maxsplit=1)
    host = place.partition("/")[0]
    if not _HOST.fullmatch(host.rpartition("@")[2]):
        host = place
    return tuple(one for one in (host.rpartition("@")[0], *more) if one)


class _Process:
    """What is one for the process."""

    folders: tuple[Path, ...] = ()


def keep_inside(folders: Sequence[Path]) -> None:
    """Never leave these folders by a link from one of them, in this whole process from now on.

    A server looks at a name when it is asked for; this holds when the file is opened, which may
    be hours later and by then a link.
    """
    _Process.folders = tuple(one.resolve() for one in folders)


def _leads_out(path: Path, real: Path) -> bool:
    def is_inside(one: Path) -> bool:
        return any(one.is_relative_to(folder) for folder in _Process.folders)

    return is_inside(path) and not is_inside(real)


def local_file(uri: str) -> str:
    """The full path of a scene that is no URL, as GDAL takes it.

    Raises:
        SceneError: there is no such file, it is a link out of a folder that is not to be left, or
            its name is no Unicode.
    """
    path = Path(uri)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise SceneError("scene", uri, problem, "give a raster file or an http(s):// or s3:// URL")
    # Absolute, so that no file name can be taken for a connection string.
    real = path.resolve()
    if _leads_out(path, real):
        raise SceneError("scene", uri, "is a link that leads elsewhere", "put the file itself")
    name = str(real)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SceneError(
            "scene",
            uri,
            "has bytes in its name, or its folder's, that are no valid Unicode",
            "rename it",
        ) from error
    return name
