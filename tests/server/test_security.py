"""What a stranger may ask of a server, and how each attack is refused.

The server is `lanner serve` with the tiny detectors, so that scenes are opened by the real
pipeline; it is asked over gRPC and over HTTP, to plan, to run and to submit.
"""

import itertools
import json
import socket
import sys
import threading
import time

import pytest
import rasterio

import lanner
from lanner.core.errors import ConfigError, SceneError
from server.options import ServeOptions
from server.run import start
from server.work import Work
from tests.fixtures_bombs import image, one_tile, tiff, zeros
from tests.fixtures_strangers import asked_everywhere, served, spec_of, web
from tiling.limits import SceneLimits, limit_scenes
from tiling.scene import open_scene

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads memory from /proc"
)

VRT = """<VRTDataset rasterXSize="60" rasterYSize="60"><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename relativeToVRT="0">{}</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""
PAM = """<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{}</MDI></Metadata>
</PAMDataset>"""
FIXED = "fixed0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def tree(tmp_path_factory, pictures):
    """`in` is served; `out` is beside it and nobody's business."""
    base = tmp_path_factory.mktemp("tree")
    inside, outside = base / "in", base / "out"
    for folder in (inside, outside):
        folder.mkdir()
    pixels = pictures.texture(60, 60)
    secret = pictures.write_tif(outside / "secret.tif", pixels)
    (outside / "secret.aux.xml").write_text(PAM.format(secret))
    (outside / "secret.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    pictures.write_tif(inside / "good.tif", pixels)
    (inside / "link.tif").symlink_to(secret)
    (inside / "folder").symlink_to(outside)
    (inside / "hop").symlink_to(inside / "folder")
    for name in ("plain.vrt", "hidden.tif", "hidden.png"):
        (inside / name).write_text(VRT.format(secret))
    for ending in (".ovr", ".msk", ".aux"):
        for kind in ("vrt", "link"):
            pictures.write_tif(inside / f"{kind}{ending[1:]}.tif", pixels)
            beside = inside / f"{kind}{ending[1:]}.tif{ending}"
            if kind == "vrt" and ending != ".aux":
                beside.write_text(VRT.format(secret))
            else:
                beside.symlink_to(secret)
    for name, ending, target in (("pamlink", ".tif.aux.xml", "aux.xml"), ("world", ".tfw", "tfw")):
        pictures.write_tif(inside / f"{name}.tif", pixels)
        (inside / f"{name}{ending}").symlink_to(outside / f"secret.{target}")
    pictures.write_tif(inside / "pam.tif", pixels)
    (inside / "pam.tif.aux.xml").write_text(PAM.format(secret))
    return base


@pytest.fixture(scope="module")
def server(tiny_home, tree, tmp_path_factory):
    """Reads no remote scenes and asks nobody for a token."""
    with served(tiny_home, tree / "in", tmp_path_factory.mktemp("local")) as one:
        yield one


def refused(server, spec):
    """Ask everywhere: each answer is a refusal, and the server goes on."""
    answers = asked_everywhere(server, spec)
    assert {one.way: one.code for one in answers} == {
        "planned": "INVALID_ARGUMENT",
        "streamed": "INVALID_ARGUMENT",
        "submitted": "INVALID_ARGUMENT",
        "http plan": 422,
        "http submit": 422,
    }, answers
    assert server.status("GET", "/v1/detectors")[0] == 200
    return answers


NAMES = [
    "../out/secret.tif",
    "good.tif/../../out/secret.tif",
    "folder/../../out/secret.tif",
    "..%2Fout%2Fsecret.tif",
    "..\\out\\secret.tif",
    "{out}/secret.tif",
    "{in}/../out/secret.tif",
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/stdin",
    "/dev/zero",
    "link.tif",
    "folder/secret.tif",
    "hop/secret.tif",
    "plain.vrt",
    "hidden.tif",
    "hidden.png",
    "vrtovr.tif",
    "vrtmsk.tif",
    "linkovr.tif",
    "linkmsk.tif",
    "linkaux.tif",
    "vrtaux.tif",
    "pamlink.tif",
    "pam.tif",
    "world.tif",
    "/vsicurl/http://127.0.0.1:1/a.tif",
    "/vsicurl_streaming/http://127.0.0.1:1/a.tif",
    "/vsicurl?url=http%3A%2F%2F127.0.0.1%2Fa.tif",
    "/vsizip/{out}/secret.zip/secret.tif",
    "/vsigzip/{out}/secret.tif.gz",
    "/vsitar/{out}/secret.tar/secret.tif",
    "/vsisubfile/0_100,{out}/secret.tif",
    "/vsis3/bucket/a.tif",
    "/vsimem/a.tif",
    "/vsistdin/",
    "//vsicurl/http://127.0.0.1:1/a.tif",
    "zip://{out}/secret.zip!secret.tif",
    "zip+file://{out}/secret.zip!secret.tif",
    "file://{out}/secret.tif",
    "FILE://localhost{out}/secret.tif",
    "gs://bucket/a.tif",
    "ftp://127.0.0.1/a.tif",
    "s3://bucket/a.tif",
    "http://127.0.0.1:1/a.tif",
    "http://[::1/a.tif",
    "http://\u2100.example.org/a.tif",
    "vrt://{in}/good.tif?bands=1",
    "GTIFF_DIR:1:{out}/secret.tif",
    "GTIFF_RAW:{out}/secret.tif",
    "NETCDF:{out}/secret.tif:band",
    "HDF5:{out}/secret.tif://band",
    "JPEG_SUBFILE:Q0,0,9,{out}/secret.tif",
    "NITF_IM:0:{out}/secret.tif",
    "WMS:http://127.0.0.1:1/?service=WMS",
    "DERIVED_SUBDATASET:AMPLITUDE:{out}/secret.tif",
    VRT.format("{out}/secret.tif"),
    '{{"type":"tile"}}',
    "good.tif\0.png",
    "",
    ".",
    "x" * 5000,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:40])
def test_no_name_leads_out_of_the_folders(server, tree, name):
    text = name.format(**{"in": tree / "in", "out": tree / "out"})
    for one in refused(server, spec_of(text)):
        # Of the server's folders it tells none but what the caller named.
        assert str(tree) in text or str(tree) not in one.text


def test_what_is_allowed_is_answered(server):
    answers = asked_everywhere(server, spec_of("good.tif"))
    assert [one.code for one in answers] == ["OK", "OK", "OK", 200, 200], answers


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/v1/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/detectors/..%2F..%2Fetc%2Fpasswd",
        "/v1/detectors/tiny%00",
        "/v1/operations/..%2F..%2F..%2Fetc%2Fpasswd",
        "/v1/operations/../jobs.sqlite",
        "/v1/operations/%2e%2e/result?format=geojson",
        "/v1/operations/..%2F..%2Fuploads/result?format=gpkg",
        "/v1/uploads/..%2F..%2Fjobs.sqlite",
        "/v1/uploads/%2e%2e",
        "//etc/passwd",
    ],
)
def test_no_path_of_http_leads_to_a_file(server, path):
    status, text = server.status("GET", path)
    assert status == 404
    assert "root:" not in text and "SQLite" not in text


def sparse(path, width, height, block, **more):
    """A GeoTIFF whose blocks are not stored."""
    profile = {"count": 1, "dtype": "uint8", "tiled": True, "compress": "deflate", **more}
    profile |= {"blockxsize": block, "blockysize": block, "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", width=width, height=height, **profile):
        pass
    return path


def repeated(path, side=1 << 16, block=1 << 12):
    """One stored block of zeros in every place of a raster."""
    count = (side // block) ** 2
    tiff(path, [(image(side, side, 8, (block, block)), [zeros(block * block)])])
    data = bytearray(path.read_bytes())
    # The same place and size, as often as there are blocks.
    where = int.from_bytes(data[4:8], "little")
    for tag, value in ((324, 8), (325, len(zeros(block * block)))):
        at = next(
            at
            for at in range(where + 2, len(data), 12)
            if int.from_bytes(data[at : at + 2], "little") == tag
        )
        data[at + 4 : at + 12] = count.to_bytes(4, "little") + len(data).to_bytes(4, "little")
        data += value.to_bytes(4, "little") * count
    path.write_bytes(data)
    return path


def beside(path, ending, pictures):
    """A bomb in a sidecar."""
    pictures.write_tif(path, pictures.texture(60, 60))
    one_tile(path.with_name("bomb.tif")).rename(f"{path}{ending}")
    return path


BOMBS = {
    "a block of 1 GB": lambda path, _: one_tile(path),
    "overviews of 1 GB": lambda path, pictures: beside(path, ".ovr", pictures),
    "a mask of 1 GB": lambda path, pictures: beside(path, ".msk", pictures),
    "65,535 bands": lambda path, _: sparse(path, 16, 16, 16, count=65535, interleave="pixel"),
    "2^31 pixels across": lambda path, _: sparse(path, 2**31 - 1, 2000, 1 << 14, BIGTIFF="YES"),
    "a square of 10^12 pixels": lambda path, _: sparse(path, 10**6, 10**6, 1 << 14),
    "one block, again and again": lambda path, _: repeated(path),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_cheaply(server, tree, pictures, kind):
    path = BOMBS[kind](tree / "in" / f"bomb {len(kind)}.tif", pictures)
    assert sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*")) < 3 << 20
    server.status("POST", "/v1/plans", {"spec": {"scene": {"uri": "good.tif"}}})
    before, since = server.peak_mb(), time.monotonic()
    for one in refused(server, spec_of(path.name)):
        assert "gdal" in one.text, one  # the remedy: what to do about the file
    assert server.peak_mb() - before < 300
    assert time.monotonic() - since < 60  # five answers
    assert asked_everywhere(server, spec_of("good.tif"))[3].code == 200


def test_limits_are_a_servers_and_nobody_elses(tree, tmp_path):
    wide = sparse(tmp_path / "wide.tif", 2**31 - 1, 2000, 1 << 14, BIGTIFF="YES")
    twice = repeated(tmp_path / "twice.tif")
    many = sparse(tmp_path / "many.tif", 16, 16, 16, count=40)
    ordinary = sparse(tmp_path / "ordinary.tif", 100_000, 100_000, 512, count=3)
    try:
        limit_scenes(SceneLimits())
        assert open_scene(ordinary, gsd=1.0).width == 100_000
        limit_scenes(SceneLimits(bands=39))
        for one in (wide, twice, many):
            with pytest.raises(SceneError):
                open_scene(one, gsd=1.0)
        limit_scenes(SceneLimits(pixels=10**14, bands=40, expansion=10**6))
        assert [open_scene(one, gsd=1.0).width for one in (wide, twice, many)] == [
            2**31 - 1,
            1 << 16,
            16,
        ]
    finally:
        limit_scenes(None)
    assert [len(open_scene(one, gsd=1.0).bands) for one in (wide, twice, many)] == [1, 1, 40]
    for broken in ({"pixels": 0}, {"bands": -1}, {"expansion": float("nan")}):
        with pytest.raises(ConfigError):
            SceneLimits(**broken)


def test_what_is_sent_is_held_to_the_same_rules(server, tree, tmp_path):
    for content in (
        VRT.format(tree / "out" / "secret.tif").encode(),
        one_tile(tmp_path / "bomb.tif").read_bytes(),
        repeated(tmp_path / "again.tif").read_bytes(),
    ):
        made = {"size": len(content), "fileName": "../../../etc/cron.d/x.tif"}
        status, text = server.status("POST", "/v1/uploads", made)
        assert status == 200, text
        name = json.loads(text)["name"]
        status, text = server.status("PATCH", f"/v1/{name}", content, **{"Upload-Offset": "0"})
        assert status == 204, text
        refused(server, spec_of(name, upload=True))
    written = [one for one in server.log.parent.rglob("*") if one.is_file()]
    assert any(one.name == "x.tif" for one in written)
    assert not (tree / "etc").exists()


class Held:
    """The real pipeline, which waits before it opens a scene; then calls the next of `swaps`."""

    def __init__(self):
        self.began, self.go = threading.Event(), threading.Event()
        self.swaps = itertools.repeat(lambda: None)

    def detect(self, request, cancel, tell):
        from lanner.inference.pipeline import detect

        self.began.set()
        assert self.go.wait(60)
        next(self.swaps)()
        return detect(request, cancel, tell)

    def work(self):
        from lanner.archives.one_scene import plan_detection
        from lanner.inference.pipeline import check_request, list_detectors

        return Work(self.detect, list_detectors, plan_detection, admit=check_request)


def swapped(path, target):
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("when", ["while it waits", "as it is opened"])
@pytest.mark.parametrize("kind", ["file", "folder", "sidecar"])
def test_a_link_that_comes_after_submission_is_not_followed(
    at_home, pictures, tmp_path, when, kind
):
    root, out = tmp_path / "in", tmp_path / "out"
    pixels = pictures.texture(60, 60)
    for folder in (root / "sub", out):
        folder.mkdir(parents=True)
        pictures.write_tif(folder / "scene.tif", pixels)
    pictures.write_tif(root / "first.tif", pixels)
    scene = root / "sub" / "scene.tif"

    def swap():
        if kind == "file":
            swapped(scene, out / "scene.tif")
        elif kind == "sidecar":
            (root / "sub" / "scene.tif.ovr").symlink_to(out / "scene.tif")
        else:
            (root / "sub").rename(root / "old")
            (root / "sub").symlink_to(out)

    held = Held()
    running = start(held.work(), ServeOptions(port=0, roots=(root,), per_device=1))
    try:
        with lanner.Client(running.address) as client:
            first = client.submit("first.tif", "tiny", device="cpu")
            assert held.began.wait(30)
            operation = client.submit("sub/scene.tif", "tiny", device="cpu")
            if when == "while it waits":
                swap()
            else:
                held.swaps = iter([lambda: None, swap])
            held.go.set()
            assert first.result(60) is not None
            with pytest.raises(SceneError) as caught:
                operation.result(60)
            assert str(tmp_path) not in str(caught.value)
            assert client.detectors()
    finally:
        held.go.set()
        running.stop(0)
    # The folders are the process's own again.
    assert open_scene(out / "scene.tif").width == 60


@pytest.fixture(scope="module")
def wide(tiny_home, tree, tmp_path_factory):
    """Reads remote scenes, those of private hosts, too: only redirects from there are looked at."""
    folder = tmp_path_factory.mktemp("wide")
    options = ("--allow-remote", "--allow-private")
    with served(tiny_home, tree / "in", folder, *options) as one:
        yield one


@pytest.fixture(scope="module")
def public(tiny_home, tree, tmp_path_factory):
    """Reads remote scenes of public addresses; asks for a token."""
    folder = tmp_path_factory.mktemp("public")
    token = folder / "token"
    token.write_text(FIXED)
    token.chmod(0o600)
    options = ("--allow-remote", "--token-file", str(token))
    with served(tiny_home, tree / "in", folder, *options) as one:
        yield one


@pytest.mark.parametrize(
    "to",
    [
        "http://{inner}/scene.tif",
        "http://localhost:{port}/scene.tif",
        "http://2130706433:{port}/scene.tif",
        "http://[::ffff:127.0.0.1]:{port}/scene.tif",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://10.0.0.1/scene.tif",
        "http://0.0.0.0:{port}/scene.tif",
        "ftp://{inner}/scene.tif",
        "file:///etc/passwd",
        "/again",
    ],
)
def test_no_redirect_leads_to_this_network(wide, tree, to):
    with web() as outer, web() as inner:
        inner.pages["/scene.tif"] = (200, {}, (tree / "in" / "good.tif").read_bytes())
        port = inner.address.rpartition(":")[2]
        outer.leads("/scene.tif", to.format(inner=inner.address, port=port))
        outer.leads("/again", f"http://{inner.address}/scene.tif")
        refused(wide, spec_of(f"http://{outer.address}/scene.tif"))
        assert outer.asked and not inner.asked


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f000001", "127.1", "0.0.0.0", "[::ffff:7f00:1]"]
)
def test_no_address_of_this_machine_is_asked(public, host):
    with web() as inner:
        port = inner.address.rpartition(":")[2]
        answers = asked_everywhere(public, spec_of(f"http://{host}:{port}/a.tif"), FIXED)
        assert [one.code for one in answers] == ["INVALID_ARGUMENT"] * 3 + [422] * 2, answers
        assert not inner.asked
    assert public.status("GET", "/v1/detectors", token=FIXED)[0] == 200


def test_a_name_that_changes_its_address_is_looked_at_where_it_is_connected_to(
    at_home, tree, monkeypatch
):
    """The name server is the one part that is made up: first a public address, then this machine.

    What looks at a name and connects to it by name again would reach the inner server.
    """
    true = socket.getaddrinfo
    found: list[str] = []

    def changing(host, *rest, **more):
        if host != "changing.example.org":
            return true(host, *rest, **more)
        found.append(host)
        # Nothing answers at that port of the public address: GDAL asks again.
        address = "2001:4860:4860::8888" if len(found) % 2 else "127.0.0.1"
        return true(address, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    options = ServeOptions(
        port=0, http_port=0, roots=(tree / "in",), allow_remote=True, auto_device="cpu"
    )
    held = Held()
    held.go.set()
    with web() as inner:
        inner.pages["/a.tif"] = (200, {}, (tree / "in" / "good.tif").read_bytes())
        port = inner.address.rpartition(":")[2]
        running = start(held.work(), options)
        try:
            with lanner.Client(running.address) as client:
                for number in range(4):
                    address = f"http://changing.example.org:{port}/a.tif?{number}"
                    with pytest.raises(SceneError):
                        client.detect(address, "tiny", device="cpu")
                assert client.detectors()
        finally:
            running.stop(0)
        assert len(found) >= 4 and not inner.asked


def test_no_secret_is_told(wide, public, tree, pictures):
    """Not in what callers are told of an error, and not in the log."""
    texts = []
    secrets = ["s3cretsignature", "s3cretpassword", "s3cretfragment", FIXED, FIXED[:-1] + "x"]
    with web() as pages:
        pages.pages["/page.tif"] = (200, {}, b"<html>please log in</html>")
        pages.pages["/denied.tif"] = (403, {}, b"denied")
        good = (tree / "in" / "good.tif").read_bytes()
        pages.pages["/torn.tif"] = (200, {}, good[:40])
        pages.leads("/moved.tif", f"http://127.0.0.1:1/a.tif?{secrets[0]}")
        ends = [f"{pages.address}/{name}.tif" for name in ("page", "denied", "torn", "moved", "no")]
        ends += ["[::1/a.tif", "h:port/a.tif", "127.0.0.1:1/a.tif", "\u2100.org/a.tif"]
        for kind in ("http", "https", "ftp", "s3"):
            for end in ends if kind == "http" else ends[:1] + ends[5:]:
                user = f"user:{secrets[1]}@"
                address = f"{kind}://{user}{end}?X-Amz-Signature={secrets[0]}#{secrets[2]}"
                for server, token in ((wide, None), (public, FIXED), (public, FIXED[:-1] + "x")):
                    body = {"spec": {"scene": {"uri": address}, "detector": {"name": "tiny"}}}
                    status, text = server.status("POST", "/v1/plans", body, token)
                    assert status in (401, 422), text
                    texts.append(text)
    for one in asked_everywhere(wide, spec_of(address)):
        texts.append(one.text)
    for answers in (asked_everywhere(public, spec_of(address), t) for t in (FIXED, secrets[-1])):
        texts += [one.text for one in answers]
    public.status("GET", f"/v1/detectors?token={FIXED}&access_token={secrets[0]}")
    logs = [one.log.read_text() for one in (wide, public)]
    assert all('"event": "rpc"' in one for one in logs)
    for text in (*texts, *logs):
        assert not [one for one in secrets if one in text], text
