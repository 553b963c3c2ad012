"""Search over road detectors: remembered, cut and shared out, a point says what it always said."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import yaml
from PIL import Image
from scipy import ndimage

from detectors.calibration import Calibration, Platt
from lanner.core.config import DetectorConfig, load_config
from lanner.core.errors import ConfigError
from lanner.factory.config import Evaluate, FactoryConfig
from lanner.factory.project import Project
from lanner.factory.samples import Sample, write_samples
from lanner.factory.steps import search
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.calibrate import fit_calibration
from lanner.factory.steps.evaluate.cut import cut_of
from lanner.factory.steps.evaluate.figures import figures_of
from lanner.factory.steps.evaluate.mosaic import GAP
from lanner.factory.steps.evaluate.raster_steps import READS, RasterChain, RasterState
from lanner.factory.steps.evaluate.raw import RawSet, load_raw
from lanner.factory.steps.evaluate.steps import Memory
from lanner.factory.steps.release.accept import PATH, accept_curve
from lanner.factory.steps.search.backends import measuring
from lanner.factory.steps.search.points import bench_of, measure, plain_figures
from lanner.factory.steps.search.space import at_point, parse_space
from lanner.factory.steps.search.workers import joined, parts_of, shared_out
from postprocess.chain import Chain
from postprocess.context import Context, DetectorFacts
from postprocess.frame import empty
from tiling.grid import TilePlan
from tiling.scene import open_scene

DETECTOR = DetectorConfig.model_validate(
    {
        "name": "workers",
        "release": "1.0.0",
        "description": "Lanes.",
        "classes": ["road"],
        "output": "raster",
        "gsd": 1.0,
        "gsd_range": [0.5, 2],
        "members": [{"name": "resunet", "kind": "resunet", "weights": "resunet.safetensors"}],
        "chain": [
            {"step": "threshold", "low": 0.4, "high": 0.6},
            {"step": "clean", "piece_m2": 60},
            *({"step": name} for name in ("skeletonise", "trace", "prune", "bridge", "smooth")),
            *({"step": name} for name in ("junctions", "measure", "classify", "airfields")),
            {"step": "triage", "accept_at": 0.6, "review_box_only": False, "review_cut": False},
        ],
    }
)
SIDE = 420
EMPTY = ((0, 0), (0, 250), (230, 120))
"""Columns at the left and rows at the top of each image that hold nothing."""


def roads_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(SIDE, SIDE) truth, and a probability that is unsure here and there."""
    rng = np.random.default_rng(seed)
    truth, sure = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE))
    rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
    for _ in range(7):
        (x, y), angle = rng.uniform(0.2, 0.8, 2) * SIDE, rng.uniform(0, np.pi)
        far = np.abs((cols - x) * np.sin(angle) - (rows - y) * np.cos(angle))
        along = (cols - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        here = (far < 4) & (along > -rng.uniform(40, 250)) & (along < rng.uniform(40, 250))
        truth |= here
        sure[here] = rng.uniform(0.45, 1)
    noise = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 5)
    return truth, np.clip(ndimage.gaussian_filter(sure, 1) + 2.5 * noise, 0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Raw predictions of three images, of which two are empty in large part."""
    folder = tmp_path_factory.mktemp("raw")
    samples = []
    for number, (left, top) in enumerate(EMPTY):
        truth, probability = roads_of(number)
        valid = np.zeros((SIDE, SIDE), bool)
        valid[top:, left:] = True
        image, mask = folder / f"{number}.png", folder / f"{number}-mask.png"
        Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(image)
        Image.fromarray(np.where(valid, truth, 255).astype(np.uint8)).save(mask)
        sample = Sample(f"made/valid/{number}", "made", "valid", image, SIDE, SIDE, 1.0, mask=mask)
        samples.append(sample)
        scene = open_scene(image, gsd=1.0)
        facts = store.geometry(scene, TilePlan(scene.grid(1.0), 512, 64))
        store.write_json(facts, folder / f"{store.stem(sample.id)}.json")
        profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8"}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(folder / store.raster(store.stem(sample.id), "resunet"), "w", **profile)
            as out,
        ):  # fmt: skip
            out.write(np.rint(probability * valid * 255).astype(np.uint8), 1)
            out.set_band_description(1, "road")
            out.write_mask(valid)
    write_samples(samples, folder / store.SAMPLES)
    store.write_json(
        {"detector": DETECTOR.model_dump(mode="json"), "key": ""}, folder / store.FACTS
    )
    return folder


def point(low: float, high: float, piece: float, alone: float, spur: float) -> dict[str, float]:
    return {
        "chain.threshold.low": low,
        "chain.threshold.high": high,
        "chain.clean.piece_m2": piece,
        "chain.prune.alone_m": alone,
        "chain.prune.spur_m": spur,
    }


POINTS = [
    point(0.4, 0.6, 60, 12, 10),
    point(0.4, 0.6, 60, 60, 10),
    point(0.3, 0.6, 250, 60, 10),
    point(0.5, 0.4, 60, 12, 10),  # refused
    point(0.4, 0.8, 60, 12, 30),
    point(0.4, 0.6, 250, 12, 10),
    point(0.4, 0.6, 60, 12, 10),
    point(0.55, 0.6, 400, 90, 40),
]


def context_of(raw: RawSet, number: int, folder: Path) -> Context:
    picture = raw.place(number)
    return Context(
        scene_id="one",
        acquired=None,
        place=picture.place,
        grid=picture.plan.grid,
        plan=picture.plan,
        detector=DetectorFacts("workers", "1.0.0", "", ""),
        workdir=folder,
        rasters={"probability": raw.probability(number, DETECTOR)},
    )


def plainly(raw: RawSet, number: int, config: DetectorConfig, folder: Path) -> list[bytes]:
    """Lines of one image by its chain as it stands: nothing remembered, nothing cut off."""
    found = Chain.from_specs(config.chain).apply(empty(), context_of(raw, number, folder)).objects
    return sorted(shapely.to_wkb(np.asarray(found.geometry.values, object)).tolist())


def test_what_is_remembered_and_cut_off_changes_no_line(folder, tmp_path):
    raw, lines = load_raw(folder), 0
    for k, one in enumerate(POINTS):
        if one["chain.threshold.high"] < one["chain.threshold.low"]:
            continue
        config = at_point(DETECTOR, one)
        found = raw.detect(config, Calibration())
        for number in range(len(raw)):
            place = tmp_path / f"{k}-{number}"
            place.mkdir()
            mine = sorted(shapely.to_wkb(found[number].lines).tolist())
            assert mine == plainly(raw, number, config, place)
            lines += len(mine)
    assert lines > 50


def test_a_point_says_what_an_evaluation_of_its_own_says(folder):
    bench = bench_of(folder, DETECTOR, Evaluate())
    values = set()
    for one in POINTS:
        measured = measure(bench, one)
        if one["chain.threshold.high"] < one["chain.threshold.low"]:
            assert "is below low" in measured.error
            continue
        raw = load_raw(folder)
        # The curve is that of the detector's own chain, whatever the point.
        curves = fit_calibration(raw, DETECTOR)
        whole = figures_of(raw, at_point(DETECTOR, one), curves, Evaluate(bootstrap=0))
        whole = plain_figures(whole)
        assert measured.figures == {name: whole[name] for name in measured.figures}
        assert {"f1", "graph_f1", "recall", "accepted", "ece"} <= set(measured.figures)
        values.add(measured.figures["f1"])
    assert len(values) > 3
    assert 0.3 < max(values) < 1


def test_a_point_is_calibrated_on_what_evaluate_calibrates_on(folder, tmp_path):
    """Curves of the very images that are measured would promise too much of them."""
    raw = load_raw(folder)
    held = tmp_path / "valid"
    shutil.copytree(folder, held)
    write_samples(raw.samples[1:], held / store.SAMPLES)
    one = measure(bench_of(folder, DETECTOR, Evaluate(), held), POINTS[0])
    settings, config = Evaluate(bootstrap=0), at_point(DETECTOR, POINTS[0])
    theirs = fit_calibration(load_raw(held), DETECTOR)
    assert theirs != fit_calibration(raw, DETECTOR)
    whole = plain_figures(figures_of(raw, config, theirs, settings, True))
    assert one.figures == whole


def project_of(folder: Path, home: Path, detector: str, tell=lambda _: None) -> Project:
    """A search of two thresholds over the images, whose detector's file says `detector`."""
    (home / "workers.yaml").write_text(detector)
    config = {
        "factory": "workers",
        "detector": "workers.yaml",
        "sources": [{"name": "made", "format": "masks", "root": "."}],
        "evaluate": {"splits": ["valid"], "bootstrap": 0},
        "search": {
            "space": {"chain.prune.alone_m": {"one_of": [12, 400]}},
            "objectives": ["f1"],
            "points": 4,
            "workers": 1,
        },
    }
    path = home / "workers.factory.yaml"
    path.write_text(yaml.safe_dump(config))
    project = Project(FactoryConfig.model_validate(config), path, home / "run", tell=tell)
    raw = project.step_dir("evaluate") / "raw" / "valid"
    shutil.copytree(folder, raw)
    facts = json.loads((raw / store.FACTS).read_text())
    store.write_json({**facts, "seconds": {"whole": 1.0}}, raw / store.FACTS)
    project.step_dir("search").mkdir()
    return project


def test_the_best_point_is_written_into_the_detector_that_was_searched(folder, tmp_path):
    """Whatever becomes of its file while the search runs."""
    text = yaml.safe_dump(DETECTOR.model_dump(mode="json"))

    def change(_):
        (tmp_path / "workers.yaml").write_text(text.replace("piece_m2: 60", "piece_m2: 9000"))

    project = project_of(folder, tmp_path, text, change)
    summary = search.run(project).summary
    best = load_config(project.step_dir("search") / "best.yaml")
    assert best == at_point(DETECTOR, summary["changed"])
    figures = plain_figures(figures_of(load_raw(folder), best, Calibration(), Evaluate(), True))
    assert summary["best"]["f1"] == pytest.approx(figures["f1"])


def test_what_changes_nothing_of_a_raster_is_not_searched():
    for path in ("fusion.iou", "members.resunet.threshold"):
        with pytest.raises(ConfigError, match="is no parameter of workers"):
            parse_space({path: [0.4, 0.6]}, DETECTOR)


def test_a_detector_that_cannot_take_the_point_is_refused_before_the_search(folder, tmp_path):
    text = yaml.safe_dump(at_point(DETECTOR, {"chain.prune.alone_m": 99}).model_dump(mode="json"))
    text = text.replace("- alone_m: 99", "- alone_m: &far 99").replace("- 99.0", "- *far")
    project = project_of(folder, tmp_path, text)
    with pytest.raises(ConfigError, match="without anchors"):
        search.run(project)
    assert not list(project.step_dir("search").iterdir())


def test_a_point_that_finds_nothing_keeps_the_names_of_its_figures(folder):
    nothing = measure(bench_of(folder, DETECTOR, Evaluate()), point(0.4, 0.6, 1e6, 12, 10))
    some = measure(bench_of(folder, DETECTOR, Evaluate()), POINTS[0])
    assert not nothing.error
    assert nothing.figures.keys() == some.figures.keys()
    assert {nothing.figures[name] for name in ("precision", "review", "ece")} == {None}
    assert nothing.figures["recall"] == 0


def test_a_lines_confidence_is_the_share_of_such_lines_that_is_right(folder):
    raw, settings = load_raw(folder), Evaluate(bootstrap=0)
    fitted = fit_calibration(raw, DETECTOR)
    assert isinstance(fitted.curve, Platt)
    reports = [figures_of(raw, DETECTOR, one, settings, True) for one in (Calibration(), fitted)]
    before, after = (one["figures"]["ece"]["value"] for one in reports)
    assert after < 0.5 * before
    # Lines are the same ones, with another score.
    lines = [raw.detect(DETECTOR, one)[0] for one in (Calibration(), fitted)]
    assert np.array_equal(lines[0].lines, lines[1].lines)
    assert lines[1].scores == pytest.approx(fitted.curve.apply(lines[0].scores), abs=2e-6)


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_is_accepted_at_each_threshold_is_what_triage_accepts(folder, calibrated):
    raw, settings = load_raw(folder), Evaluate(bootstrap=0)
    curves = fit_calibration(raw, DETECTOR) if calibrated else Calibration()
    curve = accept_curve(raw, DETECTOR, curves, settings)
    shares = set()
    for at in (0.3, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98):
        variant = at_point(DETECTOR, {PATH: at})
        figures = plain_figures(figures_of(raw, variant, curves, settings, True))
        (row,) = np.flatnonzero(curve.at == at)
        assert curve.share[row] == pytest.approx(figures["accepted"], abs=1e-6)
        if curve.accepted[row]:
            assert curve.precision[row] == pytest.approx(figures["accept_precision"], abs=1e-6)
        found = raw.detect(variant, curves)
        assert curve.accepted[row] == sum(one.decisions.count("accept") for one in found)
        shares.add(round(float(curve.share[row]), 3))
    assert len(shares) > 2


def test_processes_with_images_of_their_own_measure_the_same(folder):
    bench = bench_of(folder, DETECTOR, Evaluate())
    alone = [measure(bench, one) for one in POINTS]
    with measuring(bench, 2, "processes") as measured:
        assert measured(POINTS) == alone
        assert measured(POINTS[:1]) == alone[:1]
    for count in (1, 2, 3):
        parts = [parts_of(bench, share, POINTS) for share in shared_out([1, 2, 3], count)]
        assert [
            joined(bench, one, part)
            for one, part in zip(POINTS, zip(*parts, strict=True), strict=True)
        ] == alone


def test_images_are_shared_out_evenly():
    assert shared_out([5, 5, 5, 5], 2) == [[0, 2], [1, 3]]
    assert shared_out([9, 1, 1, 1], 2) == [[0], [1, 2, 3]]
    assert shared_out([1], 4) == [[0]]
    assert shared_out([0, 0, 0], 3) == [[0], [1], [2]]


def ran(chain: RasterChain, raw: RawSet, one: dict[str, float], number: int = 0) -> RasterState:
    def context_in(folder: Path) -> Context:
        return context_of(raw, number, folder)

    return chain.run(at_point(DETECTOR, one).chain, context_in, str(number), empty())


def test_what_leads_to_the_same_is_done_once(folder):
    raw, chain = load_raw(folder), RasterChain(Memory(96, RasterState.forget))
    first = ran(chain, raw, point(0.4, 0.6, 60, 12, 10))
    # No piece is of between 60 and 61 square metres: all that follows is known.
    again = ran(chain, raw, point(0.4, 0.6, 61, 12, 10))
    assert again is first
    before = sorted(Path(chain.root.name).iterdir())
    assert ran(chain, raw, point(0.4, 0.6, 62, 12, 10)) is first
    # Of all steps only `clean` had to run, and what it left was known and went again.
    assert sorted(Path(chain.root.name).iterdir()) == before
    assert ran(chain, raw, point(0.4, 0.6, 61, 200, 10)) is not first
    assert ran(chain, raw, point(0.4, 0.6, 60, 12, 10), number=1).content != first.content


def test_a_small_memory_forgets_and_says_the_same(folder):
    raw, large, small = load_raw(folder), Memory(96, RasterState.forget), Memory(2)
    one, other = RasterChain(large), RasterChain(small)
    for some in [p for p in POINTS if p["chain.threshold.high"] > 0.5] * 2:
        assert ran(one, raw, some, 2).content == ran(other, raw, some, 2).content


def test_only_what_is_empty_is_cut_off(folder, tmp_path):
    raw = load_raw(folder)
    full, part = context_of(raw, 0, tmp_path), context_of(raw, 2, tmp_path)
    assert cut_of(full, tmp_path / "full.tif") is None
    cut = cut_of(part, tmp_path / "part.tif")
    assert cut is not None
    assert cut.origin == (230 - GAP, 120 - GAP)
    assert (cut.grid.width, cut.grid.height) == (SIDE - 230 + GAP, SIDE - 120 + GAP)
    inner = np.array([[3.0, 5.0]])
    outer = inner + cut.origin
    np.testing.assert_array_equal(
        cut.place.to_crs(cut.grid.to_scene(inner)), part.place.to_crs(part.grid.to_scene(outer))
    )
    with rasterio.open(part.raster("probability")) as whole, rasterio.open(cut.probability) as mine:
        x, y = cut.origin
        np.testing.assert_array_equal(whole.read(1)[y:, x:], mine.read(1))
        assert (whole.read_masks(1)[y:, x:] == mine.read_masks(1)).all()


def test_a_hole_as_large_as_what_is_cut_off_is_filled_as_ever(folder, tmp_path):
    raw = load_raw(folder)
    for number, hole in enumerate((4000, 9000, 60000)):
        config = at_point(DETECTOR, {"chain.clean.hole_m2": float(hole)})
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        found = raw.detect(config, Calibration(), [number])[0]
        assert sorted(shapely.to_wkb(found.lines).tolist()) == plainly(raw, number, config, place)


def test_the_steps_that_are_known_by_what_they_are_given_are_those_of_the_chain():
    assert [spec.step for spec in DETECTOR.chain] == list(READS)
