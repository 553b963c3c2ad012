"""Variations of aircraft types: plan views that a network cannot know by heart."""

from __future__ import annotations

from dataclasses import replace
from math import radians, tan
from typing import Any

import numpy as np

from lanner.synth.catalogue import AircraftType

AS_BUILT = 0.2
"""Share that is left as it is."""

WINGS = {"own": 0.5, "delta": 0.15, "folded": 0.15, "swept": 0.2}
"""Wings that fighters and military aircraft are given."""

FORMS: dict[str, dict[str, tuple[str, float, float]]] = {
    "own": {},
    "delta": {
        "wing_at": ("", 0.28, 0.4),
        "root": ("length", 0.42, 0.55),
        "tip": ("length", 0.01, 0.05),
        "sweep": ("", 45, 60),
        "tail_span": ("tail_span", 0.4, 1.0),
    },
    "folded": {
        "wing_at": ("", 0.26, 0.4),
        "root": ("length", 0.3, 0.45),
        "tip": ("length", 0.05, 0.12),
        "sweep": ("", 56, 68),
        "span": ("span", 0.7, 1.0),
    },
    "swept": {
        "sweep": ("", 8, 42),
        "root": ("length", 0.18, 0.34),
        "span": ("length", 0.65, 1.0),
    },
}
"""What each of these wings is: a share of the kind's length, span or tail, or (no name) a value."""


def imagined(rng: np.random.Generator, kind: AircraftType) -> AircraftType:
    """A kind like this one with other proportions, tails and, for warplanes, other wings."""
    if rng.random() < AS_BUILT:
        return kind
    wing = str(rng.choice(list(WINGS), p=list(WINGS.values())))
    result = _varied(rng, kind)
    if kind.role == "fighter":
        result = _winged(rng, result, wing)
    elif kind.role == "military" and kind.sweep < 20 and wing != "own":
        result = replace(result, sweep=float(rng.uniform(20, 37)))
    return _within(result)


def _varied(rng: np.random.Generator, kind: AircraftType) -> AircraftType:
    def scaled(value: float, low: float, high: float) -> float:
        return value * float(rng.uniform(low, high))

    more = rng.uniform(-10, 12) if kind.sweep > 10 else rng.uniform(-2, 10)
    return replace(
        kind,
        length=scaled(kind.length, 0.88, 1.18),
        span=scaled(kind.span, 0.82, 1.2),
        body=scaled(kind.body, 0.8, 1.2),
        wing_at=kind.wing_at + float(rng.normal(0, 0.04)),
        root=scaled(kind.root, 0.78, 1.3),
        tip=scaled(kind.tip, 0.6, 1.7),
        sweep=max(kind.sweep + float(more), 0.0),
        tail_at=kind.tail_at + float(rng.uniform(-0.04, 0.02)),
        tail_span=scaled(kind.tail_span, 0.75, 1.25),
        tail_root=scaled(kind.tail_root, 0.75, 1.25),
        tail_sweep=max(kind.tail_sweep + float(rng.uniform(-10, 14)), 0.0),
    )


def _winged(rng: np.random.Generator, kind: AircraftType, wing: str) -> AircraftType:
    drawn: dict[str, Any] = {
        name: (getattr(kind, of) if of else 1.0) * float(rng.uniform(low, high))
        for name, (of, low, high) in FORMS[wing].items()
    }
    return replace(kind, **drawn)


def _within(kind: AircraftType) -> AircraftType:
    """The same with its wing before the end of its fuselage and its tail."""
    length = kind.length
    at = float(np.clip(kind.wing_at, 0.22, 0.5))
    root = min(kind.root, (0.94 - at) * length)
    room = (0.97 - at) * length - kind.tip
    slope = tan(radians(kind.sweep))
    span = min(kind.span, 2 * room / slope) if slope > 0.2 else kind.span
    tail = min(kind.tail_root, (0.99 - kind.tail_at) * length)
    return replace(kind, wing_at=at, root=root, span=span, tail_root=tail)
