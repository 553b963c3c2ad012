"""Rendered scenes to measure on, kept in the folder for temporary files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import lanner.synth
from lanner.core.errors import OutputError
from lanner.core.job import Progress
from lanner.core.machine import cores

SEED = 3
"""Of the rendered scene: an airfield, and roads around it."""


def rendered(size: int, gsd: float, tell: Callable[[Progress], None]) -> Path:
    """A square scene of `size` pixels of `gsd` metres; rendered once, then found again.

    Raises:
        OutputError: the folder for temporary files cannot hold it, or is another's.
        ConfigError: a size or sampling that cannot be rendered.
    """
    from lanner.synth.scene import render
    from lanner.synth.spec import RenderSpec

    spec = RenderSpec(size, size, gsd, seed=SEED)
    folder = _folder()
    path = folder / f"{size}px-{gsd:g}m-{_painter()}.tif"
    if not path.exists():
        part = folder / f"{os.getpid()}-{path.name}"
        try:
            render(part, spec, tell, part.with_suffix(".geojson"), threads=cores())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
            part.with_suffix(".geojson").unlink(missing_ok=True)
    return path


def _folder() -> Path:
    """A folder of this user's own: others may write to the one for temporary files."""
    folder = Path(tempfile.gettempdir()) / f"lanner-bench-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "TMPDIR", folder, f"cannot be made ({error.strerror})", "set TMPDIR to another folder"
        ) from error
    facts = folder.lstat()
    if facts.st_uid != os.getuid() or folder.is_symlink():
        raise OutputError(
            "TMPDIR", folder, "belongs to somebody else", "remove it, or set TMPDIR to your own"
        )
    return folder


def _painter() -> str:
    """Which code renders: another one paints another scene."""
    text = hashlib.sha256()
    for path in sorted(Path(lanner.synth.__path__[0]).glob("*.py")):
        text.update(path.read_bytes())
    return text.hexdigest()[:12]
