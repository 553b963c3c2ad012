"""Detections while the default changes: the next one has it, and the old networks are let go."""

import gc
import shutil
import weakref

import pytest

import lanner
from detectors import install
from lanner.archives.api import batch
from lanner.core.errors import UnknownDetectorError
from lanner.core.job import DetectRequest
from lanner.inference import registry
from lanner.inference.registry import LOADED, find, list_detectors, load, pinned
from tests.fixtures_releases import release_beside, two_releases

__all__ = ["two_releases"]


@pytest.fixture(autouse=True)
def nothing_loaded():
    LOADED.clear()
    yield
    LOADED.clear()


@pytest.fixture
def scene(tmp_path, pictures):
    return str(pictures.write_tif(tmp_path / "town.tif", pictures.texture(60, 60)))


def release_of(found):
    return found.summary["detector"]["release"]


def networks(detector, **more):
    """A weak reference to what a request would look with."""
    return weakref.ref(load(find(detector), DetectRequest("", detector, **more)).predictor)


def test_a_request_names_a_release_or_has_the_default(two_releases, scene):
    both = [lanner.detect(scene, f"tiny@1.{k}.0", device="cpu") for k in (0, 1)]
    assert [release_of(one) for one in both] == ["1.0.0", "1.1.0"]
    assert len(both[0]) > len(both[1])
    for number, same in ((1, both[1]), (0, both[0])):
        install.set_default(two_releases, f"tiny@1.{number}.0")
        assert lanner.detect(scene, "tiny", device="cpu").features == same.features
    with pytest.raises(UnknownDetectorError):
        lanner.detect(scene, "tiny@2.0.0", device="cpu")


def test_a_loaded_detector_keeps_the_release_it_was_loaded_with(two_releases, scene):
    detector = lanner.load_detector("tiny", device="cpu")
    install.set_default(two_releases, "tiny@1.1.0")
    assert release_of(detector.detect(scene)) == "1.0.0"
    assert release_of(lanner.load_detector("tiny", device="cpu").detect(scene)) == "1.1.0"


def test_the_former_default_is_let_go_on_the_next_request(two_releases):
    old, part = networks("tiny", device="cpu"), networks("tiny", device="cpu", members=("masks",))
    assert (len(LOADED), old() is not None, part() is not None) == (2, True, True)
    install.set_default(two_releases, "tiny@1.1.0")
    new = networks("tiny", device="cpu")
    gc.collect()
    assert (len(LOADED), old(), part()) == (1, None, None)
    # By its number it is the same networks, and a change of the default leaves them.
    assert networks("tiny@1.1.0", device="cpu")() is new()
    install.roll_back(two_releases, "tiny")
    networks("tiny", device="cpu")
    assert (len(LOADED), new() is not None) == (2, True)


def test_a_removed_release_is_let_go(two_releases):
    pinned_one = networks("tiny@1.1.0", device="cpu")
    install.remove(two_releases, "tiny@1.1.0")
    networks("tiny", device="cpu")
    gc.collect()
    assert (len(LOADED), pinned_one()) == (1, None)


def test_no_more_than_four_stay_loaded(two_releases):
    for number in range(2, 6):
        release_beside(two_releases, f"1.{number}.0", tile=160)
    first = networks("tiny@1.0.0", device="cpu")
    for number in (2, 3, 4, 5):
        networks(f"tiny@1.{number}.0", device="cpu")
    gc.collect()
    assert (len(LOADED), first()) == (4, None)


def test_what_is_on_offer_names_its_releases(two_releases):
    install.set_default(two_releases, "tiny@1.1.0")
    tiny, roads = list_detectors()
    assert (tiny.release, tiny.releases) == ("1.1.0", ("1.1.0", "1.0.0"))
    assert (roads.release, roads.releases) == ("1.0.0", ("1.0.0",))
    one = registry.describe_release("tiny@1.0.0")
    assert (one.name, one.release, one.problem) == ("tiny@1.0.0", "1.0.0", None)


def test_a_name_is_pinned_to_what_it_means_now(two_releases, own_config, pictures):
    assert pinned("tiny") == "tiny@1.0.0"
    assert pinned("tiny@1.1.0") == "tiny@1.1.0"
    install.set_default(two_releases, "tiny@1.1.0")
    assert pinned("tiny") == "tiny@1.1.0"
    path = own_config(pictures.objects)
    assert pinned(path) == path


def test_a_batch_has_one_release_whatever_becomes_the_default(two_releases, tmp_path, pictures):
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for number in range(3):
        pictures.write_tif(scenes / f"{number}.tif", pictures.texture(60, 60, number))
    records = []

    def change(record):
        records.append(record)
        install.set_default(two_releases, "tiny@1.1.0")

    out = tmp_path / "out"
    batch([scenes], "tiny", out, on="serial", device="cpu", on_record=change)
    assert len(records) == 3
    assert {one.detector for one in records} == {"tiny"}
    replayed = lanner.replay(out, device="cpu")
    assert [one.identical for one in replayed.runs] == [True] * 3
    # The same call again has the default of now, and does all anew.
    again = batch([scenes], "tiny", out, on="serial", device="cpu")
    assert len(again.records) == 3
    assert sum(one.outcome.features for one in again.records) < sum(
        one.outcome.features for one in records
    )


def test_a_run_is_replayed_with_the_release_of_its_record(two_releases, scene, tmp_path):
    run = tmp_path / "town.run"
    found = lanner.detect(scene, "tiny", device="cpu", run=run)
    install.set_default(two_releases, "tiny@1.1.0")
    assert lanner.replay(run).runs[0].identical
    assert not lanner.replay(run, anyway=True).runs[0].identical
    shutil.rmtree(two_releases / "weights" / "tiny" / "1.0.0")
    with pytest.raises(lanner.errors.ReplayError):
        lanner.replay(run)
    assert len(found) > 0
