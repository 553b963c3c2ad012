"""Where addresses lead: relative ones made whole, and those that are not followed."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urljoin, urlsplit

from tiling.names import beginning, is_remote

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def refusal(href: str) -> str | None:
    """Why an address or path of a list or catalogue is not taken; None where it is.

    GDAL's own paths can name anything on this machine, inside archives, or on another's.
    """
    if href.lower().startswith("/vsi"):
        return "begins with /vsi, a path of GDAL's own"
    if "://" in href and not is_remote(href):
        return f"begins with {beginning(href)[:20]}, which is not read"
    if not href.strip():
        return "is empty"
    try:
        href.encode("utf-8", "surrogateescape")  # a file may have bytes that are no Unicode
    except UnicodeEncodeError:
        return "is no valid Unicode"
    return "holds a character that no name has" if "\0" in href else None


def resolved(href: str, base: str) -> str | None:
    """An address or path as a document at `base` means it, whole.

    Args:
        href: as it stands there.
        base: the document's own address or path.

    Returns:
        None where it is none that is read: a document from elsewhere names no file of this
        machine.
    """
    if refusal(href) is not None:
        return None
    if is_remote(href):
        return href if joined("", href) is not None else None
    if not is_remote(base):
        return _local(href, base)
    if _SCHEME.match(href):
        return None
    if beginning(base) == "s3://":
        # The library joins addresses of the schemes that it knows.
        whole = joined("http" + base[len("s3") :], href)
        return None if whole is None else "s3" + whole[len("http") :]
    return joined(base, href)


def joined(base: str, href: str) -> str | None:
    """An address that another one has, whole; None where it cannot be one."""
    try:
        whole = urljoin(base, href)
        urlsplit(whole)  # joining looks at some alone
        return whole
    except ValueError:
        return None


def _local(href: str, base: str) -> str:
    folder = os.path.dirname(os.path.abspath(base))
    path = os.path.normpath(os.path.join(folder, href))
    if "%" in href and not os.path.exists(path):
        plain = os.path.normpath(os.path.join(folder, unquote(href)))
        if os.path.exists(plain):
            return plain
    return path


def identity(uri: str) -> str:
    """What two uris of one scene have in common: an address itself, a file past all links."""
    return uri if is_remote(uri) else os.path.realpath(uri)
