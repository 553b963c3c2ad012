"""A file together with the checksum of what it holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PinnedFile:
    """A file, and the SHA-256 (lower-case hex) of its content when it was looked at."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> PinnedFile:
        """The file as it is now.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as stream:
            return cls(path, hashlib.file_digest(stream, "sha256").hexdigest())

    def unchanged(self) -> bool:
        """Whether it is still there with that content."""
        try:
            return PinnedFile.of(self.path) == self
        except OSError:
            return False
