"""Ground sampling of images that do not say theirs, judged from the aircraft in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import ConfigError
from lanner.core.home import configs_dir
from lanner.factory.samples import Sample
from postprocess.aircraft.catalogue import Catalogue, read_catalogue

Floats = NDArray[np.float64]

CLASS = "aircraft"
FAMILIES = ("airliner", "business_jet", "large_military")
"""What most airfields hold that are worth an image. Fighters, light singles and gliders, most of
all aircraft built, would make the estimate too small by half or more."""
_HEADINGS = np.radians(np.arange(0, 90, 3.0))
_QUANTILES = np.linspace(0.1, 0.9, 9)
_FEW = 20


@dataclass(frozen=True)
class Estimate:
    """Metres a pixel of a source, or the reason why there is none.

    `low` and `high` hold nine tenths of the images, each judged by its own aircraft; `shape` is
    the spread of the estimate over the quantiles compared, 1 where boxes and catalogue have the
    same distribution of sizes.
    """

    gsd: float | None
    low: float = 0.0
    high: float = 0.0
    shape: float = 0.0
    boxes: int = 0
    reason: str = ""

    def sentence(self) -> str:
        """One sentence."""
        if self.gsd is None:
            return f"not estimated: {self.reason}"
        return (
            f"about {self.gsd:.2g} m a pixel ({self.low:.2g} to {self.high:.2g} m in nine tenths "
            f"of the images; from {self.boxes} boxes; quantiles agree within x{self.shape:.2f})"
        )


def estimate(samples: Sequence[Sample]) -> Estimate:
    """Estimate the ground sampling of one source.

    The longest sides of the boxes, in pixels, are laid quantile by quantile over what the boxes
    of the catalogue's types would measure in metres: an aircraft of length l and wingspan b that
    heads along t fills max(l |cos t|, b |sin t|) by max(l |sin t|, b |cos t|), with all headings
    alike and types as often as they were built. The estimate is the median ratio.

    Args:
        samples: of one source.
    """
    by_image = [
        np.array(
            [max(b[2] - b[0], b[3] - b[1]) for b in (one.box for one in sample.labels)], np.float64
        )
        for sample in samples
        if any(one.label == CLASS for one in sample.labels)
    ]
    sides = [image[image > 2] for image in by_image]
    sides = [image for image in sides if len(image)]
    count = sum(len(image) for image in sides)
    if not sides:
        return Estimate(None, reason=f"only sizes of the class {CLASS!r} are known")
    if count < _FEW:
        return Estimate(None, boxes=count, reason=f"{count} boxes are too few")
    try:
        folder = configs_dir()
        catalogue = read_catalogue(folder / "types.yaml", folder / "taxonomy.yaml")
    except ConfigError as error:
        return Estimate(None, boxes=count, reason=f"no catalogue of types ({error.problem})")
    metres, weights = typical(catalogue)
    known = _quantiles(metres, weights)
    ratios = known / np.quantile(np.concatenate(sides), _QUANTILES)
    middle = float(known[len(known) // 2])
    each = np.array([middle / np.median(image) for image in sides])
    low, high = np.quantile(each, (0.05, 0.95))
    shape = float(ratios.max() / ratios.min())
    return Estimate(float(np.median(ratios)), float(low), float(high), shape, count)


def typical(catalogue: Catalogue) -> tuple[Floats, Floats]:
    """Longest box sides in metres of types of `FAMILIES` at all headings, and their weights.

    Returns:
        (n,) and (n,) float64; types weigh as many as were built and are not retired.
    """
    chosen = np.zeros(len(catalogue.types), bool)
    for family in FAMILIES:
        chosen |= catalogue.within[family]
    chosen &= ~catalogue.retired
    length = catalogue.length[chosen, None]
    span = np.nanmax(catalogue.spans[chosen], axis=1)[:, None]
    c, s = np.cos(_HEADINGS)[None], np.sin(_HEADINGS)[None]
    wide = np.maximum(length * c, span * s)
    high = np.maximum(length * s, span * c)
    weights = np.repeat(catalogue.built[chosen, None], len(_HEADINGS), 1)
    return np.maximum(wide, high).ravel(), weights.ravel()


def _quantiles(values: Floats, weights: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return np.interp(_QUANTILES, share, values[order])
