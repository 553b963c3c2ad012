"""A batch on a Ray cluster of this machine: same bytes, workers that are killed, other formats."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import lanner
from lanner.archives.executors import Needs, opener
from lanner.archives.ledger import FILE, BatchLedger
from lanner.core.errors import ConfigError, DeviceError
from lanner.core.job import Cancel
from tests.archives.fixtures_archive import contents, make_archive, own_cache
from tests.fixtures_ray import own_ray

__all__ = ["own_cache", "own_ray"]

pytestmark = [
    pytest.mark.usefixtures("at_home", "own_cache", "own_ray"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers in /proc"),
]


@pytest.fixture(scope="module")
def archive(pictures, tmp_path_factory):
    folder = make_archive(tmp_path_factory.mktemp("archive") / "in", pictures, 3)
    pictures.write_tif(folder / "large.tif", pictures.texture(620, 620, seed=5))
    return folder


def ray_workers() -> list[int]:
    """Processes of this user's Ray workers, those of our children's children."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Worker"):
                found.append(int(folder.name))
    return found


def test_a_cluster_gives_the_same_bytes_though_its_workers_are_killed(archive, tmp_path):
    calm, out = tmp_path / "calm", tmp_path / "out"
    lanner.batch(archive, ["tiny", "tinyroads"], calm, on="serial")
    before, killed, over = set(ray_workers()), [], threading.Event()

    def kill():
        while len(killed) < 2 and not over.is_set():
            for pid in set(ray_workers()) - before - set(killed):
                if (Path(f"/proc/{pid}/cmdline")).read_bytes().startswith(b"ray::Worker.run"):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        lanner.batch(archive, ["tiny", "tinyroads"], out, on="ray", workers=2)
    finally:
        over.set()
        killer.join()
    assert len(killed) == 2
    assert contents(out) == contents(calm)
    with BatchLedger(out / FILE, None) as ledger:
        names = [(one.scene.name, one.detector) for one in ledger.records()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("needs", "named"),
    [(Needs("cpu", "cpu float8 torch 0.1"), "float8"), (Needs("cuda:99"), "cuda:99")],
)
def test_workers_that_cannot_do_what_is_needed_are_refused(needs, named):
    with opener("ray", {"workers": 1})(needs) as pool, pytest.raises(DeviceError, match=named):
        pool.submit(0, os.getpid)
        pool.wait(Cancel())


def test_ray_is_asked_for_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install"), opener("ray")(Needs()):
        pass


def test_an_address_where_no_cluster_answers_is_told():
    with (
        pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"),
        opener("ray://127.0.0.1:9")(Needs()),
    ):
        pass
