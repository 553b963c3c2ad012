"""Raw predictions say what `lanner detect` says, for any variant; figures follow from them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from detectors.calibration import Calibration, Isotonic, Platt, Temperature
from lanner.core.config import DetectorConfig
from lanner.core.errors import ConfigError, DatasetError
from lanner.core.job import Cancel, DetectRequest
from lanner.factory.config import Evaluate, FactoryConfig
from lanner.factory.metrics.bootstrap import draws, paired
from lanner.factory.project import Project
from lanner.factory.samples import Label, Sample, write_samples
from lanner.factory.steps import evaluate
from lanner.factory.steps.evaluate.calibrate import fit_calibration
from lanner.factory.steps.evaluate.figures import figures_of, statistics_of
from lanner.factory.steps.evaluate.raw import RawSet, load_raw, predict
from lanner.inference.pipeline import detect_with
from lanner.inference.registry import LoadedDetector
from tests.fixtures_reports import not_led_to

SIZES = ((64, 80), (64, 140), (70, 64))
CALIBRATION = Calibration(
    votes={"boxes": Platt(slope=1.3, intercept=0.2), "masks": Temperature(temperature=1.5)},
    curve=Isotonic(knots=((0.0, 0.0), (0.5, 0.3), (1.0, 0.95))),
)
CHAIN = [
    {"step": "merge_seams"},
    {"step": "outline"},
    {"step": "orient"},
    {"step": "plausible", "length_m": [1, 500], "wingspan_m": [1, 500]},
    {"step": "triage", "accept_at": 0.4, "review_cut": False},
]
ROADS = [
    {"step": "threshold", "low": 0.3, "high": 0.4},
    {"step": "clean", "piece_m2": 0},
    {"step": "skeletonise"},
    {"step": "trace"},
    {"step": "measure", "member": "masks"},
    {"step": "triage", "accept_at": 0.4},
]


def rounded(boxes):
    return np.round(np.asarray(boxes, np.float64).reshape(-1, 4), 2) + 0.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_home, pictures):
    """A project over three textures, as PNG, WebP (which tiling refuses) and GeoTIFF."""
    folder = tmp_path_factory.mktemp("bench")
    samples = []
    for k, (height, width) in enumerate(SIZES):
        pixels = pictures.texture(height, width, seed=k)
        path = folder / f"{k}{('.png', '.webp', '.tif')[k]}"
        place = None
        if path.suffix == ".tif":
            pictures.write_tif(path, pixels)
            place = (15.0, 45.0)
        else:
            Image.fromarray(np.moveaxis(pixels, 0, 2)).save(path, lossless=True)
        mask = folder / f"{k}-mask.png"
        road = np.zeros((height, width), np.uint8)
        road[30:36], road[:10] = 1, 255
        Image.fromarray(road).save(mask)
        labels = (
            Label("thing", (20, 20, 60, 55), polygon=((20, 20), (60, 20), (60, 55), (20, 55))),
            Label("thing", (0, 30, 64, 64), weight=0.0),
        )
        for split in ("valid", "test"):
            samples.append(
                Sample(f"{split}/{k}", "made", split, path, width, height, gsd=None, place=place,
                       labels=labels, mask=mask)
            )  # fmt: skip
    samples[0] = samples[0].but(gsd=30.0)  # far too coarse
    shops = {}
    for name, config in (("tiny", pictures.objects), ("tinyroads", pictures.raster)):
        home = folder / name
        (home / "configs").mkdir(parents=True)
        (home / "weights").symlink_to(tiny_home / "weights")
        steps = CHAIN if name == "tiny" else ROADS
        path = home / "configs" / f"{name}.yaml"
        path.write_text(json.dumps({**config, "chain": steps}))
        project = Project(
            FactoryConfig.model_validate(
                {
                    "factory": name,
                    "detector": str(path),
                    "sources": [{"name": "made", "format": "images", "root": "."}],
                    "evaluate": {"bootstrap": 20, "worst": 6},
                }
            ),
            home / "factory.yaml",
            home / "work",
        )
        write_samples(samples, project.step_dir("dataset") / "samples.jsonl")
        shops[name] = project
    return shops


@pytest.fixture(scope="module")
def raw(bench):
    project = bench["tiny"]
    return predict(
        project, "test", evaluate.weights_of(project), evaluate.raw_dir(project, "test"), "cpu"
    )


def variant(config: DetectorConfig, **changes) -> DetectorConfig:
    return DetectorConfig.model_validate({**config.model_dump(mode="json"), **changes})


def slowly(raw: RawSet, config: DetectorConfig, calibration: Calibration, tmp_path: Path):
    """What the pipeline says, network and all: one list of features an image."""
    from detectors.ensemble import Ensemble

    folder = tmp_path / "release"
    folder.mkdir()
    source = raw.folder.parents[3] / "weights" / config.name / config.release
    for path in source.glob("*.safetensors"):
        (folder / path.name).symlink_to(path)
    (folder / "calibration.json").write_text(calibration.model_dump_json())
    loaded = LoadedDetector(Ensemble(config, folder, "cpu"), "0" * 64, {})
    found = []
    for number, sample in enumerate(raw.samples):
        scene = sample.image
        if scene.suffix == ".webp":
            scene = tmp_path / f"{number}.png"
            Image.open(sample.image).save(scene)
        gsd = None if sample.place else config.gsd
        request = DetectRequest(str(scene), config.name, gsd=gsd)
        result = detect_with(config, lambda: loaded, request, Cancel(), lambda _: None)
        found.append([json.loads(text) for text in result.features])
    return found


def test_a_variant_says_what_detect_says(raw, tmp_path):
    config = variant(
        raw.config,
        fusion={"iou": 0.4, "cross_member_iou": 0.6, "missing": 0.2, "min_score": 0.3},
        chain=[{"step": "merge_seams", "iou": 0.3}, *CHAIN[1:3], CHAIN[4]],
    )
    expected = slowly(raw, config, CALIBRATION, tmp_path)
    found = raw.detect(config, CALIBRATION)
    assert sum(len(one) for one in expected) > 10
    for mine, theirs in zip(found, expected, strict=True):
        facts = [one["properties"] for one in theirs]
        order = np.lexsort(rounded(mine.boxes).T[[2, 3, 0, 1]])
        boxes = rounded([one["box_px"] for one in facts])
        np.testing.assert_allclose(rounded(mine.boxes)[order], boxes, atol=0.011)
        scores = [one["confidence"] for one in facts]
        np.testing.assert_allclose(mine.scores[order], scores, atol=1e-4)
        assert [mine.decisions[i] for i in order] == [one["decision"] for one in facts]


def test_other_thresholds_and_weights_too(raw, tmp_path):
    members = raw.config.model_dump(mode="json")["members"]
    members[0] = {**members[0], "threshold": 0.2, "weight": 3.0}
    config = variant(raw.config, members=members, chain=[{"step": "merge_seams"}])
    expected = slowly(raw, config, CALIBRATION, tmp_path)
    found = raw.detect(config, CALIBRATION)
    assert [len(one.boxes) for one in found] == [len(one) for one in expected]
    alone = variant(raw.config, members=members[:1], chain=[{"step": "merge_seams"}])
    assert sum(len(one.boxes) for one in raw.detect(alone, CALIBRATION)) > 0
    np.testing.assert_allclose(
        np.sort(np.concatenate([one.scores for one in found])),
        np.sort([f["properties"]["confidence"] for some in expected for f in some]),
        atol=1e-4,
    )


def test_order_of_variants_and_images_does_not_matter(raw):
    other = variant(raw.config, fusion={"iou": 0.4})
    first = raw.detect(raw.config, CALIBRATION)
    raw.detect(other, CALIBRATION)
    again = load_raw(raw.folder).detect(raw.config, CALIBRATION, [2, 0])
    for one, two in zip((first[2], first[0]), again, strict=True):
        np.testing.assert_array_equal(one.boxes, two.boxes)
        np.testing.assert_array_equal(one.scores, two.scores)


def test_frames_are_in_pixels_of_the_image(raw):
    found = raw.detect(raw.config, CALIBRATION, frames=True)
    for one, sample in zip(found, raw.samples, strict=True):
        assert one.frame is not None
        assert len(one.frame) == len(one.boxes)
        bounds = shapely.bounds(np.asarray(one.frame.geometry.values, object)).reshape(-1, 4)
        assert (bounds >= -1).all()
        assert (bounds[:, 2:] <= np.array([sample.width, sample.height]) + 1).all()
        low = np.maximum(bounds[:, :2], one.boxes[:, :2])
        assert (np.minimum(bounds[:, 2:], one.boxes[:, 2:]) > low).all()


def test_what_networks_were_not_asked_is_refused(raw):
    members = raw.config.model_dump(mode="json")["members"]
    for change, words in (
        ({"members": [{**members[0], "nms_iou": 0.3}, members[1]]}, "predict again"),
        ({"members": [members[0], {**members[1], "threshold": 0.4}]}, "predict again"),
        ({"members": [{**members[0], "threshold": 0.001}, members[1]]}, "raise it"),
        ({"tile": 192}, "predict again"),
    ):
        with pytest.raises(ConfigError, match=words):
            raw.detect(variant(raw.config, **change), CALIBRATION)
    with pytest.raises(ConfigError, match="no step of the chain"):
        load_raw(raw.folder, "identify").detect(raw.config, CALIBRATION)


def test_finished_images_are_kept_and_bytes_are_the_same(bench, raw, tmp_path):
    project = bench["tiny"]
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in raw.folder.glob("*.npz")}
    assert len(before) == 3
    predict(project, "test", evaluate.weights_of(project), raw.folder, "cpu")
    assert {p.name: p.stat().st_mtime_ns for p in raw.folder.glob("*.npz")} == {
        name: stamp for name, (stamp, _) in before.items()
    }
    predict(project, "test", evaluate.weights_of(project), tmp_path, "cpu")
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.npz")} == {
        name: content for name, (_, content) in before.items()
    }


@pytest.mark.parametrize(("name", "ending"), [("tiny", ".npz"), ("tinyroads", ".masks.tif")])
def test_damaged_predictions_that_were_deleted_are_made_again(bench, tmp_path, name, ending):
    """What the message says to do helps."""
    project = bench[name]
    predict(project, "test", evaluate.weights_of(project), tmp_path, "cpu")
    path = sorted(tmp_path.glob(f"*{ending}"))[0]
    content = path.read_bytes()
    path.unlink()
    predict(project, "test", evaluate.weights_of(project), tmp_path, "cpu")
    assert path.read_bytes() == content


def test_what_does_not_fit_is_told(bench, tmp_path):
    changes = {"splits": ["valid"], "bootstrap": 0, "worst": 0}
    project = otherwise(bench["tiny"], tmp_path, changes)
    assert evaluate.run(project).summary["valid"]["images left out"] == 1
    valid = load_raw(evaluate.raw_dir(project, "valid"))
    assert len(valid) == 2
    assert "30 m" in valid.facts["left_out"]["valid/0"]
    assert "on these very images" in (project.step_dir("evaluate") / "report.html").read_text()
    with pytest.raises(DatasetError, match="has no samples"):
        predict(project, "none", evaluate.weights_of(project), tmp_path, "cpu")
    with pytest.raises(DatasetError, match="are not there"):
        load_raw(tmp_path / "nowhere")


def test_a_pretended_sampling_is_what_gsd_is_to_detect(bench, raw, tmp_path):
    project = bench["tiny"]
    twice = 2 * raw.config.gsd
    other = otherwise(project, tmp_path / "other", {"pretend_gsd": {"made": twice}})
    coarse = predict(other, "test", evaluate.weights_of(other), tmp_path / "raw", "cpu")
    found = coarse.detect(coarse.config, CALIBRATION)[0]
    folder = tmp_path / "release"
    folder.mkdir()
    for name, path in evaluate.weights_of(project).items():
        (folder / f"{name}.safetensors").symlink_to(path)
    (folder / "calibration.json").write_text(CALIBRATION.model_dump_json())
    from detectors.ensemble import Ensemble

    loaded = LoadedDetector(Ensemble(raw.config, folder, "cpu"), "0" * 64, {})
    request = DetectRequest(str(coarse.samples[0].image), "tiny", gsd=twice)
    result = detect_with(raw.config, lambda: loaded, request, Cancel(), lambda _: None)
    facts = [json.loads(text)["properties"] for text in result.features]
    assert len(facts) > 1
    order = np.lexsort(rounded(found.boxes).T[[2, 3, 0, 1]])
    boxes = rounded([one["box_px"] for one in facts])
    np.testing.assert_allclose(rounded(found.boxes)[order], boxes, atol=0.011)
    assert len(found.boxes) != len(raw.detect(raw.config, CALIBRATION)[0].boxes)


def test_calibration_brings_scores_to_the_truth(raw):
    fitted = fit_calibration(raw, raw.config)
    assert set(fitted.votes) == {"boxes", "masks"}
    assert set(fitted.subsets) == {"boxes", "masks"}
    before = figures_of(raw, raw.config, Calibration(), Evaluate(), quick=True)["figures"]
    after = figures_of(raw, raw.config, fitted, Evaluate(), quick=True)["figures"]
    assert after["ece"]["value"] < before["ece"]["value"]


def test_quick_figures_are_the_same_values(raw):
    settings = Evaluate(bootstrap=10)
    whole = figures_of(raw, raw.config, CALIBRATION, settings)
    quick = figures_of(raw, raw.config, CALIBRATION, settings, quick=True)
    for name, figure in quick["figures"].items():
        assert whole["figures"][name]["value"] == figure["value"]
    assert quick["counts"] == whole["counts"]
    assert whole["counts"]["objects"] == 3
    assert whole["counts"]["ignored"] > 0
    assert whole["slices"]["source"]["made"]["f1"]["value"] == whole["figures"]["f1"]["value"]
    one = statistics_of(raw, raw.config, CALIBRATION, settings)
    gap = paired(one["f1"], one["f1"], draws(len(raw), 10))
    assert (gap["low"], gap["high"]) == (0, 0)


def test_the_step_leaves_figures_table_pictures_and_report(bench):
    project = bench["tiny"]
    outcome = evaluate.run(project)
    first = ((folder := project.step_dir("evaluate")) / "figures.json").read_bytes()
    figures = json.loads(first)["test"]["figures"]
    assert outcome.summary["test"]["f1"] == figures["f1"]["value"]
    files = {(path.suffix, path.is_file()) for path in outcome.show}
    assert files == {(".html", True), (".png", True)}
    rows = (folder / "objects.csv").read_text().splitlines()
    counts = json.loads(first)["test"]["counts"]
    missed = sum(",missed," in row for row in rows)
    assert len(rows) - 1 == counts["found"] + counts["ignored"] + missed
    assert missed == counts["objects"] - counts["right"]
    report = (folder / "report.html").read_text()
    assert report.count("Mpx/s") == 1  # of the whole, not of each figure
    assert 'src="data:image/png' in report and 'src="http' not in report
    assert "Objects are right" in report and "very images" not in report
    assert '<td>small</td><td class="n">0</td>' in report
    assert '<td>medium</td><td class="n">3</td>' in report
    assert not_led_to(folder / "report.html", load_raw(evaluate.raw_dir(project, "test"))) == set()
    table = (folder / "objects.csv").read_bytes()
    evaluate.run(project)
    assert (folder / "figures.json").read_bytes() == first
    assert (folder / "objects.csv").read_bytes() == table


def otherwise(project: Project, folder: Path, changes: dict[str, object]) -> Project:
    """The same dataset with other settings of evaluate."""
    facts = project.config.model_dump(mode="json")
    facts["evaluate"].update(changes)
    other = Project(FactoryConfig.model_validate(facts), project.path, folder)
    shutil.copytree(project.step_dir("dataset"), other.step_dir("dataset"))
    return other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chain_until": "identfy"}, "no step of the chain"),
        ({"splits": ["test", "tset"]}, "evaluate.splits 'tset'.*name one of test, valid"),
        ({"calibrate_on": "held"}, "evaluate.calibrate_on 'held'.*name one of test, valid"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_network_runs(
    bench, tmp_path, changes, message
):
    with pytest.raises((ConfigError, DatasetError), match=message):
        evaluate.run(otherwise(bench["tiny"], tmp_path, changes))
    assert not list(tmp_path.rglob("raw"))


def test_roads_say_what_detect_says_and_are_measured(bench, tmp_path):
    project = bench["tinyroads"]
    folder = evaluate.raw_dir(project, "test")
    raw = predict(project, "test", evaluate.weights_of(project), folder, "cpu")
    placed = raw.samples[2]
    raw_one = RawSet(raw.folder, raw.config, (placed,), None, raw.facts)
    expected = slowly(raw_one, raw.config, Calibration(), tmp_path)[0]
    found = raw_one.detect(raw.config, Calibration())[0]
    lengths = [f["properties"]["length_m"] for f in expected]
    assert len(found.lines) == len(lengths) > 0
    # Lengths of metres on the ground, in pixels of a metre.
    np.testing.assert_allclose(
        np.sort(shapely.length(found.lines)), np.sort(lengths), rtol=0.01, atol=0.05
    )
    outcome = evaluate.run(project)
    figures = json.loads((project.step_dir("evaluate") / "figures.json").read_text())["test"]
    for name in ("f1", "mask_f1", "graph_f1", "apls", "topo_f1", "accepted", "ece"):
        assert 0 <= figures["figures"][name]["value"] <= 1
    assert figures["counts"]["lines"] > 0
    assert all(path.is_file() for path in outcome.show)
    report = (project.step_dir("evaluate") / "report.html").read_text()
    assert "Lines are right within 3 pixels" in report
    assert "By source" in report and "By size" not in report


def test_a_truth_that_was_found_measures_as_one(bench):
    from lanner.factory.steps.evaluate.network import measure_roads, true_lines

    project = bench["tinyroads"]
    raw = load_raw(evaluate.raw_dir(project, "test"))
    found = raw.detect(raw.config, Calibration())
    real = [true_lines(sample, 1.0) for sample in raw.samples]
    assert [len(lines) for lines in real] == [1, 1, 1]
    perfect = [
        replace(one, lines=lines, scores=np.ones(1), decisions=("accept",), labels=("road",))
        for one, lines in zip(found, real, strict=True)
    ]
    measured = measure_roads(raw, perfect, raw.config, Evaluate(), quick=False)
    once = np.ones((1, 3))
    for name in ("f1", "precision", "recall", "apls", "topo_f1", "accepted", "accept_precision"):
        assert measured.statistics[name](once)[0] == pytest.approx(1)
    assert measured.statistics["ece"](once)[0] == pytest.approx(0, abs=1e-9)


def test_nothing_seen_on_any_image_is_nothing_found(raw):
    boxes = next(one for one in raw.config.members if one.kind == "retinanet")
    deaf = boxes.model_copy(update={"threshold": 0.999}).model_dump(mode="json")
    found = raw.detect(variant(raw.config, members=[deaf]), CALIBRATION)
    assert [len(one.scores) for one in found] == [0] * len(raw.samples)
