"""The one table of errors covers every error, and its documentation says the same."""

import importlib
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

from lanner.cli.tables import error_rows
from lanner.core.errors import TABLE, Cancelled, ErrorStatus, LannerError, OutputError, error_status

ROOT = Path(__file__).resolve().parents[2]
GRPC = {
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
}


def subclasses(kind: type[LannerError]) -> set[type[LannerError]]:
    below = {one for child in kind.__subclasses__() for one in subclasses(child)}
    return {kind} | below


def test_every_error_of_every_package_is_in_the_table():
    for name in ("lanner", "server", "postprocess", "tiling"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
    ours = {
        one
        for one in subclasses(LannerError)
        if one.__module__.partition(".")[0]
        in {"lanner", "server", "postprocess", "tiling", "detectors"}
    }
    public = {one for one in ours if not one.__name__.startswith("_")}
    assert {one.__name__ for one in public} == {one.__name__ for one in TABLE}
    # A private one is its public parent to everyone else, and that must say more than the root.
    assert all(error_status(one("a", 1, "b", "c")) != TABLE[LannerError] for one in ours - public)


def test_exit_codes_are_unique_and_leave_the_shell_its_own():
    codes = [row.exit for row in TABLE.values()]
    assert len(set(codes)) == len(codes)
    assert not {0, 2, 126, 127} & set(codes)
    assert all(0 < code < 256 for code in codes)


@pytest.mark.parametrize("row", TABLE.values(), ids=[kind.__name__ for kind in TABLE])
def test_statuses_are_real(row: ErrorStatus):
    assert row.grpc in GRPC
    assert 400 <= row.http < 600


def test_an_error_goes_through_its_nearest_door():
    class Private(OutputError):
        """Not in the table."""

    assert error_status(Private("a", 1, "b", "c")) == TABLE[OutputError]
    assert error_status(Cancelled()).exit == 130


def test_a_message_is_one_line_with_argument_value_and_remedy():
    text = str(OutputError("--out", "a\nb", "is\nbad", "do\n that"))
    assert "\n" not in text
    assert text.startswith("--out ")
    assert text.endswith("do that")


def test_the_documentation_says_what_the_table_says():
    text = (ROOT / "docs" / "errors.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\w+) \| ([^|]+) \|", text, re.M)
    expected = [
        (name, str(row.exit), str(row.http), row.grpc, meaning.split(" (")[0])
        for name, meaning, row in error_rows()
    ]
    assert [(a, b, c, d, e.strip()) for a, b, c, d, e in documented] == expected


def test_an_error_raised_in_another_process_arrives_whole():
    before = OutputError("SCENE", "a.tif", "is no raster", "give a GeoTIFF")
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is OutputError
    assert str(after) == str(before)
    assert (after.argument, after.value) == ("SCENE", "a.tif")
