"""`lanner models`: releases listed, made the default, taken back, fetched and removed."""

import hashlib
import http.server
import json
import shutil
import tarfile
import threading

import pytest
from typer.testing import CliRunner

from detectors.catalog import resolve
from lanner.cli.app import app
from lanner.core.errors import TABLE, ConfigError, UnknownDetectorError, WeightsError
from tests.fixtures_releases import release_beside, two_releases

__all__ = ["two_releases"]


def lanner(*words):
    return CliRunner().invoke(app, ["models", *map(str, words)])


def listed():
    rows = json.loads(lanner("list", "--json").stdout)
    return {f"{one['name']}@{one['release']}": one for one in rows}


@pytest.fixture
def archive(two_releases, tmp_path):
    """A .tar.gz of release 1.2.0, which is not there."""
    folder = release_beside(two_releases, "1.2.0")
    site = tmp_path / "site"
    site.mkdir()
    path = site / "tiny-1.2.0.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as file:
        file.add(folder, "1.2.0")
    shutil.rmtree(folder)
    return path


@pytest.fixture
def address(archive):
    """The same over HTTP."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(archive.parent))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/{archive.name}"
        server.shutdown()


def test_releases_are_listed_with_the_default_marked(two_releases):
    rows = listed()
    assert {name: (one["default"], one["problem"]) for name, one in rows.items()} == {
        "tiny@1.1.0": (False, None),
        "tiny@1.0.0": (True, None),
        "tinyroads@1.0.0": (True, None),
    }
    size = sum(one.stat().st_size for one in (two_releases / "weights/tiny/1.1.0").iterdir())
    assert rows["tiny@1.1.0"]["bytes"] == size
    table = lanner("list").stdout
    lines = [line for line in table.splitlines() if "1.0.0" in line or "1.1.0" in line]
    assert ["*" in line for line in lines] == [False, True, True]


def test_a_default_is_changed_taken_back_and_removed(two_releases):
    assert lanner("default", "tiny@1.1.0").exit_code == 0
    assert resolve("tiny", two_releases).config.release == "1.1.0"
    assert lanner("remove", "tiny@1.1.0").exit_code == TABLE[ConfigError].exit
    assert lanner("rollback", "tiny").exit_code == 0
    assert resolve("tiny", two_releases).config.release == "1.0.0"
    assert lanner("rollback", "tiny").exit_code == TABLE[ConfigError].exit
    assert lanner("remove", "tiny@1.1.0").exit_code == 0
    assert set(listed()) == {"tiny@1.0.0", "tinyroads@1.0.0"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["default", "tiny@2.0.0"], UnknownDetectorError),
        (["default", "tinny@1.0.0"], UnknownDetectorError),
        (["default", "tiny"], ConfigError),
        (["rollback", "tinny"], UnknownDetectorError),
        (["remove", "tiny@2.0.0"], UnknownDetectorError),
        (["add", "nothing.zip"], ConfigError),
        (["add", "ftp://127.0.0.1/a.zip"], ConfigError),
    ],
)
def test_what_is_not_there_is_one_line(two_releases, words, error):
    done = lanner(*words)
    assert done.exit_code == TABLE[error].exit, done.output
    assert done.output.count("\n") == 1


def test_a_release_whose_chain_cannot_run_here_becomes_no_default(two_releases):
    folder = release_beside(two_releases, "1.2.0", chain=[{"step": "of_another_package"}])
    assert lanner("default", "tiny@1.2.0").exit_code != 0
    assert resolve("tiny", two_releases).config.release == "1.0.0"
    elsewhere = shutil.move(folder, two_releases / "elsewhere")
    done = lanner("add", elsewhere)
    assert done.exit_code == 0
    assert "of_another_package" in done.output


def test_a_release_is_added_from_a_file(archive):
    sums = hashlib.sha256(archive.read_bytes()).hexdigest()
    wrong = lanner("add", archive, "--sha256", "0" * 64)
    assert wrong.exit_code == TABLE[WeightsError].exit
    assert "tiny@1.2.0" not in listed()
    assert lanner("add", archive, "--sha256", sums.upper()).exit_code == 0
    row = listed()["tiny@1.2.0"]
    assert (row["default"], row["problem"]) == (False, None)


def test_a_release_is_fetched_where_somebody_vouches_for_it(archive, address):
    sums = hashlib.sha256(archive.read_bytes()).hexdigest()
    # Over http anybody on the way could change both the files and their card.
    assert lanner("add", address).exit_code == TABLE[ConfigError].exit
    wrong = lanner("add", address, "--sha256", "0" * 64)
    assert wrong.exit_code == TABLE[WeightsError].exit
    gone = lanner("add", f"{address}.gone", "--sha256", sums)
    assert gone.exit_code == TABLE[ConfigError].exit
    assert "tiny@1.2.0" not in listed()
    assert lanner("add", address, "--sha256", sums).exit_code == 0
    assert listed()["tiny@1.2.0"]["problem"] is None
    assert lanner("default", "tiny@1.2.0").exit_code == 0


def test_detectors_name_their_releases(two_releases):
    done = CliRunner().invoke(app, ["detectors", "--json"])
    tiny, roads = json.loads(done.stdout)
    assert (tiny["release"], tiny["releases"]) == ("1.0.0", ["1.1.0", "1.0.0"])
    assert roads["releases"] == ["1.0.0"]
    assert CliRunner().invoke(app, ["detectors", "--check", "tiny@1.1.0"]).exit_code == 0
