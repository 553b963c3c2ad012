"""Jobs in PostgreSQL: all that SQLite does, and several servers on one database."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from lanner.core.errors import ServerError
from server.database.engine import Database
from server.jobs.runner import JobRunner, RunnerOptions
from server.jobs.store import JobStore
from tests.fixtures_jobs import JobsBehave, new, store
from tests.system.fixtures_postgres import postgres

__all__ = ["postgres", "store"]

_NUMBERS = count()


@pytest.fixture
def url(postgres):
    return postgres.new_database(f"jobs{next(_NUMBERS)}")


class TestPostgres(JobsBehave):
    """All of it."""


def test_servers_that_start_at_once_make_the_tables_once(url):
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(Database, [url] * 4))
    for database in opened:
        job = JobStore(database).submit(new())
        assert JobStore(opened[0]).get(job.id) == job
    for database in opened:
        database.close()


def test_a_database_that_is_gone_and_back_loses_nothing(url, postgres):
    """Jobs under way are done once, as if nothing had been."""
    done = []

    def work(lease, cancel, tell):
        time.sleep(1.0)
        done.append(lease.job.id)
        return {"features": 3}

    database = Database(url)
    jobs = JobStore(database)
    runner = JobRunner(jobs, {"detect": work}, RunnerOptions(lease_s=20, poll_s=0.05))
    runner.start()
    try:
        ids = [jobs.submit(new()).id for _ in range(4)]
        while jobs.counts().get("running") != 2:
            time.sleep(0.05)
        postgres.stop()
        with pytest.raises(ServerError):
            jobs.get(ids[0])
        time.sleep(2)
        postgres.start()
        end = time.monotonic() + 30
        while jobs.counts() != {"succeeded": 4}:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert sorted(done) == sorted(ids)
        assert {jobs.get(one).attempts for one in ids} == {1}
    finally:
        runner.drain(0)
        database.close()
