"""Files that steps of a chain read, such as a catalogue: who names them and where they lie.

A step says that a parameter names a file with the type `FileName`. A release brings the files that
its chain reads (`chain_files` on its card); any other name is a path, or a file in `configs/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel

from lanner.core.errors import ConfigError
from lanner.core.home import configs_dir
from tiling.pinned import PinnedFile


class _NamesAFile:
    """Marks a parameter whose value names a file that the step reads."""


FileName = Annotated[str, _NamesAFile()]
"""Type of a parameter that names a file; see `postprocess.context.Context.file`."""


def files_named(params: BaseModel) -> tuple[str, ...]:
    """The files that the parameters of one step name, in the order of its parameters."""
    fields = type(params).model_fields
    marked = [name for name, field in fields.items() if _marks_a_file(field.metadata)]
    return tuple(dict.fromkeys(getattr(params, name) for name in marked))


def find_files(names: Iterable[str], released: Mapping[str, PinnedFile]) -> dict[str, PinnedFile]:
    """Each file by its name: the release's own, else a path, relative to `configs/`.

    Args:
        names: as parameters of steps have them.
        released: the files that the release brings, already compared with its card.

    Raises:
        ConfigError: a file is not there.
    """
    return {name: released[name] if name in released else _source(name) for name in names}


def _source(name: str) -> PinnedFile:
    path = configs_dir() / name
    try:
        return PinnedFile.of(path)
    except OSError as error:
        raise ConfigError(
            "chain",
            path,
            f"cannot be read ({error.strerror}), and a step of the chain reads it",
            "name an existing file, in full or relative to configs/",
        ) from error


def _marks_a_file(metadata: Iterable[object]) -> bool:
    return any(isinstance(one, _NamesAFile) for one in metadata)


__all__ = ["FileName", "files_named", "find_files"]
