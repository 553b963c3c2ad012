"""Colours of training's views: other cameras, and the look of other pictures."""

import numpy as np

from detectors.training import colour
from detectors.training.colour import restyle, style_of


def test_made_up_sensors_reach_into_the_infrared_and_swap_bands(monkeypatch):
    # A meadow beside as bright a road, in bands that are told apart by their pattern.
    scene = np.full((32, 32, 3), 0.3, np.float32)
    scene[:, :16] = (0.2, 0.5, 0.2)
    scene[..., 0] += np.linspace(0, 0.4, 32, dtype=np.float32)[:, None]
    there = np.ones((32, 32), bool)

    def coloured(share):
        monkeypatch.setattr(colour, "INFRARED", share)
        rng = np.random.default_rng(6)
        return [colour.other_sensor(rng, scene, there) for _ in range(120)]

    def meadow(views):
        return np.mean([view[:, :16].mean() - view[:, 16:].mean() for view in views])

    plain = coloured(0.0)
    assert meadow(coloured(1.0)) > meadow(plain) + 0.1
    # The band with the slope along y comes to lie elsewhere in some, and in most it does not.
    slopes = [(view[-1] - view[0]).mean(axis=0).argmax() for view in plain]
    assert 0.5 < np.mean(np.array(slopes) == 0) < 0.95


def test_restyling_goes_towards_the_other_picture():
    image = np.random.default_rng(0).integers(90, 110, (64, 64, 3)).astype(np.uint8)
    style = style_of(np.full((64, 64, 3), (200, 60, 90), np.uint8))
    white, known = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64), bool)
    white[:32], known[:32] = (200, 60, 90), True
    assert np.array_equal(style_of(white, known), style)
    out = restyle(np.random.default_rng(1), image, np.ones((64, 64), bool), style[None])
    before, after = image.mean((0, 1)), out.mean((0, 1))
    assert (np.abs(after - style[0]) < 0.7 * np.abs(before - style[0]))[:2].all()
