"""Explore: where labels and a detector disagree, and which of it comes first."""

import json

import numpy as np
import pytest

from lanner.factory.steps.explore import run
from lanner.factory.steps.explore.disagree import View, confident, rank
from lanner.factory.steps.explore.findings import (
    read_findings,
)
from lanner.factory.steps.explore.labels import pairwise_iou
from lanner.factory.steps.explore.predictions import Detector, Memory, Predictions, open_detector
from lanner.synth.chips import render_aircraft_chip
from tests.fixtures_explore import boxes, coco, picture, project_of


def view(labelled, predicted=(), scores=(), ignored=(), size=(200, 100)) -> View:
    return View(boxes(*labelled), boxes(*predicted), np.array(scores, float), boxes(*ignored), size)


def test_each_disagreement_is_called_by_its_kind():
    box = (50, 40, 70, 60)
    near = (64, 44, 84, 64)
    assert rank([view([box], [box], [0.9])]) == []
    missing = rank([view([], [box], [0.9])])
    assert [(d.kind, d.label, d.box) for d in missing] == [("missing", None, 0)]
    assert missing[0].score == pytest.approx(0.9)
    lone = rank([view([box])])
    assert [(d.kind, d.label, d.box) for d in lone] == [("spurious", 0, None)]
    moved = rank([view([near], [box], [0.9])])
    assert [(d.kind, d.label, d.box) for d in moved] == [("shifted", 0, 0)]
    far = rank([view([(120, 40, 140, 60)], [box], [0.9])])
    assert [d.kind for d in far] == ["missing", "spurious"]


def test_doubt_is_weaker_where_there_is_a_reason_for_it():
    box, edge = (50, 40, 70, 60), (0, 40, 20, 60)
    [inside], [cut] = rank([view([], [box], [0.9])]), rank([view([], [edge], [0.9])])
    assert cut.score < inside.score
    assert rank([view([], [box], [0.9], ignored=[(40, 30, 80, 70)])]) == []
    # A second box on a labelled object is no object without a label.
    twice = rank([view([box], [box, (54, 44, 66, 56)], [0.9, 0.8])])
    assert twice == []
    hinted = rank([view([box], [(66, 56, 120, 90)], [0.9])])
    assert [d.kind for d in hinted] == ["missing", "spurious"]


def test_a_parked_row_keeps_its_labels_apart():
    row = [(20 * k, 40, 20 * k + 18, 60) for k in range(1, 8)]
    shifted = [*row[:3], (row[3][0] + 9, 48, row[3][2] + 9, 68), *row[4:]]
    found = rank([view(shifted, row, [0.9] * 7)])
    assert [(d.kind, d.label, d.box) for d in found] == [("shifted", 3, 3)]


def planted(seed: int):
    """Views of 120 images with an inexact detector, and the (image, box) of planted faults."""
    rng = np.random.default_rng(seed)
    truth = []
    for _ in range(120):
        cells = rng.choice(24, 8, replace=False)
        corner = np.stack([cells % 6 * 60, cells // 6 * 60], 1) + rng.uniform(8, 20, (8, 2))
        truth.append(np.concatenate([corner, corner + rng.uniform(16, 34, (8, 2))], 1))
    flat = [(i, k) for i in range(120) for k in range(8)]
    order = [flat[n] for n in rng.permutation(len(flat))]
    shifted, missing = order[:20], order[20:40]
    views = []
    for i, true in enumerate(truth):
        labelled = true + rng.normal(0, 0.6, true.shape)
        for k in [k for j, k in shifted if j == i]:
            side = (true[k, 2:] - true[k, :2]).max()
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.7) * side
            labelled[k] += np.tile([np.cos(angle) * far, np.sin(angle) * far], 2)
        labelled = np.delete(labelled, [k for j, k in missing if j == i], 0)
        sees = rng.random(8) < 0.95
        predicted = true[sees] + rng.normal(0, 1.2, (sees.sum(), 4))
        scores = rng.uniform(0.5, 1, len(predicted))
        if rng.random() < 0.25:
            predicted = np.concatenate([predicted, [[330.0, 200, 352, 220]]])
            scores = np.append(scores, rng.uniform(0.05, 0.4))
        views.append(View(labelled, predicted, scores, boxes(), (360, 240)))
    return views, truth, shifted, missing


@pytest.mark.parametrize("seed", range(4))
def test_planted_faults_come_first(seed):
    views, truth, shifted, missing = planted(seed)
    first = rank(views)[:100]
    found_shifted, found_missing = 0, 0
    for i, k in shifted:
        found_shifted += any(d.image == i and d.kind == "shifted" and d.label is not None
                             and pairwise_iou(views[i].boxes[d.box][None], truth[i][k][None]) > 0.5
                             for d in first)  # fmt: skip
    for i, k in missing:
        found_missing += any(d.image == i and d.kind == "missing"
                             and pairwise_iou(views[i].boxes[d.box][None], truth[i][k][None]) > 0.5
                             for d in first)  # fmt: skip
    assert found_shifted >= 16
    assert found_missing >= 16


def test_ranking_does_not_depend_on_the_order_of_images():
    views, *_ = planted(1)
    scores = [(d.kind, d.score) for d in rank(views)]
    assert sorted(scores) == sorted((d.kind, d.score) for d in rank(views[::-1]))
    assert [score for _, score in scores] == sorted((s for _, s in scores), reverse=True)


def test_confident_is_the_mean_score_of_what_labels_confirm():
    box, other = (50, 40, 70, 60), (100, 40, 120, 60)
    assert confident([view([box], [box, other], [0.8, 0.1]), view([box], [box], [0.6])]) == 0.7
    assert confident([view([box])]) == 1.0


# ---------------------------------------------------------------- the model's word


def test_a_model_is_asked_once_an_image_and_its_word_survives_a_kill(tmp_path):
    asked = []

    def predict(rgb: np.ndarray, gsd: float | None) -> Predictions:
        asked.append(gsd)
        return Predictions(boxes((1, 2, 3.456, 4)), np.array([0.51234567]), ("x",))

    config = project_of(tmp_path).detector()
    path = tmp_path / "seen.jsonl"
    rgb = picture(1)
    first = Memory(path, Detector(config, "one", predict)).predict(rgb, "c", None)
    with path.open("a") as file:
        file.write('{"by": "one", "image": "half a li')
    memory = Memory(path, Detector(config, "one", predict))
    again = memory.predict(rgb, "c", None)
    assert len(asked) == 1
    np.testing.assert_array_equal(first.boxes, again.boxes)
    memory.predict(rgb, "c", 0.5)
    Memory(path, Detector(config, "other", predict)).predict(rgb, "c", None)
    assert asked == [None, 0.5, None]
    assert len(path.read_text().splitlines()) == 3


def test_a_released_detector_misses_the_label_that_was_taken_away(tmp_path):
    chip = render_aircraft_chip(np.random.default_rng(3), 256, 0.8)
    rows = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in (i.box for i in chip.instances)]
    project = project_of(tmp_path, model="aircraft")
    predictions = open_detector("aircraft", tmp_path).predict(chip.rgb, None)
    truth = boxes(*(one.box for one in chip.instances))
    clear = np.flatnonzero(
        (pairwise_iou(truth, predictions.boxes[predictions.scores > 0.5]) > 0.6).any(1)
    )
    assert len(clear), "the detector sees nothing of a rendered airfield"
    gone = int(clear[0])
    coco(tmp_path / "data", "train", {"t.png": chip.rgb}, {"t.png": rows[:gone] + rows[gone + 1 :]})
    coco(tmp_path / "data", "test", {"u.png": picture(2)}, {"u.png": [[20, 20, 30, 24]]})
    run(project)
    folder = project.step_dir("explore")
    ranked = [f for f in read_findings(folder / "findings.json") if f.kind == "missing"]
    assert any(pairwise_iou(boxes(f.box), truth[gone][None])[0, 0] > 0.6 for f in ranked[:3])
    assert {f.of for f in ranked} == {"aircraft"}
    assert 0 < json.loads((folder / "agreement.json").read_text())["confident"]["aircraft"] <= 1
