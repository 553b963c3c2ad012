"""The program as a user starts it: help, tables, errors on one line, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lanner import __version__
from lanner.cli.app import app
from lanner.cli.reporting import reporting
from lanner.core.errors import TABLE, Cancelled, GsdError, LannerError

PROGRAM = Path(sys.executable).parent / "lanner"


def lanner(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1"},
    )


def test_help_names_every_command():
    done = lanner("--help")
    assert done.returncode == 0
    for command in ("detect", "detectors", "demo", "errors", "render", "serve", "version"):
        assert f" {command} " in done.stdout


def test_help_of_detect_teaches_by_example():
    done = lanner("detect", "--help")
    assert "lanner detect airport.tif -d aircraft -o aircraft.geojson" in done.stdout
    assert "--run county.run" in done.stdout


def test_version():
    assert f"lanner {__version__}" in lanner("version").stdout.splitlines()
    assert lanner("--version").stdout == f"lanner {__version__}\n"
    again = subprocess.check_output([sys.executable, "-m", "lanner", "--version"], text=True)
    assert again == f"lanner {__version__}\n"


def test_an_early_ctrl_c_is_no_traceback(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "lanner", "detectors"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "error: stopped by the caller\n")


def test_errors_prints_the_table_for_people_and_programs():
    table = lanner("errors").stdout
    rows = json.loads(lanner("errors", "--json").stdout)
    assert {row["error"]: row["exit"] for row in rows} == {
        kind.__name__: row.exit for kind, row in TABLE.items()
    }
    assert all(row["error"] in table for row in rows)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x.shp", "'.shp' is no format"),
        ("nowhere/x.gpkg", "mkdir -p nowhere"),
    ],
)
def test_a_bad_output_is_one_line_and_its_code_before_any_work(tmp_path, out, message):
    done = lanner("detect", "scene.tif", "-d", "aircraft", "-o", out, cwd=tmp_path)
    assert done.returncode == 18
    assert done.stdout == ""
    assert done.stderr.startswith("error: --out ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_adds_the_traceback(tmp_path):
    done = lanner("detect", "a.tif", "-d", "aircraft", "-o", "x.shp", "--debug", cwd=tmp_path)
    assert done.returncode == 18
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("words", [["detect"], ["detect", "a.tif", "--gsd", "0"], ["nonsense"]])
def test_usage_errors_keep_exit_code_2(words):
    assert CliRunner().invoke(app, words).exit_code == 2


@pytest.mark.parametrize("error", [GsdError("--gsd", 9, "is too coarse", "use finer"), Cancelled()])
def test_reporting_turns_errors_into_exit_codes(error: LannerError, capsys):
    with pytest.raises(typer.Exit) as caught, reporting(debug=False, resume="go on with --run"):
        raise error
    assert caught.value.exit_code == TABLE[type(error)].exit
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    if isinstance(error, Cancelled):
        assert text == "error: stopped by the caller; go on with --run\n"
    else:
        assert text == f"error: {error}\n"


def test_reporting_takes_a_second_ctrl_c_for_a_cancel(capsys):
    with pytest.raises(typer.Exit) as caught, reporting(debug=False):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err.startswith("error: stopped")


def test_reporting_hides_no_bug():
    with pytest.raises(ZeroDivisionError), reporting(debug=False):
        raise ZeroDivisionError


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_the_letters_of_a_name_ends_nothing(tmp_path, encoding):
    folder = tmp_path / "Łódź"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "lanner", "render", folder / "a.tif", "--size", "64x64"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "a.truth.geojson").exists()
    # Click takes no terminal for one of ASCII, and writes UTF-8 to it.
    wanted = "utf-8" if encoding == "ascii" else encoding
    assert str(folder).encode(wanted, "backslashreplace") in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("words", [["version"], ["errors"], ["errors", "--json"]])
def test_where_nothing_can_be_printed_that_is_the_error(words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lanner", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 18
    assert done.stderr.startswith("error: standard output cannot be written")
    assert done.stderr.count("\n") == 1
