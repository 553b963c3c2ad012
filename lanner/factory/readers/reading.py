"""What all readers share: folders, classes, options, ids, and the list of what was skipped."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanner.core.errors import ConfigError, DatasetError
from lanner.core.job import Progress
from lanner.factory.config import FactoryConfig, Source
from lanner.factory.images import verify, with_colours
from lanner.factory.project import Project
from lanner.factory.readers import frames
from lanner.factory.readers.decoded import Image
from lanner.factory.readers.elsewhere import Found
from lanner.factory.readers.parts import by_name, images_beside, located, name_in, paired
from lanner.factory.readers.telling import Skip, Telling
from lanner.factory.samples import Label, Role, Sample

ANY = "*"
PAIRED = ("dota", "masks", "voc", "yolo")
"""Formats with a label file an image, which `Source.labels` is for."""


@dataclass(frozen=True)
class Read:
    """A source as it was read; `classes` counts its objects (of masks: images) by its class and
    ours, "" where dropped.
    """

    samples: tuple[Sample, ...]
    skipped: tuple[Skip, ...] = ()
    classes: Mapping[tuple[str, str], int] = field(default_factory=dict)


class Reading(Telling):
    """One source while it is read: collects samples and skips.

    Args:
        project: configuration and folders.
        source: what is read.
        options: names of the options that the format knows.

    Raises:
        DatasetError: the source's folder is missing.
        ConfigError: an option is unknown.
    """

    def __init__(self, project: Project, source: Source, options: frozenset[str]) -> None:
        super().__init__()
        self.project, self.source = project, source
        self.root = (project.data / source.root).resolve()
        self.samples: list[Sample] = []
        self._ids: set[str] = set()
        self.classes: Counter[tuple[str, str]] = Counter()
        self._objects: Counter[str] = Counter()
        self._turned: dict[int, frames.Turned] = {}
        if not self.root.is_dir():
            raise DatasetError(
                f"sources.{source.name}.root", self.root, "is no folder", "correct root or data"
            )
        if source.labels is not None and source.format not in PAIRED:
            raise ConfigError(
                f"sources.{source.name}.labels",
                source.labels,
                f"is not for the format {source.format}",
                f"leave it out; it is for {', '.join(PAIRED)}",
            )
        for name in sorted(set(source.options) - options):
            raise ConfigError(
                f"sources.{source.name}.options",
                name,
                f"is no option of the format {source.format}",
                _nearest(name, options) or "remove it",
            )

    def option(self, name: str, default: Any) -> Any:
        """An option as given, or its default.

        Raises:
            ConfigError: it is of another type than its default.
        """
        value = self.source.options.get(name, default)
        wanted = (int, float) if isinstance(default, float) else type(default)
        right = isinstance(value, wanted) and isinstance(value, bool) == isinstance(default, bool)
        if default is not None and not right:
            raise ConfigError(
                f"sources.{self.source.name}.options.{name}",
                value,
                f"is no {type(default).__name__}",
                f"give something like {default!r}",
            )
        return value

    def splits(self) -> list[tuple[str | None, str]]:
        """(our split, its file or folder) of the splits in use; (None, "") where there are none."""
        if not self.source.splits:
            if self.source.use:
                raise ConfigError(
                    f"sources.{self.source.name}.use",
                    ",".join(self.source.use),
                    "names splits, and the source has none",
                    "give splits too",
                )
            return [(None, "")]
        for name in self.source.use:
            if name not in self.source.splits:
                raise ConfigError(
                    f"sources.{self.source.name}.use",
                    name,
                    "is no split of the source",
                    _nearest(name, self.source.splits) or "add it to splits",
                )
        wanted = self.source.use or tuple(self.source.splits)
        return [(name, self.source.splits[name]) for name in sorted(wanted)]

    def unreadable(self, image: Image, file: Path, problems: Sequence[str]) -> bool:
        """Whether an image is left out for labels of it that cannot be read; it is recorded.

        Their objects would be taught as background. Of unlabelled sources no label counts.
        """
        if not problems or self.source.role == "unlabelled":
            return False
        self.left_out(image.name, self.name_of(file), problems)
        return True

    def dropped(self, theirs: str) -> bool:
        """Whether an object of the source's class is left out; counts it then."""
        if theirs not in self.source.drop:
            return False
        self.classes[theirs, ""] += 1
        return True

    def ours(self, theirs: str) -> str | None:
        """Our class for the source's, None where it is dropped; counts it.

        Raises:
            DatasetError: neither mapped nor dropped.
        """
        if self.dropped(theirs):
            return None
        classes = self.source.classes
        if theirs not in classes and ANY not in classes:
            near = _nearest(theirs, {*classes, *self.source.drop})
            raise DatasetError(
                f"sources.{self.source.name}.classes",
                theirs,
                "is a class of the source, neither in classes nor in drop",
                f"add it to one of them; {near}" if near else "add it to one of them",
            )
        self._objects[theirs if theirs in classes else ANY] += 1
        ours = classes.get(theirs, classes.get(ANY))
        self.classes[theirs, ours or ""] += 1
        return ours

    def require_objects(self) -> None:
        """Make sure that each of our classes has an object, and negatives have none.

        Raises:
            DatasetError: they do not.
        """
        name, classes = self.source.name, self.source.classes
        if self.source.role == "negative":
            full = [one.id for one in self.samples if one.labels]
            if full:
                raise DatasetError(
                    f"sources.{name}.role",
                    "negative",
                    f"{len(full)} images have objects, first {full[0]}",
                    "drop their classes, or call the source labelled",
                )
        if self.source.role != "labelled":
            return
        for ours in dict.fromkeys(classes.values()):
            keys = [key for key, value in classes.items() if value == ours]
            if not any(self._objects[key] for key in keys):
                raise DatasetError(
                    f"sources.{name}.classes",
                    ours,
                    f"is an empty class: no object is called {' or '.join(keys)}{self.first()}",
                    "correct the name in classes or take it out",
                )
        for key in classes:
            if not self._objects[key] and key != ANY:
                self.skip(f"class {key}", "no object is called so")

    def found(self, name: str, where: Found) -> Path | None:
        """Where an image lies that a label file names; recorded where that is not as it says."""
        if where.path is None:
            self.skip(name, where.why)
        elif where.moved:
            why = "are not there as they are named: found by the end of their path"
            self.note("images", f"{name} in {self.name_of(where.path)}", why)
        return where.path

    def open_image(self, path: Path, label_size: tuple[int, int] | None = None) -> Image | None:
        """Decode an image; None, recorded, where it cannot be used.

        Args:
            path: the image.
            label_size: width and height that the labels state, None where they do not.
        """
        self.project.cancel.check()
        done = len(self.samples)
        if done % 50 == 0:
            self.project.tell(Progress(f"read {self.source.name}", done, 0))
        path = Path(os.path.normpath(path))
        name = self.name_of(path)
        try:
            width, height = verify(path)
            origin, plain = with_colours(path, self.project.step_dir("explore") / "colours")
        except DatasetError as error:
            self.skip(name, error.problem)
            return None
        if origin is not None:
            self.note("images", name, "have a palette: read in its colours")
        turned = frames.turned_by(path, (width, height), label_size, self.option(frames.OPTION, ""))
        sizes = {(width, height)} if turned is None else {turned.shown, turned.stored}
        if label_size is not None and label_size not in sizes:
            self.skip(name, frames.misfit((width, height), label_size, turned))
            return None
        gsd, place = located(plain, width, height)
        return Image(plain, name, width, height, gsd, place, turned, origin)

    def name_of(self, path: Path) -> str:
        """A path for messages, relative to the source's root."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def add(
        self,
        split: str | None,
        image: Image,
        labels: Iterable[Label] = (),
        *,
        role: Role | None = None,
        mask: Path | None = None,
        gsd: float | None = None,
    ) -> Sample:
        """Make a sample of an image and its labels, and keep it.

        Args:
            split: ours.
            image: from `open_image`.
            labels: in our classes.
            role: the source's where None.
            mask: PNG of classes.
            gsd: metres a pixel that the labels state; the configuration's and the raster's own
                go before.
        """
        role = role or self.source.role
        if image.turned is not None and role != "unlabelled":
            self._turned[len(self.samples)] = image.turned
        sample = Sample(
            id=self._id(split, image),
            source=self.source.name,
            split=split,
            image=image.path,
            width=image.width,
            height=image.height,
            role=role,
            gsd=self.source.gsd or image.gsd or gsd,
            place=image.place,
            labels=() if role == "unlabelled" else tuple(labels),
            mask=mask,
            weight=self.source.weight,
            origin=image.origin,
        )
        self.samples.append(sample)
        return sample

    def settle(self) -> None:
        """After all is read: turn labels of stored pixels with their images, and tell the notes."""
        for k, labels, why in frames.settled(self.samples, self._turned):
            self.samples[k] = self.samples[k].but(labels=labels)
            self.note("images", self.name_of(self.samples[k].image), why)
        self.tell_notes()

    def lonely(self, files: dict[str, Path], images: Iterable[str]) -> None:
        """Record label files without an image; both by the names that they share.

        Raises:
            DatasetError: no label file has one.
        """
        names = set(images)
        left = [self.name_of(path) for name, path in files.items() if name not in names]
        if left and len(left) == len(files):
            raise DatasetError(
                f"sources.{self.source.name}",
                left[0],
                f"and {len(left) - 1} more label files fit no image at all",
                "name label files like their images, or correct splits and options",
            )
        self.skip_many("label files", left, "no image is called like them")

    def pairs(
        self,
        name: str,
        images: str,
        labels: str,
        ending: str,
        but: tuple[str, ...] = (),
        option: str = "labels",
    ) -> tuple[tuple[Path, Path], Iterator[tuple[Path, Path | None]]]:
        """Folders of a split's images and labels, and each image with its label file or None.

        Label files without an image are recorded as skipped, and so are images without a label
        file where `options.no_file` is `leave`, and all but one of those that share a name. With
        `labels` of the source the split is a folder of labels, and the images are those below the
        source's root.

        Args:
            name: folder of the split, "" for the root.
            images: usual name of the folder of images; `options.images` overrides it.
            labels: usual name of the folder of labels.
            ending: of label files.
            but: names in the folder of labels that are none.
            option: the option that overrides `labels`.

        Raises:
            DatasetError: there are no such folders, or two label files of one name.
        """
        if self.source.labels is None:
            folders = paired(
                self.root, name, self.option("images", images), self.option(option, labels)
            )
        else:
            folders = self.root / self.option("images", ""), self._labels(name)
        files = by_name(folders[1], ending, but=but)
        found = self.named(folders[0], images_beside(folders, files.values()))
        self.lonely(files, found)
        if self.option("no_file", "unlabelled") == "leave":
            left = [stem for stem in found if stem not in files]
            self.skip_many("images", left, "have no label file")
            found = {stem: path for stem, path in found.items() if stem in files}
        return folders, ((path, files.get(stem)) for stem, path in found.items())

    def named(self, folder: Path, images: Iterable[Path]) -> dict[str, Path]:
        """Images by the name that they share with their label file; the last of those of one name.

        The others are recorded: one label file cannot be of several images.
        """
        found: dict[str, Path] = {}
        for path in images:
            name = name_in(folder, path)
            if name in found:
                self.skip(self.name_of(found[name]), f"is called like {path.name}, which is read")
            found[name] = path
        return found

    def _labels(self, split: str) -> Path:
        """Folder of a split's labels, where they are not with the images."""
        folder = (self.project.path.parent / str(self.source.labels) / split).resolve()
        if not folder.is_dir():
            raise DatasetError(
                f"sources.{self.source.name}.labels",
                folder,
                "is no folder",
                "name a folder of label files, relative to the factory file",
            )
        return folder

    def unmatched(self, image: Image, split: str | None) -> None:
        """Keep an image that has no label file, unlabelled unless the options say otherwise."""
        wanted = self.option("no_file", "unlabelled")
        if wanted == "leave":
            self.skip(image.name, "has no label file")
            return
        if wanted not in ("unlabelled", "negative"):
            raise ConfigError(
                f"sources.{self.source.name}.options.no_file",
                wanted,
                "is no role for images without a label file",
                "give unlabelled, negative or leave",
            )
        role: Role = self.source.role
        if role == "labelled":
            role = "negative" if wanted == "negative" else "unlabelled"
            if role == "unlabelled":
                self.skip(image.name, "has no label file: taken as unlabelled")
        self.add(split, image, role=role)

    def _id(self, split: str | None, image: Image) -> str:
        head = "/".join(part for part in (self.source.name, split) if part)
        relative = Path(*(part for part in Path(image.name).parts if part != ".."))
        longer = relative.with_name(relative.stem).as_posix()
        for tail in (relative.stem, longer, relative.as_posix()):
            found = f"{head}/{tail}"
            if found not in self._ids:
                self._ids.add(found)
                return found
        raise DatasetError(
            f"sources.{self.source.name}", image.name, "is read twice", "list each image once"
        )


def class_order(config: FactoryConfig) -> tuple[str, ...]:
    """Our classes in the order the sources name them first: class k has value k + 1 in masks."""
    return tuple(
        dict.fromkeys(ours for source in config.sources for ours in source.classes.values())
    )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None
