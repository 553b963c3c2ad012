"""A raster that has been looked at and let in: its size, bands, place and identity."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lanner.core.errors import GsdError, SceneError
from tiling.access import error_text, opened
from tiling.bands import Bands, choose, name_bands
from tiling.blocks import block_sizes, check_mask_blocks, spread
from tiling.georeference import place_of
from tiling.grid import Grid
from tiling.identity import facts, holds_pixels, is_overview
from tiling.limits import scene_limits
from tiling.names import display_name, is_remote
from tiling.oversize import check_limits
from tiling.overviews import fitting
from tiling.place import Place
from tiling.raw import stores_mask

_DATE_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUIRED",
    "DATETIME",
    "NITF_IDATIM",
    "TIFFTAG_DATETIME",
)
_DATE = re.compile(r"(\d{4})[-:/]?(0[1-9]|1[0-2])[-:/]?(0[1-9]|[12]\d|3[01])")
_CLOCK = re.compile(
    r"[T ]?([01]\d|2[0-3]):?([0-5]\d):?([0-5]\d|60)(?:\.\d+)?(?:(Z)|([+-]\d\d):?(\d\d))?"
)

_SMALL = 1 << 24
_NUMBERS = ("uint", "int", "float")


@dataclass(frozen=True)
class Scene:
    """A readable raster with a place. A value: it holds no open file.

    Attributes:
        uri: path or URL as given.
        id: short name: the file name without its ending.
        width: columns.
        height: rows.
        found: its bands' names and file indices.
        dtype: numpy name of the widest band's type.
        place: where its pixels lie.
        acquired: ISO 8601 time where the raster says so.
        overviews: reduction factors of the file's reduced copies that can be used.
        notes: what its user should be told, a sentence each (`tiling.notes` has more).
    """

    uri: str
    id: str
    width: int
    height: int
    found: Bands
    dtype: str
    place: Place
    acquired: str | None = None
    overviews: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close: readers own their file handles."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the data bands, in file order."""
        return self.found.names

    @property
    def gsd(self) -> tuple[float, float]:
        """Metres on the ground a pixel, along x and y."""
        return self.place.gsd

    def grid(self, gsd: float) -> Grid:
        """The grid of square ground pixels of `gsd` metres over this scene.

        Raises:
            GsdError: `gsd` is no positive number.
        """
        if not (isfinite(gsd) and gsd > 0):
            raise GsdError("gsd", gsd, "is no ground sampling", "give metres a pixel, above 0")
        return Grid.over((self.width, self.height), self.gsd, gsd)

    def band_indices(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """1-based file bands for band names; a lone gray band serves every colour.

        Raises:
            BandError: a name that the scene does not have; the message lists those it has.
        """
        return choose(self.found, tuple(names), display_name(self.uri))

    def sha256(self, grid: Grid | None = None) -> str:
        """Checksum of the content, hexadecimal.

        For one local file it is that of its bytes. Sidecars with pixels or validity are added,
        and of others what they change in bands and place: statistics change nothing. A remote
        scene is not fetched whole: its checksum is that of its structure, of its blocks' stored
        sizes, of its smallest overview and of a spread of its blocks.

        Args:
            grid: the grid it is read on; then overviews beside it count only where they are
                read for that.

        Raises:
            SceneError: the scene cannot be read any more.
        """
        if is_remote(self.uri):
            return _remote_sha256(self)
        with opened(self.uri) as dataset:
            files = [Path(name) for name in dataset.files]
            metadata = facts(dataset, _acquired(dataset))
        kept = [p for p in files[1:] if holds_pixels(p)]
        if grid is not None and fitting(self.overviews, min(grid.scale)) is None:
            kept = [p for p in kept if not is_overview(p)]
        alone = metadata
        if len(kept) < len(files) - 1:
            with opened(self.uri, alone=True) as dataset:
                alone = facts(dataset, _acquired(dataset))
        try:
            stamps = [(p, p.stat()) for p in (*files[:1], *kept) if p.is_file()]
            digest = _files_sha256(tuple((str(p), s.st_size, s.st_mtime_ns) for p, s in stamps))
        except OSError as error:
            raise SceneError(
                "scene", self.uri, f"cannot be read ({error.strerror})", "put it back"
            ) from error
        if metadata == alone:
            return digest
        return hashlib.sha256(f"{digest} {metadata}".encode()).hexdigest()


def open_scene(uri: str | Path, *, gsd: float | None = None, crs: str | None = None) -> Scene:
    """Look at a raster and let it in, or refuse it in words that say what to do.

    Args:
        uri: path, or http(s):// or s3:// URL.
        gsd: metres a pixel where the raster cannot say or is known to be wrong.
        crs: the CRS where the raster has an affine and says none.

    Raises:
        SceneError: missing, not a raster, a format that is not let in, larger than this process
            takes (`tiling.limits`), or pixels that are no measurements (complex numbers, palette
            numbers beside bands).
        PlaceError: it cannot be placed on the Earth and no `gsd` was given, or `crs` is none, or
            another than the file's.
        GsdError: `gsd` is no positive number.
        BandError: bands with descriptions that are no UTF-8.
    """
    uri = str(uri)
    with opened(uri) as dataset:
        check_limits(dataset, display_name(uri), scene_limits())
        _check_pixels(dataset, display_name(uri))
        if stores_mask(dataset, 1):
            check_mask_blocks(dataset, display_name(uri))
        coloured = ColorInterp.palette in dataset.colorinterp
        return Scene(
            uri=uri,
            id=_scene_id(uri),
            width=dataset.width,
            height=dataset.height,
            found=name_bands(dataset, display_name(uri)),
            dtype="uint8" if coloured else str(np.result_type(*dataset.dtypes)),
            place=place_of(dataset, display_name(uri), gsd, crs),
            acquired=_acquired(dataset),
            overviews=_overviews(dataset, uri),
            notes=_notes(dataset),
        )


def _notes(dataset: DatasetReader) -> tuple[str, ...]:
    """What a user should know of a raster although it is let in, a sentence each."""
    notes = []
    if ColorInterp.palette in dataset.colorinterp:
        notes.append("The scene holds numbers of a palette, whose colours are read.")
    images = len(dataset.subdatasets)
    if images > 1:
        notes.append(
            f"The file holds {images} images, of which the first is read. For another one write "
            "it out: gdal_translate -sds SCENE out.tif"
        )
    return tuple(notes)


def _overviews(dataset: DatasetReader, uri: str) -> tuple[int, ...]:
    """Reduction factors of the overviews that can be trusted for validity as well.

    Where a stored mask has no overviews of its own, GDAL calls every pixel of an overview valid
    and does not tell. So with a mask, overviews count only if the smallest one shows a hole.
    """
    factors = tuple(dataset.overviews(1))
    if not factors or not stores_mask(dataset, 1):
        return factors
    with opened(uri, len(factors) - 1) as smallest:
        if smallest.width * smallest.height > _SMALL:
            return ()
        try:
            holes = not smallest.read_masks(1).all()
        except RasterioError as error:
            raise SceneError(
                "scene",
                display_name(uri),
                f"cannot be read ({error_text(error, uri)})",
                "the file is cut off or damaged: fetch it again",
            ) from error
    return factors if holes else ()


def _check_pixels(dataset: DatasetReader, uri: str) -> None:
    if dataset.count == 0 or dataset.width == 0 or dataset.height == 0:
        raise SceneError(
            "scene",
            uri,
            "holds no image of its own (a container of others?)",
            "give one image, written out with gdal_translate -sds SCENE out.tif",
        )
    # By name: numpy has no type for complex integers, which radar comes in.
    odd = [kind for kind in dataset.dtypes if kind.rstrip("0123456789") not in _NUMBERS]
    if odd:
        raise SceneError(
            "scene",
            uri,
            f"holds {odd[0]} pixels",
            "give real numbers, for example amplitude with gdal_calc.py",
        )
    others = set(dataset.colorinterp[1:]) - {ColorInterp.alpha}
    palette = ColorInterp.palette in dataset.colorinterp
    if palette and (others or dataset.dtypes[0] not in ("uint8", "uint16")):
        raise SceneError(
            "scene",
            uri,
            "holds palette numbers beside other bands, or in a type that cannot be looked up",
            "expand them: gdal_translate -expand rgb SCENE out.tif",
        )
    if all(c == ColorInterp.alpha for c in dataset.colorinterp):
        raise SceneError("scene", uri, "holds an alpha band only", "give a scene with image bands")


def _scene_id(uri: str) -> str:
    path = unquote(urlsplit(uri).path) if is_remote(uri) else uri
    return Path(path).stem or "scene"


def _acquired(dataset: DatasetReader) -> str | None:
    """The acquisition time in the vendor's, NITF's or TIFF's tag, as ISO 8601."""
    tags = {k.upper(): v for k, v in dataset.tags().items()}
    tags.update({k.upper(): v for k, v in dataset.tags(ns="IMAGERY").items()})
    for key in _DATE_TAGS:
        text = tags.get(key, "").strip()
        day = _DATE.match(text)
        if day and day[1] > "1900":
            date = "-".join(day.groups())
            clock = _CLOCK.match(text, day.end())
            return f"{date}T{_time(clock)}" if clock else date
    return None


def _time(clock: re.Match[str]) -> str:
    """Time of day, with the zone where there is one: without it another zone would be read."""
    zone = clock[4] or (f"{clock[5]}:{clock[6]}" if clock[5] else "")
    return ":".join(clock.group(1, 2, 3)) + zone


@lru_cache(maxsize=256)
def _files_sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    """Checksum of the files' bytes; size and time are there to notice a change."""
    digests = []
    for name, _, _ in files:
        with open(name, "rb") as file:
            digests.append((Path(name).suffix, hashlib.file_digest(file, "sha256").hexdigest()))
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256(repr([digests[0], *sorted(digests[1:])]).encode()).hexdigest()


_SMALL = 1 << 20
"""Pixels up to which the smallest overview of a remote scene counts for its checksum."""


def _remote_sha256(scene: Scene) -> str:
    digest = hashlib.sha256()
    try:
        with opened(scene.uri) as dataset:
            profile = {k: str(v) for k, v in dataset.profile.items()}
            digest.update(repr((sorted(profile.items()), dataset.descriptions)).encode())
            rows, cols = dataset.block_shapes[0]
            down, across = -(-dataset.height // rows), -(-dataset.width // cols)
            digest.update(",".join(map(str, block_sizes(dataset))).encode())
            # A small part of what a run reads, however small the scene.
            for n in spread(down * across, min(16, max(1, down * across // 50))):
                row, col = divmod(n, across)
                window = Window(
                    col * cols,
                    row * rows,
                    min(cols, dataset.width - col * cols),
                    min(rows, dataset.height - row * rows),
                )
                digest.update(dataset.read(1, window=window).tobytes())
            smallest = len(dataset.overviews(1)) - 1
        if smallest >= 0:
            # It shows changes anywhere for the price of a block or two.
            with opened(scene.uri, smallest) as small:
                if small.width * small.height <= _SMALL:
                    digest.update(small.read(1).tobytes())
    except RasterioError as error:
        raise SceneError(
            "scene",
            display_name(scene.uri),
            f"cannot be read ({error_text(error, scene.uri)})",
            "see that its server answers, and run it again",
        ) from error
    return digest.hexdigest()
