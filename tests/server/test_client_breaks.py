"""Both clients go on where a connection or a server broke off."""

import asyncio
import hashlib
import json
import threading
import time
from itertools import pairwise

import pytest

import lanner
from lanner.core.errors import BusyError, Cancelled, SceneError
from server.options import ServeOptions
from server.run import start
from server.uploads import UploadLimits
from tests.fixtures_points import WORK, scenes
from tests.fixtures_relay import relay

__all__ = ["scenes"]


@pytest.fixture(scope="module")
def server(scenes, tmp_path_factory):
    (scenes / "wide.tif").write_text(json.dumps({"count": 3000, "text": 2000}))
    data = tmp_path_factory.mktemp("data")
    server = start(WORK, ServeOptions(port=0, roots=(scenes,), data=data))
    server.data = data
    yield server
    server.stop(0)


def large(path, mega=6):
    path.write_text(json.dumps({"count": 2, "padding": "x" * (mega << 20)}))
    return path


def of_async(address, use):
    """What an async client comes to."""

    async def run():
        async with lanner.AsyncClient(address) as client:
            return await use(client)

    return asyncio.run(run())


def uploaded(server, upload):
    """Checksum of what came of an upload."""
    (path,) = (server.data / "uploads" / upload.name.partition("/")[2] / "file").iterdir()
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_upload_goes_on_after_the_bytes_that_are_there(server, tmp_path, kind):
    path, told = large(tmp_path / "mine.tif", 12), []
    with relay(server.address, ("up", 5 << 20), ("up", 5 << 20)) as broken:
        if kind == "sync":
            with lanner.Client(broken.address) as client:
                upload = client.upload(path, told.append)
        else:
            upload = of_async(broken.address, lambda client: client.upload(path, told.append))
        assert broken.broken == 2
    assert uploaded(server, upload) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert upload.size == path.stat().st_size == told[-1].done
    # What was there was not sent again from the beginning.
    restarts = [b.done for a, b in pairwise(told) if b.done <= a.done]
    assert max(restarts) > 2 << 20


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_result_and_events_that_break_off_are_whole(server, tmp_path, kind):
    with lanner.Client(server.address) as direct:
        operation = direct.submit("wide.tif", "points")
        wanted = list(operation.result(60).features)
    path = tmp_path / "it.geojson"
    cuts = [("down", 3 << 20), ("down", 2 << 20), ("down", 2 << 20)]
    with relay(server.address, *cuts) as broken:
        if kind == "sync":
            with lanner.Client(broken.address) as client:
                found = client.operation(operation.name)
                events = list(found.watch(previews=False))
                features = list(found.result().features)
                found.save(path)
        else:

            async def use(client):
                found = await client.operation(operation.name)
                events = [event async for event in found.watch(previews=False)]
                features = list((await found.result()).features)
                await found.save(path)
                return events, features

            events, features = of_async(broken.address, use)
        assert broken.broken == 3
    assert features == wanted
    assert [text for one in events for text in one.features] == wanted
    assert json.loads(path.read_text())["features"] == [json.loads(text) for text in wanted]


def test_what_the_caller_raises_ends_an_upload(server, tmp_path):
    path = large(tmp_path / "mine.tif")

    def stop(progress):
        raise Cancelled

    with lanner.Client(server.address) as client:
        began = time.monotonic()
        with pytest.raises(Cancelled):
            client.upload(path, stop)
        assert time.monotonic() - began < 5

    async def use(client):
        with pytest.raises(Cancelled):
            await client.upload(path, stop)

    of_async(server.address, use)


def test_a_server_that_is_busy_is_asked_again(scenes, tmp_path):
    path = large(tmp_path / "mine.tif", 1)
    size = path.stat().st_size
    options = ServeOptions(port=0, roots=(scenes,), uploads=UploadLimits(of_client=size + 10))
    server = start(WORK, options)
    try:
        with lanner.Client(server.address, patience=30) as client:
            first, began = client.upload(path), time.monotonic()
            threading.Timer(1.0, client.delete_upload, [first]).start()
            second = client.upload(path)
            # The server says that it is not worth asking again for five seconds.
            assert 5 <= time.monotonic() - began < 20
            assert second.name != first.name
        with lanner.Client(server.address, patience=2) as client, pytest.raises(BusyError):
            client.upload(path)
    finally:
        server.stop(0)


def test_what_is_deleted_cannot_be_used(server, tmp_path):
    path = large(tmp_path / "mine.tif", 1)
    with lanner.Client(server.address) as client:
        upload = client.upload(path)
        client.delete_upload(upload)
        with pytest.raises(lanner.LannerError):
            client.submit(upload, "points")
        with pytest.raises(SceneError):
            client.upload(tmp_path / "none.tif")
