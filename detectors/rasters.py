"""Probabilities of several raster members as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lanner.core.config import Member

Floats32 = NDArray[np.float32]
Levels = NDArray[np.uint8]


def fuse_rasters(members: Sequence[Member], rasters: Sequence[Floats32]) -> Floats32:
    """The mean of the voters by their weights, raised where another member is sure.

    A member with `override_above` f does not vote. Its word counts by how sure its first channel b
    is, h = (b - f) / (1 - f) where that is positive: every channel becomes p + h max(q - p, 0),
    p being what was said before and q what it says. It finds what the voters pass over and takes
    nothing away, and h has no step, so that tiles do not differ by a level for a last bit.

    Args:
        members: the configuration of each; if none of them votes, all of them do.
        rasters: what each says, (channels, h, w) in 0..1.

    Returns:
        (channels, h, w) in 0..1.
    """
    voters = [k for k, one in enumerate(members) if one.override_above is None]
    voters = voters or list(range(len(members)))
    fused = rasters[voters[0]]
    if len(voters) > 1:
        weight = np.asarray([members[k].weight for k in voters], np.float32)
        fused = np.tensordot(weight / weight.sum(), np.stack([rasters[k] for k in voters]), 1)
    for k, one in enumerate(members):
        if k not in voters and one.override_above is not None:
            least = np.float32(one.override_above)
            certainty = np.clip((rasters[k][:1] - least) / (1 - least), 0, 1)
            fused = fused + certainty * np.maximum(rasters[k] - fused, 0)
    return np.asarray(fused, np.float32)


def fuse_levels(members: Sequence[Member], rasters: Sequence[Levels]) -> Levels:
    """`fuse_rasters` of rasters in steps of 1/255, as they are kept.

    Args:
        members: the configuration of each.
        rasters: uint8 (channels, h, w) of each.

    Returns:
        uint8 (channels, h, w); 0 where all are.
    """
    fused = fuse_rasters(members, [one.astype(np.float32) / np.float32(255) for one in rasters])
    return np.rint(fused * 255).astype(np.uint8)


def fusion_facts(members: Sequence[Member]) -> list[list[object]]:
    """What `fuse_rasters` goes by besides what is seen, as plain data for keys."""
    return [[one.name, one.weight, one.override_above] for one in members]
