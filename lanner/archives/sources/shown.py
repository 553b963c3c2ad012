"""Addresses as messages show them: without passwords, and without what may be a signature."""

from __future__ import annotations

import re

_HOST = re.compile(r"(\[[^]]*\]|[^:@]*)(:\d*)?")


def shown(address: str) -> str:
    """A path as it is; an address without its user, query and fragment.

    A host that could be part of a password, as with an unescaped slash in one, is not shown.
    """
    scheme, slashes, rest = address.partition("://")
    if not slashes:
        return address
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return f"{scheme}://..."
    return f"{scheme}://{host}{slash}{path}"
