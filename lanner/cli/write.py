"""The last act of `lanner detect`: every output is tried, and nothing computed is lost unsaid."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lanner.core.errors import OutputError
from lanner.core.job import Cancel, DetectResult

_File = tuple[Path, DetectResult]
"""A file, and what is to be in it."""


def write_outputs(
    result: DetectResult,
    paths: Sequence[Path],
    candidates: Path | None,
    run: Path | None,
    cancel: Cancel,
) -> list[str]:
    """Write every file; one that cannot be written keeps no other from it.

    Args:
        result: what was found.
        paths: the files, in the order asked.
        candidates: the file for `result.candidates`.
        run: the folder that keeps the run, if there is one.
        cancel: looked at before each file.

    Returns:
        What there is to say of files that hold more than what was found now, a line each.

    Raises:
        OutputError: a file could not be written. The message says where the features are.
        Cancelled: the caller asked to stop.
    """
    from postprocess.writers import write

    notes: list[str] = []
    failed: list[tuple[_File, OutputError]] = []
    files: list[_File] = [(path, result) for path in paths]
    if candidates is not None and result.candidates is not None:
        files.append((candidates, result.candidates))
    for path, found in files:
        cancel.check()
        try:
            note = write(found.features, found.frame, path, found.layer, found.schema)
        except OutputError as error:
            failed.append(((path, found), error))
        else:
            notes += [] if note is None else [note]
    if failed:
        raise _failure(failed, run)
    return notes


def _failure(failed: Sequence[tuple[_File, OutputError]], run: Path | None) -> OutputError:
    """All failures in one line, and where the features are."""
    if run is not None:
        where = f"the same command resumes from {run}"
    else:
        kept = _kept([file for file, _ in failed])
        where = (
            f"what was found is in {' and '.join(map(str, kept))}"
            if kept
            else "what was found could not be kept elsewhere either"
        )
    _, first = failed[0]
    also = "".join(f"; {path}: {error.problem}" for (path, _), error in failed[1:])
    return OutputError(
        first.argument, first.value, first.problem + also, f"{first.remedy}; {where}"
    )


def _kept(files: Sequence[_File]) -> list[Path]:
    """The files in a folder for temporary ones, or else in the current one; none where none can.

    What another format cannot say is kept as GeoParquet.
    """
    for base in (None, "."):
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="lanner-kept-", dir=base)).absolute()
            kept = [one for one in (_keep(file, folder) for file in files) if one]
            if kept:
                return list(dict.fromkeys(kept))
            shutil.rmtree(folder)
    return []


def _keep(file: _File, folder: Path) -> Path | None:
    from postprocess.writers import write

    path, found = file
    for name in (path.name, f"{found.layer or 'features'}.parquet"):
        with suppress(OutputError):
            write(found.features, found.frame, folder / name, found.layer, found.schema)
            return folder / name
    return None
