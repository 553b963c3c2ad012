"""`lanner factory` as a user meets it: help, starter files, states, errors."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lanner.cli.app import app
from lanner.cli.factory import flat
from lanner.core.config import load_config
from lanner.factory.config import load_factory
from lanner.factory.project import STEPS, open_project

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("coco", "dota", "yolo", "voc", "geo", "masks", "images")


def factory(*words: object):
    return CliRunner().invoke(app, ["factory", *map(str, words)])


def test_every_step_is_a_command_that_teaches():
    for step in STEPS:
        done = factory(step, "--help")
        assert done.exit_code == 0
        assert f"lanner factory {step} tanks.factory.yaml" in done.stdout
    listed = factory("--help").stdout
    for tool in ("all", "status", "init", "compare", "forecast", "reproduce", "hook"):
        assert f" {tool} " in listed


@pytest.mark.parametrize("form", FORMATS)
def test_starter_files_are_right_as_they_are(tmp_path, form):
    done = factory(
        "init", tmp_path / "new", "--format", form, "--name", "tanks", "--classes", "a,b"
    )
    assert done.exit_code == 0, done.stderr
    files = [Path(line) for line in done.stdout.split()]
    config = load_factory(files[1])
    detector = load_config(files[0])
    assert config.sources[0].format == form
    assert detector.classes == ("a", "b")
    assert set(config.train.members) == {member.name for member in detector.members}
    from lanner.factory.steps.search.space import parse_space

    assert len(parse_space(config.search.space, detector)) == 3
    from postprocess.chain import Chain

    assert Chain.from_specs(detector.chain).names[-1] == "triage"
    # Never over somebody's work.
    before = files[1].read_bytes()
    again = factory("init", tmp_path / "new", "--name", "tanks")
    assert again.exit_code == 18
    assert "is there already" in again.stderr
    assert files[1].read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "cocoo"], "did you mean 'coco'?"),
        (["--name", "My Tanks"], "is no name"),
        (["--classes", ","], "names no class"),
        (["--classes", "a: b"], "names no class"),
        (["--classes", "tank,ship,tank"], "names one twice"),
        (["--gsd", "inf"], "is no ground sampling"),
    ],
)
def test_init_refuses_what_would_not_load(tmp_path, words, message):
    done = factory("init", tmp_path / "new", *words)
    assert done.exit_code == 14
    assert message in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", ["../my #images", "../a: b", "{x}", "@x", "- a", "no", "'q"])
def test_the_folder_of_images_may_have_any_name(tmp_path, data):
    done = factory("init", tmp_path / "new", "--format", "geo", "--data", data)
    assert done.exit_code == 0, done.stderr
    config = load_factory(tmp_path / "new" / "mine.factory.yaml")
    assert config.data == str((tmp_path / "new" / data).resolve())


@pytest.mark.parametrize("name", ["no", "null", "on", "true"])
def test_names_that_yaml_takes_for_something_else(tmp_path, name):
    done = factory("init", tmp_path, "--name", name, "--classes", f"{name},{name.upper()}")
    assert done.exit_code == 0, done.stderr
    config = load_factory(tmp_path / f"{name}.factory.yaml")
    detector = load_config(tmp_path / f"{name}.yaml")
    assert config.factory == name
    assert config.sources[0].classes == {name: name, name.upper(): name.upper()}
    assert (detector.name, detector.classes) == (name, (name, name.upper()))


def test_a_work_folder_that_cannot_be_made_is_one_line(tmp_path):
    factory("init", tmp_path, "--name", "tanks", "--format", "geo")
    (tmp_path / "file").write_text("")
    done = factory("explore", tmp_path / "tanks.factory.yaml", "--workdir", tmp_path / "file")
    assert done.exit_code == 18
    assert "--workdir" in done.stderr
    assert done.stderr.count("\n") == 1


def test_status_says_what_is_missing_and_what_to_run(tmp_path):
    factory("init", tmp_path, "--name", "tanks")
    config = tmp_path / "tanks.factory.yaml"
    rows = json.loads(factory("status", config, "--workdir", tmp_path / "w", "--json").stdout)
    assert [row["step"] for row in rows] == list(STEPS)
    assert {row["state"] for row in rows} == {"missing"}
    assert rows[0]["folder"] == str(tmp_path / "w" / "01_explore")
    assert "lanner factory explore" in factory("status", config).stdout
    # The command as it must be given, work folder and all.
    odd = tmp_path / "my work #1"
    output = factory("status", config, "--workdir", odd).stdout
    assert f"Next: lanner factory explore {config} --workdir '{odd}'\n" in output


def finish(config, workdir, *steps):
    """Records as if steps had been run."""
    from lanner.factory.runner import step_key
    from lanner.factory.snapshot import left

    project = open_project(config, workdir)
    for step in steps:
        folder = project.step_dir(step)
        folder.mkdir(parents=True, exist_ok=True)
        record = {"key": step_key(project, step), "left": left(project, step), "seconds": 1.0}
        facts = {"summary": {"said by": step}, "show": ["report.html"]}
        (folder / "step.json").write_text(json.dumps(record | facts))


@pytest.mark.parametrize(("space", "next_one"), [(True, "search"), (False, "release")])
def test_status_names_no_search_where_nothing_is_to_be_searched(tmp_path, space, next_one):
    factory("init", tmp_path, "--name", "tanks")
    config = tmp_path / "tanks.factory.yaml"
    if not space:
        text = config.read_text()
        config.write_text(re.sub(r"(?ms)^search:.*?(?=^release:)", "", text))
    finish(config, tmp_path / "w", *STEPS[:5])
    output = factory("status", config, "--workdir", tmp_path / "w").stdout
    assert f"Next: lanner factory {next_one} " in output


def test_what_was_done_is_shown_where_a_later_step_fails(tmp_path):
    factory("init", tmp_path, "--name", "tanks")
    config = tmp_path / "tanks.factory.yaml"
    finish(config, tmp_path / "w", "explore")
    done = factory("all", config, "--workdir", tmp_path / "w")
    assert done.exit_code == 22  # there are no samples to process
    assert "said by" in done.stdout
    assert f"open {tmp_path / 'w' / '01_explore' / 'report.html'}" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_the_folder_of_a_run(tmp_path, monkeypatch):
    factory("init", tmp_path / "c", "--name", "tanks")
    config = tmp_path / "c" / "tanks.factory.yaml"
    monkeypatch.chdir(tmp_path)
    # Whole, since samples name files in it and the next step may run from another folder.
    assert open_project(config).folder == tmp_path / "runs/tanks"
    assert open_project(config, Path("x")).folder == tmp_path / "x"
    config.write_text(config.read_text() + "workdir: made\n")
    assert open_project(config).folder == tmp_path / "c" / "made"
    assert open_project(config, Path("x")).folder == tmp_path / "x"


def test_a_step_too_early_names_the_one_before(tmp_path):
    factory("init", tmp_path, "--name", "tanks")
    done = factory("process", tmp_path / "tanks.factory.yaml", "--workdir", tmp_path / "w")
    assert done.exit_code == 22
    assert "lanner factory explore" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("op: repair", "op: repairs"), 14, "line 21: is not a known operation; did you mean"),
        (
            ("  - op: repair ", "  - op: repair\n    tini: drop "),
            14,
            "line 22: is not a known key; did you mean 'tiny'?",
        ),
        (("sources:", "sorces:"), 14, "line 8': is not a known key; did you mean 'sources'?"),
        # Keys of other sections are none of this one.
        (
            ("    format:", "    near: 5\n    format:"),
            14,
            "line 10': is not a known key; remove it",
        ),
        (("  split:", "  spilt:"), 14, "is not a known key; did you mean 'split'?"),
        (("      lr:", "      lrr:"), 14, "is not a known key; did you mean 'lr'?"),
        (("factory: tanks\n", ""), 14, "factory 'tanks.factory.yaml': is missing; add it"),
        (("    root: .", "    rot: ."), 14, "did you mean 'root'?"),
        (("\ntrain:", "\nsources: []\ntrain:"), 14, "'sources' is there twice"),
        (("detector: tanks.yaml", "detector: gone.yaml"), 14, "gone.yaml"),
        (("points: 200", "points: many"), 14, "search.points"),
        (("{by: ", "{fractions: {train: 1.2, test: -0.2}, by: "), 14, "must lie within 0 to 1"),
        (("{by: ", "{fractions: {train: .nan, test: 1}, by: "), 14, "must lie within 0 to 1"),
        (("seed: 1", "seed: 1\nseed: 2"), 14, "'seed' is there twice"),
        (('attribution: ""', "attribution: 2025-13-45"), 14, "month must be in 1..12"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, change, code, message):
    factory("init", tmp_path, "--name", "tanks")
    config = tmp_path / "tanks.factory.yaml"
    config.write_text(config.read_text().replace(*change))
    done = factory("explore", config, "--workdir", tmp_path / "w")
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "name", "classes"),
    [("2024", "on", "no"), ("../my #1 images", "null", "yes,Off"), ("a: b", "y", "null")],
)
def test_init_writes_names_that_yaml_reads_as_names(tmp_path, data, name, classes):
    words = ("--name", name, "--classes", classes, "--data", data)
    done = factory("init", tmp_path, *words, "--format", "geo")
    assert done.exit_code == 0, done.stderr
    factory_config = load_factory(tmp_path / f"{name}.factory.yaml")
    assert (factory_config.factory, factory_config.data) == (name, str((tmp_path / data).resolve()))
    detector = load_config(tmp_path / factory_config.detector)
    assert (detector.name, detector.classes) == (name, tuple(classes.split(",")))
    several = {one: one for one in detector.classes}
    assert factory_config.sources[0].classes == (
        several if len(several) > 1 else {"*": several[classes]}
    )


@pytest.mark.parametrize("data", ["/mnt/$1", "$", "/mnt/${a-b}", "/mnt/5$/x"])
def test_a_dollar_that_begins_no_name_is_told_how_to_write(tmp_path, data):
    factory("init", tmp_path, "--name", "tanks")
    config = tmp_path / "tanks.factory.yaml"
    with_it = re.sub(r"(?m)^data: .*$", lambda _: f"data: '{data}'", config.read_text())
    config.write_text(with_it)
    done = factory("explore", config, "--workdir", tmp_path / "w")
    assert done.exit_code == 14
    assert f"data {data!r}: " in done.stderr
    assert "$$ for the sign itself" in done.stderr


def test_data_may_lie_in_the_home_folder_or_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TANKS", str(tmp_path / "5$"))
    factory("init", tmp_path, "--name", "tanks")
    config = tmp_path / "tanks.factory.yaml"
    text = config.read_text()
    for data, folder in (
        ("~/images", "home/images"),
        ("~", "home"),
        ("$TANKS/images", "5$/images"),
        ("5$$/images", "5$/images"),
        ("a/~/images", "a/~/images"),
    ):
        config.write_text(re.sub(r"(?m)^data: .*$", lambda _, d=data: f"data: '{d}'", text))
        assert load_factory(config).data == str(tmp_path / folder)


def test_summaries_become_rows():
    rows = flat({"a": {"b": 1, "c": [1, 2]}, "d": 0.123456, "e": None})
    assert rows == [("a.b", "1"), ("a.c", "1, 2"), ("d", "0.1235"), ("e", "None")]


def test_help_is_quick_to_come():
    heavy = "('numpy', 'pydantic', 'optuna')"
    code = f"import lanner.cli.app, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def sections():
    from lanner.factory import config as c

    models = (c.FactoryConfig, c.Source, c.Explore, c.Split, c.Dataset, c.Mix, c.Training)
    return [*models, c.Train, c.Evaluate, c.Search, c.Release]


def test_the_guide_explains_every_key_and_its_example_loads(tmp_path):
    guide = (ROOT / "docs" / "factory.md").read_text()
    words = re.sub(r"```.*?```", "", guide, flags=re.S)
    named = set(re.findall(r"[\w.-]+", " ".join(re.findall(r"`([^`]+)`", words))))
    named |= {part for name in named for part in name.split(".")}
    keys = {f"{model.__name__}.{key}" for model in sections() for key in model.model_fields}
    missing = {key for key in keys if key.split(".")[1] not in named}
    assert missing == set()
    example = re.findall(r"```yaml\n(.*?)```", guide, re.S)[0]
    path = tmp_path / "tanks.factory.yaml"
    path.write_text(example)
    config = load_factory(path)
    factory("init", tmp_path, "--name", "other", "--classes", "tank", "--format", "geo")
    from lanner.factory.ops.registry import op
    from lanner.factory.steps.search.space import parse_space

    assert len(parse_space(config.search.space, load_config(tmp_path / "other.yaml"), example)) == 3
    for one in config.process:
        op(one.op).params.model_validate(one.params)
    ci = yaml.safe_load((ROOT / "docs" / "ci-train.example.yml").read_text())
    runs = " ".join(step.get("run", "") for step in ci["jobs"]["factory"]["steps"])
    assert "lanner factory all" in runs
