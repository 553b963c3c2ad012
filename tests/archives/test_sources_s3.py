"""Buckets of a real S3 server on the loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from moto.core import set_initial_no_auth_action_count
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from lanner.archives.scenes import FoundScenes, SceneFilter
from lanner.archives.sources import find_scenes
from lanner.archives.sources.s3 import Access
from lanner.core.errors import SceneError, ServerError
from lanner.core.job import Cancel
from tests.archives.fixtures_stac import item

KEYS = (
    "2024-01/a.tif",
    "2024-01/deep/b.JP2",
    "2024-01/.hidden/c.tif",
    "2024-01/a.tif.aux.xml",
    "2024-02/d e+f#?.tif",
    "2025-01/g.tif",
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Host and port of a server with a bucket `archive`."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    files = S3FileSystem(
        access_key="key",
        secret_key="secret",
        endpoint_override=f"{host}:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    files.create_dir("archive")
    catalogue = item("s", assets={"x": {"href": "../2025-01/g.tif", "roles": ["data"]}})
    for key in (*KEYS, "stac/item.json", "scenes.txt"):
        with files.open_output_stream(f"archive/{key}") as file:
            if key.endswith(".json"):
                file.write(json.dumps(catalogue).encode())
            else:
                file.write(b"2024-01/a.tif\n" if key == "scenes.txt" else b"II*\0")
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def reached(server: str, monkeypatch, tmp_path) -> Iterator[pytest.MonkeyPatch]:
    """The server as the environment names it to GDAL, and nothing else of this machine's."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_S3_ENDPOINT", server)
    monkeypatch.setenv("AWS_HTTPS", "NO")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield monkeypatch


def find(source: str) -> FoundScenes:
    return find_scenes([source], SceneFilter(), Cancel())


def keys(found: FoundScenes) -> list[str]:
    return [scene.uri.removeprefix("s3://archive/") for scene in found.scenes]


@pytest.mark.parametrize("source", ["s3://archive", "s3://archive/", "S3://archive"])
def test_a_bucket_is_searched_to_its_bottom(reached, source):
    found = find(source)
    expected = ["2024-01/a.tif", "2024-01/deep/b.JP2", "2024-02/d e+f#?.tif", "2025-01/g.tif"]
    assert keys(found) == expected
    assert [scene.name for scene in found.scenes] == ["a", "b", "d_e_f_", "g"]
    assert not found.skipped and not found.notes


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("2024-01", ["2024-01/a.tif", "2024-01/deep/b.JP2"]),
        ("2024-01/", ["2024-01/a.tif", "2024-01/deep/b.JP2"]),
        ("2024-0", ["2024-01/a.tif", "2024-01/deep/b.JP2", "2024-02/d e+f#?.tif"]),
        ("2024-01/de", ["2024-01/deep/b.JP2"]),
    ],
)
def test_a_prefix(reached, prefix, expected):
    assert keys(find(f"s3://archive/{prefix}")) == expected


def test_one_object_is_not_asked_for(reached):
    reached.setenv("AWS_S3_ENDPOINT", "127.0.0.1:9")
    assert keys(find("s3://archive/2024-01/a.tif")) == ["2024-01/a.tif"]


def test_documents_in_a_bucket(reached):
    assert keys(find("s3://archive/scenes.txt")) == ["2024-01/a.tif"]
    assert keys(find("s3://archive/stac/item.json")) == ["2025-01/g.tif"]


def test_an_endpoint_as_aws_itself_names_it(reached, server):
    reached.delenv("AWS_S3_ENDPOINT")
    reached.setenv("AWS_ENDPOINT_URL", f"http://{server}/")
    found = find("s3://archive/2025-01")
    assert keys(found) == ["2025-01/g.tif"]
    assert "AWS_S3_ENDPOINT" in found.notes[0]


def test_where_all_may_read_no_credentials_are_needed(reached):
    reached.delenv("AWS_ACCESS_KEY_ID")
    reached.delenv("AWS_SECRET_ACCESS_KEY")
    reached.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert keys(find("s3://archive/2025-01")) == ["2025-01/g.tif"]


def test_no_credentials_are_told_with_what_to_set(reached):
    reached.delenv("AWS_ACCESS_KEY_ID")
    reached.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SceneError) as error:
        find("s3://archive")
    assert "AWS_ACCESS_KEY_ID" in error.value.remedy
    assert "AWS_NO_SIGN_REQUEST" in error.value.remedy


def test_credentials_that_do_not_count_are_told(reached):
    @set_initial_no_auth_action_count(0)
    def asked() -> None:
        find("s3://archive")

    with pytest.raises(SceneError) as error:
        asked()
    assert "AWS_ACCESS_KEY_ID" in error.value.remedy
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "source",
    [
        "s3://nobody-has-this-bucket",
        "s3://archive/2030",
        "s3://archive/none/",
        "s3://archive/a.txt",
    ],
)
def test_what_is_not_there_is_an_error(reached, source):
    with pytest.raises(SceneError):
        find(source)


def test_a_server_that_is_not_there_is_an_error(reached):
    reached.setenv("AWS_S3_ENDPOINT", "127.0.0.1:9")
    with pytest.raises(ServerError):
        find("s3://archive")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Access(False, None, "https", None, False)),
        (
            {"AWS_S3_ENDPOINT": "minio:9000", "AWS_HTTPS": "NO", "AWS_REGION": "eu-1"},
            Access(False, "minio:9000", "http", "eu-1", False),
        ),
        (
            {"AWS_S3_ENDPOINT": "https://a.example.org/", "AWS_ENDPOINT_URL": "http://b"},
            Access(False, "a.example.org", "https", None, False),
        ),
        (
            {"AWS_NO_SIGN_REQUEST": "yes", "AWS_VIRTUAL_HOSTING": "TRUE"},
            Access(True, None, "https", None, True),
        ),
    ],
)
def test_the_environment_is_read_as_gdal_reads_it(environment, expected):
    assert Access.of(environment) == expected


def test_credentials_may_be_in_a_file_or_come_from_the_machine(tmp_path):
    access = Access.of({})
    bare = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    assert not access.has_credentials(bare)
    assert access.has_credentials({"HOME": str(tmp_path)})
    assert access.has_credentials({**bare, "AWS_PROFILE": "work"})
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\n")
    assert access.has_credentials(bare)
