"""What an ensemble says about one tile, and the same as a few bytes for the ledger.

Coordinates are kept to 1/64 pixel, scores to 1e-6 and probabilities to 1/255 from the start, so
that a result that went through the ledger equals one that did not. No torch here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.views import Floats, Ints, Outline

PLACE, SCORE = 64.0, 1e6
"""Steps in a pixel; steps in a score of 1."""

ABSENT = -1
"""Stored vote of a member that saw nothing."""


@dataclass(frozen=True)
class TileResult:
    """Candidates of one tile in grid pixels, and the probability of its window.

    `boxes` (n, 4) x0 y0 x1 y1; `scores` (n,) calibrated; `labels` (n,) index into the
    detector's classes; `votes` (n, members) with NaN for a member that saw nothing; `outlines`
    n rings or None; `cuts` (n,) bits 1 left, 2 top, 4 right, 8 bottom; `probability` uint8
    (channels, tile, tile), 255 is 1, and `valid` (tile, tile), both None for an `objects`
    detector and where nothing is valid; `capped` is how many members hit their safety cap on
    boxes; `unread` blocks of the scene's file that could not be read, x0 y0 x1 y1 in its pixels.
    """

    boxes: Floats
    scores: Floats
    labels: Ints
    votes: Floats
    outlines: tuple[Outline | None, ...]
    cuts: Ints
    probability: NDArray[np.uint8] | None = None
    valid: NDArray[np.bool_] | None = None
    capped: int = 0
    unread: tuple[tuple[int, int, int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.scores)


def tile_result(
    boxes: Floats,
    scores: Floats,
    labels: Ints,
    votes: Floats,
    outlines: Sequence[Outline | None],
    cuts: Ints,
    capped: int = 0,
) -> TileResult:
    """A result with its numbers rounded to what the ledger keeps."""
    return TileResult(
        np.round(boxes * PLACE) / PLACE,
        np.round(scores * SCORE) / SCORE,
        labels,
        np.round(votes * SCORE) / SCORE,
        tuple(None if ring is None else np.round(ring * PLACE) / PLACE for ring in outlines),
        cuts,
        capped=capped,
    )


def raster_result(probability: NDArray[np.float32], valid: NDArray[np.bool_]) -> TileResult:
    """A result of probabilities (channels, tile, tile) in 0..1 alone, `valid` (tile, tile)."""
    levels = np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)
    return replace(no_candidates(0), probability=levels, valid=valid)


def no_candidates(members: int) -> TileResult:
    """A result of nothing by so many members."""
    return TileResult(
        np.empty((0, 4)),
        np.empty(0),
        np.empty(0, np.int64),
        np.empty((0, members)),
        (),
        np.empty(0, np.int64),
    )


def encode(result: TileResult) -> bytes:
    """The result as bytes; equal results give equal bytes."""
    ring_sizes = [0 if ring is None else len(ring) for ring in result.outlines]
    rings = [ring for ring in result.outlines if ring is not None]
    vertices = np.concatenate(rings) if rings else np.empty((0, 2))
    votes = np.where(np.isnan(result.votes), ABSENT / SCORE, result.votes)
    parts = [
        _int(result.boxes * PLACE),
        _int(result.scores * SCORE),
        _int(result.labels),
        _int(votes * SCORE),
        _int(result.cuts),
        _int(np.asarray(ring_sizes)),
        _int(vertices * PLACE),
    ]
    head = {
        "n": len(result),
        "members": result.votes.shape[1],
        "vertices": len(vertices),
        "capped": result.capped,
        "raster": None if result.probability is None else list(result.probability.shape),
    }
    if result.unread:
        head["unread"] = result.unread
    if result.probability is not None and result.valid is not None:
        parts += [result.probability.tobytes(), np.packbits(result.valid).tobytes()]
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return text + b"\n" + zlib.compress(b"".join(parts), 1)


def decode(payload: bytes) -> TileResult:
    """The result that `encode` was given."""
    text, _, packed = payload.partition(b"\n")
    head = json.loads(text)
    n, members, count = head["n"], head["members"], head["vertices"]
    raw = zlib.decompress(packed)
    sizes = [4 * n, n, n, n * members, n, n, 2 * count]
    ends = np.cumsum(sizes) * 4
    boxes, scores, labels, votes, cuts, ring_sizes, vertices = (
        np.frombuffer(raw, "<i4", size, int(end) - 4 * size)
        for size, end in zip(sizes, ends, strict=True)
    )
    pieces = np.split(vertices.reshape(-1, 2) / PLACE, np.cumsum(ring_sizes)[:-1]) if n else []
    probability, valid = None, None
    if head["raster"] is not None:
        channels, height, width = head["raster"]
        levels = np.frombuffer(raw, np.uint8, offset=int(ends[-1]))
        count = channels * height * width
        probability = levels[:count].reshape(channels, height, width)
        bits = np.unpackbits(levels[count:], count=height * width)
        valid = bits.reshape(height, width).astype(bool)
    codes = votes.reshape(n, members)
    return TileResult(
        boxes.reshape(n, 4) / PLACE,
        scores / SCORE,
        labels.astype(np.int64),
        np.where(codes == ABSENT, np.nan, codes / SCORE),
        tuple(ring if len(ring) else None for ring in pieces),
        cuts.astype(np.int64),
        probability,
        valid,
        head["capped"],
        tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in head.get("unread", ())),
    )


def _int(values: NDArray[np.number]) -> bytes:
    return bytes(np.rint(values).astype("<i4").tobytes())
