"""Opening rasters: which addresses and formats are let in, and how GDAL is set for them.

Untrusted rasters come through here, so the list of formats is closed: a VRT (and kin) can name
local files, URLs or Python code, and GDAL's own connection strings can do the same.
"""

from __future__ import annotations

import ctypes
import os
import string
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rasterio
import rasterio._env
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from lanner.core.errors import SceneError
from tiling import relay
from tiling.blocks import check_blocks
from tiling.names import REMOTE, beginning, display_name, is_remote, local_file, secrets_of
from tiling.sidecars import LISTED, check_files, check_sidecars, overview_files

# A raster without a place is reported by PlaceError, in words that say what to do; our own may
# lie in grid pixels.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG", "NITF", "HFA")
"""Formats that are opened; a COG is a GTiff to GDAL."""

_WRITING_DRIVERS = ("COG", "MEM")

_RELAYED = ("http://", "https://")
"""Those whose redirects are looked at; an S3 server is AWS's, or one that the operator names."""

_SAFETY: dict[str, Any] = {
    # A cut JPEG would otherwise decode to grey without a word.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    # And a cut PNG, read whole, to zeros.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
    # `tiling.sidecars` looks for what GDAL would find.
    "GDAL_READDIR_LIMIT_ON_OPEN": LISTED,
}
_TUNING: dict[str, Any] = {
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": True,
    "GDAL_HTTP_MULTIPLEX": True,
    "VSI_CACHE": False,
}
# Remote: no listing of the folder and no guessing at sidecar files: each guess is a request, and a
# server that answers everything with 200 would hand us a page as a sidecar. Local: said aloud,
# for what the main thread sets is seen by every thread that sets nothing.
_SIDECARS = {True: "EMPTY_DIR", False: "FALSE"}
_VRT_REMEDY = "write the pixels out: gdal_translate -of COG SCENE out.tif"


def _escaped(address: str) -> str:
    """An address with what no URL may hold as it is, such as spaces, written as %20."""
    return quote(address, safe=string.punctuation, errors="surrogateescape")


def error_text(error: Exception, uri: str) -> str:
    """The innermost message of an error: GDAL's own says most."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = (relay.refusal(uri) if beginning(uri) in _RELAYED else None) or str(error)
    hidden = secrets_of(uri) if is_remote(uri) else ()
    for one in sorted({*hidden, *map(_escaped, hidden)}, key=len, reverse=True):
        text = text.replace(one, "...")
    return text


def gdal_name(uri: str) -> str:
    """The name GDAL opens for a path or URL.

    Raises:
        SceneError: neither an existing file nor a URL of a known kind, or a name that is no
            Unicode.
    """
    if is_remote(uri):
        rest = uri.partition("://")[2]
        return REMOTE[beginning(uri)] + (rest if beginning(uri) == "s3://" else _escaped(rest))
    return local_file(uri)


def gdal_env(uri: str, decoders: int = 1, alone: bool = False) -> rasterio.Env:
    """GDAL's settings for reading this scene; enter it in every thread that reads.

    Cache and HTTP settings of the process's own environment win over ours.

    Args:
        uri: path or URL.
        decoders: threads that a file opened in it may be decoded with.
        alone: without what lies beside it.
    """
    ways = relay.options(uri) if beginning(uri) in _RELAYED else {}
    return rasterio.Env(
        **_SAFETY,
        **_tuning(),
        **ways,
        # Said aloud: see `GridSampler` for what several threads make of a block that fails.
        GDAL_NUM_THREADS=decoders,
        GDAL_DISABLE_READDIR_ON_OPEN=_SIDECARS[alone or is_remote(uri)],
    )


def writing_env() -> rasterio.Env:
    """GDAL's settings for writing a raster of ours: masks inside the file, bounded memory."""
    return rasterio.Env(**_tuning(), GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False)


def close_other_drivers() -> None:
    """Take from GDAL every driver but those for our formats: for good, in the whole process.

    Then no file can be opened by another, not even one that is put in a sidecar's place after
    it was looked at. For programs of ours that meet untrusted scenes; a library would take the
    drivers from its caller.

    Raises:
        OSError, AttributeError: GDAL cannot be reached in this build of rasterio.
    """
    with rasterio.Env():  # registers them, which happens once
        # A look-up in an extension module finds what the module itself is linked with.
        gdal = ctypes.CDLL(rasterio._env.__file__)
    gdal.GDALGetDriver.restype = ctypes.c_void_p
    gdal.GDALGetDriverShortName.argtypes = (ctypes.c_void_p,)
    gdal.GDALGetDriverShortName.restype = ctypes.c_char_p
    gdal.GDALDeregisterDriver.argtypes = (ctypes.c_void_p,)
    kept = {name.encode() for name in (*DRIVERS, *_WRITING_DRIVERS)}
    for driver in [gdal.GDALGetDriver(n) for n in range(gdal.GDALGetDriverCount())]:
        if gdal.GDALGetDriverShortName(driver) not in kept:
            gdal.GDALDeregisterDriver(driver)


def _tuning() -> dict[str, Any]:
    return {key: value for key, value in _TUNING.items() if key not in os.environ}


@dataclass(frozen=True, eq=False)
class Handle:
    """An open dataset, and the lock to hold while it is read: GDAL's datasets are for one
    thread at a time.

    Attributes:
        dataset: the scene, or its overview.
        turn: the lock.
        kept: whether others read it, too: then `close` leaves it open.
    """

    dataset: DatasetReader
    turn: threading.RLock = field(default_factory=threading.RLock)
    kept: bool = False

    def close(self) -> None:
        """Close the dataset, unless `keep_open` will."""
        if not self.kept:
            self.dataset.close()


class _KeptScene:
    """A scene that is kept open: for how many, and its handle once one has asked for it."""

    def __init__(self) -> None:
        self.users = 0
        self.handle: Handle | None = None
        self.opening = threading.Lock()


class _KeptScenes:
    """The scenes that are kept open in this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may interrupt a thread that holds it
        self._scenes: dict[str, _KeptScene] = {}

    def enter(self, uri: str) -> None:
        with self._lock:
            self._scenes.setdefault(uri, _KeptScene()).users += 1
            relay.admit(uri)

    def leave(self, uri: str) -> None:
        with self._lock:
            scene = self._scenes[uri]
            scene.users -= 1
            if scene.users:
                return
            del self._scenes[uri]
            relay.admit(uri)
        if scene.handle is not None:
            scene.handle.dataset.close()

    def interrupt(self, uri: str) -> None:
        """End connections for a scene, unless others read it, too."""
        with self._lock:
            scene = self._scenes.get(uri)
            if scene is not None and scene.users == 1:
                relay.interrupt(uri)

    def handle(self, uri: str) -> Handle | None:
        """The one handle of a scene that is kept, opened by the first who asks; or None."""
        with self._lock:
            scene = self._scenes.get(uri)
        if scene is None:
            return None
        with scene.opening:
            if scene.handle is None:
                scene.handle = Handle(open_dataset(uri), kept=True)
            return scene.handle


_kept_scenes = _KeptScenes()


@contextmanager
def keep_open(uri: str) -> Iterator[None]:
    """Within the block, a remote scene is opened once for all who read it in this process.

    GDAL keeps decoded blocks with the dataset: what was fetched for the statistics of a scene
    is not fetched again for its tiles. Local scenes are opened by each reader, as outside.
    """
    if not is_remote(uri):
        yield
        return
    _kept_scenes.enter(uri)
    try:
        yield
    finally:
        _kept_scenes.leave(uri)


def interrupt(uri: str) -> None:
    """Let whoever reads a scene that is kept open fail soon, however silent its server is. One of
    s3 is read to the end of what was asked for.
    """
    if beginning(uri) in _RELAYED:
        _kept_scenes.interrupt(uri)


def open_handle(uri: str, overview: int | None = None) -> Handle:
    """A scene for reading; call inside `gdal_env(uri)` and close it yourself.

    Raises:
        SceneError: as `open_dataset`.
    """
    handle = None if overview is not None else _kept_scenes.handle(uri)
    return Handle(open_dataset(uri, overview)) if handle is None else handle


@contextmanager
def opened(uri: str, overview: int | None = None, alone: bool = False) -> Iterator[DatasetReader]:
    """A scene's dataset inside GDAL's settings, closed afterwards unless it is kept open.

    Args:
        uri: path or URL.
        overview: overview to read instead of the full raster.
        alone: without what lies beside it.

    Raises:
        SceneError: missing, not a raster, or a format that is not let in.
    """
    with gdal_env(uri, alone=alone):
        handle = open_handle(uri, overview)
        try:
            with handle.turn:
                yield handle.dataset
        finally:
            handle.close()


def open_dataset(uri: str, overview: int | None = None) -> DatasetReader:
    """Open for reading; call inside `gdal_env(uri)` and close it yourself.

    Raises:
        SceneError: missing, not a raster, a format that is not let in, blocks that take too
            much memory, or other files beside it or named in it that are not let in.
    """
    name = gdal_name(uri)
    if not is_remote(uri):
        check_sidecars(Path(name), uri)
    if overview is not None:
        # An overview is opened from wherever the raster says: that is looked at first.
        _let_in(uri, name).close()
    return _let_in(uri, name, overview)


def _let_in(uri: str, name: str, overview: int | None = None) -> DatasetReader:
    """An open raster, or its overview, that reads no file it should not."""
    options = {} if overview is None else {"overview_level": overview}
    try:
        dataset = DatasetReader(name, driver=list(DRIVERS), sharing=False, **options)
    except RasterioError as error:
        raise _refusal(uri, name, error) from error
    except UnicodeDecodeError as error:  # of all that rasterio reads on opening the CRS has names
        raise SceneError(
            "scene",
            display_name(uri),
            f"names its CRS in bytes that are no UTF-8 ({error.object[:60]!a})",
            "assign it anew with gdal_edit.py -a_srs EPSG:CODE SCENE",
        ) from error
    try:
        if overview_files(dataset):
            raise SceneError(
                "scene",
                display_name(uri),
                "names another file as its overviews",
                "remove that metadata: gdal_translate -of COG SCENE out.tif",
            )
        check_blocks(dataset, display_name(uri))
        if not is_remote(uri):
            check_files(dataset, Path(name), uri)
    except SceneError:
        dataset.close()
        raise
    return dataset


def _refusal(uri: str, name: str, error: Exception) -> SceneError:
    """Why GDAL would not open it, in our words."""
    remedy = f"give one of {', '.join(DRIVERS)} (a COG is a GTiff), whole and readable"
    reason = error_text(error, uri)
    if reason.startswith(relay.REDIRECTS):
        remedy = "give the address that it leads to, or have its host allowed"
    elif reason.startswith(relay.PRIVATE):
        remedy = "give one of a public address, or have its host allowed"
    elif is_remote(uri):
        remedy = f"see that its address answers, ranges of bytes too, and {remedy}"
        if beginning(uri) == "s3://":
            remedy = f"set AWS credentials, or AWS_NO_SIGN_REQUEST=YES where all may read; {remedy}"
    else:
        try:
            with open(name, "rb") as file:
                head = file.read(1024)
        except OSError as problem:
            return SceneError(
                "scene",
                uri,
                f"cannot be read ({problem.strerror})",
                "give a file that this user may read",
            )
        if not head:
            return SceneError("scene", uri, "is an empty file", "fetch it again")
        if b"<VRTDataset" in head:
            return SceneError(
                "scene", uri, "is a VRT, which can read other files or run code", _VRT_REMEDY
            )
    return SceneError(
        "scene",
        display_name(uri),
        f"cannot be opened as a raster ({reason})",
        remedy,
    )
