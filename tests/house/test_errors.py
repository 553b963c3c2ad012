"""The one table of errors covers every error, and its documentation says the same."""

import ast
import copy
import importlib
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

from lanner.cli.tables import error_rows
from lanner.core.errors import (
    FLAGS,
    TABLE,
    Argument,
    Cancelled,
    DeviceError,
    ErrorStatus,
    GsdError,
    LannerError,
    OutputError,
    error_status,
)

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


def test_exit_codes_are_unique_but_for_kinds_of_one_error_and_leave_the_shell_its_own():
    codes = [row.exit for row in TABLE.values()]
    first = {row.exit: kind for kind, row in reversed(TABLE.items())}
    assert all(issubclass(kind, first[row.exit]) for kind, row in TABLE.items())
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


@pytest.mark.parametrize(
    "before", [Cancelled(), Cancelled("ask again"), GsdError(Argument("gsd"), 9, "b", "c")]
)
def test_any_error_is_copied_and_pickled_whole(before):
    for after in (pickle.loads(pickle.dumps(before)), copy.copy(before)):
        assert type(after) is type(before)
        assert str(after) == str(before)
        assert after.spelled(FLAGS).argument == before.spelled(FLAGS).argument


def test_a_front_end_writes_arguments_its_own_way():
    error = GsdError(Argument("gsd"), 99, "is coarse beside `tile`", "correct `gsd` or `nothing`")
    assert str(error) == "gsd '99': is coarse beside `tile`; correct `gsd` or `nothing`"
    cli_error = error.spelled(FLAGS)
    assert type(cli_error) is GsdError
    assert str(cli_error) == "--gsd '99': is coarse beside --tile; correct --gsd or `nothing`"
    assert (cli_error.argument, cli_error.value) == ("--gsd", 99)
    assert cli_error.remedy == "correct --gsd or `nothing`"
    assert error.argument == "gsd"


def test_a_key_of_a_file_is_no_argument_of_a_request():
    assert GsdError("gsd", 99, "in a.yaml", "correct it").spelled(FLAGS).argument == "gsd"


def test_what_a_client_may_ask_again_is_told_by_its_status():
    rows = {kind.__name__: row for kind, row in TABLE.items()}
    again = {
        name for name, row in rows.items() if row.grpc in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
    }
    assert again == {"OutputError", "DeviceMemoryError", "ServerError", "BusyError"}
    devices = {n: row.grpc for n, row in rows.items() if row.exit == TABLE[DeviceError].exit}
    assert devices == {
        "DeviceError": "FAILED_PRECONDITION",
        "DeviceNameError": "INVALID_ARGUMENT",
        "DeviceMemoryError": "RESOURCE_EXHAUSTED",
    }


def test_errors_that_a_server_or_a_program_meets_name_no_option_of_the_command_line():
    # Of `lanner` only what a command alone leads to may speak of its options.
    commands = ("cli", "factory", "synth", "v1")
    found = []
    for package in ("tiling", "detectors", "postprocess", "server", "lanner"):
        for path in sorted((ROOT / package).rglob("*.py")):
            inside = path.relative_to(ROOT / package).parts[0]
            if package == "lanner" and inside.startswith(commands):
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
                    words = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                    flags = [word for word in words if re.search(r"(^|[^-\w])--[a-z]", str(word))]
                    found += [f"{path.relative_to(ROOT)}:{node.lineno} {flag}" for flag in flags]
    assert found == []
