"""Which split each sample belongs to, so that what is tested was never seen in training."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor

import numpy as np

from lanner.core.errors import DatasetError
from lanner.factory.config import Split
from lanner.factory.samples import Sample
from lanner.factory.union_find import UnionFind

EARTH_M = 6_371_008.8
"""Mean radius of the Earth in metres: blocks are square within half a percent."""

Cell = tuple[int, int]


def assign_splits(
    samples: Sequence[Sample], spec: Split, near_m: float, content: Callable[[Sample], str]
) -> tuple[Sample, ...]:
    """The same samples in order, each with a split; those that have one keep it.

    Args:
        samples: with unique ids.
        spec: how, and the fractions.
        near_m: for `block`, images on the ground with no more than this between them are
            neighbours, and neighbours go to one split.
        content: checksum of a sample's image, hexadecimal.

    Raises:
        DatasetError: `source` and a sample without split; `block` and a sample without a place
            on the ground, or with neighbours in several splits.
    """
    open_ = [one for one in samples if one.split is None]
    if not open_:
        return tuple(samples)
    if spec.by == "source":
        raise DatasetError(
            "dataset.split",
            spec.by,
            f"{len(open_)} samples have no split of their own, first {open_[0].id}",
            "give their source splits, or by: hash or block",
        )
    if spec.by == "hash":
        chosen = by_hash(samples, spec, content)
    else:
        chosen = by_block(samples, spec, near_m)
    return tuple(one.but(split=chosen[one.id]) if one.split is None else one for one in samples)


def by_hash(
    samples: Sequence[Sample], spec: Split, content: Callable[[Sample], str]
) -> dict[str, str]:
    """Splits by id of the samples that have none: that of a version that has one, else by its key.

    Raises:
        DatasetError: versions of one original are in several splits already.
    """
    keys = hash_keys(samples, content)
    given: dict[str, set[str]] = {}
    for one in samples:
        if one.split is not None:
            given.setdefault(keys[one.id], set()).add(one.split)
    out = {}
    for one in samples:
        if one.split is not None:
            continue
        known = given.get(keys[one.id], set())
        if len(known) > 1:
            raise DatasetError(
                "dataset.split",
                one.id,
                f"shows what is in several splits already ({', '.join(sorted(known))})",
                "give its source splits, or correct theirs",
            )
        out[one.id] = next(iter(known), "") or by_fraction(keys[one.id], spec.fractions)
    return out


def hash_keys(samples: Sequence[Sample], content: Callable[[Sample], str]) -> dict[str, str]:
    """What each sample's split follows from, by id: the same for all that show one original.

    Tiles of one image overlap, and the same image may be there at two scales: their key is the
    original's checksum. That of a sample which shows an original alone is its own checksum.

    Args:
        samples: all of a dataset.
        content: checksum of a sample's image, hexadecimal.
    """
    originals = {one.id: one.origin or content(one) for one in samples}
    counts = Counter(originals.values())
    return {
        one.id: originals[one.id] if counts[originals[one.id]] > 1 else content(one)
        for one in samples
    }


def by_fraction(key: str, fractions: Mapping[str, float]) -> str:
    """A split for a text, always the same: its checksum as a number of 0..1 within the fractions.

    Splits are taken in the order of their names, so that the order in a file means nothing.
    """
    whole = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    total, name = 0.0, ""
    for name in sorted(name for name, share in fractions.items() if share > 0):
        total += fractions[name]
        if whole < total:
            break
    return name


def by_block(samples: Sequence[Sample], spec: Split, near_m: float) -> dict[str, str]:
    """Splits by id of the samples that have none, whole blocks and neighbours together.

    A sample joins every block that it meets, and its neighbours; what is joined goes to one
    split: that of a sample that has one, else the one that the checksum of the smallest block
    index decides.

    Raises:
        DatasetError: a sample has no place or ground sampling, or lies among several splits.
    """
    lost = [one for one in samples if one.split is None and not _placed(one)]
    if lost:
        raise DatasetError(
            "dataset.split",
            "block",
            f"{len(lost)} samples have no place on the ground, first {lost[0].id}",
            "give their source splits and gsd, or by: hash",
        )
    here = [one for one in samples if _placed(one)]
    groups = UnionFind(len(here))
    owner: dict[Cell, int] = {}
    for k, one in enumerate(here):
        for cell in cells(one, spec.block_m):
            groups.join(k, owner.setdefault(cell, k))
    for a, b in neighbours(here, near_m):
        groups.join(a, b)
    least: dict[int, Cell] = {}
    for cell, k in owner.items():
        root = groups.root(k)
        least[root] = min(cell, least.get(root, cell))
    fixed: dict[int, Counter[str]] = {}
    for k, one in enumerate(here):
        if one.split is not None:
            fixed.setdefault(groups.root(k), Counter())[one.split] += 1
    out = {}
    for k, one in enumerate(here):
        if one.split is not None:
            continue
        root = groups.root(k)
        given = fixed.get(root, Counter())
        if len(given) > 1:
            raise DatasetError(
                "dataset.split",
                one.id,
                f"has neighbours in several splits ({', '.join(sorted(given))})",
                "give its source splits, or correct theirs",
            )
        row, column = least[root]
        key = f"{spec.block_m:g}:{row}:{column}"
        out[one.id] = next(iter(given)) if given else by_fraction(key, spec.fractions)
    return out


def cells(sample: Sample, block_m: float) -> Iterator[Cell]:
    """Row and column of every block that a placed sample meets.

    Rows are bands of latitude `block_m` high, columns `block_m` wide at their row's middle: a
    grid of the whole Earth (sinusoidal), so that a block's index follows from its place alone.
    """
    lon, lat = _place(sample)
    half_x, half_y = _half_m(sample)
    y = math.radians(lat) * EARTH_M
    for row in range(floor((y - half_y) / block_m), floor((y + half_y) / block_m) + 1):
        middle = (row + 0.5) * block_m / EARTH_M
        x = math.radians(lon) * EARTH_M * max(0.0, math.cos(middle))
        for column in range(floor((x - half_x) / block_m), floor((x + half_x) / block_m) + 1):
            yield row, column


def neighbours(samples: Sequence[Sample], near_m: float) -> list[tuple[int, int]]:
    """Pairs of placed samples whose images have at most `near_m` of ground between them."""
    from scipy.spatial import cKDTree

    if len(samples) < 2:
        return []
    lonlat = np.radians([_place(one) for one in samples])
    half = np.array([_half_m(one) for one in samples])
    lon, lat = lonlat.T
    sphere = EARTH_M * np.stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1
    )
    # A chord is never longer than the way over the ground; one percent for the flat boxes below.
    reach = (2 * float(np.hypot(*half.T).max()) + near_m) * 1.01 + 1.0
    pairs = cKDTree(sphere).query_pairs(reach, output_type="ndarray")
    a, b = pairs[:, 0], pairs[:, 1]
    turn = np.abs((lon[a] - lon[b] + np.pi) % (2 * np.pi) - np.pi)
    dx = turn * np.cos((lat[a] + lat[b]) / 2) * EARTH_M - half[a, 0] - half[b, 0]
    dy = np.abs(lat[a] - lat[b]) * EARTH_M - half[a, 1] - half[b, 1]
    close = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) <= near_m
    return [(int(i), int(j)) for i, j in sorted(pairs[close].tolist())]


def _placed(sample: Sample) -> bool:
    return sample.place is not None and sample.gsd is not None


def _place(sample: Sample) -> tuple[float, float]:
    assert sample.place is not None
    return sample.place


def _half_m(sample: Sample) -> tuple[float, float]:
    """Half the width and height of an image on the ground, in metres."""
    assert sample.gsd is not None
    return sample.width * sample.gsd / 2, sample.height * sample.gsd / 2
