"""Addresses in a catalogue: what lies beside it relative, what lies elsewhere whole."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from tiling.names import display_name


def below(*parts: str) -> str:
    """Names of folders and a file as one relative address."""
    return "/".join(quote(part) for part in parts)


def joined(root: str, file: str) -> str:
    """The address of a file below a root, which is an address or a relative one."""
    return f"{root.rstrip('/')}/{quote(file)}"


def up(root: str, levels: int) -> str:
    """A root that is relative to the catalogue, as documents so many folders below name it."""
    if "://" in root or root.startswith("/"):
        return root
    return "../" * levels + root


def whole(place: str) -> str:
    """A path or an address as a link has it: a whole one, without passwords and signatures."""
    if "://" in place:
        return display_name(place)
    return Path(place).absolute().as_uri()
