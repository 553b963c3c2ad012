"""From evaluated to released on rendered scenes: search, release, compare, reproduce."""

import json
import shutil
import sys
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.testing import CliRunner

from detectors.card import load_card, seal
from detectors.catalog import check_release, resolve
from lanner.cli.app import app
from lanner.core.config import load_config
from lanner.core.errors import ConfigError, GateError
from lanner.factory.compare import Comparison, compare_runs
from lanner.factory.project import Project, open_project
from lanner.factory.reproduce import reproduce_run
from lanner.factory.runner import run_step, step_key
from lanner.factory.samples import Label, Sample, read_samples, write_samples
from lanner.factory.snapshot import left
from lanner.factory.steps import dataset, evaluate, release, search
from lanner.factory.steps.search.backends import measuring
from lanner.factory.steps.search.edit import edited
from lanner.factory.steps.search.points import bench_of
from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec
from tests.fixtures_ray import own_ray
from tests.fixtures_reports import dead_links, links

__all__ = ["own_ray"]

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "valid", "valid", "test", "test")

FACTORY = """\
version: 1
factory: rendered
detector: configs/aircraft.yaml
sources: [{name: rendered, format: geo, root: images, licence: own, attribution: ours}]
dataset: {least: 0}
evaluate: {bootstrap: 50, chain_until: merge_seams}
search:
  space:
    fusion.min_score: [0.05, 0.6]
    members.retinanet.threshold: [0.05, 0.5]
    chain.merge_seams.iou: [0.3, 0.7, 0.05]
  points: 24
  workers: 1
release: {precision: 0.3, gates: [recall, map_large], golden: 1}
"""


def sample(folder: Path, number: int) -> Sample:
    path = folder / f"{number}.tif"
    done = render(
        path, RenderSpec(width=256, height=256, gsd=0.8, seed=number, aircraft=8, roads=False)
    )
    truth = gpd.read_file(done.truth)
    with rasterio.open(path) as source:
        inverse = ~source.transform
        bounds = truth[truth["label"] == "aircraft"].to_crs(source.crs).bounds
    labels = []
    for west, south, east, north in bounds.to_numpy().tolist():
        x0, x1 = (inverse.a * x + inverse.c for x in (west, east))
        y0, y1 = (inverse.e * y + inverse.f for y in (north, south))
        labels.append(Label("aircraft", (x0, y0, x1, y1)))
    return Sample(
        f"rendered/{number}",
        "rendered",
        SPLITS[number],
        path,
        256,
        256,
        gsd=0.8,
        place=(11.78, 48.36),
        labels=tuple(labels),
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    """A factory of the released aircraft detector on rendered scenes, evaluated."""
    root = tmp_path_factory.mktemp("factory")
    (root / "configs").mkdir()
    (root / "images").mkdir()
    shutil.copy(ROOT / "configs" / "aircraft.yaml", root / "configs")
    version = load_config(root / "configs" / "aircraft.yaml").release
    shutil.copytree(ROOT / "weights" / "aircraft" / version, root / "weights/aircraft" / version)
    (root / "a.factory.yaml").write_text(FACTORY)
    project = open_project(root / "a.factory.yaml", root / "run")
    samples = [sample(root / "images", number) for number in range(len(SPLITS))]
    write_samples(samples, project.step_dir("process") / "samples.jsonl")
    for name, step in (("dataset", dataset), ("evaluate", evaluate)):
        recorded(project, name, step)
    return root


def recorded(project: Project, name: str, step) -> dict[str, object]:
    """One step as the runner runs it, but for the steps before it, which these tests leave out."""
    folder = project.step_dir(name)
    folder.mkdir(parents=True, exist_ok=True)
    outcome = step.run(project)
    facts = {
        "step": name,
        "key": step_key(project, name),
        "left": left(project, name),
        "config": project.config.model_dump(mode="json"),
        "file": str(project.path.resolve()),
        "detector": project.detector().model_dump(mode="json"),
        "summary": outcome.summary,
    }
    (folder / "step.json").write_text(json.dumps(facts))
    assert all(path.exists() for path in outcome.show)
    return outcome.summary


@pytest.fixture
def root(evaluated, tmp_path) -> Path:
    """A copy that a test may release from."""
    copy = tmp_path / "copy"
    shutil.copytree(evaluated, copy)
    return copy


def test_search_on_stored_predictions(evaluated):
    project = open_project(evaluated / "a.factory.yaml", evaluated / "run")
    summary = recorded(project, "search", search)
    folder = project.step_dir("search")
    assert summary["points"] == 24
    assert summary["best"]["f1"] >= summary["now"]["f1"]
    best = load_config(folder / "best.yaml")
    for path, value in summary["changed"].items():
        assert search.value_at(best, path) == value
    table = (folder / "points.csv").read_bytes()
    assert table.count(b"\n") == 25
    assert json.loads((folder / "space.json").read_text())["configurations"] == 20 * 20 * 9
    # Other processes measure the same, and nothing kept helps them.
    (folder / search.KEPT).unlink()
    two = project.config.search.model_copy(update={"workers": 2})
    config = project.config.model_copy(update={"search": two})
    search.run(Project(config, project.path, project.folder))
    assert (folder / "points.csv").read_bytes() == table
    compared = compare_runs(evaluated / "run", folder / "best.yaml", evaluated / "compared")
    assert {row["figure"] for row in compared.rows} >= {"f1", "ap50", "ece"}
    assert compared.images == 2
    assert all(path.exists() for path in compared.show)
    for page in (folder, evaluated / "compared"):
        assert dead_links(page / "report.html") == []
    assert links(evaluated / "compared" / "report.html")


def test_mended_labels_are_no_difference_of_detectors(evaluated, tmp_path):
    evaluation = tmp_path / "mended" / "05_evaluate"
    shutil.copytree(evaluated / "run" / "05_evaluate", evaluation)
    path = evaluation / "raw" / "test" / "samples.jsonl"
    first, *others = read_samples(path)
    write_samples([first.but(labels=first.labels[:2]), *others], path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "disagree.png").write_bytes(b"of another comparison")
    before = json.loads((evaluation / "figures.json").read_text())["test"]["figures"]
    compared = compare_runs(evaluated / "run", evaluation, tmp_path / "out")
    assert {row["difference"] for row in compared.rows} == {0.0}
    assert not (tmp_path / "out" / "disagree.png").exists()
    # It is B's labels that A is judged by too, and what B calls right.
    assert figure_of_a(compared, "precision") < before["precision"]["value"]
    record = json.loads((evaluation / "step.json").read_text())
    record["config"]["evaluate"]["iou"] = 0.95
    (evaluation / "step.json").write_text(json.dumps(record))
    strict = compare_runs(evaluated / "run", evaluation, tmp_path / "out")
    assert figure_of_a(strict, "recall") < 0.5 * figure_of_a(compared, "recall")


def figure_of_a(compared: Comparison, name: str) -> float:
    (row,) = (row for row in compared.rows if row["figure"] == name)
    return float(row["a"])


def by_ray(root: Path) -> Project:
    project = open_project(root / "a.factory.yaml", root / "run")
    settings = project.config.search.model_copy(
        update={"backend": "ray", "workers": 2, "points": 20}
    )
    config = project.config.model_copy(update={"search": settings})
    project.step_dir("search").mkdir(exist_ok=True)
    return Project(config, project.path, project.folder)


def test_ray_is_asked_for_by_name(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install ray"):
        search.run(by_ray(root))


@pytest.mark.slow
@pytest.mark.usefixtures("own_ray")
def test_ray_measures_what_processes_measure(root, tmp_path):
    import ray

    project = by_ray(root)
    folder = project.step_dir("search")
    search.run(project)
    assert not ray.is_initialized()
    table, best = ((folder / name).read_bytes() for name in ("points.csv", "best.yaml"))
    assert table.count(b"\n") == 21
    (folder / search.KEPT).unlink()
    alone = project.config.search.model_copy(update={"backend": "processes", "workers": 1})
    search.run(
        Project(project.config.model_copy(update={"search": alone}), project.path, project.folder)
    )
    assert (folder / "points.csv").read_bytes() == table
    assert (folder / "best.yaml").read_bytes() == best
    # A worker that does not see the files says so in one line.
    away = bench_of(tmp_path / "away", project.detector(), project.config.evaluate)
    with (
        measuring(away, 1, "ray") as measure,
        pytest.raises(ConfigError, match=r"a worker says: predictions .* are not there"),
    ):
        measure([{}])


def test_release_reproduce_and_refuse(root, monkeypatch):
    path = root / "configs" / "aircraft.yaml"
    before = path.read_text()
    path.write_text(edited(before, {"release": "9.9.9"}))
    project = open_project(root / "a.factory.yaml", root / "run")
    # Calibrated on other images it tells of more, at the price of precision: not so gated.
    gated = project.config.release.model_copy(update={"gates": ("precision",)})
    strict = project.config.model_copy(update={"release": gated})
    changed, there = path.read_bytes(), sorted((root / "weights").rglob("*"))
    with pytest.raises(GateError, match=r"precision.* in release .*: worse beyond its interval"):
        release.run(prepared(Project(strict, project.path, project.folder)))
    assert path.read_bytes() == changed
    assert sorted((root / "weights").rglob("*")) == there
    assert (project.step_dir("release") / "gates.png").exists()
    summary = release.run(project).summary
    entry = resolve(str(path), None)
    assert entry.release_dir == root / "weights" / "aircraft" / "9.9.9"
    checked = check_release(entry)
    assert checked.card.data[0].attribution == "ours"
    assert {one.name for one in checked.card.data} > {"rendered"}  # the networks came with theirs
    assert {"golden.json", "detector.yaml", "factory.yaml"} <= set(checked.card.files)
    assert checked.chain_files.keys() == {"types.yaml", "taxonomy.yaml"}
    for one in checked.chain_files.values():
        assert one.path.parent == entry.release_dir
        assert one.path.read_bytes() == (ROOT / "configs" / one.path.name).read_bytes()
    assert summary["measured against"] == load_config(ROOT / "configs" / "aircraft.yaml").release
    # None of the rendered aircraft is large: such a gate is not passed over in silence.
    assert summary["gates"] == {"test recall": "same", "test map_large": "cannot be told"}
    at = summary["accept"]["accept_at"]
    assert search.value_at(load_config(path), "chain.triage.accept_at") == at
    assert "# the networks' metres a pixel" in path.read_text()
    golden = json.loads((entry.release_dir / "golden.json").read_text())
    assert len(golden) == 1
    assert golden[0]["features"]
    check_again(root, entry.release_dir)
    # The evaluation is done again with the detector it had, though release has changed it since.
    again = reproduce_run(root / "run")
    assert again.differences == ()
    assert again.figures > 50
    again.refuse()
    # Other weights are named, whatever they say.
    member = project.detector().members[0]
    version = load_config(ROOT / "configs" / "aircraft.yaml").release
    resaved(root / "weights" / "aircraft" / version / member.weights)
    assert reproduce_run(root / "run", root / "a.factory.yaml").differences == (
        f"weights of {member.name}: others than those that were evaluated",
    )
    figures = root / "run" / "05_evaluate" / "figures.json"
    changed = json.loads(figures.read_text())
    changed["test"]["figures"]["f1"]["value"] += 0.001
    figures.write_text(json.dumps(changed))
    monkeypatch.chdir(root / "run" / "05_evaluate")
    assert [line.partition(":")[0] for line in reproduce_run(Path()).differences] == [
        "test.figures.f1.value"
    ]


def test_another_catalogue_wants_another_number(root, tmp_path, monkeypatch):
    path = root / "configs" / "aircraft.yaml"
    home = tmp_path / "home"
    (home / "configs").mkdir(parents=True)
    for name in ("types.yaml", "taxonomy.yaml"):
        shutil.copy(ROOT / "configs" / name, home / "configs")
    monkeypatch.setenv("LANNER_HOME", str(home))
    path.write_text(edited(path.read_text(), {"release": "9.9.8"}))
    project = open_project(root / "a.factory.yaml", root / "run")
    release.run(prepared(project))
    types = home / "configs" / "types.yaml"
    types.write_text(types.read_text().replace('"icao": "', '"icao": "Z'))
    there = {one: one.read_bytes() for one in (root / "weights").rglob("*") if one.is_file()}
    with pytest.raises(ConfigError, match=r"release '9\.9\.8'.*another types\.yaml"):
        release.run(project)
    kept = [one for one in (root / "weights").rglob("*") if one.is_file()]
    assert {one: one.read_bytes() for one in kept if ".part" not in str(one)} == there
    # Under another number it is released, and holds the catalogue as it was at that time.
    path.write_text(edited(path.read_text(), {"release": "9.9.9"}))
    release.run(project)
    types.unlink()
    text = check_release(resolve(str(path), None)).chain_files["types.yaml"].path.read_text()
    assert '"icao": "Z' in text


def test_a_gate_that_is_no_figure_is_refused_at_the_first_release(root):
    shutil.rmtree(root / "weights")  # the networks' files are found where Lanner is installed
    project = open_project(root / "a.factory.yaml", root / "run")
    gated = project.config.release.model_copy(update={"gates": ("recal",)})
    asked = project.config.model_copy(update={"release": gated})
    with pytest.raises(ConfigError, match=r"release\.gates 'recal'.*did you mean 'recall'"):
        release.run(prepared(Project(asked, project.path, project.folder)))
    assert not (root / "weights").exists()


def resaved(path: Path) -> None:
    """The same weights in other bytes."""
    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        notes = file.metadata() or {}
    save_file(tensors, path, {**notes, "saved": "again"})


def check_again(root: Path, folder: Path) -> None:
    """The golden output of a release, as the program checks it."""

    def checked(*words: object):
        path = root / "configs" / "aircraft.yaml"
        done = CliRunner().invoke(app, ["detectors", str(path), "--check", *map(str, words)])
        return done.exit_code, done.stdout, done.stderr

    code, output, _ = checked("--data", root)
    assert (code, ": identical, " in output) == (0, True)
    code, output, _ = checked("--data", root / "configs")
    assert (code, "not checked, image 3.tif" in output) == (0, True)
    # As if it had been released by another machine, and then by another network.
    file, card = folder / "golden.json", load_card(folder)
    facts = {k: v for k, v in card.model_dump(mode="json").items() if k != "files"}
    for change, expected in ((0.01, (0, "within tolerance")), (0.3, (24, "differs"))):
        rows = json.loads(file.read_text())
        rows[0]["features_sha256"] = "another"
        rows[0]["features"][0]["properties"]["confidence"] += change
        file.write_text(json.dumps(rows))
        seal(folder, facts)
        code, output, wrong = checked("--data", root)
        assert (code, expected[1] in output) == (expected[0], True)
    assert "\nerror: golden " in wrong
    file.write_text("[]")
    code, _, wrong = checked()
    assert code == 16
    assert "golden.json" in wrong


def prepared(project: Project) -> Project:
    project.step_dir("release").mkdir(parents=True, exist_ok=True)
    return project


def test_the_runner_wants_the_steps_before(root):
    from lanner.core.errors import DatasetError

    project = open_project(root / "a.factory.yaml", root / "run")
    with pytest.raises(DatasetError, match="lanner factory explore"):
        run_step(project, "release")
