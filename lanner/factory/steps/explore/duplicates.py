"""Images that are stored twice, look the same, or show the same ground in different splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lanner.factory.samples import Sample
from lanner.factory.steps.explore.findings import Finding
from lanner.factory.steps.explore.measure import Facts

ALIKE = 0.93
"""Least correlation of two thumbnails: hashes of bare ground agree by chance, pixels do not."""
_BLOCK = 2048
_EARTH = 6_371_008.8


def exact(samples: Sequence[Sample], facts: Mapping[str, Facts]) -> list[Finding]:
    """Images whose pixels are equal; one finding for every copy after the first.

    A copy is held against the first earlier one of another split where there is one.

    Args:
        samples: in order; those without facts are passed over.
        facts: by sample id.
    """
    groups: dict[str, list[Sample]] = {}
    for one in samples:
        if one.id in facts:
            groups.setdefault(facts[one.id].content, []).append(one)
    found = []
    for group in groups.values():
        for k, copy in enumerate(group[1:], 1):
            other = next((o for o in group[:k] if crosses(o, copy)), group[0])
            found.append(_pair("duplicates", copy, other, 1.0, "the same pixels"))
    return found


def near(samples: Sequence[Sample], facts: Mapping[str, Facts], most: int) -> list[Finding]:
    """Images that look the same though their pixels differ: stored again with loss, say.

    Two look the same when their perceptual hashes differ in at most `most` of 64 bits and their
    thumbnails correlate by at least `ALIKE`. Each image is held against its likest earlier one,
    and against the likest of another split.

    Args:
        samples: in order; those without facts are passed over.
        facts: by sample id.
        most: Hamming distance.
    """
    known = [one for one in samples if one.id in facts]
    if len(known) < 2:
        return []
    thumbs = np.stack([facts[one.id].thumb for one in known])
    hashes = np.array([facts[one.id].phash for one in known], np.uint64)
    best: dict[tuple[int, bool], tuple[float, int, int]] = {}
    for first, second, distance in close_pairs(hashes, most):
        a, b = known[first], known[second]
        if facts[a.id].content == facts[b.id].content:
            continue
        alike = float(thumbs[first] @ thumbs[second])
        key = (second, crosses(a, b))
        if alike >= ALIKE and alike > best.get(key, (0.0, 0, 0))[0]:
            best[key] = (alike, first, distance)
    return [
        _pair(
            "near_duplicates", known[second], known[first], alike, f"hashes differ in {bits} bits"
        )
        for (second, _), (alike, first, bits) in sorted(best.items())
    ]


def close_pairs(hashes: NDArray[np.uint64], most: int) -> Iterator[tuple[int, int, int]]:
    """Every (i, j, distance) with i < j whose Hamming distance is at most `most`.

    Args:
        hashes: (n,) 64-bit.
        most: greatest distance in bits.
    """
    for start in range(0, len(hashes), _BLOCK):
        rows = hashes[start : start + _BLOCK]
        for at in range(start, len(hashes), _BLOCK):
            distance = np.bitwise_count(rows[:, None] ^ hashes[None, at : at + _BLOCK])
            for i, j in np.argwhere(distance <= most):
                if start + i < at + j:
                    yield int(start + i), int(at + j), int(distance[i, j])


def neighbours(samples: Sequence[Sample], near_m: float) -> list[Finding]:
    """Georeferenced images of different splits whose footprints overlap or lie too near.

    A footprint is the north-up rectangle about the image's place; each image is held against
    the nearest of every other split.

    Args:
        samples: those without place, ground sampling or split are passed over.
        near_m: metres between footprints below which ground leaks.
    """
    placed = [one for one in samples if one.gsd and one.split is not None and one.place]
    if len({one.split for one in placed}) < 2:
        return []
    lonlat = np.radians(np.array([one.place or (0.0, 0.0) for one in placed]))
    half = np.array([(one.width * (one.gsd or 0), one.height * (one.gsd or 0)) for one in placed])
    half /= 2
    reach = float(np.hypot(*half.T).max()) * 2 + near_m
    # A chord is shorter than its arc, so nothing within reach is lost.
    found: dict[tuple[int, str | None], tuple[float, int]] = {}
    tree = cKDTree(_on_sphere(lonlat) * _EARTH)
    for i, j in sorted(tree.query_pairs(reach)):
        if crosses(placed[i], placed[j]):
            gap = footprint_gap(lonlat[i], half[i], lonlat[j], half[j])
            key = (j, placed[i].split)
            if gap < near_m and gap < found.get(key, (np.inf, 0))[0]:
                found[key] = (gap, i)
    return [
        Finding(
            "spatial_leakage",
            placed[j].id,
            f"{'overlaps' if gap <= 0 else f'is {gap:.0f} m from'} {placed[i].id} "
            f"({placed[j].split} and {placed[i].split})",
            other=placed[i].id,
            score=float(1 - max(0.0, gap) / near_m) if near_m else 1.0,
        )
        for (j, _), (gap, i) in sorted(found.items(), key=lambda item: (item[0][0], item[1][1]))
    ]


def footprint_gap(
    a: NDArray[np.float64],
    half_a: NDArray[np.float64],
    b: NDArray[np.float64],
    half_b: NDArray[np.float64],
) -> float:
    """Metres between two north-up rectangles; 0 or less where they overlap.

    Args:
        a: longitude and latitude of the first centre, radians.
        half_a: half its width and height in metres.
        b: of the second.
        half_b: of the second.
    """
    turn = (b[0] - a[0] + np.pi) % (2 * np.pi) - np.pi
    east = abs(turn) * np.cos((a[1] + b[1]) / 2) * _EARTH
    north = abs(b[1] - a[1]) * _EARTH
    gap = np.array([east, north]) - half_a - half_b
    return float(np.hypot(*gap.clip(0)) if (gap > 0).any() else gap.max())


def crosses(a: Sample, b: Sample) -> bool:
    """Whether both have a split and not the same."""
    return a.split is not None and b.split is not None and a.split != b.split


def _pair(kind: str, copy: Sample, other: Sample, score: float, why: str) -> Finding:
    across = crosses(copy, other)
    splits = f"{copy.split or 'no split'} and {other.split or 'no split'}"
    return Finding(
        f"{kind}_across_splits" if across else kind,
        copy.id,
        f"as {other.id} ({splits}): {why}",
        score=round(score, 4),
        other=other.id,
    )


def _on_sphere(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = lonlat.T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
