"""Keeping the server's own folders out of what callers are told."""

from __future__ import annotations

import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lanner.core.errors import ConfigError
from lanner.core.home import VARIABLE, home

_FOLDERS = re.compile(r"(?<![\w/:.~\-)\]])/(?!vsi)(?:[^\s/'\"`:;,()<>\[\]]+/)+")
# The folders of an absolute path. Not those of an address, nor GDAL's /vsicurl/.


@dataclass(frozen=True)
class Private:
    """What is put in place of the server's folders.

    `folders` are pairs of a folder, as it may stand in a message, and the words for it. Of every
    other absolute path the last part is left, behind an ellipsis.
    """

    folders: tuple[tuple[str, str], ...]

    def hide(self, text: str, opened: str = "", asked: str = "") -> str:
        """The text without paths of the server.

        Args:
            text: part of a message.
            opened: path or address that a scene was opened under.
            asked: what the caller named it; a path that the caller knows stays whole.
        """
        if opened:
            text = text.replace(opened, asked)
        if not asked.startswith("/"):
            return self._without_folders(text)
        return asked.join(self._without_folders(part) for part in text.split(asked))

    def _without_folders(self, text: str) -> str:
        for folder, words in self.folders:
            end = "" if folder.endswith("/") else r"(?!\w)"
            text = re.sub(re.escape(folder) + end, words, text)
        return _FOLDERS.sub("\u2026/", text)


def private(roots: tuple[Path, ...]) -> Private:
    """What to hide: the folders of scenes, of the detectors, of temporary files and of Python."""
    named = {tempfile.gettempdir(): "TMPDIR", sys.prefix: "the installation"}
    with suppress(ConfigError):  # no detectors are installed: there is nothing to hide
        named[str(home())] = VARIABLE
    for folder in {str(one) for root in roots for one in (root.absolute(), root.resolve())}:
        named |= {folder: "the folder of scenes", f"{folder}/": ""}
    for whole in ("/", "//"):
        named.pop(whole, None)
    # The longest first: one may lie in another.
    return Private(tuple(sorted(named.items(), key=lambda pair: -len(pair[0]))))
