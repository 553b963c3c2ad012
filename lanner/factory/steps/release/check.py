"""Is a release what its card says, and does it still say what it said when it was released?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from detectors.card import GET_BACK, Card, check_files, sha256_file
from detectors.catalog import Entry, check_release
from lanner.core.errors import DatasetError, GateError, LannerError
from lanner.core.home import configs_dir
from lanner.core.job import Cancel, Progress
from lanner.factory.files import files_below
from lanner.factory.steps.release.golden import FILE, checksum, features_of, runs_on

Verdict = Literal["identical", "within tolerance", "differs", "not checked"]

BOX_PX = 3.0
"""Scene pixels that a side of a box may move on another machine.

Between bfloat16 and float32 on one processor, aircraft of eleven images moved by at most 2.0 and
changed confidences by at most 0.015; one of them lost an aircraft of confidence 0.05.
"""

CONFIDENCE = 0.05
"""What a confidence may change there: kernels sum in other orders, or round otherwise."""

FAINT = 0.1
"""Below this confidence a feature may come or go."""

PINNED = ("detector_version", "weights_sha256", "config_sha256")
"""Properties that are named where they changed: then it is no longer the released detector."""


@dataclass(frozen=True)
class Golden:
    """How one golden image stands; `detail` says it in numbers."""

    sample: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Checked:
    """A release whose `files` are what the card says, and its golden images.

    `elsewhere` are files that its chain reads and that the release does not bring.
    """

    detector: str
    release: str
    files: int
    golden: tuple[Golden, ...]
    elsewhere: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """For people."""
        name = f"{self.detector} {self.release}"
        lines = [f"{name}: card and {self.files} files are whole"]
        lines += [
            f"{name}: its chain reads {path}, which is not part of the release"
            for path in self.elsewhere
        ]
        lines += [f"{name}: {one.sample}: {one.verdict}, {one.detail}" for one in self.golden]
        return lines if self.golden else [*lines, f"{name}: has no golden outputs to check"]

    def facts(self) -> dict[str, Any]:
        """The same as JSON data."""
        return asdict(self)

    def refuse(self) -> None:
        """Raise where an output differs by more than the tolerance.

        Raises:
            GateError: so it does.
        """
        for one in self.golden:
            if one.verdict == "differs":
                raise GateError(
                    "golden",
                    f"{self.detector} {self.release} {one.sample}",
                    f"is not what was released: {one.detail}",
                    "compare versions of Lanner and torch, and the machine's number format",
                )


def check_detector(
    entry: Entry,
    data: Path | None,
    cancel: Cancel | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Checked:
    """Compare every file of a release with its card, and its golden outputs with new ones.

    Args:
        entry: the detector.
        data: folder in which golden images are looked for, by name and checksum; None for none.
        cancel: looked at between images.
        tell: told of progress.

    Raises:
        WeightsError: a file is missing or not what the card says.
        DatasetError: `data` is no folder, or golden outputs cannot be read.
        LannerError: whatever the detector raises.
    """
    card = check_release(entry).card
    files = check_files(entry.release_dir, card, tuple(card.files))
    rows = _rows(entry.release_dir / FILE) if FILE in files else []
    images = {} if data is None else find_images(rows, data)
    done = []
    for row in rows:
        (cancel or Cancel()).check()
        image = images.get(row["sample"])
        done.append(
            _missing(row, data)
            if image is None
            else _again(entry, row, image, cancel or Cancel(), tell)
        )
    elsewhere = _elsewhere(entry, card)
    return Checked(entry.config.name, entry.config.release, len(files), tuple(done), elsewhere)


def _elsewhere(entry: Entry, card: Card) -> tuple[str, ...]:
    """Paths of files that the chain reads and that the release does not bring."""
    from postprocess.chain import Chain

    try:
        names = Chain.from_specs(entry.config.chain).files
    except LannerError:
        return ()  # of a step that is not installed a run tells
    return tuple(str(configs_dir() / name) for name in names if name not in card.chain_files)


def find_images(rows: Sequence[Mapping[str, Any]], data: Path) -> dict[str, Path]:
    """Files under a folder that have name and content of golden images, by sample.

    Raises:
        DatasetError: no such folder.
    """
    if not data.is_dir():
        raise DatasetError("--data", data, "is no folder", "name the folder of the images")
    wanted: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        wanted.setdefault(str(row.get("file", "")), []).append(row)
    found: dict[str, Path] = {}
    for path in sorted(files_below(data)):
        if path.name not in wanted:
            continue
        try:
            content = sha256_file(path)
        except OSError:
            # A link to nothing, or another's file: not the image as far as anybody can tell.
            continue
        for row in wanted[path.name]:
            if row["image_sha256"] == content:
                found.setdefault(row["sample"], path)
    return found


def compare(
    before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> tuple[Verdict, str]:
    """How two lists of features differ that are not the same bytes.

    Features of one label are paired so that the sides of their boxes move least.

    Returns:
        `within tolerance` where no pair moves by more than `BOX_PX` or `CONFIDENCE` and what has
        no partner is `FAINT`, else `differs`; and the numbers.
    """
    one, two = ([feature["properties"] for feature in some] for some in (before, now))
    pairs = _pairs(one, two)
    alone = [a for i, a in enumerate(one) if i not in {i for i, _ in pairs}]
    alone += [b for j, b in enumerate(two) if j not in {j for _, j in pairs}]
    both = [(one[i], two[j]) for i, j in pairs]
    moved = max((_moved(a, b) for a, b in both), default=0.0)
    sure = max((abs(a["confidence"] - b["confidence"]) for a, b in both), default=0.0)
    faint = max((a["confidence"] for a in alone), default=0.0)
    decided = sum(a["decision"] != b["decision"] for a, b in both)
    detail = f"{len(both)} pairs, boxes by {moved:.2f} px, confidences by {sure:.4f} at most"
    detail += f", {decided} decisions" if decided else ""
    detail += f", {len(alone)} without a partner, of up to {faint:.4f}" if alone else ""
    detail += "".join(
        f", other {name}" for name in PINNED if any(a.get(name) != b.get(name) for a, b in both)
    )
    close = sure <= CONFIDENCE and faint < FAINT
    return "within tolerance" if close else "differs", detail


def _pairs(
    one: Sequence[Mapping[str, Any]], two: Sequence[Mapping[str, Any]]
) -> list[tuple[int, int]]:
    """Numbers of features of one label whose boxes are within `BOX_PX`."""
    from scipy.optimize import linear_sum_assignment

    cost = np.array([[_moved(a, b) for b in two] for a in one]).reshape(len(one), len(two))
    # What is too far is no partner, however far.
    rows, columns = linear_sum_assignment(np.minimum(cost, 2 * BOX_PX))
    found = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(i, j) for i, j in found if cost[i, j] <= BOX_PX]


def _moved(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Pixels that the side of a box moved furthest; far away for another label."""
    if a["label"] != b["label"]:
        return 1e9
    return max(abs(float(x) - float(y)) for x, y in zip(a["box_px"], b["box_px"], strict=True))


def _again(
    entry: Entry,
    row: Mapping[str, Any],
    image: Path,
    cancel: Cancel,
    tell: Callable[[Progress], None],
) -> Golden:
    texts = features_of(entry, image, row["gsd"], cancel, tell)
    if checksum(texts) == row["features_sha256"]:
        return Golden(row["sample"], "identical", f"{len(texts)} features")
    verdict, detail = compare(row["features"], [json.loads(text) for text in texts])
    then, now = row.get("runs_on", "unknown"), runs_on()
    where = f"on {now}" if then == now else f"released on {then}, here {now}"
    return Golden(row["sample"], verdict, f"{detail} ({where})")


def _missing(row: Mapping[str, Any], data: Path | None) -> Golden:
    name = row.get("file", row["sample"])
    why = "name its folder: --data" if data is None else f"not under {data} as it was"
    return Golden(row["sample"], "not checked", f"image {name} {row['image_sha256'][:12]} {why}")


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError("golden", path, f"cannot be read ({error})", GET_BACK) from error
    return rows


__all__ = ["Checked", "Golden", "check_detector", "compare", "find_images"]
