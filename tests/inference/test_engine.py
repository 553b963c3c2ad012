"""One engine a device: whose tile is looked at when, together with which, by how many workers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.results import encode, no_candidates
from lanner.inference.engine import WORKER_PX, Engine, engine_of
from tiling.grid import Grid, TilePlan
from tiling.reader import TileImage

GRID = Grid.over((64, 64), (1, 1), 1)
PLAN = TilePlan(GRID, 64, 0)
PAYLOAD = encode(no_candidates(1))


def image(side=64):
    return TileImage(
        PLAN[0], np.zeros((3, side, side), np.float32), np.ones((side, side), np.bool_)
    )


@dataclass
class Watcher:
    """Says nothing of a tile; remembers how it was asked, and waits where it is told to."""

    batch: int = 1
    workers: int = 2
    share: int = 1
    shares_cores: bool = False
    device: str = "here"
    names: tuple[str, ...] = ("watcher",)
    channels: tuple[str, ...] = ()
    identity: str = "watcher"
    go: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    busy: int = 0
    most: int = 0
    turn: threading.Lock = field(default_factory=threading.Lock)

    def run(self, images, grids, slots=None):
        assert len(images) == len(grids)
        with self.turn:
            self.asked.append((len(images), slots))
            self.busy += slots or 1
            self.most = max(self.most, self.busy)
        assert self.go.wait(20)
        with self.turn:
            self.busy -= slots or 1
        return [no_candidates(1)] * len(images)


def ask(engine, predictor, side=64, get=None) -> Future[bytes]:
    return engine.submit(predictor, side, GRID, get or image)


@given(batch=st.integers(1, 5), tiles=st.lists(st.sampled_from("ab"), max_size=30))
@settings(max_examples=25, deadline=None)
def test_every_tile_is_answered_by_the_eyes_it_was_shown_to(batch, tiles):
    predictor = {name: Watcher(batch=batch) for name in "ab"}
    for one in predictor.values():
        one.go.set()
    with Engine(2).opened() as engine:
        answers = [ask(engine, predictor[name]) for name in tiles]
        assert [answer.result(20) for answer in answers] == [PAYLOAD] * len(tiles)
    for name, one in predictor.items():
        assert sum(count for count, _ in one.asked) == tiles.count(name)
        assert max((count for count, _ in one.asked), default=0) <= batch


def test_a_batch_is_filled_with_tiles_of_several_scenes():
    predictor = Watcher(batch=4, workers=1)
    with Engine(1).opened() as engine:
        first = [ask(engine, predictor) for _ in range(4)]
        # The one worker is busy: of two scenes two tiles each gather.
        rest = [ask(engine, predictor) for _ in range(2)] + [
            ask(engine, predictor) for _ in range(2)
        ]
        predictor.go.set()
        wait([*first, *rest])
    assert [count for count, _ in predictor.asked] == [4, 4]


def test_tiles_of_other_sides_and_other_eyes_are_other_batches():
    one, other = Watcher(batch=8, workers=1), Watcher(batch=8, workers=1)
    one.go.set()
    other.go.set()
    with Engine(1).opened() as engine:
        sides = [ask(engine, one, side) for side in (64, 128, 64, 128, 64)]
        others = [ask(engine, other)]
        wait([*sides, *others])
    assert sorted(count for count, _ in one.asked) == [2, 3]
    assert [count for count, _ in other.asked] == [1]


def test_a_batch_that_stays_open_is_looked_at_soon():
    predictor = Watcher(batch=16)
    predictor.go.set()
    with Engine(2).opened() as engine:
        since = time.monotonic()
        assert ask(engine, predictor).result(20) == PAYLOAD
        assert time.monotonic() - since < 5


@pytest.mark.parametrize(
    ("side", "slots"), [(WORKER_PX, 1), (WORKER_PX + 32, 2), (3 * WORKER_PX, 4)]
)
def test_large_tiles_take_several_workers(side, slots):
    predictor = Watcher(workers=4, shares_cores=True)
    with Engine(4).opened() as engine:
        answers = [ask(engine, predictor, side) for _ in range(9)]
        while predictor.busy < 4:
            time.sleep(0.01)
        predictor.go.set()
        wait(answers)
    assert {width for _, width in predictor.asked} == {slots}
    assert predictor.most == 4


def test_a_tile_of_a_device_of_its_own_takes_one_worker():
    assert Engine(2).slots(Watcher(), 4096) == 1


def test_what_fails_is_told_to_those_who_asked():
    predictor = Watcher(batch=2, workers=1)
    predictor.go.set()

    def torn():
        raise OSError("torn")

    with Engine(1).opened() as engine:
        bad, good = ask(engine, predictor, get=torn), ask(engine, predictor)
        with pytest.raises(OSError, match="torn"):
            bad.result(20)
        assert good.result(20) == PAYLOAD
        predictor.run = partial(_blind, predictor)
        lost = [ask(engine, predictor), ask(engine, predictor)]
        for one in lost:
            with pytest.raises(ValueError, match="blind"):
                one.result(20)
        del predictor.run
        assert ask(engine, predictor).result(20) == PAYLOAD


def _blind(predictor, images, grids, slots=None):
    raise ValueError("blind")


def test_what_is_no_longer_wanted_is_not_read():
    predictor, read = Watcher(workers=1), []
    with Engine(1).opened() as engine:
        first = ask(engine, predictor)
        while not predictor.asked:
            time.sleep(0.01)
        rest = [ask(engine, predictor, get=lambda: read.append(1) or image()) for _ in range(5)]
        assert all(one.cancel() for one in rest)
        predictor.go.set()
        assert first.result(20) == PAYLOAD
        assert ask(engine, predictor).result(20) == PAYLOAD
    assert not read


def test_workers_end_soon_after_the_last_who_has_the_engine_open(monkeypatch):
    monkeypatch.setattr("lanner.inference.engine.LINGER_S", 0.5)
    engine, predictor = Engine(3), Watcher()
    predictor.go.set()

    def workers():
        return {t for t in threading.enumerate() if t.name.startswith("lanner-worker")}

    before = workers()
    with engine.opened():
        with engine.opened():
            assert len(workers() - before) == 3
        assert ask(engine, predictor).result(20) == PAYLOAD
        assert len(workers() - before) == 3
    stayed = workers() - before
    with engine.opened():
        assert ask(engine, predictor).result(20) == PAYLOAD
        assert workers() - before == stayed
    end = time.monotonic() + 10
    while workers() - before:
        assert time.monotonic() < end
        time.sleep(0.05)
    with engine.opened():
        assert ask(engine, predictor).result(20) == PAYLOAD


def test_many_who_come_and_go_are_all_answered():
    engine, predictor = Engine(2), Watcher(batch=3)
    predictor.go.set()

    def come(_):
        with engine.opened():
            return [one.result(20) for one in [ask(engine, predictor) for _ in range(3)]]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(come, range(60))) == [[PAYLOAD] * 3] * 60


def test_eyes_of_one_device_share_its_engine():
    one, other, far = Watcher(), Watcher(), Watcher(device="there")
    assert engine_of(one) is engine_of(other)
    assert engine_of(one) is not engine_of(far)


def test_a_last_tile_takes_all_workers_where_nobody_else_waits():
    predictor = Watcher(workers=2, shares_cores=True)
    predictor.go.set()
    with Engine(2).opened() as engine:
        assert engine.submit(predictor, 64, GRID, image, spreads=True).result(20) == PAYLOAD
    assert predictor.asked == [(1, 2)]


def test_last_tiles_of_several_scenes_run_side_by_side():
    predictor = Watcher(workers=2, shares_cores=True)
    with Engine(2).opened() as engine:
        first = ask(engine, predictor)
        while predictor.busy < 1:
            time.sleep(0.01)
        second = engine.submit(predictor, 64, GRID, image, spreads=True)
        third = engine.submit(predictor, 64, GRID, image, spreads=True)
        while predictor.busy < 2:
            time.sleep(0.01)
        predictor.go.set()
        wait([first, second, third])
    assert predictor.asked[0] == predictor.asked[1] == (1, 1)


@pytest.mark.parametrize(("workers", "share"), [(1, 4), (2, 2), (4, 1)])
def test_objects_of_closer_looks_and_tiles_never_take_more_cores_than_there_are(workers, share):
    predictor = Watcher(workers=workers, shares_cores=True, share=share)
    predictor.go.set()
    turn, state = threading.Lock(), {"busy": 0, "most": 0}

    def count(cores):
        with turn:
            state["busy"] += cores
            state["most"] = max(state["most"], state["busy"])
        time.sleep(0.005)
        with turn:
            state["busy"] -= cores

    def tile():
        count(share)
        return image()

    with Engine(workers, share).opened() as engine:
        tiles = [ask(engine, predictor, get=tile) for _ in range(12)]
        objects = list(engine.call_each(lambda n: count(1) or n, range(40)))
        wait(tiles)
    assert objects == list(range(40))
    assert state["most"] == workers * share


def test_what_has_not_begun_of_a_closed_look_is_not_done():
    begun, later = [], threading.Event()

    def work(n):
        begun.append(n)
        assert n == 0 or later.wait(20)
        return n

    with Engine(1, 2).opened() as engine:
        answers = engine.call_each(work, range(30))
        assert next(answers) == 0
        threading.Timer(0.2, later.set).start()
        answers.close()
        assert len(begun) <= 3
        with pytest.raises(ZeroDivisionError):
            list(engine.call_each(lambda n: 1 // n, [0]))


def test_a_scene_of_many_objects_leaves_room_for_tiles_of_others():
    predictor, begun, first = Watcher(workers=1, shares_cores=True), [], threading.Event()
    predictor.go.set()

    def work(n):
        begun.append(n)
        first.set()
        time.sleep(0.01)
        return n

    with Engine(1, 1).opened() as engine, ThreadPoolExecutor(1) as pool:
        objects = pool.submit(lambda: list(engine.call_each(work, range(60))))
        assert first.wait(20)
        ask(engine, predictor).result(20)
        assert len(begun) < 30
        assert objects.result(20) == list(range(60))
