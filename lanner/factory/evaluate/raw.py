"""Raw predictions: what each member saw on every image, kept so that the rest costs no network.

`predict` runs the networks once. `RawSet.detect` then does what `lanner detect` does with what
they said: vote calibration, fusion, placing, seams and the chain, for any thresholds, weights,
fusion and chain parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Calibration
from lanner.config import DetectorConfig
from lanner.factory.samples import Sample
from lanner.factory.shop import Shop

if TYPE_CHECKING:
    import geopandas as gpd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """What a detector says of one image; coordinates in pixels of the image.

    `boxes` (n, 4) x0 y0 x1 y1, `scores` (n,) calibrated, best first, `labels` n classes,
    `decisions` n of 'accept' and 'review'. `frame` holds the rows with every column of the chain
    (geometry and outline in image pixels) where asked for. Raster detectors give `lines`, (n,)
    LineStrings in image pixels, and `mask`, the probability raster on the detector's grid.
    """

    boxes: Floats
    scores: Floats
    labels: tuple[str, ...]
    decisions: tuple[str, ...]
    frame: gpd.GeoDataFrame | None = field(default=None, compare=False)
    lines: NDArray[np.object_] | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class RawSet:
    """Raw predictions of a set of images.

    `config` is the detector as it was when they were made; `samples` the images, in order;
    `until` the last step of the chain that is run (None: all; triage is run in any case).
    """

    folder: Path
    config: DetectorConfig
    samples: tuple[Sample, ...]
    until: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def detect(
        self,
        config: DetectorConfig,
        calibration: Calibration,
        index: Sequence[int] | None = None,
        frames: bool = False,
    ) -> list[Detections]:
        """What a variant of the detector says of every image, or of those of `index`.

        Args:
            config: a variant: its member thresholds (not below what was kept), weights, fusion
                and chain may differ, and members may be left out.
            calibration: curves of votes and of fused scores.
            index: numbers of images; None for all.
            frames: whether `Detections.frame` is wanted; slower.

        Raises:
            ConfigError: the variant needs what the networks were not asked (another network,
                sampling, tile, suppression, instances).
            StepError: a step failed.
        """
        raise NotImplementedError


def predict(
    shop: Shop, split: str, members: Mapping[str, Path], folder: Path, device: str = "auto"
) -> RawSet:
    """Run every member once over every sample of a split and keep what it saw.

    Images that are finished in `folder` are not done twice. `predict.json` there holds seconds
    of the networks and of the whole, megapixels, checksums and the images left out, with why.

    Args:
        shop: configuration; the samples are those that step dataset froze.
        split: which of them.
        members: weights file of each member of the detector.
        folder: where the predictions go.
        device: as in `DetectRequest`.

    Raises:
        DatasetError: the split has no samples, or none that the detector takes.
        WeightsError: weights missing or of another architecture.
        Cancelled: the caller went away; finished images stay.
    """
    raise NotImplementedError


def load_raw(folder: Path, until: str | None = None) -> RawSet:
    """What `predict` left.

    Raises:
        DatasetError: missing or damaged.
    """
    raise NotImplementedError


def fit_calibration(raw: RawSet, config: DetectorConfig, iou: float = 0.5) -> Calibration:
    """Curves of the votes, then of what is fused from calibrated votes (Platt, 1999).

    Args:
        raw: predictions of images that no member learned from.
        config: the variant.
        iou: least overlap with the truth of a right one.
    """
    raise NotImplementedError
