"""Scenes that `lanner plan --server` has sent, for the detection that follows.

A note below the user's state folder says which upload of which server holds a file as it is now.
Whoever takes the note has the upload to himself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lanner.client.client import Client
from lanner.client.uploads import Upload
from lanner.core.errors import UnknownUploadError
from lanner.core.job import Progress


def take_or_send(client: Client, path: Path, tell: Callable[[Progress], None]) -> Upload:
    """The upload of a file: one that was kept, else a new one.

    Raises:
        LannerError: as of `Client.upload`.
    """
    note = _note(client, path)
    if note is not None:
        # Of several who read it at once one can remove it.
        with suppress(OSError, ValueError, TypeError, UnknownUploadError):
            found = Upload(**json.loads(note.read_text(encoding="utf-8")))
            note.unlink()
            if client.has_upload(found):
                return found
    return client.upload(path, tell)


def keep(client: Client, path: Path, upload: Upload) -> None:
    """Leave an upload to whoever asks for the file next; where no note can be written, to nobody.

    The server forgets it a day after its last use.
    """
    note = _note(client, path)
    if note is None:
        return
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        beside = note.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps({"name": upload.name, "size": upload.size}), "utf-8")
        beside.replace(note)


def _note(client: Client, path: Path) -> Path | None:
    """Where a note about a file as it is now lies; None for a file that cannot be looked at."""
    try:
        stat = path.stat()
    except OSError:
        return None
    facts = [client.address, str(path.resolve()), stat.st_size, stat.st_mtime_ns]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "lanner" / "uploads" / f"{name}.json"
