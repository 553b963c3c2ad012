"""Medians of repeats, and which bars they hold."""

from dataclasses import replace

import pytest

from lanner.cli.bench.bars import (
    beyond_model,
    faster,
    flat_memory,
    flat_time,
    judge,
    near_bare,
    same_objects,
)
from lanner.cli.bench.job import Job, Measured
from lanner.cli.bench.rows import Row, summed
from lanner.cli.bench.run import sizes
from lanner.cli.bench.show import verdict
from lanner.core.errors import ConfigError

ONE = Measured(
    detector="aircraft",
    release="1.0.0",
    members=("retinanet",),
    runs_on="cpu bfloat16",
    threads=4,
    width=8192,
    height=8192,
    megapixels=26.2144,
    tile=768,
    tiles=100,
    objects=7,
    load_s=3.0,
    seconds=10.9,
    stages={"open": 0.9, "detect": 10.0},
    bare={"retinanet": 10.0},
    bare_share=1.0,
    model_mb=1000.0,
    peak_mb=1400.0,
    gpu=None,
    gpu_mb=None,
)


def row(**changes: object) -> Row:
    return summed([replace(ONE, **changes)])


def test_a_row_holds_medians_and_the_median_of_ratios():
    three = [
        replace(ONE, seconds=s, stages={"open": s - 8, "detect": 8.0}, bare={"retinanet": b})
        for s, b in ((10.0, 5.0), (30.0, 10.0), (20.0, 20.0))
    ]
    done = summed(three)
    assert (done.repeats, done.seconds, done.spread) == (3, 20.0, (10.0, 30.0))
    assert done.bare_s == 10.0
    # 2, 3 and 1: each repeat over its own, not 20 over 10 by chance of the order.
    assert done.ratio == 2.0
    assert done.mpx_per_s == pytest.approx(8192**2 / 1e6 / 20)
    assert done.grid_mpx_per_s == pytest.approx(26.2144 / 20)
    assert done.s_per_tile == pytest.approx(0.2)
    assert done.stages["open"].seconds == 12.0
    assert done.stages["open"].share == pytest.approx(0.6)


def test_without_bare_networks_there_is_no_ratio():
    done = row(bare={})
    assert done.ratio is None
    assert done.bare_s is None
    assert near_bare(done).held is None


@pytest.mark.parametrize(
    ("members", "seconds", "held"),
    [
        (("retinanet",), 10.9, True),
        (("retinanet",), 11.1, False),
        (("retinanet", "resunet"), 11.4, True),
        (("retinanet", "resunet"), 11.6, False),
    ],
)
def test_one_network_may_cost_a_tenth_more_several_a_little_more_than_that(members, seconds, held):
    bar = near_bare(row(members=members, seconds=seconds))
    assert bar.held is held
    assert verdict(bar) == ("held" if held else "not held")


def test_a_small_scene_is_not_judged_but_shown():
    bar = near_bare(row(width=1024, seconds=30.0))
    assert bar.held is None
    assert bar.value == pytest.approx(3.0)
    assert verdict(bar) == "not judged: meant for scenes of 8192 pixels"


def test_peers():
    assert faster("SAHI", 10.0, 40.0).held
    assert faster("SAHI", 10.0, 39.0).held is False
    assert faster("SAHI", 10.0, 80.0, "small").held is None
    assert same_objects("SAHI", 0.99).held
    assert same_objects("SAHI", 0.98).held is False


def tiles(count: int, each: float) -> Row:
    return row(tiles=count, seconds=count * each)


def test_time_a_tile_is_judged_from_100_tiles_on():
    few, many = tiles(50, 1.0), tiles(10_000, 0.109)
    assert flat_time([few, tiles(100, 0.1), many]).held
    assert flat_time([few, tiles(100, 0.1), tiles(10_000, 0.111)]).held is False
    assert flat_time([few, many]).held is None
    # So far it holds, but that is not far enough; what does not hold will not hold later.
    assert flat_time([tiles(100, 0.1), tiles(400, 0.1)]).held is None
    assert flat_time([tiles(100, 0.1), tiles(400, 0.2)]).held is False


def memory(side: int, peak: float) -> Row:
    return row(width=side, height=side, peak_mb=peak)


def test_memory_is_judged_from_4096_to_32768_pixels():
    small, first, last = memory(1024, 900.0), memory(4096, 1400.0), memory(32_768, 1600.0)
    assert flat_memory([small, first, last]).held
    assert flat_memory([first, memory(32_768, 1620.0)]).held is False
    assert flat_memory([first, memory(8192, 1400.0)]).held is None
    assert flat_memory([small, last]).held is None
    assert beyond_model([first, memory(32_768, 3000.0)]).held
    assert beyond_model([first, memory(32_768, 3001.0)]).held is False
    assert beyond_model([memory(8192, 2000.0)]).held is None


def test_scaling_is_judged_at_the_most_threads():
    rows = [
        replace(memory(side, peak), threads=threads)
        for threads, peaks in ((1, (1000.0, 9000.0)), (4, (1400.0, 1500.0)))
        for side, peak in zip((4096, 32_768), peaks, strict=True)
    ]
    flat = judge(rows, scaling=True)[1]
    assert (flat.held, flat.value) == (True, pytest.approx(1500 / 1400 - 1))


def test_sizes_double_and_say_which_would_do():
    assert sizes(8192) == (1024, 2048, 4096, 8192)
    with pytest.raises(ConfigError, match="use 4096"):
        sizes(3000)
    with pytest.raises(ConfigError, match="use 32768"):
        sizes(65_536)


def test_jobs_travel_as_json():
    job = Job("a.tif", "aircraft", ("retinanet",), "cpu", 384, 0.5, 2, False)
    assert Job.from_json(job.to_json()) == job
    assert Job.from_json(Job("a", "b").to_json()) == Job("a", "b")
