"""Work in several processes, and pictures drawn by them."""

import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lanner.core.errors import Cancelled
from lanner.factory.ops.drawn import Drawing, _draw
from lanner.factory.ops.render import Params, roads
from lanner.factory.process_map import process_map


def note(path: Path) -> None:
    """Leave the number of this process."""
    if path.name == "bad":
        raise ValueError("cannot be done")
    path.write_text(str(os.getpid()))


def note_slowly(path: Path) -> None:
    """The same, so that what is asked for lies some time in wait."""
    time.sleep(0.02)
    note(path)


def test_several_processes_do_everything_once_and_tell(tmp_path):
    events = []
    paths = [tmp_path / str(k) for k in range(48)]
    process_map(note, paths, events.append, workers=3)
    by = {path.read_text() for path in paths}
    assert str(os.getpid()) not in by
    assert events == list(range(49))


def test_few_things_are_done_here(tmp_path):
    events = []
    process_map(note, [tmp_path / "one", tmp_path / "two"], events.append, workers=3)
    assert (tmp_path / "two").read_text() == str(os.getpid())
    assert events == [0, 1]


def test_what_fails_in_a_process_is_raised_here(tmp_path):
    with pytest.raises(ValueError, match="cannot be done"):
        process_map(
            note, [tmp_path / "bad", *(tmp_path / str(k) for k in range(40))], print, workers=2
        )


def test_a_caller_that_goes_away_ends_the_work(tmp_path):
    paths = [tmp_path / str(k) for k in range(400)]

    def tell(done: int) -> None:
        if done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        process_map(note_slowly, paths, tell, workers=2)
    assert 5 <= sum(path.exists() for path in paths) < 400


def test_processes_draw_the_same_bytes(tmp_path):
    params = Params(kind="roads", size=64)

    def drawings(folder: Path) -> list[Drawing]:
        folder.mkdir()
        return [
            Drawing(
                partial(roads, np.random.default_rng(k), 1.0, params, 1),
                folder / f"{k}.png", folder / f"{k}-mask.png", folder / f"{k}.json",
            )
            for k in range(32)
        ]  # fmt: skip

    here, there = drawings(tmp_path / "here"), drawings(tmp_path / "there")
    process_map(_draw, here, lambda _: None, workers=1)
    process_map(_draw, there, lambda _: None, workers=2)
    for one, other in zip(here, there, strict=True):
        for mine, theirs in zip(one.files, other.files, strict=True):
            assert mine.read_bytes() == theirs.read_bytes()
    assert len({one.image.read_bytes() for one in here}) == 32
