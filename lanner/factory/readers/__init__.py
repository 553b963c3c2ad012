"""Readers: folders of images with labels in the formats people have them, as samples.

One module a format. What cannot be used is recorded with its reason, never dropped silently.
"""

from __future__ import annotations

from importlib import import_module

from lanner.core.errors import DatasetError
from lanner.factory.config import Source
from lanner.factory.project import Project
from lanner.factory.readers.reading import Read, Reading, class_order
from lanner.factory.readers.telling import Skip

__all__ = ["Read", "Skip", "class_order", "read_source"]


def read_source(project: Project, source: Source) -> Read:
    """Every image of a source, with its labels in our classes.

    Args:
        project: whose data folder the source's root is relative to; masks are written below its
            folder of the step explore.
        source: one entry of `sources`.

    Returns:
        Samples in a fixed order, and what was skipped. Paths are absolute; ids are
        `source/split/stem`, with the folder where stems repeat.

    Raises:
        DatasetError: folder or label file missing or malformed, a class that is neither mapped
            nor dropped, a class without any object, labels that fit no image.
        ConfigError: an option that the format does not know.
    """
    module = import_module(f"lanner.factory.readers.{source.format}")
    kind: type[Reading] = getattr(module, "READING", Reading)
    reading = kind(project, source, module.OPTIONS)
    for split, name in reading.splits():
        module.read(reading, split, name)
    reading.settle()
    if not reading.samples:
        raise DatasetError(
            f"sources.{source.name}",
            reading.root,
            f"holds no image that can be used{reading.first()}",
            "correct root, splits or format",
        )
    reading.require_objects()
    return Read(tuple(reading.samples), tuple(reading.skipped), dict(reading.classes))
