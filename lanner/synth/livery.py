"""Paint schemes: which colours an aircraft of a role wears."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lanner.synth.catalogue import Role
from lanner.synth.sketch import Rgb


@dataclass(frozen=True)
class Livery:
    """Colours 0..255; `tail` is the fin; stripe, nose and rear None where unpainted.

    `nose_from` is where the painted nose begins, a share of the length before the middle.
    """

    body: Rgb
    wing: Rgb
    tail: Rgb
    nacelle: Rgb
    stabiliser: Rgb
    stripe: Rgb | None = None
    nose: Rgb | None = None
    nose_from: float = 0.47
    rear: Rgb | None = None
    roundel: bool = False


_VIVID: tuple[Rgb, ...] = (
    (200, 30, 40),
    (20, 60, 150),
    (10, 110, 80),
    (235, 120, 20),
    (30, 140, 200),
    (90, 30, 110),
    (240, 195, 30),
    (25, 35, 70),
    (170, 20, 70),
    (60, 150, 60),
    (40, 40, 44),
    (225, 225, 228),
)
_MILITARY: tuple[Rgb, ...] = (
    (140, 146, 152),
    (122, 130, 138),
    (104, 110, 114),
    (158, 162, 164),
    (92, 96, 92),
    (84, 92, 74),
    (128, 118, 96),
    (150, 138, 112),
    (70, 76, 80),
    (176, 180, 182),
)


def _near(rng: np.random.Generator, colour: Rgb, by: float) -> Rgb:
    shift = rng.normal(0, by) + rng.normal(0, by * 0.4, 3)
    r, g, b = np.clip(np.asarray(colour) + shift, 8, 250)
    return float(r), float(g), float(b)


def _pick(rng: np.random.Generator, among: tuple[Rgb, ...]) -> Rgb:
    return among[int(rng.integers(len(among)))]


def random_livery(rng: np.random.Generator, role: Role) -> Livery:
    """A believable scheme for the role."""
    if role in ("military", "fighter"):
        tone = _near(rng, _pick(rng, _MILITARY), 7)
        wing = _near(rng, tone, 6)
        dark = _near(rng, (70, 74, 78), 8)
        return Livery(
            tone,
            wing,
            _near(rng, tone, 5),
            _near(rng, tone, 10),
            wing,
            nose=dark if rng.random() < 0.4 else None,
            roundel=rng.random() < 0.5,
        )
    white = _near(rng, (232, 234, 236), 9)
    vivid = _near(rng, _pick(rng, _VIVID), 10)
    if role == "light":
        body = white if rng.random() < 0.75 else vivid
        stripe = vivid if rng.random() < 0.7 else None
        wing = body if rng.random() < 0.8 else _near(rng, (205, 208, 210), 8)
        return Livery(body, wing, vivid if rng.random() < 0.4 else body, body, wing, stripe=stripe)
    style = rng.random()
    wing = _near(rng, (186, 190, 195), 14) if rng.random() < 0.7 else _near(rng, white, 8)
    nacelle = white if rng.random() < 0.5 else _near(rng, (150, 155, 162), 14)
    stabiliser = vivid if rng.random() < 0.15 else wing
    if style < 0.60:
        return Livery(
            white,
            wing,
            vivid,
            vivid if rng.random() < 0.25 else nacelle,
            stabiliser,
            rear=vivid if rng.random() < 0.35 else None,
        )
    if style < 0.75:
        return Livery(white, wing, vivid, nacelle, stabiliser, stripe=vivid)
    if style < 0.88:
        return Livery(vivid, wing, vivid, nacelle, stabiliser)
    silver = _near(rng, (170, 175, 180), 12)
    return Livery(
        silver, _near(rng, silver, 8), vivid, silver, silver, nose=_near(rng, (60, 62, 66), 6)
    )


def bold_livery(rng: np.random.Generator, role: Role) -> Livery:
    """A scheme for the role whose parts often contrast: no colour tells what belongs together."""
    plain = random_livery(rng, role)
    if role not in ("military", "fighter"):
        return plain
    tones = [_near(rng, _pick(rng, (*_MILITARY, (215, 218, 220), (60, 64, 66))), 10) for _ in "abc"]
    odd = rng.random(4)
    return replace(
        plain,
        body=tones[0],
        wing=_near(rng, tones[0], 12) if odd[0] < 0.7 else tones[1],
        stabiliser=_near(rng, tones[0], 12) if odd[1] < 0.7 else tones[2],
        nose=tones[1] if odd[2] < 0.5 else None,
        nose_from=float(rng.uniform(0.26, 0.47)),
        rear=tones[2] if odd[3] < 0.25 else None,
    )
