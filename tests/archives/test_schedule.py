"""Scenes to workers: cut or whole, in whatever order, with workers that die, to the same bytes."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lanner
from lanner.archives.cutting import RUN, runs_of
from lanner.archives.executors import ATTEMPTS, PLUGINS, Answer, opener
from lanner.archives.executors.serial import Params
from lanner.archives.ledger import FILE, BatchLedger
from lanner.core.errors import Cancelled, ConfigError
from lanner.core.job import Cancel
from tests.archives.fixtures_archive import contents, make_archive, own_cache

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")


class RestlessPool:
    """Workers that answer in any order, and of which some die with what they have in hand.

    `dies` says of a piece of work, by how many were taken so far, whether its worker dies; of that
    the work is done or not.
    """

    cuts = True
    notes = ()

    def __init__(self, seed, dies):
        self.chance, self.dies = random.Random(seed), dies
        self.waiting, self.taken, self.most = [], 0, 0
        self.names = Counter()

    def room(self):
        return 3

    def submit(self, number, work):
        self.names[work.func.__name__] += 1
        self.waiting.append((number, work))
        self.most = max(self.most, len(self.waiting))

    def wait(self, cancel):
        cancel.check()
        number, work = self.waiting.pop(self.chance.randrange(len(self.waiting)))
        self.taken += 1
        if self.dies(self.taken):
            if self.chance.random() < 0.5:
                work(Cancel())  # it was done, and nobody heard of it
            return Answer(number, lost=True)
        return Answer(number, work(Cancel()))


@pytest.fixture
def restless(monkeypatch):
    """Puts such a pool in the place of an executor, and gives it."""

    def put(seed, dies):
        pool = RestlessPool(seed, dies)

        class Executor:
            pass

        @contextmanager
        def run(params, needs):
            yield pool

        executor = Executor()
        executor.run, executor.Params = run, Params
        find = type(PLUGINS).find

        def found(plugins, name):
            plugin = find(plugins, "serial" if name == "restless" else name)
            return type(plugin)(run, Params, executor) if name == "restless" else plugin

        monkeypatch.setattr(type(PLUGINS), "find", found)
        return pool

    return put


@pytest.fixture(scope="module")
def archive(pictures, tmp_path_factory):
    """Two small scenes and one of 100 tiles."""
    folder = make_archive(tmp_path_factory.mktemp("archive") / "in", pictures, 2)
    pictures.write_tif(folder / "large.tif", pictures.texture(620, 620, seed=5))
    return folder


@pytest.fixture(scope="module")
def calm(archive, tiny_home, tmp_path_factory):
    """What the serial executor makes of it."""
    out = tmp_path_factory.mktemp("calm") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANNER_HOME", str(tiny_home))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        lanner.batch(archive, ["tiny", "tinyroads"], out, on="serial")
    return contents(out)


@pytest.mark.parametrize("seed", [1, 2])
def test_cut_shuffled_and_with_workers_that_die_it_gives_the_same_bytes(
    archive, calm, restless, tmp_path, seed
):
    pool = restless(seed, lambda taken: taken % 4 == 1)
    result = lanner.batch(archive, ["tiny", "tinyroads"], tmp_path / "out", on="restless")
    assert contents(tmp_path / "out") == calm
    assert pool.most == 3
    # Two detectors of a hundred tiles each, a run of them a piece.
    assert pool.taken > 2 * 100 // RUN
    assert {one.scene.name for one in result.failed} == {"cut", "empty"}


def test_a_scene_that_all_workers_die_of_fails_alone(archive, restless, tmp_path):
    pool = restless(1, lambda taken: True)
    result = lanner.batch(archive, "tiny", tmp_path / "out", on="restless")
    assert len(result.failed) == len(result.records)
    killed = [one for one in result.failed if one.scene.name not in ("cut", "empty")]
    assert killed and all(one.error.remedy and one.error.argument == "worker" for one in killed)
    assert pool.taken >= ATTEMPTS * 3
    again = lanner.batch(archive, "tiny", tmp_path / "out", retry_failed=True)
    assert {one.scene.name for one in again.failed} == {"cut", "empty"}


def test_a_cut_scene_goes_on_from_the_tiles_that_are_there(archive, calm, restless, tmp_path):
    out, cancel = tmp_path / "out", Cancel()

    def stop(taken):
        if taken == 6:
            cancel.set()
        return False

    restless(3, stop)
    with pytest.raises(Cancelled):
        lanner.batch(archive, ["tiny", "tinyroads"], out, on="restless", cancel=cancel)
    assert list((out / "work").glob("large.*"))
    lanner.batch(archive, ["tiny", "tinyroads"], out, on="serial")
    assert contents(out) == calm


def test_closer_looks_of_a_cut_scene_are_shared(pictures, own_config, restless, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    pictures.write_tif(source / "large.tif", pictures.texture(330, 330, seed=5))
    looks = {"step": "closer_look", "object_px": 150, "least": 0.6, "enlarge": 8}
    detector = own_config(pictures.objects, chain=[*pictures.objects["chain"], looks])
    lanner.batch(source, detector, tmp_path / "calm", on="serial")
    pool = restless(1, lambda taken: taken in (2, 6, 9))
    lanner.batch(source, detector, tmp_path / "out", on="restless")
    assert contents(tmp_path / "out") == contents(tmp_path / "calm")
    assert pool.names["look_run"] >= 2 and pool.names["run_to_looks"] >= 1


@given(st.lists(st.integers(0, 500), unique=True).map(sorted), st.integers(1, 40))
def test_runs_hold_every_tile_once_in_order_and_are_even(indices, size):
    runs = runs_of(indices, size)
    assert [one for run in runs for one in run] == indices
    lengths = {len(run) for run in runs}
    assert all(0 < length <= size for length in lengths)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


@pytest.mark.parametrize(
    ("on", "options", "argument"),
    [
        ("serail", {}, "on"),
        ("serial", {"workers": 2}, "workers"),
        ("local", {"workers": -1}, "workers"),
        ("local", {"worker_cores": 2}, "worker_cores"),
        ("local://here", {}, "on"),
        ("ray", {"worker_cores": 0}, "worker_cores"),
    ],
)
def test_what_an_executor_does_not_take_is_refused(on, options, argument):
    with pytest.raises(ConfigError) as caught:
        opener(on, options)
    assert str(caught.value.argument) == argument
    assert caught.value.remedy


def test_an_unknown_executor_is_refused_before_a_folder_is_made(archive, tmp_path):
    with pytest.raises(ConfigError):
        lanner.batch(archive, "tiny", tmp_path / "out", on="cloud")
    assert not (tmp_path / "out" / FILE).exists()


def test_attempts_are_those_of_runs_and_not_of_pieces(archive, restless, tmp_path):
    restless(1, lambda taken: False)
    lanner.batch(archive, "tiny", tmp_path / "out", on="restless")
    with BatchLedger(tmp_path / "out" / FILE, None) as ledger:
        tried = {one.scene.name: one.attempts for one in ledger.records()}
    assert tried["large"] == 1
