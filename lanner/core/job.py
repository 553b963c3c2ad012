"""The words in which one detection is asked for, followed and answered.

Ground floor: imports nothing of ours, so the command line, the server and the pipeline can
share it. A front end never imports the pipeline's insides; it is handed a `DetectFn`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanner.core.errors import Cancelled
from lanner.core.schema import Schema


@dataclass(frozen=True)
class DetectRequest:
    """One scene, one detector.

    `scene` is a path or a GDAL URL (http(s)://, s3://); `detector` a released name,
    `NAME@RELEASE` or a path to a YAML file; `gsd` overrides the scene's ground sampling in metres
    (needed without a CRS): all lengths follow it, coordinates stay the file's; `estimate_gsd` has
    it estimated from what is found instead; `crs` is that of a scene which says none;
    `tile` overrides the read tile in detector pixels; `members` leaves ensemble members out;
    `run_dir` keeps snapshots there and resumes from them; `candidates` asks for what was left
    out, too.
    """

    scene: str
    detector: str
    gsd: float | None = None
    device: str = "auto"
    tile: int | None = None
    members: tuple[str, ...] | None = None
    run_dir: Path | None = None
    candidates: bool = False
    crs: str | None = None
    estimate_gsd: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a stage is: `done` of `total` (total 0 when it cannot be known).

    `detail` is what else is known at this moment, such as the time left; `remark` a sentence that
    is to stay readable, told once. `preview` gives what the pieces since the last report show, as
    GeoJSON Feature texts that may change or go; it may be called late, by any thread, or never.
    """

    stage: str
    done: int
    total: int
    detail: str = ""
    remark: str = ""
    preview: Callable[[], Sequence[str]] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DetectionPlan:
    """What a detection would take and give.

    `megapixels` are the detector's; `seconds` of work while nothing else runs, and
    `result_bytes` of a GeoPackage, are None where they are not known on this machine;
    `memory_bytes` come on top of the networks.
    """

    tiles: int
    megapixels: float
    read_bytes: int
    seconds: float | None
    memory_bytes: int
    result_bytes: int | None
    notes: tuple[str, ...] = ()


PlanFn = Callable[[DetectRequest], DetectionPlan]
"""Plans one detection; raises `LannerError` where it cannot be run."""


@dataclass(frozen=True)
class DetectResult:
    """What came out.

    `features` holds one compact RFC 7946 Feature (or, without a CRS, a feature in scene
    pixels) as JSON text per object, in final order: the one source that every front end writes
    byte for byte. They are held compressed, and are quick to go through in order. `summary` is
    plain JSON data (notes on the scene, counts by label and decision, seconds by stage, scene,
    detector, checksums).
    `frame` is the same as a GeoDataFrame in the scene's CRS, `schema` says which columns it has,
    `layer` how its layer is named in a file of several.
    `candidates` are those that the chain left out, where they were asked for: `decision` is
    'candidate' and `reason` says why each was.
    """

    features: Sequence[str]
    summary: Mapping[str, Any]
    frame: Any = field(repr=False, compare=False)
    schema: Schema | None = field(default=None, repr=False, compare=False)
    layer: str | None = field(default=None, repr=False, compare=False)
    candidates: DetectResult | None = field(default=None, repr=False, compare=False)


def candidates_layer(detector: str) -> str:
    """Name of the layer of what a detector left out."""
    return f"{detector}_candidates"


class Cancel:
    """A flag that the caller raises and the work looks at between small pieces."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()  # a signal may ask, in a thread that holds it
        self._calls: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask the work to stop."""
        with self._lock:
            self._event.set()
            calls = list(self._calls)
        for one in calls:
            one()

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Within the block, `call` is called once when the caller asks to stop, by its thread, or
        at once where it has asked: for work that waits for something it cannot look up from.
        """
        with self._lock:
            is_set = self._event.is_set()
            if not is_set:
                self._calls.append(call)
        try:
            if is_set:
                call()
            yield
        finally:
            with self._lock:
                if call in self._calls:
                    self._calls.remove(call)

    def is_set(self) -> bool:
        """Whether the caller asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when the caller asked to stop."""
        if self._event.is_set():
            raise Cancelled


DetectFn = Callable[[DetectRequest, Cancel, Callable[[Progress], None]], DetectResult]
"""What a front end is given: run one request to its end, telling progress on the way."""
