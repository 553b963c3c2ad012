"""A client of Node, made from the .proto files alone, runs a whole detection."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from lanner.v1 import upload_service_pb2, upload_service_pb2_grpc
from tests.fixtures_points import server_command

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = Path("docs") / "examples" / "node"
TOKEN = "kestrel"


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example with its packages, where it lies in a checkout of its own."""
    there = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "proto", there / "proto")
    shutil.copytree(ROOT / EXAMPLE, there / EXAMPLE, ignore=shutil.ignore_patterns("node_modules"))
    # Whoever installs it has a registry of their own.
    assert '"resolved"' not in (there / EXAMPLE / "package-lock.json").read_text()
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=there / EXAMPLE, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return there / EXAMPLE


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server in a process of its own, which asks for a token."""
    folder, data = tmp_path_factory.mktemp("scenes"), tmp_path_factory.mktemp("data")
    command = server_command(folder, data, port=0, token=TOKEN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.terminate()
        assert server.wait(30) == 0


def detect(example, address, scene, token=TOKEN):
    """Run the script; what it printed by the words before the colons, and how it ended."""
    done = subprocess.run(
        ["node", "detect.js", address, scene, "points", scene.with_suffix(".geojson")],
        cwd=example,
        env={**os.environ, "LANNER_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return dict(line.split(": ", 1) for line in done.stdout.splitlines()), done


@pytest.mark.parametrize(
    ("count", "facts"),
    [
        (2000, {"each_s": 0.001, "text": 2000}),  # batches of about a megabyte
        (3, {"each_s": 0.2, "text": 7 << 20}),  # features in pieces
    ],
)
def test_a_detection_from_its_scene_to_its_end(example, address, tmp_path, count, facts):
    scene = tmp_path / "airport.tif"
    # Longer than two pieces of an upload.
    scene.write_text(json.dumps({"count": count, **facts, "padding": "x" * (5 << 19)}))
    told, done = detect(example, address, scene)
    assert done.returncode == 0, done.stderr
    assert told["detectors"] == "points 1.0.0"
    upload, sent, complete = told["sent"].split(", ")
    assert (sent, complete) == (f"{scene.stat().st_size} bytes", "complete: true")
    assert told["plan"].startswith(f"{count} tiles")
    previews, cuts = (int(part.split()[0]) for part in told["watched"].split(", "))
    assert 0 < previews <= count
    assert cuts == 1
    assert told["state"] == "OPERATION_STATE_SUCCEEDED, attempts: 1"
    assert told["features"] == str(count)
    assert told["result"].endswith("application/geo+json")

    expected = [f"p{k}" for k in range(count)]
    result = json.loads(scene.with_suffix(".geojson").read_text())["features"]
    assert [one["properties"]["id"] for one in result] == expected
    lines = scene.with_suffix(".geojsonl").read_text().splitlines()
    watched = [json.loads(line) for line in lines]
    assert [one["properties"]["id"] for one in watched] == expected
    assert all(len(one["properties"]["text"]) == facts["text"] for one in watched)

    metadata = [("authorization", f"Bearer {TOKEN}")]
    with grpc.insecure_channel(address) as channel:
        operations = operations_pb2_grpc.OperationsStub(channel)
        asked = operations_pb2.GetOperationRequest(name=told["submitted"])
        with pytest.raises(grpc.RpcError) as error:
            operations.GetOperation(asked, metadata=metadata)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        uploads = upload_service_pb2_grpc.UploadServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            uploads.GetUpload(upload_service_pb2.GetUploadRequest(name=upload), metadata=metadata)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_detection_that_fails_says_why(example, address, tmp_path):
    scene = tmp_path / "bad.tif"
    scene.write_text('{"count": 0, "error": "is empty"}')
    told, done = detect(example, address, scene)
    assert done.returncode == 1
    assert told["state"].startswith("OPERATION_STATE_FAILED")
    assert done.stderr.startswith("INVALID_ARGUMENT (SCENE_ERROR): ")
    assert "is empty" in done.stderr
    assert not scene.with_suffix(".geojson").exists()


def test_a_wrong_token_is_refused(example, address, tmp_path):
    scene = tmp_path / "airport.tif"
    scene.write_text('{"count": 1}')
    told, done = detect(example, address, scene, "sparrow")
    assert done.returncode == 1
    assert told == {}
    assert done.stderr.startswith("UNAUTHENTICATED (AUTHENTICATION_ERROR): ")
