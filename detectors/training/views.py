"""Which picture is shown next, which part of it, how large and in which colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.training.colour import (
    INFRARED,
    Float,
    infrared,
    other_sensor,
    plain,
    recolour,
    restyle,
    single_band,
    some_of,
    style_of,
)
from detectors.training.geometry import (
    Matrix,
    centre_near,
    random_centre,
    view_matrix,
    warp,
    warp_boxes,
    warp_flags,
)
from detectors.training.pictures import Album, Loaded, Picture

GENTLE = (0.85, 1.2)
"""Scales of views that are changed little, as far as their source's own range admits."""

GENTLE_STRENGTH = 0.5


@dataclass(frozen=True)
class Mixing:
    """How often a source is drawn, and at which scales (log-uniform)."""

    odds: float = 1.0
    scale: tuple[float, float] = (0.7, 1.6)


@dataclass(frozen=True)
class Recipe:
    """What batches look like.

    `pixels` a batch stay about constant; `sizes` are sides of views, multiples of 32; `colour` is
    the strength of colour changes (0: none); `gentle` the share of views changed little, `sensor`
    that of the others seen by another sensor (None: as the task has it); `free` turns by any
    angle. With `single_band` every view is as a camera of a single band sees it. Sources not in
    `mix` have `Mixing()`.
    """

    pixels: int = 1_000_000
    sizes: tuple[int, ...] = (256, 320, 384, 512)
    colour: float = 1.0
    gentle: float = 0.0
    sensor: float | None = None
    free: bool = False
    single_band: bool = False
    mix: Mapping[str, Mixing] = field(default_factory=dict)

    def of(self, source: str) -> Mixing:
        """How a source is mixed in."""
        return self.mix.get(source, Mixing())

    def size(self, rng: np.random.Generator) -> int:
        """Side of a batch's views: each size gets about the same pixels in the long run."""
        odds = np.array([1.0 / side**2 for side in self.sizes])
        return int(rng.choice(self.sizes, p=odds / odds.sum()))

    def count(self, size: int) -> int:
        """Views a batch; one alone would leave batch normalisation little to go by."""
        return max(2, round(self.pixels / size**2))


@dataclass(frozen=True)
class ColourJitter:
    """How colours are changed: strength over the recipe's, odds of restyling and of a sensor."""

    strength: float
    restyle: float
    sensor: float


@dataclass(frozen=True)
class View:
    """A square view of one picture; `matrix` maps its pixels into the view's."""

    picture: Picture
    loaded: Loaded
    matrix: Matrix
    size: int
    scale: float
    mild: bool

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 (size, size, 3), black outside the picture."""
        return warp(self.loaded.rgb, self.matrix, self.size, self.scale)

    def flags(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The view (size, size) of a bool (h, w) of the picture; False outside."""
        return warp_flags(flags, self.matrix, self.size, self.scale)

    def there(self) -> NDArray[np.bool_]:
        """Which pixels (size, size) are on the picture."""
        return self.flags(np.ones(self.loaded.rgb.shape[:2], bool))

    def boxes(self) -> NDArray[np.float32]:
        """The picture's boxes (n, 4) in the view, not clipped."""
        return warp_boxes(self.picture.boxes, self.matrix)


class Pool:
    """Pictures by source, drawn by odds.

    Args:
        album: the pictures.
        recipe: odds and scales of the sources.
        shares: (n,) factors on the pictures' odds, or None.
    """

    def __init__(
        self, album: Album, recipe: Recipe, shares: NDArray[np.float64] | None = None
    ) -> None:
        self.album, self.recipe = album, recipe
        names = sorted({one.source for one in album.pictures if recipe.of(one.source).odds > 0})
        self._members: dict[str, NDArray[np.int64]] = {}
        self._within: dict[str, NDArray[np.float64]] = {}
        factor = np.ones(len(album)) if shares is None else shares
        for name in names:
            found = [k for k, one in enumerate(album.pictures) if one.source == name]
            odds = np.array([album.pictures[k].odds for k in found]) * factor[found]
            if odds.sum() > 0:
                self._members[name] = np.array(found, np.int64)
                self._within[name] = np.cumsum(odds / odds.sum())
        self.sources = tuple(self._members)
        odds = np.array([recipe.of(name).odds for name in self.sources])
        self._odds = np.cumsum(odds / odds.sum()) if len(odds) else np.zeros(0)
        self._styles: dict[str, Float] = {}

    def members(self) -> Sequence[Picture]:
        """The pictures that can be drawn."""
        return [self.album.pictures[k] for found in self._members.values() for k in found]

    def read_styles(self, check: Callable[[], None] = lambda: None) -> None:
        """Make the table of colours; a view takes those of other sources than its own."""
        own: dict[str, list[Float]] = {}
        for name, found in self._members.items():
            own[name] = []
            for k in some_of(len(found)):
                check()
                loaded = self.album[int(found[k])]
                own[name].append(style_of(loaded.rgb, loaded.known))
        for name in own:
            others = [one for other, styles in own.items() if other != name for one in styles]
            self._styles[name] = np.array(others, np.float32).reshape(-1, 2, 3)

    def draw(self, rng: np.random.Generator) -> int:
        """Index in the album of the next picture."""
        name = self.sources[_pick(rng, self._odds)]
        return int(self._members[name][_pick(rng, self._within[name])])

    def view(self, rng: np.random.Generator, size: int, near: float) -> View:
        """A random view of a random picture.

        Args:
            rng: where everything is drawn from.
            size: side, pixels.
            near: share of views that are laid over an object, where there is one.
        """
        k = self.draw(rng)
        picture = self.album.pictures[k]
        mild = bool(rng.random() < self.recipe.gentle)
        low, high = self.recipe.of(picture.source).scale
        if mild:
            low, high = np.clip(GENTLE, low, high)
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        half = size / (2 * scale)
        width, height = picture.size
        if len(picture.boxes) and rng.random() < near:
            box = picture.boxes[rng.integers(len(picture.boxes))]
            centre = centre_near(rng, box, width, height, half)
        else:
            centre = random_centre(rng, width, height, half)
        matrix = view_matrix(rng, size, scale, centre, self.recipe.free)
        return View(picture, self.album[k], matrix, size, scale, mild)

    def colours(
        self, rng: np.random.Generator, view: View, valid: NDArray[np.bool_], jitter: ColourJitter
    ) -> Float:
        """float32 (size, size, 3) 0..1, recoloured as the recipe says, in one band if it says so.

        Args:
            rng: where changes are drawn from.
            view: what is shown.
            valid: bool (size, size), pixels that statistics are taken of.
            jitter: of the task.
        """
        image = view.pixels()
        if not self.recipe.single_band:
            return self._recoloured(rng, view, image, valid, jitter)
        if self.recipe.colour == 0:
            return np.repeat(plain(image).mean(2, keepdims=True), 3, 2)
        out = plain(image)
        if rng.random() < INFRARED:
            out = infrared(rng, out, 1)
        grey = np.rint(single_band(rng, out) * 255).astype(np.uint8)
        # What tints is drawn as well and falls away: bands are one again.
        return np.repeat(
            self._recoloured(rng, view, grey, valid, jitter).mean(2, keepdims=True), 3, 2
        )

    def _recoloured(
        self,
        rng: np.random.Generator,
        view: View,
        image: NDArray[np.uint8],
        valid: NDArray[np.bool_],
        jitter: ColourJitter,
    ) -> Float:
        strength = self.recipe.colour
        if strength == 0:
            return plain(image)
        if view.mild:
            return recolour(rng, image, GENTLE_STRENGTH * min(1.0, strength))
        styles = self._styles.get(view.picture.source)
        usual = min(1.0, strength)
        if styles is not None and len(styles) and rng.random() < jitter.restyle * usual:
            image = restyle(rng, image, valid, styles)
        out = recolour(rng, image, jitter.strength * strength)
        sensor = jitter.sensor * usual if self.recipe.sensor is None else self.recipe.sensor
        if rng.random() < sensor:
            out = other_sensor(rng, out, valid)
        return out


def _pick(rng: np.random.Generator, cumulative: NDArray[np.float64]) -> int:
    """An index drawn by cumulative odds."""
    return min(int(np.searchsorted(cumulative, rng.random(), "right")), len(cumulative) - 1)
