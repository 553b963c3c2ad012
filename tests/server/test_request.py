"""A request is checked before anything is opened, and becomes exactly the job it asks for."""

from dataclasses import replace
from pathlib import Path

import pytest

from lanner.client.messages import spec_of
from lanner.core.errors import (
    ConfigError,
    DeviceNameError,
    GsdError,
    SceneError,
    UnknownDetectorError,
)
from lanner.core.job import DetectRequest
from lanner.core.offers import DetectorOffer, NetworkOffer, from_message, to_message
from lanner.inference.registry import DetectorInfo, NetworkInfo
from lanner.v1 import detection_pb2 as pb
from server.request import to_job
from server.scenes import ScenePolicy
from server.uploads import Uploads

UPLOADS = Uploads(Path("none"))
OFFER = DetectorOffer(
    "aircraft",
    "1.2.0",
    "Finds aircraft.",
    ("aircraft",),
    "objects",
    0.5,
    (0.2, 1.0),
    ("red", "green", "blue"),
    ("merge_seams", "triage"),
    (NetworkOffer("boxes", "retinanet", "ab" * 32), NetworkOffer("masks", "resunet", "cd" * 32)),
)


@pytest.fixture
def scenes(tmp_path: Path) -> ScenePolicy:
    (tmp_path / "a.tif").write_bytes(b"x")
    return ScenePolicy((tmp_path,))


def spec(**changes: object) -> pb.DetectionSpec:
    given = {"device": "auto", "gsd": None, "tile": None, "members": None, **changes}
    return spec_of("a.tif", "aircraft", given.pop("device"), **given)


def test_the_least_request(scenes):
    path = str(scenes.roots[0] / "a.tif")
    assert to_job(spec(), "", scenes, UPLOADS, [OFFER]) == DetectRequest(path, "aircraft")


def test_everything_said_arrives(scenes):
    asked = spec(device="cuda:1", gsd=0.3, tile=256, members=["masks", "boxes", "masks"])
    assert to_job(asked, "", scenes, UPLOADS, [OFFER]) == DetectRequest(
        str(scenes.roots[0] / "a.tif"), "aircraft", 0.3, "cuda:1", 256, ("boxes", "masks")
    )


def test_an_empty_device_is_auto(scenes):
    assert to_job(spec(device=""), "", scenes, UPLOADS, [OFFER]).device == "auto"


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"gsd": 0.0}, GsdError),
        ({"gsd": -1.0}, GsdError),
        ({"gsd": float("nan")}, GsdError),
        ({"gsd": float("inf")}, GsdError),
        ({"device": "gpu"}, DeviceNameError),
        ({"device": "cuda:"}, DeviceNameError),
        ({"device": "cuda:1234"}, DeviceNameError),
        ({"device": "cpu\n"}, DeviceNameError),
        ({"device": "cpu\0"}, DeviceNameError),
        ({"tile": 0}, ConfigError),
        ({"tile": 100}, ConfigError),
        ({"tile": 8192}, ConfigError),
        ({"tile": -64}, ConfigError),
        ({"members": []}, ConfigError),
        ({"members": ["boxes", "none"]}, ConfigError),
    ],
)
def test_what_cannot_be_is_refused(scenes, changes, error):
    with pytest.raises(error):
        to_job(spec(**changes), "", scenes, UPLOADS, [OFFER])


def test_a_misspelt_detector_gets_a_hint(scenes):
    asked = spec()
    asked.detector.name = "aircrafts"
    with pytest.raises(UnknownDetectorError, match="did you mean 'aircraft'"):
        to_job(asked, "", scenes, UPLOADS, [OFFER])


def test_a_path_is_no_detector_even_where_it_exists(scenes, tmp_path):
    (tmp_path / "own.yaml").write_text("name: own")
    asked = spec()
    asked.detector.name = str(tmp_path / "own.yaml")
    with pytest.raises(UnknownDetectorError, match="choose from aircraft"):
        to_job(asked, "", scenes, UPLOADS, [OFFER])


def test_nothing_said_is_refused(scenes):
    with pytest.raises(UnknownDetectorError):
        to_job(pb.DetectionSpec(), "", scenes, UPLOADS, [OFFER])
    with pytest.raises(SceneError, match="is empty"):
        unnamed = pb.DetectionSpec(detector=pb.DetectorChoice(name="aircraft"))
        to_job(unnamed, "", scenes, UPLOADS, [OFFER])


def test_a_scene_that_is_no_unicode_is_refused_by_the_client():
    with pytest.raises(SceneError, match="Unicode"):
        spec_of("a\udcff.tif", "aircraft", "auto", gsd=None, tile=None, members=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"detector": "a\udcff"},
        {"device": "a\udcff"},
        {"members": ["a\udcff"]},
        {"tile": 2**40},
        {"scene": "x" * (5 << 20)},
        {"members": ["x" * 1000] * 5000},
    ],
)
def test_what_cannot_travel_is_refused_by_the_client(changes):
    asked = {"scene": "a.tif", "detector": "a", "device": "auto", **changes}
    rest = {name: changes.get(name) for name in ("gsd", "tile", "members")}
    with pytest.raises(ConfigError, match=r"^request") as caught:
        spec_of(asked["scene"], asked["detector"], asked["device"], **rest)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "offer",
    [
        OFFER,
        replace(OFFER, problem="weights are missing"),
        replace(OFFER, output="raster"),
    ],
    ids=["plain", "problem", "raster"],
)
def test_an_offer_crosses_unchanged(offer):
    raw = to_message(offer).SerializeToString()
    assert from_message(pb.Detector.FromString(raw)) == offer


def test_an_output_of_a_later_release_is_left_empty():
    message = to_message(OFFER)
    message.output = 99
    assert from_message(message).output == ""


def test_the_facts_of_the_pipeline_are_an_offer():
    info = DetectorInfo(
        "aircraft",
        "1.2.0",
        "Finds aircraft.",
        ("aircraft",),
        "objects",
        0.5,
        (0.2, 1.0),
        ("red", "green", "blue"),
        ("boxes", "masks"),
        ("merge_seams", "triage"),
        (NetworkInfo("boxes", "retinanet", "ab" * 32), NetworkInfo("masks", "resunet", "cd" * 32)),
    )
    assert from_message(to_message(info)) == OFFER
