"""Callers reach the scenes inside the roots and nothing else."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanner.core.errors import SceneError
from server.scenes import ScenePolicy


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("in/a.tif", "in/sub/b.tif", "other/c.tif", "secret/s.tif", "in-next/d.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "in/link.tif").symlink_to(tmp_path / "secret/s.tif")
    (tmp_path / "in/own.tif").symlink_to(tmp_path / "in/a.tif")
    (tmp_path / "in/door").symlink_to(tmp_path / "secret")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in/loop")
    return tmp_path


@pytest.fixture
def policy(tree: Path) -> ScenePolicy:
    return ScenePolicy((tree / "in", tree / "other"))


def test_relative_paths_are_looked_for_under_each_root(policy, tree):
    assert policy.resolve("a.tif") == str(tree / "in/a.tif")
    assert policy.resolve("sub/../sub/b.tif") == str(tree / "in/sub/b.tif")
    assert policy.resolve("c.tif") == str(tree / "other/c.tif")


def test_absolute_paths_and_links_inside_are_admitted(policy, tree):
    assert policy.resolve(str(tree / "other/c.tif")) == str(tree / "other/c.tif")
    assert policy.resolve("own.tif") == str(tree / "in/a.tif")


def test_a_root_may_itself_be_a_link(tree):
    (tree / "alias").symlink_to(tree / "in")
    assert ScenePolicy((tree / "alias",)).resolve("a.tif") == str(tree / "in/a.tif")


@pytest.mark.parametrize(
    "uri",
    [
        "../secret/s.tif",
        "sub/../../secret/s.tif",
        "/etc/passwd",
        "/etc/no-such-file",
        "link.tif",
        "door/s.tif",
        "door/none.tif",
        "../in-next/d.tif",
        "..",
    ],
)
def test_what_is_outside_is_refused_whether_it_exists_or_not(policy, tree, uri):
    with pytest.raises(SceneError):
        policy.resolve(uri)
    with pytest.raises(SceneError, match="outside the folders") as caught:
        ScenePolicy((tree / "in",)).resolve(uri)
    assert caught.value.value == uri


@pytest.mark.parametrize("uri", ["no.tif", ".", "sub", "x" * 300, "GTIFF_DIR:1:/etc/passwd"])
def test_what_is_no_file_is_said_to_be_none(policy, tree, uri):
    with pytest.raises(SceneError, match="no file on the server") as caught:
        policy.resolve(uri)
    assert str(tree) not in str(caught.value)


@pytest.mark.parametrize("uri", ["loop", "a\0.tif", "/" + "x" * 5000])
def test_names_that_no_file_can_have_are_refused(policy, uri):
    with pytest.raises(SceneError):
        policy.resolve(uri)


def test_a_nul_is_told_as_what_it_is(policy):
    with pytest.raises(SceneError, match=r"'a\\x00\.tif': holds a NUL"):
        policy.resolve("a\0.tif")


@pytest.mark.parametrize("uri", ["", "  "])
def test_an_empty_name_is_refused(policy, uri):
    with pytest.raises(SceneError, match="is empty"):
        policy.resolve(uri)


REMOTE = ["http://h/a.tif", "https://h/a.tif?x=1", "s3://bucket/key.tif"]


@pytest.mark.parametrize("uri", REMOTE)
def test_remote_scenes_need_leave(policy, uri):
    with pytest.raises(SceneError, match="opens no remote scenes"):
        policy.resolve(uri)
    assert ScenePolicy(policy.roots, allow_remote=True).resolve(uri) == uri


@pytest.mark.parametrize(
    ("uri", "admitted"),
    [
        ("http://data.example.org/a.tif?x=http://evil.org/", True),
        ("https://DATA.example.org:443/a.tif", True),
        ("http://10.0.0.5:8080/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("http://10.0.0.5/a.tif", False),
        ("http://evil.org/data.example.org/a.tif", False),
        ("http://data.example.org@evil.org/a.tif", False),
        ("http://data.example.org.evil.org/a.tif", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("s3://other/a.tif", False),
        ("http:///a.tif", False),
    ],
)
def test_hosts_that_are_listed_are_the_only_ones(policy, uri, admitted):
    hosts = ("data.example.org", "10.0.0.5:8080", "s3://bucket")
    listed = ScenePolicy(policy.roots, allow_remote=True, hosts=hosts)
    if admitted:
        assert listed.resolve(uri) == uri
    else:
        with pytest.raises(SceneError, match="no host that this server may read from"):
            listed.resolve(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/vsicurl/http://h/a.tif",
        "/vsizip//etc/x.zip",
        "ftp://h/a.tif",
        "/vsistdin/",
        "vrt:///etc/passwd",
        "://",
    ],
)
def test_other_kinds_of_address_are_never_opened(policy, uri):
    for one in (policy, ScenePolicy(policy.roots, allow_remote=True)):
        with pytest.raises(SceneError):
            one.resolve(uri)


def test_without_roots_nothing_local_is_opened(tree):
    with pytest.raises(SceneError, match="outside"):
        ScenePolicy(()).resolve(str(tree / "in/a.tif"))


@given(
    st.lists(
        st.sampled_from(
            [
                "..",
                ".",
                "in",
                "sub",
                "door",
                "link.tif",
                "own.tif",
                "a.tif",
                "secret",
                "s.tif",
                "/",
                "loop",
            ]
        ),
        min_size=1,
        max_size=7,
    )
)
@example(["loop", "..", "link.tif"])
@example(["loop", "..", "door", "s.tif"])
def test_no_path_leads_outside(tmp_path_factory, parts):
    base = tmp_path_factory.getbasetemp() / "walk"
    if not base.exists():
        for name in ("in/a.tif", "in/sub/a.tif", "secret/s.tif"):
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_bytes(b"x")
        (base / "in/link.tif").symlink_to(base / "secret/s.tif")
        (base / "in/door").symlink_to(base / "secret")
        (base / "in/loop").symlink_to(base / "in/loop")
    root = base / "in"
    uri = "/".join(parts)
    try:
        found = Path(ScenePolicy((root,)).resolve(uri))
    except SceneError:
        return
    assert found == found.resolve()
    assert found.is_relative_to(root.resolve())
    assert found.is_file()
