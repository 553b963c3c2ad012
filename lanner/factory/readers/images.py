"""Images without labels: negatives, or what a model may label itself."""

from __future__ import annotations

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.readers.parts import images_below
from lanner.factory.readers.reading import Reading

OPTIONS = frozenset({"skip"})
"""`skip`: folders (or files), relative to the split's folder, that are left out."""


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read every image below a folder.

    Raises:
        ConfigError: the source's role is labelled: there are no labels here.
        DatasetError: the folder is missing.
    """
    if reading.source.role == "labelled":
        raise ConfigError(
            f"sources.{reading.source.name}.role",
            "labelled",
            "images of this format have no labels",
            "give role: negative or role: unlabelled",
        )
    folder = reading.root / name
    if not folder.is_dir():
        raise DatasetError(
            f"sources.{reading.source.name}.splits", folder, "is no folder", "correct it"
        )
    left = [str(one) for one in reading.option("skip", [])]
    for one in left:
        if not (folder / one).exists():
            raise ConfigError("options.skip", one, f"is not in {folder}", "correct or remove it")
    out = []
    for path in images_below(folder):
        if any(path.is_relative_to(folder / one) for one in left):
            out.append(reading.name_of(path))
            continue
        image = reading.open_image(path)
        if image is not None:
            reading.add(split, image)
    reading.skip_many("images", out, "named in options.skip")
