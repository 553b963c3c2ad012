"""Forecast: the law is found again, and the interval holds what is true."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.forecast import (
    Law,
    fit_laws,
    forecast_points,
    read_points,
    score_of,
)
from lanner.factory.short_runs import order_of


def points_of(law: Law, labels=(250, 500, 1000, 2000), noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    error = law.error(np.asarray(labels, float)) + rng.normal(0, noise, len(labels))
    return [(n, float(1 - e)) for n, e in zip(labels, error, strict=True)]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 5), st.floats(0.2, 1.2), st.floats(0, 0.1))
def test_a_law_is_found_again(a, b, c):
    labels = np.geomspace(100, 20_000, 8)
    law = Law(a, b, c)
    found = fit_laws(labels, law.error(labels)[None])[0]
    # Exponents are tried in steps: of a large error some thousandths are left.
    assert np.allclose(found.error(labels), law.error(labels), rtol=5e-3, atol=2e-3)


def test_labels_and_error_are_inverse():
    law = Law(2.0, 0.5, 0.02)
    assert law.labels(law.error(np.asarray([700.0]))[0]) == pytest.approx(700)
    assert law.labels(0.02) == math.inf
    assert Law(0.0, 0.5, 0.0).labels(0.1) == 0
    # A hair's breadth above what no number of labels mends: more than a float holds.
    assert Law(1.0, 0.05, 0.05).labels(math.nextafter(0.05, 1)) == math.inf


def test_more_labels_than_anybody_draws_are_said_in_plain_words(tmp_path):
    flat = [(100, 0.8), (200, 0.805), (400, 0.81), (800, 0.815)]
    done = forecast_points(flat, 0.95, tmp_path)
    assert math.isfinite(done.needed) and done.needed > 1e9
    assert "more than 1,000,000,000 labels" in done.sentence
    assert "about never" not in done.sentence and "never more" not in done.sentence
    assert done.sentence.count("to never)") == (not math.isfinite(done.high))


def test_what_the_target_needs(tmp_path):
    law = Law(3.0, 0.5, 0.0)
    true = law.labels(0.05)  # 3600
    done = forecast_points(points_of(law), 0.95, tmp_path / "f")
    assert done.needed == pytest.approx(true, rel=0.1)
    assert done.low <= true <= done.high
    assert done.have == 2000
    assert done.share == pytest.approx(2000 / true, abs=0.06)
    assert f"You have {100 * done.share:.0f} % of what you need" in done.sentence
    assert done.show[0].read_bytes().startswith(b"\x89PNG")
    assert json.loads(done.show[1].read_text()) == json.loads(json.dumps(done.facts()))
    again = forecast_points(points_of(law), 0.95, tmp_path / "g")
    assert (again.low, again.high) == (done.low, done.high)
    assert again.show[0].read_bytes() == done.show[0].read_bytes()


@pytest.mark.parametrize("times", [1, 2])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(tmp_path, times):
    # Four scores, as `--run` gives them, say little of their own noise.
    law = Law(3.0, 0.5, 0.0)
    held = 0
    for seed in range(30):
        points = points_of(law, (250, 500, 1000, 2000) * times, noise=0.008, seed=1000 + seed)
        done = forecast_points(points, 0.95, tmp_path)
        held += done.low <= law.labels(0.05) <= done.high
    assert held >= 26


def test_a_flat_curve_never_gets_there(tmp_path):
    done = forecast_points(points_of(Law(3.0, 0.9, 0.12)), 0.95, tmp_path)
    assert done.needed == math.inf
    assert done.facts()["needed"] is None
    assert "do not reach 0.95" in done.sentence
    assert done.share == 0


def test_a_target_that_is_reached(tmp_path):
    done = forecast_points(points_of(Law(3.0, 0.5, 0.0)), 0.9, tmp_path, have=5000)
    assert done.share == 1
    assert "You have what you need" in done.sentence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels,score\n10,0.5\n20,0.6\n", "too few"),
        ("labels,score\n10,0.5\n20,0.6\n40,1.6\n", "0 <= score <= 1"),
        ("labels,score\n10,x\n", "no table"),
        ("n,score\n10,0.5\n", "no table"),
    ],
)
def test_refusals(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        forecast_points(read_points(path), 0.95, tmp_path)


def test_points_come_from_spreadsheets_too(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("labels, score\r\n100, 0.5\r\n200, 0.6\r\n", encoding="utf-8-sig")
    assert read_points(path) == [(100, 0.5), (200, 0.6)]


def test_nothing_to_go_by_is_said(tmp_path):
    for path in (None, tmp_path / "none.csv"):
        with pytest.raises(ConfigError, match="--points"):
            read_points(path)
    with pytest.raises(ConfigError, match="below 1"):
        forecast_points(points_of(Law(3.0, 0.5, 0.0)), 1.0, tmp_path)


def test_smaller_parts_lie_within_larger_ones():
    names = sorted((f"a/{k}" for k in range(64)), key=lambda name: order_of(name, 1))
    assert sorted(names) != names
    assert names == sorted(reversed(names), key=lambda name: order_of(name, 1))
    assert names != sorted(names, key=lambda name: order_of(name, 2))


def project_of(folder, train):
    """A factory with so many training images, of one and two labels by turns, and four others."""
    from lanner.factory.project import open_project
    from lanner.factory.samples import Label, Sample, write_samples
    from lanner.factory.starter import write_starter

    _, config = write_starter(folder, "coco", "tanks", ("object",), 0.5, "data")
    project = open_project(config, folder / "w")
    label = Label("object", (0, 0, 4, 4))
    samples = [
        Sample(f"a/{k}", "a", "train" if k < train else "test", folder / "x.png", 8, 8)
        for k in range(train + 4)
    ]
    samples = [one.but(labels=(label,) * (1 + k % 2)) for k, one in enumerate(samples)]
    write_samples(samples, project.step_dir("dataset") / "samples.jsonl")
    return project


def test_a_part_of_few_images_is_trained_once(tmp_path):
    from lanner.factory.short_runs import parts_of

    project = project_of(tmp_path, 4)
    parts = parts_of(project, (1 / 8, 1 / 4, 1 / 2, 1.0), tmp_path / "out", 40)
    assert [part.folder.name for part, _ in parts] == ["part-8", "part-2", "part-1"]
    assert parts[-1][1] == 6


def test_a_figure_that_says_nothing_is_not_one_that_is_not_there():
    figures = {"f1": 0.5, "precision": None}
    assert score_of(figures, "f1", 7) == 0.5
    with pytest.raises(ConfigError, match="was not measured; choose among f1, precision"):
        score_of(figures, "f2", 7)
    with pytest.raises(ConfigError, match=r"nothing of the training on 7 labels.*raise --steps"):
        score_of(figures, "precision", 7)


def test_too_few_images_are_told_before_anything_is_trained(tmp_path):
    from lanner.factory.forecast import measure_points

    with pytest.raises(DatasetError, match=r"'3 labels': .*fewer than 3 parts of different size"):
        measure_points(project_of(tmp_path, 2), tmp_path / "out", steps=1, figure="f1")
    assert not list((tmp_path / "out").rglob("04_train"))


def test_parts_are_nested_and_leave_other_splits_whole(tmp_path):
    from lanner.factory.samples import read_samples
    from lanner.factory.short_runs import part_of

    project = project_of(tmp_path, 16)
    parts, counts = [], []
    for fraction in (0.125, 0.25, 0.5, 1.0):
        part, labels = part_of(project, fraction, tmp_path / f"{fraction}", 40)
        read = read_samples(part.need("dataset", "samples.jsonl"))
        parts.append({one.id for one in read if one.split == "train"})
        counts.append(labels)
        assert {one.id for one in read if one.split == "test"} == {f"a/{k}" for k in range(16, 20)}
        assert labels == sum(len(one.labels) for one in read if one.split == "train")
        assert {one.steps for one in part.config.train.members.values()} == {40}
    assert [len(one) for one in parts] == [2, 4, 8, 16]
    assert all(small < large for small, large in itertools.pairwise(parts))
    assert counts[-1] == 24
