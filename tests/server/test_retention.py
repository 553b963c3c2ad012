"""Results and uploads are forgotten when they are over, and not before."""

import time

import pytest

import lanner
from lanner.core.errors import UnknownOperationError
from server.options import ServeOptions
from server.retention import Retention
from server.run import start
from server.uploads import UploadLimits
from tests.fixtures_points import WORK, scenes

__all__ = ["scenes"]


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def begin(scenes, tmp_path):
    servers = []

    def make(retention, **options):
        options = ServeOptions(
            port=0, roots=(scenes,), data=tmp_path / "data", retention=retention, **options
        )
        servers.append(start(WORK, options))
        return lanner.Client(servers[-1].address)

    yield make
    for one in servers:
        one.stop(0)


def names(client):
    return {one.name for one in client.operations()}


def folders(tmp_path):
    return {one.name for one in (tmp_path / "data" / "jobs").iterdir()}


def test_results_go_with_age_and_what_runs_stays(begin, tmp_path):
    with begin(Retention(results_s=1.0, every_s=0.1)) as client:
        slow = client.submit("slow.tif", "points")
        done = client.submit("few.tif", "points")
        assert len(done.result(20).features) == 3
        until(lambda: names(client) == {slow.name})
        with pytest.raises(UnknownOperationError):
            client.operation(done.name)
        assert done.name.partition("/")[2] not in folders(tmp_path)
        slow.cancel()


def test_the_oldest_results_go_where_all_are_too_large(begin, tmp_path):
    with begin(Retention(every_s=1000)) as client:
        done = []
        for _ in range(3):
            done.append(client.submit("few.tif", "points"))
            done[-1].result(20)
        size = sum(
            path.stat().st_size
            for path in (tmp_path / "data" / "jobs").rglob("*")
            if path.is_file()
        )
    with begin(Retention(results_bytes=size - 1, every_s=0.1)) as client:
        until(lambda: names(client) == {one.name for one in done[1:]})
        time.sleep(0.5)
        assert len(names(client)) == 2


def test_uploads_go_when_nobody_uses_them(begin, tmp_path):
    limits = UploadLimits(kept_s=0.5)
    with begin(Retention(every_s=0.1), uploads=limits) as client:
        path = tmp_path / "mine.tif"
        path.write_text('{"count": 4}')
        upload = client.upload(path)
        assert len(client.detect(upload, "points").features) == 4
        until(lambda: not list((tmp_path / "data" / "uploads").iterdir()))
