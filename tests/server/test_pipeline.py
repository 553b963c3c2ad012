"""The real pipeline behind the real server gives what the command line gives, byte for byte."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import lanner
from lanner.core.errors import (
    DeviceError,
    DeviceNameError,
    GsdError,
    LannerError,
    OutputError,
    SceneError,
)

ROOT = Path(__file__).resolve().parents[2]
LANNER = [sys.executable, "-m", "lanner"]


@pytest.fixture(scope="module")
def environment(tiny_home: Path) -> dict[str, str]:
    # Two small processes: threads of their networks would only wait for one another.
    return {
        **os.environ,
        "LANNER_HOME": str(tiny_home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, pictures) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    pixels = pictures.texture(60, 60)  # one tile
    pictures.write_tif(folder / "town.tif", pixels)
    pictures.write_tif(folder / "nowhere.tif", pixels, crs=None)
    (folder / "torn.tif").write_bytes((folder / "town.tif").read_bytes()[:40])
    return folder


@pytest.fixture(scope="module")
def address(environment: dict[str, str], scenes: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [*LANNER, "serve", "--port", "0", "--root", str(scenes)],
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
        cwd=scenes,
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    yield next(line for line in lines if line.startswith("serving on")).split()[-1]
    drain = threading.Thread(target=process.stderr.read)
    drain.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    drain.join()


@pytest.fixture
def client(address: str) -> Iterator[lanner.Client]:
    with lanner.Client(address) as one:
        yield one


def command(environment: dict[str, str], *arguments: object) -> str:
    done = subprocess.run(
        [*LANNER, *map(str, arguments)],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_of_the_client_is_the_file_of_the_command_line(
    client, environment, scenes, tmp_path
):
    command(
        environment,
        "detect",
        scenes / "town.tif",
        "-d",
        "tiny",
        "-o",
        tmp_path / "a.geojson",
        "--device",
        "cpu",
        "--quiet",
    )
    result = client.detect("town.tif", "tiny", device="cpu")
    assert len(result.features) > 0
    assert result.to_file(tmp_path / "b.geojson") == tmp_path / "b.geojson"
    assert (tmp_path / "b.geojson").read_bytes() == (tmp_path / "a.geojson").read_bytes()
    assert json.loads((tmp_path / "b.geojson").read_text())["type"] == "FeatureCollection"


def test_scene_pixels_are_not_written_as_geojson(client, tmp_path):
    result = client.detect("nowhere.tif", "tiny", gsd=1.0, device="cpu")
    assert len(result.features) > 0
    with pytest.raises(OutputError, match="no CRS"):
        result.to_file(tmp_path / "b.geojson")


def test_nothing_found_without_a_place_is_the_same_file_too(client, environment, scenes, tmp_path):
    words = ("-d", "tinyroads", "--gsd", 1, "--device", "cpu", "--quiet", "-o", tmp_path / "a.json")
    command(environment, "detect", scenes / "nowhere.tif", *words)
    result = client.detect("nowhere.tif", "tinyroads", gsd=1.0, device="cpu")
    assert result.features == ()
    result.to_file(tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    with pytest.raises(OutputError, match="no CRS"):
        result.to_file(tmp_path / "b.geojson")


def test_the_list_of_the_client_is_that_of_the_command_line(client, environment):
    listed = json.loads(command(environment, "detectors", "--json"))
    offers = client.detectors()
    assert [one.name for one in offers] == [one["name"] for one in listed] == ["tiny", "tinyroads"]
    for offer, one in zip(offers, listed, strict=True):
        assert [network.weights_sha256 for network in offer.networks] == [
            network["weights_sha256"] for network in one["networks"]
        ]
        assert list(offer.steps) == one["steps"]
        assert offer.output == one["output"]


def test_errors_of_the_pipeline_arrive_as_they_are(client):
    with pytest.raises(SceneError) as caught:
        client.detect("torn.tif", "tiny")
    assert "torn.tif" in str(caught.value)
    with pytest.raises(GsdError, match=r"^gsd '40\.0'.*correct `gsd`") as caught:
        client.detect("town.tif", "tiny", gsd=40.0)
    assert status(caught.value) == ("OUT_OF_RANGE", "gsd_m '40.0'")


def status(error: LannerError) -> tuple[str, str]:
    """What any client is told: the status, and the argument and value in the message."""
    call = error.__cause__
    assert isinstance(call, grpc.Call)
    assert "--" not in call.details()
    return call.code().name, call.details().partition(":")[0]


def test_a_device_that_is_none_or_not_there_is_not_one_to_ask_for_again(client):
    with pytest.raises(DeviceNameError) as caught:
        client.detect("town.tif", "tiny", device="gpu")
    assert status(caught.value) == ("INVALID_ARGUMENT", "device 'gpu'")
    with pytest.raises(DeviceError) as caught:
        client.detect("town.tif", "tiny", device="cuda:77")
    assert type(caught.value) is DeviceError
    assert status(caught.value)[0] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tile": 64}, "INVALID_ARGUMENT"),
        ({"tile": 100}, "INVALID_ARGUMENT"),
        ({"members": ["nose"]}, "INVALID_ARGUMENT"),
        ({"gsd": -1.0}, "OUT_OF_RANGE"),
        ({"detector": ""}, "NOT_FOUND"),
        ({"detector": "a\0b"}, "NOT_FOUND"),
        ({"scene": "nowhere.tif"}, "INVALID_ARGUMENT"),
        ({"scene": ""}, "INVALID_ARGUMENT"),
        ({"scene": "town.tif\0"}, "INVALID_ARGUMENT"),
        ({"scene": "/etc/passwd"}, "INVALID_ARGUMENT"),
        ({"scene": "../scenes.tif"}, "INVALID_ARGUMENT"),
        ({"scene": "http://127.0.0.1/a.tif"}, "INVALID_ARGUMENT"),
    ],
)
def test_no_message_names_an_option_or_a_folder_of_the_server(client, scenes, changes, code):
    asked = {"scene": "town.tif", "detector": "tiny", "device": "cpu", **changes}
    scene, detector = asked.pop("scene"), asked.pop("detector")
    with pytest.raises(LannerError) as caught:
        client.detect(scene, detector, **asked)
    assert status(caught.value)[0] == code
    for text in (caught.value.__cause__.details(), str(caught.value)):
        assert str(scenes.parent) not in text
        assert "\n" not in text and "\0" not in text
