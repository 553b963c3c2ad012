"""A real server on loopback, our client, and one that knows nothing but reflection."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
import rasterio
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from rasterio.transform import from_origin

import lanner
from lanner.core.errors import TABLE, Cancelled, LannerError, SceneError, ServerError, WeightsError
from lanner.core.home import home
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress
from lanner.core.offers import DetectorOffer, NetworkOffer
from server.options import ServeOptions
from server.run import RunningServer, start
from server.services import SERVICE
from server.work import Work

SIDE = (250, 200)
DIGEST = "0f" * 32


def offer(name: str) -> DetectorOffer:
    return DetectorOffer(
        name,
        "1.0.0",
        f"{name} pixels",
        ("bright",),
        "objects",
        1.0,
        (0.5, 2.0),
        ("red",),
        ("count",),
        (NetworkOffer("eye", "resunet", DIGEST),),
        "weights are missing",
    )


def bright(scene: str, ring: int) -> Iterator[str]:
    """One feature a bright pixel, its outline `ring` corners long."""
    with rasterio.open(scene) as data:
        for y, x in np.argwhere(data.read(1) > 0).tolist():
            west = data.bounds.left + x * data.res[0]
            north = data.bounds.top - y * data.res[1]
            corners = [[west, north]] * ring
            yield json.dumps(
                {
                    "type": "Feature",
                    "id": f"{x}-{y}",
                    "geometry": {"type": "Polygon", "coordinates": [corners]},
                    "properties": {
                        "label": "bright",
                        "confidence": x / 1000,
                        "decision": "accept",
                        "note": "piste d’été 飛",
                    },
                },
                ensure_ascii=False,
            )


class Asked:
    """What the detection saw, and what it is to raise."""

    requests: list[DetectRequest]
    error: BaseException | None

    def __init__(self) -> None:
        self.requests, self.error, self.count = [], None, 0


@pytest.fixture(scope="module")
def asked() -> Asked:
    return Asked()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    for name, (height, width) in (("all.tif", SIDE), ("one.tif", (1, 1))):
        with rasterio.open(
            root / name,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=1,
            dtype="uint8",
            crs="EPSG:4326",
            transform=from_origin(7, 50, 1e-5, 1e-5),
        ) as out:
            out.write(np.full((height, width), 9, np.uint8), 1)
    return root


@pytest.fixture(scope="module")
def running(folder: Path, asked: Asked) -> Iterator[RunningServer]:
    class Counted(tuple[str, ...]):
        def __iter__(self) -> Iterator[str]:
            for text in super().__iter__():
                asked.count += 1
                yield text

    def detect(
        request: DetectRequest, cancel: Cancel, progress: Callable[[Progress], None]
    ) -> DetectResult:
        asked.requests.append(request)
        if asked.error is not None:
            raise asked.error
        ring = {"bright": 5, "huge": 500_000, "wide": 9}[request.detector]
        progress(Progress("tiles", 0, 1))
        texts = list(bright(request.scene, ring))
        if request.detector == "wide":
            texts = [text + " " * (1 << 20) for text in texts] * 200
        progress(Progress("tiles", 1, 1))
        return DetectResult(Counted(texts), {"count": len(texts), "scène": "é"}, None)

    server = start(
        Work(detect, lambda: [offer("wide"), offer("bright"), offer("huge")]),
        ServeOptions(port=0, roots=(folder,)),
    )
    yield server
    server.stop(0)


@pytest.fixture
def client(running: RunningServer, asked: Asked) -> Iterator[lanner.Client]:
    asked.error = None
    asked.requests.clear()
    with lanner.Client(running.address) as one:
        yield one


class Stranger:
    """A client made from reflection alone, with gRPC's default limits."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        self.service = self.pool.FindServiceByName(SERVICE)

    def call(self, name: str, request: dict[str, object], **options: object):
        method = self.service.methods_by_name[name]
        send, receive = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        rpc = make(f"/{SERVICE}/{name}", send.SerializeToString, receive.FromString)
        return rpc(send(**request), **options)

    def detect(self, detector: str, scene: str = "all.tif"):
        return self.call(
            "Detect", {"spec": {"scene": {"uri": scene}, "detector": {"name": detector}}}
        )


@pytest.fixture
def stranger(running: RunningServer, asked: Asked) -> Iterator[Stranger]:
    asked.error = None
    one = Stranger(running.address)
    yield one
    one.channel.close()


def test_detectors_are_listed_by_name_with_all_that_is_known(client):
    assert client.detectors() == (offer("bright"), offer("huge"), offer("wide"))


def test_fifty_thousand_features_arrive_as_they_were_made(client, folder):
    events: list[Progress] = []
    found = client.detect("all.tif", "bright", on_progress=events.append)
    assert len(found.features) == 50_000
    assert list(found.features) == list(bright(str(folder / "all.tif"), 5))
    assert found.summary == {"count": 50_000, "scène": "é"}
    assert events[-1] == Progress("tiles", 1, 1)


def test_one_feature_of_six_megabytes_arrives_whole(client, folder):
    (text,) = client.detect("one.tif", "huge").features
    assert len(text.encode()) > 6_000_000
    assert [text] == list(bright(str(folder / "one.tif"), 500_000))


def test_what_is_asked_for_reaches_the_detection(client, asked, folder):
    client.detect(folder / "one.tif", "bright", gsd=0.7, device="cpu", tile=128, members=["eye"])
    client.detect(folder / "one.tif", "bright", gsd=0.7, device="cpu", tile=128, members="eye")
    path = str((folder / "one.tif").resolve())
    assert asked.requests == [DetectRequest(path, "bright", 0.7, "cpu", 128, ("eye",))] * 2


def test_two_clients_of_one_server_get_the_same(client, running):
    with lanner.Client(running.address) as other:
        results = []
        threads = [
            threading.Thread(target=lambda c=c: results.append(c.detect("one.tif", "huge")))
            for c in (client, client, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(results) == 3
    assert results[0] == results[1] == results[2]


def test_a_stranger_reads_it_all_within_the_default_limits(stranger, folder):
    events = list(stranger.detect("bright"))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "progress"
    assert kinds[-1] == "summary"
    features = [one for event in events for one in event.features.features]
    assert [one.geojson for one in features] == list(bright(str(folder / "all.tif"), 5))
    assert max(event.ByteSize() for event in events) <= 1.1 * 2**20
    last = features[-1]
    assert (last.id, last.label, last.confidence, last.decision) == ("199-249", "bright", 0.199, 1)
    assert events[-1].summary.feature_count == 50_000


def test_a_stranger_joins_the_pieces_of_a_large_feature(stranger, folder):
    events = list(stranger.detect("huge", "one.tif"))
    chunks = [event.chunk for event in events if event.WhichOneof("event") == "chunk"]
    assert len(chunks) == 7
    assert chunks[0].header.id == "0-0"
    text = b"".join(chunk.part for chunk in chunks).decode()
    assert [text] == list(bright(str(folder / "one.tif"), 500_000))


def test_a_slow_reader_does_not_make_the_server_hold_more(stranger, asked):
    asked.count = 0
    events = iter(stranger.detect("wide", "one.tif"))
    while next(events).WhichOneof("event") == "progress":
        pass
    time.sleep(1)
    ahead = asked.count
    assert 0 < ahead < 20
    assert sum(len(event.features.features) for event in events) == 199
    assert asked.count == 200


def test_a_list_of_strangers_is_the_same_list(stranger):
    answer = stranger.call("ListDetectors", {})
    assert [one.name for one in answer.detectors] == ["bright", "huge", "wide"]
    assert answer.detectors[0].members[0].weights_sha256 == DIGEST


@pytest.mark.parametrize("kind", sorted(TABLE, key=lambda kind: kind.__name__))
def test_every_error_arrives_as_itself(client, asked, kind):
    raised = Cancelled() if kind is Cancelled else kind("--x", "é" * 9, "is wrong", "do right")
    asked.error = raised
    with pytest.raises(LannerError) as caught:
        client.detect("one.tif", "bright")
    assert type(caught.value) is kind
    if kind is not Cancelled:  # which has other words for a request
        assert str(caught.value) == str(raised)
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert caught.value.__cause__.code() is grpc.StatusCode[TABLE[kind].grpc]


def test_a_stranger_sees_the_status_and_the_words(stranger, asked):
    asked.error = SceneError("scene", "x.tif", "is torn", "send another")
    with pytest.raises(grpc.RpcError) as caught:
        list(stranger.detect("bright", "one.tif"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "scene 'x.tif': is torn; send another"


def test_the_longest_error_passes_the_metadata_limit(client, asked):
    asked.error = SceneError(*["飛" * 5000] * 4)
    with pytest.raises(SceneError, match="飛…"):
        client.detect("one.tif", "bright")


def test_the_server_does_not_tell_where_its_folders_are(client, asked, folder):
    path = str((folder / "one.tif").resolve())
    asked.error = SceneError("scene", path, f"{path} is torn", "send another")
    with pytest.raises(SceneError) as caught:
        client.detect("one.tif", "bright")
    assert str(caught.value) == "scene 'one.tif': one.tif is torn; send another"


def test_the_server_does_not_tell_where_its_weights_are(client, asked, folder):
    where = home() / "weights" / "x" / "card.json"
    asked.error = WeightsError("weights", where, f"cannot be read ({where})", "fetch it")
    with pytest.raises(WeightsError) as caught:
        client.detect("one.tif", "bright")
    assert str(home()) not in str(caught.value)
    assert caught.value.value == "LANNER_HOME/weights/x/card.json"


def test_nor_in_the_list_of_detectors(folder):
    broken = replace(offer("a"), problem=f"weights '{home()}/weights/a': has no card.json")
    server = start(
        Work(lambda *_: DetectResult((), {}, None), lambda: [broken]),
        ServeOptions(port=0, roots=(folder,)),
    )
    with lanner.Client(server.address) as one:
        (listed,) = one.detectors()
    server.stop(0)
    assert listed.problem == "weights 'LANNER_HOME/weights/a': has no card.json"


@pytest.mark.parametrize("error", [ValueError("password is hunter2"), KeyError("x"), MemoryError()])
def test_what_nobody_foresaw_is_logged_under_an_id_and_not_told(client, asked, caplog, error):
    asked.error = error
    with caplog.at_level(logging.ERROR, "lanner.server"), pytest.raises(ServerError) as caught:
        client.detect("one.tif", "bright")
    assert caught.value.__cause__.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(caught.value.__cause__)
    (record,) = caplog.records
    assert caught.value.value == record.fields["id"]
    assert record.exc_info[1] is error


def test_each_call_leaves_one_line_in_the_log(client, caplog):
    with caplog.at_level(logging.INFO, "lanner.server"):
        client.detect("one.tif", "bright")
        with pytest.raises(SceneError):
            client.detect("../one.tif", "bright")
        client.detectors()
        deadline = time.monotonic() + 10
        while not any(one.fields["method"] == "ListDetectors" for one in caplog.records):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    # A line is written after the answer has gone: one of the test before may come first.
    lines = [record.fields for record in caplog.records][-3:]
    assert [(one["method"], one["code"]) for one in lines] == [
        ("Detect", "OK"),
        ("Detect", "INVALID_ARGUMENT"),
        ("ListDetectors", "OK"),
    ]
    assert lines[0]["scene"] == "one.tif"
    assert lines[0]["features"] == 1
    assert lines[1]["scene"] == "../one.tif"


def test_a_signature_in_an_address_is_not_logged(client, caplog):
    with caplog.at_level(logging.INFO, "lanner.server"):
        with pytest.raises(SceneError):
            client.detect("https://h/a.tif?signature=s3cret", "bright")
        deadline = time.monotonic() + 10
        while not any(one.fields.get("scene") == "https://h/a.tif" for one in caplog.records):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not any("s3cret" in str(one.fields) for one in caplog.records)


def test_an_error_of_the_caller_cancels_and_comes_through(client):
    def fail(progress: Progress) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        client.detect("one.tif", "bright", on_progress=fail)
    assert len(client.detect("one.tif", "bright").features) == 1
