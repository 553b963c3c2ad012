"""Which pixels labels are counted in where EXIF turns an image: those shown, or those stored.

Most people draw on the image as it is shown, and most loaders turn it (see
`lanner.factory.orientation`). Label files that state a size say it themselves, though some tools
write the stored size beside labels of the image as it is shown: labels that do not fit into the
one, but do into the other, tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lanner.core.errors import ConfigError
from lanner.factory.orientation import UPRIGHT, orientation, upright_label, upright_size
from lanner.factory.samples import Label, Sample

Size = tuple[int, int]
Frame = Literal["shown", "stored"]

OPTION = "exif"
"""The option of formats with pixel or normalised coordinates that settles it by hand."""

FRAMES: tuple[Frame, ...] = ("shown", "stored")
_SLACK = 1.0
"""Pixels that a box may reach beyond its image: the rounding of whole-pixel formats."""


@dataclass(frozen=True)
class Turned:
    """How an image is turned and what its labels are counted in.

    Attributes:
        turn: EXIF orientation, 2 to 8.
        shown: width and height in pixels as the image is shown.
        frame: what its labels are counted in.
        stated: whether the label file's size, or the option, says so.
        given: whether the option says so: nothing overrules it, not even a stated size.
    """

    turn: int
    shown: Size
    frame: Frame = "shown"
    stated: bool = False
    given: bool = False

    @property
    def stored(self) -> Size:
        """Width and height as the image is stored."""
        return upright_size(self.shown, self.turn)

    @property
    def size(self) -> Size:
        """Width and height of what labels are counted in."""
        return self.shown if self.frame == "shown" else self.stored

    def stating(self, size: Size) -> Turned:
        """The same where labels state a size, which says it all unless both sizes are the same."""
        if self.given or self.shown == self.stored:
            return self
        return replace(self, frame="shown" if size == self.shown else "stored", stated=True)

    def remark(self, switched: bool = False) -> str:
        """What was done, and what to do if that is wrong.

        Args:
            switched: whether labels are counted otherwise than they state.
        """
        taken = f"are turned by EXIF: labels are taken to be of the {self.frame} pixels"
        if self.given:
            return f"{taken}, as options.{OPTION} says"
        if switched:
            return f"{taken}, since they do not fit into the others"
        because = ", as their size says" if self.stated else ""
        return (
            f"{taken}{because}; where they lie beside their objects give "
            f"options: {{{OPTION}: {'stored' if self.frame == 'shown' else 'shown'}}}"
        )


def turned_by(path: Path, shown: Size, label_size: Size | None, given: str) -> Turned | None:
    """How EXIF turns an image, and what its labels are counted in as far as it alone can say.

    Args:
        path: the image.
        shown: width and height as it is shown.
        label_size: those that its labels state, None where they do not.
        given: what the option says; "" where it says nothing.

    Returns:
        None where the image is stored as it is shown.

    Raises:
        ConfigError: the option says something unknown.
    """
    if given not in ("", *FRAMES):
        raise ConfigError(
            f"options.{OPTION}", given, "is not known", f"give one of {', '.join(FRAMES)}"
        )
    turn = orientation(path)
    if turn == UPRIGHT:
        return None
    if given:
        frame: Frame = "shown" if given == "shown" else "stored"
        return Turned(turn, shown, frame, stated=True, given=True)
    plain = Turned(turn, shown)
    return plain if label_size is None else plain.stating(label_size)


def settled(
    samples: Sequence[Sample], by: Mapping[int, Turned]
) -> Iterator[tuple[int, tuple[Label, ...], str]]:
    """Labels of turned images, all in the pixels of the image as it is shown.

    Images of a source that were judged alike are judged together: one tool wrote their labels.

    Args:
        samples: of one source.
        by: how they are turned, by their place in `samples`.

    Yields:
        Place, labels, and what was done, for each with labels.
    """
    for stated, frame in itertools.product((True, False), FRAMES):
        alike = {
            k: one
            for k, one in by.items()
            if (one.stated, one.frame) == (stated, frame) and samples[k].labels
        }
        judged = [(one, samples[k].labels) for k, one in alike.items() if not one.given]
        other = contradicted(judged)
        for k, one in alike.items():
            final = switched(one) if other else one
            labels = tuple(as_shown(label, final) for label in samples[k].labels)
            yield k, labels, final.remark(other)


def contradicted(images: Sequence[tuple[Turned, Sequence[Label]]]) -> bool:
    """Whether labels say by their coordinates that they are counted in the other frame.

    Args:
        images: those of one source that were judged alike.

    Returns:
        True where labels of an image fit into the other frame alone, and those of no image into
        their own alone.
    """
    own = other = 0
    for one, labels in images:
        sizes = {frame: _fit(labels, _size(one, frame)) for frame in FRAMES}
        if sizes["shown"] != sizes["stored"]:
            own += sizes[one.frame]
            other += not sizes[one.frame]
    return other > 0 and own == 0


def as_shown(label: Label, one: Turned) -> Label:
    """A label in the pixels of the image as it is shown."""
    if one.frame == "shown":
        return label
    return upright_label(label, one.turn, one.stored)


def switched(one: Turned) -> Turned:
    """The same, with labels counted in the other frame."""
    return replace(one, frame="stored" if one.frame == "shown" else "shown")


def misfit(shown: Size, label_size: Size, one: Turned | None) -> str:
    """What to say where labels state a size that the image does not have."""
    how = f"is {shown[0]}x{shown[1]}"
    if one is not None:
        how += f" as shown and {one.stored[0]}x{one.stored[1]} as stored"
    return f"{how}, and its labels are for {label_size[0]}x{label_size[1]} pixels"


def _size(one: Turned, frame: Frame) -> Size:
    return one.shown if frame == "shown" else one.stored


def _fit(labels: Sequence[Label], size: Size) -> bool:
    return all(
        label.box[2] <= size[0] + _SLACK and label.box[3] <= size[1] + _SLACK for label in labels
    )


__all__ = ["FRAMES", "OPTION", "Frame", "Turned", "misfit", "settled", "turned_by"]
