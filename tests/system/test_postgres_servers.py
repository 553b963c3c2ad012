"""Two servers on one PostgreSQL, as processes of their own: one is lost, the database goes away."""

import signal
import time

import pytest

import lanner
from tests.fixtures_bright import bright_server, write_squares
from tests.system.fixtures_postgres import postgres

__all__ = ["postgres"]

JOBS = 6


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    write_squares(folder / "town.tif", 400)
    return folder


def ended_well(client, names, path):
    """The one file that all of these operations come to."""
    found = set()
    for name in names:
        operation = client.operation(name)
        operation.wait(120)
        assert operation.state == "succeeded", operation
        found.add(operation.save(path).read_bytes())
    assert len(found) == 1
    return found.pop()


def test_one_of_two_servers_is_killed_and_nothing_is_lost_or_doubled(scenes, tmp_path, postgres):
    shared = {"database": postgres.new_database("two"), "per_device": 2}
    data, environment = tmp_path / "data", {"TILE_S": "0.05"}
    with (
        bright_server(scenes, data, environment, **shared) as (first, one),
        bright_server(scenes, data, environment, **shared) as (_, other),
        lanner.Client(one) as lost,
        lanner.Client(other) as client,
    ):
        names = [lost.submit("town.tif", "bright", request_id=f"{k}").name for k in range(JOBS)]
        until(lambda: [client.operation(name).state for name in names].count("running") == 4)
        time.sleep(0.5)
        first.send_signal(signal.SIGKILL)
        # Asked again, as a client does that was not answered.
        again = [client.submit("town.tif", "bright", request_id=f"{k}").name for k in range(JOBS)]
        assert again == names
        bytes_of_all = ended_well(client, names, tmp_path / "all.geojson")
        assert len(list(client.operations())) == JOBS
        attempts = [client.operation(name).attempts for name in names]
        assert sorted(set(attempts)) == [1, 2]
        alone = client.submit("town.tif", "bright")
        assert ended_well(client, [alone.name], tmp_path / "alone.geojson") == bytes_of_all
    assert all(len(list(job.iterdir())) == 1 for job in (data / "jobs").iterdir())


def test_a_database_that_goes_away_and_comes_back_ends_no_server(scenes, tmp_path, postgres):
    shared = {"database": postgres.new_database("away"), "lease_s": 30.0}
    data, environment = tmp_path / "data", {"TILE_S": "0.1"}
    with (
        bright_server(scenes, data, environment, **shared) as (process, address),
        lanner.Client(address) as client,
    ):
        names = [client.submit("town.tif", "bright").name for _ in range(3)]
        until(lambda: client.operation(names[0]).progress.done > 3)
        postgres.stop()
        time.sleep(2)
        assert process.poll() is None
        postgres.start()
        ended_well(client, names, tmp_path / "all.geojson")
        assert {client.operation(name).attempts for name in names} == {1}


def until(what, timeout_s=30.0):
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)
