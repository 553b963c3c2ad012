"""`lanner.AsyncClient` does what `lanner.Client` does, for programs that await."""

import asyncio
import socket
import time

import pytest

import lanner
from lanner.core.errors import (
    AuthenticationError,
    Cancelled,
    ConfigError,
    SceneError,
    ServerError,
    UnknownOperationError,
)
from server.options import ServeOptions
from server.run import start
from tests.fixtures_points import WORK, scenes
from tests.server.test_client_operations import server_process

__all__ = ["scenes"]

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def address(scenes):
    server = start(WORK, ServeOptions(port=0, roots=(scenes,), token=TOKEN))
    yield server.address
    server.stop(0)


def awaited(address, use, **options):
    """What `use` comes to with a client."""

    async def run():
        async with lanner.AsyncClient(address, **{"token": TOKEN, **options}) as client:
            return await use(client)

    return asyncio.run(run())


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_it_has_the_methods_of_the_client_that_blocks():
    names = {name for name in vars(lanner.Client) if not name.startswith("_")}
    # A task is cancelled, and with it its call.
    assert names - {"cancel"} <= set(vars(lanner.AsyncClient))


def test_the_same_as_the_client_that_blocks(address, tmp_path):
    with lanner.Client(address, token=TOKEN) as blocking:
        wanted = list(blocking.detect("few.tif", "points").features)
        plan, offers = blocking.plan("few.tif", "points"), blocking.detectors()
    told = []

    async def use(client):
        assert await client.detectors() == offers
        assert await client.plan("few.tif", "points") == plan
        detected = await client.detect("few.tif", "points", on_progress=told.append)
        operation = await client.submit("few.tif", "points", request_id="again")
        again = await client.submit("few.tif", "points", request_id="again")
        assert again.name == operation.name
        assert operation.name in [one.name async for one in client.operations()]
        found = await operation.result(20)
        assert (operation.state, operation.done, operation.attempts) == ("succeeded", True, 1)
        assert (await client.operation(operation.name)).done
        await operation.save(tmp_path / "it.geojson")
        with pytest.raises(ConfigError):
            await operation.save(tmp_path / "it.docx")
        await operation.delete()
        with pytest.raises(UnknownOperationError):
            await operation.refresh()
        return detected, found

    detected, found = awaited(address, use)
    assert list(detected.features) == list(found.features) == wanted
    assert told and found.summary == {"counts": 3}
    assert (tmp_path / "it.geojson").read_text().count('"Feature"') == 3
    assert not (tmp_path / "it.docx").exists()


def test_a_scene_of_ones_own(address, tmp_path):
    path = tmp_path / "mine.tif"
    path.write_text('{"count": 2, "padding": "' + "x" * (3 << 20) + '"}')

    async def use(client):
        upload = await client.upload(path)
        found = await client.detect(upload, "points")
        await client.delete_upload(upload)
        with pytest.raises(lanner.LannerError):
            await client.plan(upload, "points")
        with pytest.raises(SceneError):
            await client.upload(tmp_path / "none.tif")
        return found

    assert len(awaited(address, use).features) == 2


def test_errors_keep_their_class(address):
    async def use(client):
        with pytest.raises(SceneError, match="is empty"):
            await (await client.submit("bad.tif", "points")).result(20)
        with pytest.raises(SceneError, match=r"gone\.tif"):
            await client.detect("gone.tif", "points")
        return client

    closed = awaited(address, use)
    with pytest.raises(ServerError, match="is closed"):
        asyncio.run(closed.detectors())

    async def unknown(client):
        with pytest.raises(AuthenticationError):
            await client.detectors()

    awaited(address, unknown, token=None)

    async def away(client):
        with pytest.raises(ServerError, match="cannot be reached"):
            await client.submit("few.tif", "points")

    began = time.monotonic()
    awaited(f"127.0.0.1:{free_port()}", away, patience=1.0)
    assert 0.3 < time.monotonic() - began < 10


def test_many_at_once_and_an_end(address):
    async def use(client):
        few = [client.detect("few.tif", "points") for _ in range(5)]
        assert [len(one) for one in await asyncio.gather(*few)] == [3] * 5
        operation = await client.submit("slow.tif", "points")
        told = []
        waiting = asyncio.create_task(operation.wait(20, told.append))
        while not any(progress.done for progress in told):
            await asyncio.sleep(0.05)
        await operation.cancel()
        await asyncio.wait_for(waiting, 10)
        assert operation.state == "cancelled"
        with pytest.raises(Cancelled):
            await operation.result()
        with pytest.raises(ServerError, match="timeout"):
            await (await client.submit("slow.tif", "points")).wait(0.3)
        # A call whose task is cancelled ends at the server, too: there would be no turn left.
        for _ in range(4):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.detect("slow.tif", "points")
        async for one in client.operations():
            await one.delete()
        async with asyncio.timeout(10):
            await client.detect("few.tif", "points")

    awaited(address, use)


def test_a_watch_goes_on_when_its_server_is_back(scenes, tmp_path):
    (scenes / "awaited.tif").write_text('{"count": 30, "each_s": 0.05}')
    port, data = free_port(), tmp_path / "data"

    async def use(client):
        with server_process(scenes, data, port) as process:
            operation = await client.submit("awaited.tif", "points")
            events = operation.watch()
            first = await anext(events)
            process.kill()
            process.wait()
        with server_process(scenes, data, port):
            rest = [event async for event in events]
            return first, rest, list((await operation.result()).features)

    first, rest, wanted = awaited(f"127.0.0.1:{port}", use, token=None)
    texts = [text for event in rest if event.kind == "features" for text in event.features]
    assert first.kind == "progress" and rest[-1].kind == "done"
    assert texts == wanted and len(texts) == 30
