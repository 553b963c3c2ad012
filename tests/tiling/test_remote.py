"""Scenes over HTTP and S3, from a small real server that answers ranges."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from lanner.core.config import Normalise
from lanner.core.errors import SceneError
from tiling import relay
from tiling.access import keep_open, opened
from tiling.grid import Box, TilePlan
from tiling.normalise import scene_stretch
from tiling.reader import TileReader
from tiling.relay import _pump, allow_hosts
from tiling.sample import GridSampler
from tiling.scene import open_scene

RGB = ("red", "green", "blue")


@dataclass
class Server:
    """What was asked of the server, and how it is told to behave."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    fail: int = 0
    cut: int | None = None
    leads: dict[str, str] = field(default_factory=dict)
    lies: bool = False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as state:
        yield state


@contextmanager
def serving(tmp_path: Path) -> Iterator[Server]:
    """A server of the files of a folder; `leads` are paths that it redirects.

    If it `lies`, it answers once as asked and redirects from then on.
    """
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            state.asked.append(f"{self.command} {self.path}")
            path = tmp_path / self.path.split("?")[0].lstrip("/")
            to = state.leads.get(self.path.split("?")[0])
            if to is not None and not (state.lies and len(state.asked) < 2):
                self.send_response(302)
                self.send_header("Location", to)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif state.fail > 0 and body:
                state.fail -= 1
                self.plain(503)
            elif not path.is_file():
                self.plain(404)
            else:
                self.file(path.read_bytes(), body)

        def plain(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def file(self, data: bytes, body: bool) -> None:
            wanted = self.headers.get("Range")
            first, last = 0, len(data) - 1
            if wanted:
                a, b = wanted.removeprefix("bytes=").split("-")
                first, last = int(a), min(int(b or last), last)
            if state.cut is not None and first >= state.cut:
                self.plain(404)
                return
            part = data[first : last + 1]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Accept-Ranges", "bytes")
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            if body:
                state.sent += len(part)
                self.wfile.write(part)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def cog(path: Path, side: int = 2048, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 60000, (3, side, side), dtype=np.uint16)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=side,
        height=side,
        count=3,
        dtype="uint16",
        crs="EPSG:32633",
        transform=Affine(0.5, 0, 5e5, 0, -0.5, 5e6),
        compress="deflate",
        blocksize=256,
    ) as file:
        file.write(pixels)
    return path


def test_a_few_bytes_of_a_cog_are_read(server: Server, tmp_path: Path) -> None:
    path = cog(tmp_path / "a.tif")
    scene = open_scene(f"{server.url}/a.tif")
    size = path.stat().st_size
    assert server.sent < size / 50
    assert (scene.id, scene.width, scene.bands, scene.overviews) == ("a", 2048, RGB, (2, 4, 8))
    with GridSampler(scene, scene.grid(0.5), RGB) as sampler:
        raw, valid = sampler.read(Box(300, 300, 500, 500))
    assert server.sent < size / 20
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(raw, file.read()[:, 300:500, 300:500])
    assert valid.all()
    # A deep reduction reads the small copy, not the scene.
    before = server.sent
    with GridSampler(scene, scene.grid(16.0), RGB) as sampler:
        sampler.read(Box(0, 0, 64, 64))
    assert server.sent - before < size / 8
    assert {name.split()[1] for name in server.asked} == {"/a.tif"}  # no guess at sidecars


def test_remote_and_local_are_the_same_scene(server: Server, tmp_path: Path) -> None:
    path = cog(tmp_path / "b.tif", 600)
    images = []
    for uri in (str(path), f"{server.url}/b.tif?token=1%2F2"):
        scene = open_scene(uri)
        plan = TilePlan(scene.grid(0.8), 128, 16)
        stretch = scene_stretch(scene, RGB, Normalise())
        images.append(
            b"".join(
                i.pixels.tobytes() for i in TileReader(scene, plan, RGB, stretch, 3).tiles(range(9))
            )
        )
    assert images[0] == images[1]


def test_a_scene_that_is_kept_open_is_fetched_once(server: Server, tmp_path: Path) -> None:
    path = cog(tmp_path / "f.tif", 1024)
    uri = f"{server.url}/f.tif"
    scene = open_scene(uri)
    boxes = [Box(x, y, x + 300, y + 300) for y in (0, 200, 400) for x in (0, 200, 400)]
    with rasterio.open(path) as file:
        true = file.read()

    def read(sampler: GridSampler) -> bool:
        pixels = [sampler.read(box)[0] for box in boxes]
        return all(
            np.array_equal(one, true[:, box.y0 : box.y1, box.x0 : box.x1])
            for one, box in zip(pixels, boxes, strict=True)
        )

    with ThreadPoolExecutor(8) as pool, keep_open(uri):
        scene_stretch(scene, RGB, Normalise())
        with opened(uri) as first:
            blocks = path.stat().st_size
            # Readers of one thread may nest; those of others wait for their turn.
            with GridSampler(scene, scene.grid(0.5), RGB) as sampler:
                assert read(sampler)
            waiting = pool.submit(lambda: read(GridSampler(scene, scene.grid(0.5), RGB)))
            assert first.read(1, window=((0, 9), (0, 9))).shape == (9, 9)
        assert waiting.result()
        samplers = [GridSampler(scene, scene.grid(0.5), RGB) for _ in range(8)]
        assert all(pool.map(read, samplers))
        assert not first.closed
        with keep_open(uri):
            pass
        assert not first.closed
        assert server.sent < blocks
    assert first.closed
    with opened(uri) as again:
        assert again is not first


def test_the_remote_checksum_follows_the_content(server: Server, tmp_path: Path) -> None:
    sums = []
    for name, seed in (("c.tif", 0), ("d.tif", 0), ("e.tif", 1)):
        path = cog(tmp_path / name, 1500, seed)
        before = server.sent
        sums.append(open_scene(f"{server.url}/{name}").sha256())
        assert server.sent - before < path.stat().st_size
    assert sums[0] == sums[1] != sums[2]


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    cog(tmp_path / "f.tif", 300)
    server.fail = 1
    assert open_scene(f"{server.url}/f.tif").width == 300
    assert server.fail == 0


def test_a_server_that_stops_is_an_error_and_not_zeros(server: Server, tmp_path: Path) -> None:
    path = cog(tmp_path / "g.tif")
    scene = open_scene(f"{server.url}/g.tif?signature=s3cret")
    server.cut = path.stat().st_size // 2
    plan = TilePlan(scene.grid(0.5), 256, 0)
    reader = TileReader(scene, plan, RGB, scene_stretch_flat(), 2)
    with pytest.raises(SceneError, match=r"g\.tif.*: tile \d+: cannot be read") as caught:
        list(reader.tiles(range(len(plan))))
    assert "s3cret" not in str(caught.value)


def scene_stretch_flat():  # type: ignore[no-untyped-def]
    from tiling.normalise import Stretch

    return Stretch((0.0,) * 3, (60000.0,) * 3)


def test_what_is_not_there_or_no_raster(server: Server, tmp_path: Path) -> None:
    (tmp_path / "page.tif").write_text("<html>please log in</html>")
    (tmp_path / "x.vrt").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    for name in ("gone.tif", "page.tif", "x.vrt"):
        with pytest.raises(SceneError, match=rf"{name}.*cannot be opened") as caught:
            open_scene(f"{server.url}/{name}?signature=s3cret")
        assert "s3cret" not in str(caught.value)
        assert caught.value.remedy.startswith("see that its address answers")


def test_capitals_in_the_kind_of_address_say_nothing(server: Server, tmp_path: Path) -> None:
    cog(tmp_path / "K.tif", 300)
    assert open_scene(server.url.replace("http", "HTTP") + "/K.tif?x=1").id == "K"


def test_an_address_may_be_given_as_people_read_it(server: Server, tmp_path: Path) -> None:
    cog(tmp_path / "old%20air%C3%BCport.tif", 300)  # as it travels; this server takes it literally
    for name in ("old airüport.tif", "old%20air%C3%BCport.tif"):
        assert open_scene(f"{server.url}/{name}?x=a b").id == "old airüport"
    with pytest.raises(SceneError) as caught:
        open_scene(f"{server.url}/gone.tif?signature=s3cret word")
    assert "s3cret" not in str(caught.value)


def test_a_remote_scene_beside_a_local_one_leaves_its_sidecar_alone(
    server: Server, tmp_path: Path
) -> None:
    """GDAL settings of the main thread reach every thread that has none of its own."""
    cog(tmp_path / "i.tif", 300)
    local = tmp_path / "local.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(
            local,
            "w",
            driver="GTiff",
            width=64,
            height=64,
            count=3,
            dtype="uint8",
            crs="EPSG:32633",
            transform=Affine(1, 0, 5e5, 0, -1, 5e6),
        ) as file,
    ):
        file.write(np.full((3, 64, 64), 9, np.uint8))
        file.write_mask(np.zeros((64, 64), bool))
    scene = open_scene(local, gsd=1.0)
    plan = TilePlan(scene.grid(1.0), 64, 0)
    with opened(f"{server.url}/i.tif"):
        image = next(TileReader(scene, plan, RGB, scene_stretch_flat(), 1).tiles([0]))
    assert image.empty


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Server]:
    """Another server of the same machine, at a port that nobody named."""
    (tmp_path / "inner").mkdir()
    with serving(tmp_path / "inner") as state:
        yield state


@pytest.fixture(autouse=True)
def _rules_are_forgotten() -> Iterator[None]:
    yield
    allow_hosts(())


REFUSED = r"it redirects to .*; give the address that it leads to"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
def test_a_redirect_to_a_server_of_this_network_is_not_followed(
    server: Server, other: Server, tmp_path: Path, name: str
) -> None:
    cog(tmp_path / "inner" / "a.tif", 300)
    server.leads["/a.tif"] = other.url.replace("127.0.0.1", name) + "/a.tif"
    with pytest.raises(SceneError, match=REFUSED) as caught:
        open_scene(f"{server.url}/a.tif?signature=s3cret")
    assert not other.asked and server.asked
    assert "s3cret" not in str(caught.value)


def test_where_strangers_name_scenes_private_addresses_must_be_listed(
    server: Server, tmp_path: Path
) -> None:
    path = cog(tmp_path / "scene.tif")
    address = f"{server.url}/{path.name}"
    port = int(server.url.rsplit(":", 1)[1])
    for names in ((), ("example.org",)):
        allow_hosts(names, only_public=True)
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(SceneError, match="no public address"):
                # GDAL remembers of an address that it could not be read.
                open_scene(f"{address.replace('127.0.0.1', host)}?{len(names)}")
            assert not server.asked
    allow_hosts((f"127.0.0.1:{port}",), only_public=True)
    assert open_scene(address).width == 2048


def test_nor_later_on(server: Server, other: Server, tmp_path: Path) -> None:
    """A server may answer well until it is trusted."""
    cog(tmp_path / "b.tif")
    cog(tmp_path / "inner" / "b.tif", seed=1)
    server.leads["/b.tif"] = f"{other.url}/b.tif"
    server.lies = True
    with pytest.raises(SceneError):
        scene = open_scene(f"{server.url}/b.tif")
        with GridSampler(scene, scene.grid(0.5), RGB) as sampler:
            sampler.read(Box(0, 0, 2048, 2048))
    assert not other.asked


def test_nor_over_several_hops(server: Server, other: Server, tmp_path: Path) -> None:
    cog(tmp_path / "inner" / "c.tif", 300)
    server.leads |= {
        "/c.tif": "/hop",
        "/hop": f"{server.url}/again",
        "/again": f"{other.url}/c.tif",
    }
    with pytest.raises(SceneError, match=REFUSED):
        open_scene(f"{server.url}/c.tif")
    assert not other.asked and server.asked[-1].endswith("/again")


def test_nor_to_another_kind_of_address(server: Server, other: Server, tmp_path: Path) -> None:
    cog(tmp_path / "d.tif", 300)
    port = other.url.rpartition(":")[2]
    for to in (f"file://{tmp_path}/d.tif", f"ftp://127.0.0.1:{port}/d.tif", "gopher://127.0.0.1/"):
        server.leads["/d.tif"] = to
        with pytest.raises(SceneError, match=r"d\.tif"):
            open_scene(f"{server.url}/d.tif?{to[:4]}")
    assert not other.asked


def test_a_redirect_on_the_same_server_is_followed(server: Server, tmp_path: Path) -> None:
    cog(tmp_path / "e.tif", 300)
    server.leads["/moved.tif"] = "/e.tif"
    assert open_scene(f"{server.url}/moved.tif").width == 300


def test_a_redirect_to_a_host_that_is_allowed_is_followed(
    server: Server, other: Server, tmp_path: Path
) -> None:
    path = cog(tmp_path / "inner" / "f.tif", 300)
    server.leads["/f.tif"] = f"{other.url}/f.tif"
    allow_hosts(["data.example.org", other.url.removeprefix("http://")])
    scene = open_scene(f"{server.url}/f.tif")
    with GridSampler(scene, scene.grid(0.5), RGB) as sampler:
        raw, _ = sampler.read(Box(0, 0, 300, 300))
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(raw, file.read())
    # Where hosts are listed, a public one that is none of them is not asked either.
    server.leads["/g.tif"] = "http://192.0.2.1/g.tif"
    with pytest.raises(SceneError, match="none of the hosts that are allowed"):
        open_scene(f"{server.url}/g.tif")


def test_no_proxy_is_no_way_around(
    server: Server, other: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: the environment is read when the first remote scene is."""
    cog(tmp_path / "inner" / "h.tif", 300)
    server.leads["/h.tif"] = f"{other.url}/h.tif"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    code = "import json, sys; sys.path[:0] = json.loads(sys.argv[2])\n"
    code += "from tiling.scene import open_scene; open_scene(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, f"{server.url}/h.tif", json.dumps(sys.path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "it redirects to" in done.stderr and server.asked and not other.asked


def test_a_proxy_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cog(tmp_path / "i.tif", 300)
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def serve() -> None:
            while True:
                try:
                    client, _ = proxy.accept()
                except OSError:
                    return
                head = client.recv(4096)
                asked.append(head)
                host, port = head.split()[1].decode().split(":")
                far = socket.create_connection((host, int(port)))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=_pump, args=(client, far), daemon=True).start()
                threading.Thread(target=_pump, args=(far, client), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        where = f"http://user:p%40ss@127.0.0.1:{proxy.getsockname()[1]}"
        code = "import json, sys; sys.path[:0] = json.loads(sys.argv[2])\n"
        code += "from tiling.scene import open_scene; print(open_scene(sys.argv[1]).width)"
        env = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
        done = subprocess.run(
            [sys.executable, "-c", code, f"{server.url}/i.tif", json.dumps(sys.path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=env | {"http_proxy": where},
        )
    assert done.stdout.strip() == "300", done.stderr
    assert asked and asked[0].startswith(b"CONNECT 127.0.0.1:")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:p@ss") in asked[0]


def test_nobody_else_goes_through_the_relay(server: Server, tmp_path: Path) -> None:
    cog(tmp_path / "j.tif", 300)
    open_scene(f"{server.url}/j.tif")
    given = relay.options(server.url)
    port = int(given["GDAL_HTTP_PROXY"].rpartition(":")[2])
    for password in (b"", b"x" * 32):
        with socket.create_connection(("127.0.0.1", port), 10) as caller:
            caller.sendall(b"\x05\x01\x02")
            assert caller.recv(2) == b"\x05\x02"
            caller.sendall(b"\x01\x01a" + bytes([len(password)]) + password)
            assert caller.recv(2) == b"\x01\x01" and caller.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), 10) as caller:
        caller.sendall(b"\x05\x01\x00")  # without a password
        assert caller.recv(1) == b""


def test_s3_through_gdal(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cog(tmp_path / "bucket" / "h.tif", 300)
    for key, value in {
        "AWS_S3_ENDPOINT": server.url.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(key, value)
    scene = open_scene("s3://bucket/h.tif")
    assert scene.width == 300 and scene.id == "h"
    with GridSampler(scene, scene.grid(0.5), RGB) as sampler:
        assert sampler.read(Box(0, 0, 64, 64))[0].max() > 1000
