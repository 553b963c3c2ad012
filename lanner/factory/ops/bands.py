"""Operation: which bands of a raster are shown to the networks as red, green and blue."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from pydantic import model_validator

from lanner.core.config import Normalise, Strict
from lanner.core.errors import BandError, DatasetError, LannerError
from lanner.factory.images import RASTERS, write_png
from lanner.factory.ops.work import Samples, Work, of_sources, origin_of, replaced
from lanner.factory.samples import Sample


class Params(Strict):
    """Three bands of each raster of `sources` (all rasters where empty), in the order they are
    shown: by number, counted from 1, or by name as `lanner detect` knows them. `normalise` is
    that of a detector's YAML.
    """

    bands: tuple[int | str, int | str, int | str]
    sources: tuple[str, ...] = ()
    normalise: Normalise = Normalise()

    @model_validator(mode="after")
    def _from_one(self) -> Params:
        if any(isinstance(one, int) and one < 1 for one in self.bands):
            raise ValueError(f"bands {self.bands} are counted from 1")
        return self


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Write each raster's three bands as a PNG of 8 bits, which takes the raster's place.

    Raises:
        DatasetError: a raster does not decode.
        BandError: it does not have such a band.
    """
    work.require_sources(params.sources, samples, "sources")
    rasters = [
        one for one in of_sources(samples, params.sources) if one.image.suffix.lower() in RASTERS
    ]
    changed = {}
    for sample in work.each(rasters):
        key = params.model_dump(mode="json", include={"bands", "normalise"})
        path = work.file(".png", partial(_write, sample, params), key, sample.image)
        work.note(sample.id, f"bands {', '.join(map(str, params.bands))}")
        changed[sample.id] = sample.but(image=path, origin=origin_of(sample))
    return replaced(samples, changed)


def _write(sample: Sample, params: Params, path: Path) -> None:
    from tiling.access import opened
    from tiling.grid import Box
    from tiling.normalise import scene_stretch
    from tiling.raw import Source
    from tiling.scene import open_scene

    try:
        scene = open_scene(sample.image, gsd=1.0)
        wanted = tuple(_name(one, scene.bands, sample) for one in params.bands)
        # The same band may be asked for twice; it is read once.
        names = tuple(dict.fromkeys(wanted))
        stretch = scene_stretch(scene, names, params.normalise)
        with opened(scene.uri) as dataset:
            source = Source(dataset, scene.uri, scene.band_indices(names), scene.found.alpha)
            raw, valid = source.read(Box(0, 0, scene.width, scene.height))
    except BandError:
        raise
    except LannerError as error:
        raise DatasetError("image", sample.image, error.problem, error.remedy) from error
    unit = stretch.apply(raw.astype(np.float32), valid)
    order = [names.index(one) for one in wanted]
    write_png(np.rint(unit[order] * 255).astype(np.uint8).transpose(1, 2, 0), path)


def _name(band: int | str, names: tuple[str, ...], sample: Sample) -> str:
    if isinstance(band, str):
        return band
    if band > len(names):
        raise BandError(
            "process.bands.bands",
            band,
            f"{sample.id} has {len(names)} bands: {', '.join(names)}",
            "give numbers or names of those",
        )
    return names[band - 1]
