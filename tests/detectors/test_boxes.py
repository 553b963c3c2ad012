"""From dense scores to boxes, and passes through a device that runs short of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors import boxes as boxes_module
from detectors.boxes import boxes_of
from detectors.device import Compute, Passes, compute, running
from lanner.core.errors import DeviceError


def dense(rows, classes=1):
    """Logits, zero offsets and anchors of (x0, y0, x1, y1, score, class) rows."""
    logits = torch.full((len(rows), classes), -20.0)
    for i, (*_, score, label) in enumerate(rows):
        logits[i, label] = float(np.log(score / (1 - score)))
    anchors = torch.tensor([row[:4] for row in rows], dtype=torch.float32)
    return logits, torch.zeros(len(rows), 4), anchors


def test_weak_and_overlapping_boxes_go():
    rows = [
        (10, 10, 50, 50, 0.6, 0),
        (12, 10, 52, 50, 0.9, 0),
        (80, 80, 100, 100, 0.2, 0),
        (12, 12, 52, 52, 0.7, 1),
    ]
    found = boxes_of(*dense(rows, 2), 128, 0.3, 0.5)
    np.testing.assert_allclose(found.boxes, [[12, 10, 52, 50], [12, 12, 52, 52]], atol=1e-4)
    assert found.labels.tolist() == [0, 1]  # classes do not suppress one another
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)
    assert found.outlines == (None, None)
    assert not found.capped


def test_boxes_end_at_the_tile():
    rows = [(-30, 20, 40, 60, 0.8, 0), (127, 20, 180, 60, 0.8, 0)]
    found = boxes_of(*dense(rows), 128, 0.3, 0.5)
    np.testing.assert_allclose(found.boxes, [[0, 20, 40, 60]], atol=1e-4)


def test_no_crowd_is_cut_short_but_noise_is_and_says_so(monkeypatch):
    rows = [
        (10 * x, 10 * y, 10 * x + 8, 10 * y + 8, 0.5 + x / 500, 0)
        for x in range(60)
        for y in range(60)
    ]
    whole = boxes_of(*dense(rows), 608, 0.3, 0.5)
    assert (len(whole), whole.capped) == (3600, False)
    monkeypatch.setattr(boxes_module, "CAP", 100)
    some = boxes_of(*dense(rows), 608, 0.3, 0.5)
    assert (len(some), some.capped) == (100, True)
    assert some.scores.min() >= whole.scores[:100].min()


def test_nothing_is_nothing():
    assert len(boxes_of(*dense([(0, 0, 9, 9, 0.1, 0)]), 64, 0.3, 0.5)) == 0


def device_with_room_for(room, sizes):
    """A look at inputs that fails, as a GPU does, when it is given more than fits."""

    def predict(inputs, other):
        sizes.append(len(inputs))
        if len(inputs) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert len(other) == len(inputs)
        return [float(row.sum()) for row in inputs]

    return predict


@pytest.mark.parametrize(
    ("room", "sizes"),
    [
        (8, [8, 8]),
        (4, [8, 4, 4, 4]),
        (1, [8, 4, 2, *[1] * 10]),
    ],
)
def test_a_pass_that_does_not_fit_is_halved_and_nothing_is_lost(room, sizes):
    inputs, tried_sizes = torch.arange(20.0).reshape(10, 2), []
    passes = Passes(8)
    result = passes.run((inputs, inputs), device_with_room_for(room, tried_sizes))
    assert result == [1.0 + 4 * k for k in range(10)]
    assert tried_sizes == sizes
    assert passes.batch == min(room, 8)  # and stays so


def test_no_room_for_one_is_an_error_that_says_what_to_do():
    inputs = torch.zeros(2, 2)
    with pytest.raises(DeviceError, match="smaller `tile`"):
        Passes(2).run((inputs, inputs), device_with_room_for(0, []))


def test_devices():
    cpu = compute("cpu")
    assert cpu.batch == 1
    assert cpu.name in ("cpu bfloat16", "cpu float32")
    assert compute("auto").device.type in ("cpu", "cuda")
    for wrong in ("gpu", "cuda:x", "", "cuda:99"):
        with pytest.raises(DeviceError):
            compute(wrong)
    with running(Compute(torch.device("cpu"), None, 1)):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
