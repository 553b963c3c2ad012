"""The bytes of a document of a source, wherever it lies."""

from __future__ import annotations

from pathlib import Path

from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.web import MOST_BYTES, Answer, fetch
from lanner.core.job import Cancel
from tiling.names import beginning, is_remote

MOST_LOCAL = 1 << 31
"""Bytes of a file of this machine."""


def read(address: str, cancel: Cancel, most: int = MOST_BYTES) -> Answer:
    """A document at a path, an http(s):// or an s3:// address.

    Args:
        address: where it is.
        cancel: looked at before and while it is read.
        most: bytes of one that is fetched.

    Raises:
        UnreadError: it cannot be read, or has too many bytes.
        Cancelled: the caller asked to stop.
    """
    cancel.check()
    if beginning(address) == "s3://":
        from lanner.archives.sources.s3 import read_object

        return Answer(address, "", read_object(address, most))
    if is_remote(address):
        return fetch(address, cancel, most=most)
    try:
        with Path(address).open("rb") as file:
            data = file.read(MOST_LOCAL + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no valid path"
        raise UnreadError(
            address, f"cannot be read ({reason})", "give a file that this user may read"
        ) from error
    if len(data) > MOST_LOCAL:
        raise UnreadError(address, f"has more than {MOST_LOCAL >> 20} MiB", "give a smaller file")
    return Answer(address, "", data)


def text_of(answer: Answer) -> str:
    """A document's text, without the mark that some editors put before it.

    Raises:
        UnreadError: it is no UTF-8.
    """
    try:
        return answer.body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadError(answer.address, "is no text in UTF-8", "save it as UTF-8") from error
