"""Folders, patterns, lists and single files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lanner.archives.scenes import FoundScenes, SceneFilter
from lanner.archives.sources import find_scenes
from lanner.core.errors import Cancelled, SceneError
from lanner.core.job import Cancel
from tests.archives.fixtures_web import pages


def find(*sources: object) -> FoundScenes:
    return find_scenes([str(one) for one in sources], SceneFilter(), Cancel())


def names(found: FoundScenes) -> list[str]:
    return [scene.name for scene in found.scenes]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    for name in (
        "2024-01/a.tif",
        "2024-01/a.tif.ovr",
        "2024-01/a.tif.msk",
        "2024-01/a.tif.aux.xml",
        "2024-01/.hidden.tif",
        "2024-01/notes.md",
        "2024-02/b.TIFF",
        "2024-02/deep/c.jp2",
        "2024-02/.cache/d.tif",
        "2025-01/e.ntf",
        "2025-01/f.img",
        "g.png",
        "h [1].jpeg",
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def test_a_folder_is_searched_to_its_bottom(archive: Path):
    found = find(archive)
    assert names(found) == ["a", "b", "c", "e", "f", "g", "h_1_"]
    assert found.scenes[0].uri == str(archive / "2024-01" / "a.tif")
    assert not found.skipped and not found.notes


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("2024-*/*.[tT]*", ["a", "b"]),
        ("**", ["a", "b", "c", "e", "f", "g", "h_1_"]),
        ("**/*.jp2", ["c"]),
        ("2024-*", ["a", "b", "c"]),
        ("*.p?g", ["g"]),
    ],
)
def test_a_pattern(archive: Path, pattern, expected):
    assert names(find(archive / pattern)) == expected


def test_a_file_with_brackets_in_its_name_is_no_pattern(archive: Path):
    assert names(find(archive / "h [1].jpeg")) == ["h_1_"]


def test_paths_are_whole_wherever_the_work_is_done(archive: Path, monkeypatch):
    monkeypatch.chdir(archive)
    assert [scene.uri for scene in find("g.png").scenes] == [str(archive / "g.png")]


def test_links_are_followed_and_not_in_circles(archive: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "far.tif").touch()
    (archive / "linked").symlink_to(other)
    (archive / "2024-01" / "round").symlink_to(archive)
    (archive / "latest.tif").symlink_to(archive / "2024-01" / "a.tif")
    expected = ["a", "b", "c", "e", "f", "far", "g", "h_1_"]
    assert names(find(archive)) == expected
    assert names(find(archive / "**")) == expected


def test_a_scene_of_two_sources_is_one(archive: Path):
    found = find(archive / "2024-01" / "a.tif", archive, archive / "*" / "*.tif")
    assert names(found) == ["a", "b", "c", "e", "f", "g", "h_1_"]
    assert not found.notes


def test_sources_keep_their_order(archive: Path):
    assert names(find(archive / "2025-01", archive / "2024-02")) == ["e", "f", "b", "c"]


@pytest.mark.parametrize("ending", [".txt", ".csv"])
def test_a_list(archive: Path, ending):
    listed = archive / f"scenes{ending}"
    listed.write_bytes(
        b"\xef\xbb\xbf# the archive\r\n2024-02/b.TIFF\n\n  2024-01/a.tif  \n"
        b'"h [1].jpeg"\n# g.png\nhttps://data.example.org/x%20y.tif?sig=secret\n'
        + str(archive / "g.png").encode()
        + b"\ns3://bucket/z.tif\n2024-01/a.tif\n"
    )
    found = find(listed)
    assert names(found) == ["a", "b", "g", "h_1_", "x_y", "z"]
    uris = {scene.name: scene.uri for scene in found.scenes}
    assert uris["x_y"] == "https://data.example.org/x%20y.tif?sig=secret"
    assert uris["z"] == "s3://bucket/z.tif"
    assert uris["b"] == str(archive / "2024-02" / "b.TIFF")


@pytest.mark.parametrize(
    "line",
    [
        "gone.tif",
        "2024-01",
        "/vsizip/archive.zip/a.tif",
        "/VSICURL/https://user:secret@host/a.tif?sig=secret",
        "ftp://user:secret@host/a.tif?sig=secret",
        "file:///etc/passwd",
    ],
)
def test_a_line_that_is_no_scene_is_skipped(archive: Path, line):
    listed = archive / "scenes.txt"
    listed.write_text(f"{line}\ng.png\n")
    found = find(listed)
    assert names(found) == ["g"]
    assert len(found.skipped) == 1
    assert found.skipped[0].problem and found.skipped[0].remedy
    assert "secret" not in str(found.skipped[0])


def test_a_list_at_an_address(archive: Path):
    text = "a.tif\n/top.tif\n../up.tif\n/etc/passwd\nfile:///etc/passwd\n"
    with pages({"/lists/scenes.txt": text}) as site:
        found = find(f"{site.url}/lists/scenes.txt?sig=secret")
    assert {scene.uri.removeprefix(site.url) for scene in found.scenes} == {
        "/lists/a.tif",
        "/top.tif",
        "/up.tif",
        "/etc/passwd",  # on that server
    }
    assert len(found.skipped) == 1


@pytest.mark.parametrize(
    "source",
    [
        "empty",
        "gone",
        "gone.tif",
        "gone/*.tif",
        "archive/*.jp2",
        "archive/2024-01/notes.md",
        "empty.txt",
        "bytes.txt",
        "broken.json",
        "other.json",
        "broken.parquet",
        "nul\0.tif",
        "x" * 5000,
        "",
        "ftp://user:secret@host/folder/",
        "/vsis3/bucket/folder",
        "s3://",
        "http://[",
        "https://",
    ],
)
def test_what_is_no_source_is_one_error_that_says_what_to_do(
    archive: Path, monkeypatch, tmp_path, source
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    Path("empty").mkdir()
    Path("empty.txt").write_text("# nothing\n")
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00")
    Path("broken.json").write_text("{")
    Path("other.json").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature"}]}'
    )
    Path("broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(SceneError) as error:
        find(archive, source)
    assert error.value.argument == "source"
    assert error.value.problem and error.value.remedy
    assert "secret" not in str(error.value)


def test_no_source_is_an_error():
    with pytest.raises(SceneError):
        find()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed_is_skipped(archive: Path):
    closed = archive / "2025-01"
    closed.chmod(0)
    try:
        found = find(archive)
    finally:
        closed.chmod(0o755)
    assert [one.uri for one in found.skipped] == [str(closed)]


def test_a_cancel_is_heeded(archive: Path):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        find_scenes([str(archive)], SceneFilter(), cancel)


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys; import lanner.archives.sources; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pyarrow", "pystac", "pystac_client", "shapely", "ssl", "pydantic"}
    assert not heavy & set(done.stdout.split())


def test_progress_is_told_at_the_end_of_every_source(archive: Path):
    told = []
    sources = [str(archive / "2024-01"), str(archive / "2024-02")]
    find_scenes(sources, SceneFilter(), Cancel(), lambda *seen: told.append(seen))
    assert told == [(sources[0], 1), (sources[1], 2)]
