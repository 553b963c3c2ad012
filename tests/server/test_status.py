"""Every error crosses the wire and comes out as the same class in the same words."""

import base64
import re
import urllib.parse
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from lanner.core.errors import (
    TABLE,
    Argument,
    BusyError,
    Cancelled,
    GsdError,
    LannerError,
    SceneError,
    ServerError,
    StepError,
    error_status,
)
from lanner.core.grpc_errors import DETAILS_KEY, Failure, decode, encode, reason

KINDS = sorted({*TABLE, ServerError, BusyError} - {Cancelled}, key=lambda kind: kind.__name__)


def through(failure: Failure) -> LannerError:
    error = decode([("other", "x"), (DETAILS_KEY, failure.details)])
    assert error is not None
    return error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_class_comes_back_as_itself(kind):
    error = kind("--tile", 77, "is  odd\nreally", "give 64")
    back = through(encode(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert (back.argument, back.value, back.problem, back.remedy) == (
        "--tile",
        "77",
        "is  odd\nreally",
        "give 64",
    )


@pytest.mark.parametrize("kind", sorted(TABLE, key=lambda kind: kind.__name__))
def test_the_status_is_that_of_the_table(kind):
    error = Cancelled() if kind is Cancelled else kind("a", 1, "b", "c")
    assert encode(error).code is grpc.StatusCode[error_status(error).grpc]


def test_own_errors_have_their_status():
    assert encode(BusyError("a", 1, "b", "c")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert encode(ServerError("a", 1, "b", "c")).code is grpc.StatusCode.UNAVAILABLE


def test_cancelled_comes_back_and_promises_nothing_that_a_server_cannot_keep():
    back = through(encode(Cancelled()))
    assert type(back) is Cancelled
    assert "resume" not in str(back)
    assert "send the request again" in str(back)


def test_a_caller_reads_the_names_of_the_request_and_the_python_client_its_keywords():
    error = GsdError(Argument("gsd"), 99.0, "is too coarse", "correct `gsd`, or `tile`")
    failure = encode(error)
    assert failure.message == "gsd_m '99.0': is too coarse; correct `gsd_m`, or `tile`"
    back = through(failure)
    assert (back.argument, back.remedy) == ("gsd", "correct `gsd`, or `tile`")
    assert str(back) == str(error)


def test_the_details_are_those_of_google_rpc():
    failure = encode(SceneError("scene", "a.tif", "is broken", "mend it"))
    status = status_pb2.Status.FromString(failure.details)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (failure.code.value[0], failure.message)
    assert (info.domain, info.reason) == ("lanner", "SCENE_ERROR")
    assert dict(info.metadata) == {
        "argument": "scene",
        "value": "a.tif",
        "problem": "is broken",
        "remedy": "mend it",
        "class": "SceneError",
    }


def test_a_private_class_arrives_as_its_nearest_known_one():
    class SecretStepError(StepError):
        """Not in the table."""

    back = through(encode(SecretStepError("step", "x", "failed", "see the log")))
    assert type(back) is StepError


def test_a_reason_of_a_later_release_is_still_an_error():
    status = status_pb2.Status(code=3, message="m")
    status.details.add().Pack(error_details_pb2.ErrorInfo(domain="lanner", reason="NEW_ERROR"))
    back = decode([(DETAILS_KEY, status.SerializeToString())])
    assert type(back) is LannerError


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [(DETAILS_KEY, b"\xff\xff\xff")],
        [(DETAILS_KEY, "text")],
        [("x", b"")],
        [(DETAILS_KEY, status_pb2.Status(code=3).SerializeToString())],
    ],
)
def test_what_is_not_ours_is_not_decoded(metadata):
    assert decode(metadata) is None


def test_another_domain_is_not_ours():
    status = status_pb2.Status(code=3)
    status.details.add().Pack(error_details_pb2.ErrorInfo(domain="proxy", reason="SCENE_ERROR"))
    assert decode([(DETAILS_KEY, status.SerializeToString())]) is None


@given(*[st.text(st.characters(exclude_categories=[]), max_size=3000)] * 4)
def test_no_error_outgrows_the_metadata_limit(argument, value, problem, remedy):
    failure = encode(LannerError(argument, value, problem, remedy))
    size = len(base64.b64encode(failure.details)) + len(urllib.parse.quote(failure.message))
    assert size < 7000
    through(failure)


def test_the_longest_error_stays_below_the_limit():
    failure = encode(LannerError(*["飛" * 5000] * 4))
    size = len(base64.b64encode(failure.details)) + len(urllib.parse.quote(failure.message))
    assert 5000 < size < 7000
    assert through(failure).problem.endswith("飛…")


def test_a_private_spelling_is_replaced_everywhere():
    error = SceneError("scene", "/srv/a.tif", "/srv/a.tif is broken", "see /srv/a.tif")
    failure = encode(error, hide=lambda text: text.replace("/srv/a.tif", "a.tif"))
    assert "/srv" not in failure.message
    assert b"/srv" not in failure.details
    assert str(through(failure)) == "scene 'a.tif': a.tif is broken; see a.tif"


@pytest.mark.parametrize(
    "name", ["two  spaces.tif", "back\\slash.tif", 'it\'s "so".tif', "x" * 400, "tab\t.tif"]
)
def test_a_private_spelling_is_replaced_however_a_message_shows_it(name):
    path = f"/srv/{name}"
    failure = encode(
        SceneError("scene", path, "is broken", "mend it"),
        hide=lambda text: text.replace(path, name),
    )
    assert "/srv" not in failure.message
    assert b"/srv" not in failure.details
    assert failure.message == str(SceneError("scene", name, "is broken", "mend it"))


def test_reasons_are_spelled_for_error_info():
    assert reason(SceneError) == "SCENE_ERROR"
    assert reason(Cancelled) == "CANCELLED"


def test_the_documentation_lists_every_reason():
    text = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
    documented = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \| `(\w+)` \|$", text, re.M)
    raised = [Cancelled(), *(kind("a", 1, "b", "c") for kind in KINDS)]
    expected = [(reason(type(one)), encode(one).code.name, type(one).__name__) for one in raised]
    assert sorted(documented) == sorted(expected)
