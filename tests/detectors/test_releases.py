"""Releases side by side: found by number, made the default, taken back, put there and removed."""

import io
import shutil
import tarfile
import zipfile

import pytest
import yaml

from detectors import install, unpack
from detectors.card import load_card, seal
from detectors.catalog import check_release, listing, resolve
from detectors.releases import DEFAULT, default_of, releases
from lanner.core.config import config_sha256
from lanner.core.errors import ConfigError, OutputError, UnknownDetectorError, WeightsError
from tests.fixtures_home import FACTS, OBJECTS, RASTER
from tests.fixtures_releases import release_beside


@pytest.fixture
def two_releases(tmp_path, monkeypatch):
    """`LANNER_HOME` with tiny 1.0.0, which `configs/` names, and 1.1.0. Nothing here looks into
    their networks' files.
    """
    home = tmp_path / "home"
    (home / "configs").mkdir(parents=True)
    for config in (OBJECTS, RASTER):
        name = config["name"]
        (home / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(config))
        folder = home / "weights" / name / "1.0.0"
        folder.mkdir(parents=True)
        for one in config["members"]:
            (folder / one["weights"]).write_bytes(one["name"].encode() * 10_000)
        (folder / "calibration.json").write_text('{"curve": {"kind": "identity"}}')
        seal(folder, {"detector": name, "release": "1.0.0", **FACTS})
    release_beside(home, "1.1.0", fusion={"min_score": 0.4})
    monkeypatch.setenv("LANNER_HOME", str(home))
    return home


@pytest.fixture
def third(two_releases, tmp_path):
    """Release 1.2.0 in a folder elsewhere."""
    made = release_beside(two_releases, "1.2.0")
    return shutil.move(made, tmp_path / "third")


def zipped(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(folder.iterdir()):
            file.write(one, prefix + one.name)
    return path


def tarred(folder, path, prefix="", mode="w:gz"):
    with tarfile.open(path, mode) as file:
        file.add(folder, prefix or ".")
    return path


def default_release(home, name="tiny"):
    return resolve(name, home).config.release


def test_a_name_is_the_release_of_configs_and_a_number_any(two_releases):
    entry = resolve("tiny", two_releases)
    assert (entry.config.release, entry.path.parent.name) == ("1.0.0", "configs")
    other = resolve("tiny@1.1.0", two_releases)
    assert other.config.fusion.min_score == 0.4
    assert other.release_dir == two_releases / "weights" / "tiny" / "1.1.0"
    assert check_release(other).sha256 != check_release(entry).sha256
    # 1.0.0 has no detector.yaml: it is what configs/ says of it.
    assert resolve("tiny@1.0.0", two_releases).config == entry.config
    assert releases(two_releases, "tiny") == ("1.1.0", "1.0.0")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("tiny@1.1.9", "'tiny@1.1.0'"),
        ("tiny@", "1.1.0, 1.0.0"),
        ("tiny@../tiny/1.1.0", "1.1.0, 1.0.0"),
        ("tiny@.", "1.1.0, 1.0.0"),
        ("tinyy@1.0.0", "'tiny'"),
        ("../tiny@1.0.0", "'tiny'"),
    ],
)
def test_a_release_that_is_not_there_is_told_with_those_that_are(two_releases, asked, told):
    with pytest.raises(UnknownDetectorError) as caught:
        resolve(asked, two_releases)
    assert told in str(caught.value)


def test_the_default_changes_and_is_taken_back(two_releases):
    before = resolve("tiny", two_releases)
    release_beside(two_releases, "1.2.0")
    for number in ("1.1.0", "1.2.0", "1.2.0"):
        install.set_default(two_releases, f"tiny@{number}")
        assert default_release(two_releases) == number
    assert install.roll_back(two_releases, "tiny").after == "1.1.0"
    done = install.roll_back(two_releases, "tiny")
    assert (done.before, done.after) == ("1.1.0", "1.0.0")
    assert resolve("tiny", two_releases) == before
    with pytest.raises(ConfigError):
        install.roll_back(two_releases, "tiny")
    kept = default_of(two_releases, "tiny")
    assert [(one.release, one.by) for one in kept.changes] == [
        ("1.1.0", "default"),
        ("1.2.0", "default"),
        ("1.1.0", "rollback"),
        ("1.0.0", "rollback"),
    ]
    assert [p.name for p in (two_releases / "weights" / "tiny").iterdir() if p.is_file()] == [
        DEFAULT
    ]


def test_an_own_change_in_configs_is_what_a_rollback_goes_back_to(two_releases):
    path = two_releases / "configs" / "tiny.yaml"
    path.write_text(yaml.safe_dump({**OBJECTS, "tile": 192}))
    install.set_default(two_releases, "tiny@1.1.0")
    assert resolve("tiny", two_releases).config.tile == 128
    install.roll_back(two_releases, "tiny")
    assert resolve("tiny", two_releases).config.tile == 192


def test_a_damaged_release_becomes_no_default(two_releases):
    weights = two_releases / "weights" / "tiny" / "1.1.0" / "masks.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsError):
        install.set_default(two_releases, "tiny@1.1.0")
    assert default_release(two_releases) == "1.0.0"
    problems = {one.release: one.problem for one in install.list_releases(two_releases)[:2]}
    assert "masks.safetensors" in problems["1.1.0"] and problems["1.0.0"] is None


def test_a_changed_configuration_of_a_release_is_refused(two_releases):
    path = two_releases / "weights" / "tiny" / "1.1.0" / "detector.yaml"
    path.write_text(path.read_text().replace("0.4", "0.3"))
    with pytest.raises(WeightsError, match=r"detector\.yaml"):
        check_release(resolve("tiny@1.1.0", two_releases))


def test_a_default_that_is_gone_is_told_and_nothing_else_runs(two_releases):
    install.set_default(two_releases, "tiny@1.1.0")
    shutil.rmtree(two_releases / "weights" / "tiny" / "1.1.0")
    with pytest.raises(ConfigError, match=r"1\.1\.0"):
        resolve("tiny", two_releases)
    sound, broken = listing(two_releases)
    assert ([one.config.name for one in sound], [one.name for one in broken]) == (
        ["tinyroads"],
        ["tiny"],
    )
    assert resolve("tiny@1.0.0", two_releases).config.release == "1.0.0"
    install.set_default(two_releases, "tiny@1.0.0")
    assert default_release(two_releases) == "1.0.0"


@pytest.mark.parametrize("text", ["release: 1.1\n", "release: ../up\n", "released: x\n", "a: [\n"])
def test_a_malformed_default_is_told(two_releases, text):
    (two_releases / "weights" / "tiny" / DEFAULT).write_text(text)
    with pytest.raises(ConfigError, match=DEFAULT):
        resolve("tiny", two_releases)
    assert [one.problem is None for one in install.list_releases(two_releases)].count(False) == 1


def test_releases_are_listed(two_releases):
    rows = [(one.name, one.release, one.default) for one in install.list_releases(two_releases)]
    assert rows == [
        ("tiny", "1.1.0", False),
        ("tiny", "1.0.0", True),
        ("tinyroads", "1.0.0", True),
    ]
    assert all(one.bytes > 10_000 and one.added for one in install.list_releases(two_releases))


@pytest.mark.parametrize("kind", ["folder", "zip", "deep zip", "tar.gz", "deep tar.gz", "tar"])
def test_a_release_is_put_beside_the_others(two_releases, third, tmp_path, kind):
    source = {
        "folder": lambda: third,
        "zip": lambda: zipped(third, tmp_path / "a.zip"),
        "deep zip": lambda: zipped(third, tmp_path / "a.zip", "weights/tiny/1.2.0/"),
        "tar.gz": lambda: tarred(third, tmp_path / "a.tgz"),
        "deep tar.gz": lambda: tarred(third, tmp_path / "a.tgz", "weights/tiny/1.2.0"),
        "tar": lambda: tarred(third, tmp_path / "a.tar", "third", "w"),
    }[kind]()
    done = install.add(two_releases, source)
    assert (done.name, done.release, done.new, done.default) == ("tiny", "1.2.0", True, False)
    install.check_whole(resolve("tiny@1.2.0", two_releases))
    assert default_release(two_releases) == "1.0.0"
    assert not install.add(two_releases, source).new
    weights = two_releases / "weights"
    assert not [one for one in weights.rglob(".*")], "something was left"


def test_what_the_card_does_not_list_stays_out(two_releases, third):
    (third / "extra.py").write_text("print()")
    folder = install.add(two_releases, third).folder
    assert {one.name for one in folder.iterdir()} == {*load_card(third).files, "card.yaml"}


def test_another_release_of_a_number_that_is_there_is_refused(two_releases, third):
    install.add(two_releases, third)
    (third / "calibration.json").write_text('{"curve": {"kind": "identity"}}\n\n\n\n')
    seal(third, {"detector": "tiny", "release": "1.2.0", **FACTS})
    with pytest.raises(WeightsError):
        install.add(two_releases, third)
    install.check_whole(resolve("tiny@1.2.0", two_releases))


def test_a_damaged_release_is_mended_by_adding_it_again(two_releases, third):
    folder = install.add(two_releases, third).folder
    (folder / "masks.safetensors").unlink()
    assert install.add(two_releases, third).new
    install.check_whole(resolve("tiny@1.2.0", two_releases))


def test_the_first_release_of_a_detector_is_its_default(two_releases, tmp_path):
    made = release_beside(two_releases, "1.2.0", name="ships")
    source = shutil.move(made, tmp_path / "ships")
    assert install.add(two_releases, source).default
    entry = resolve("ships", two_releases)
    assert (entry.config.release, entry.asked) == ("1.2.0", "ships")
    assert "ships" in {one.config.name for one in listing(two_releases)[0]}


def spoiled(third, how):
    if how == "weights":
        (third / "masks.safetensors").write_bytes(b"other")
    elif how == "missing":
        (third / "boxes.safetensors").unlink()
    elif how == "no card":
        (third / "card.yaml").unlink()
    elif how == "no detector":
        (third / "detector.yaml").unlink()
        seal(third, {"detector": "tiny", "release": "1.2.0", **FACTS})
    elif how == "other number":
        seal(third, {"detector": "tiny", "release": "1.3.0", **FACTS})
    elif how in ("up", "hidden number"):
        card = yaml.safe_load((third / "card.yaml").read_text())
        if how == "up":
            card["files"]["../../configs/tiny.yaml"] = "0" * 64
        else:
            card["release"] = "../../1.2.0"
        (third / "card.yaml").write_text(yaml.safe_dump(card))


@pytest.mark.parametrize(
    "how",
    ["weights", "missing", "no card", "no detector", "other number", "up", "hidden number"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_whole_is_not_put_there(two_releases, third, tmp_path, how, packed):
    spoiled(third, how)
    before = {path for path in two_releases.rglob("*")}
    with pytest.raises(WeightsError):
        install.add(two_releases, tarred(third, tmp_path / "a.tgz") if packed else third)
    assert {path for path in two_releases.rglob("*")} == before


def member(name, data=b"x", **facts):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, io.BytesIO(data)


@pytest.mark.parametrize(
    "odd",
    [
        member("../up.txt"),
        member("/tmp/lanner-absolute.txt"),
        member("a/../../up.txt"),
        member("link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard", b"", type=tarfile.LNKTYPE, linkname="card.yaml"),
        member("device", b"", type=tarfile.CHRTYPE),
        member("card.yaml"),
        member("card.yaml/below"),
    ],
    ids=lambda odd: odd[0].name.replace("/", "|"),
)
def test_an_archive_of_anything_but_plain_files_below_it_is_refused(
    two_releases, third, tmp_path, odd
):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for one in sorted(third.iterdir()):
            file.add(one, one.name)
        file.addfile(*odd)
    before = {path for path in tmp_path.rglob("*")}
    with pytest.raises(WeightsError):
        install.add(two_releases, path)
    assert {path for path in tmp_path.rglob("*")} == before


def test_a_zip_that_leads_out_is_refused(two_releases, third, tmp_path):
    path = zipped(third, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../up.txt", "x")
    with pytest.raises(WeightsError):
        install.add(two_releases, path)
    assert not list(tmp_path.rglob("up.txt"))


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    two_releases, third, tmp_path, monkeypatch, pack
):
    (third / "zeros").write_bytes(bytes(5_000_000))
    path = pack(third, tmp_path / "a.archive")
    install.add(two_releases, path)
    install.remove(two_releases, "tiny@1.2.0")
    monkeypatch.setattr(unpack, "MOST_BYTES", 4_000_000)
    assert path.stat().st_size < unpack.MOST_BYTES
    with pytest.raises(WeightsError):
        install.add(two_releases, path)


def test_an_archive_of_two_releases_or_of_none_is_refused(two_releases, third, tmp_path):
    both = tmp_path / "both"
    for name in ("one", "two"):
        shutil.copytree(third, both / name)
    (tmp_path / "empty").mkdir()
    for folder in (both, tmp_path / "empty"):
        with pytest.raises(WeightsError):
            install.add(two_releases, tarred(folder, tmp_path / "a.tgz"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08 cut", b"PK\x05\x06"])
def test_what_is_no_archive_is_refused(two_releases, tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        install.add(two_releases, path)
    with pytest.raises(ConfigError):
        install.add(two_releases, tmp_path / "nothing.zip")


def test_a_release_is_removed_but_for_the_default(two_releases):
    with pytest.raises(ConfigError):
        install.remove(two_releases, "tiny@1.0.0")
    with pytest.raises(ConfigError):
        install.remove(two_releases, "tiny")
    with pytest.raises(UnknownDetectorError):
        install.remove(two_releases, "tiny@1.9.0")
    install.set_default(two_releases, "tiny@1.1.0")
    assert not install.remove(two_releases, "tiny@1.0.0").exists()
    assert releases(two_releases, "tiny") == ("1.1.0",)
    with pytest.raises(ConfigError):  # what it was is gone
        install.roll_back(two_releases, "tiny")


def test_a_home_that_cannot_be_written_to_is_told_with_what_helps(two_releases, third):
    shutil.rmtree(two_releases / "weights")
    (two_releases / "weights").write_text("")
    with pytest.raises(OutputError, match="LANNER_HOME"):
        install.add(two_releases, third)


def test_a_release_names_the_same_configuration_as_its_default(two_releases):
    install.set_default(two_releases, "tiny@1.1.0")
    one, other = resolve("tiny", two_releases), resolve("tiny@1.1.0", two_releases)
    assert config_sha256(one.config) == config_sha256(other.config)
    assert (one.asked, other.asked) == ("tiny", "tiny@1.1.0")
