"""What every database of jobs must do; test modules hand in their own `database` fixture.

Use: `from tests.fixtures_jobs import *` beside a fixture `url` that gives an empty database.
"""

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lanner.core.errors import BusyError, ConfigError
from lanner.core.job import Progress
from server.database.engine import Database
from server.jobs.model import Limits, NewJob
from server.jobs.store import JobStore, LeaseLostError

SPEC = {"scene": {"uri": "a.tif"}, "detector": {"name": "aircraft"}, "gsd_m": 0.5}
LATE, LOST = b"late", b"lost"


@pytest.fixture
def store(url):
    database = Database(url)
    yield JobStore(database, Limits(queued=20, of_client=10, losses=3))
    database.close()


def new(client="ann", **changes):
    return NewJob("detect", client, SPEC, **changes)


def states(store, job):
    return [one.data["state"] for one in store.events(job) if one.kind == "state"]


class JobsBehave:
    """The behaviour of a job store on one kind of database."""

    def test_a_job_from_its_request_to_its_result(self, store):
        job = store.submit(new())
        assert (job.state, job.spec, job.attempts, job.started) == ("queued", SPEC, 0, None)
        lease = store.claim("one", 60)
        assert lease.job.id == job.id
        assert (lease.job.state, lease.job.attempts) == ("running", 1)
        assert store.claim("two", 60) is None
        assert store.renew(lease, 60, Progress("detect", 3, 9)) is False
        assert store.get(job.id).progress == Progress("detect", 3, 9)
        store.tell(lease, "preview", {"features": [1, 2]})
        store.finish(lease, "succeeded", result={"features": 7})
        done = store.get(job.id)
        assert (done.state, done.result, done.is_ended) == ("succeeded", {"features": 7}, True)
        assert done.created <= done.started <= done.ended
        assert states(store, job.id) == ["queued", "running", "succeeded"]
        every = store.events(job.id)
        assert [one.number for one in every] == [1, 2, 3, 4]
        assert store.events(job.id, 2) == every[2:]
        assert [one.at for one in every] == sorted(one.at for one in every)
        assert store.delete(job.id)
        assert not store.delete(job.id)
        assert store.get(job.id) is None
        assert store.events(job.id) == []

    def test_what_is_kept_outlives_the_process(self, url, store):
        job = store.submit(new(request_id="a"))
        database = Database(url)
        try:
            assert JobStore(database).get(job.id) == job
        finally:
            database.close()

    def test_a_request_that_is_repeated_is_one_job(self, store):
        first = store.submit(new(request_id="a"))
        assert store.submit(new(request_id="a")).id == first.id
        assert store.submit(new("bob", request_id="a")).id != first.id
        with pytest.raises(ConfigError, match="another request"):
            store.submit(NewJob("detect", "ann", {**SPEC, "gsd_m": 0.7}, request_id="a"))

    def test_repetitions_at_once_are_one_job(self, store):
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: store.submit(new(request_id="b")), range(16)))
        assert len({one.id for one in found}) == 1

    def test_no_more_wait_than_may(self, store):
        for client in ("ann", "bob"):
            for _ in range(10):
                store.submit(new(client))
        with pytest.raises(BusyError, match="queue"):
            store.submit(new("eve"))
        store.finish(store.claim("one", 60), "succeeded")
        assert store.submit(new("eve")).state == "queued"

    def test_one_client_has_no_more_than_its_share(self, store):
        for _ in range(10):
            store.submit(new())
        with pytest.raises(BusyError, match="client"):
            store.submit(new())
        assert store.submit(new("bob")).state == "queued"

    def test_no_more_wait_than_may_of_many_at_once(self, store):
        def ask(number):
            try:
                return store.submit(new(f"client{number}")).id
            except BusyError:
                return None

        with ThreadPoolExecutor(8) as threads:
            found = [one for one in threads.map(ask, range(40)) if one]
        assert len(found) == 20 == store.counts()["queued"]

    def test_turns_go_by_priority_then_by_client_then_by_age(self, store):
        ids = [
            store.submit(new(client, priority=priority)).id
            for client, priority in (("ann", 0), ("ann", 0), ("bob", 0), ("ann", 1))
        ]
        turns = [store.claim("one", 60).job.id for _ in range(4)]
        assert turns == [ids[3], ids[2], ids[0], ids[1]]

    def test_each_job_is_claimed_once(self, store):
        for k in range(20):
            store.submit(new(f"client{k}"))
        claimed = []

        def work(owner):
            while (lease := store.claim(owner, 60)) is not None:
                claimed.append(lease.job.id)
                store.finish(lease, "succeeded")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, map(str, range(8))))
        assert len(claimed) == 20
        assert set(Counter(claimed).values()) == {1}
        assert store.counts() == {"succeeded": 20}

    def test_a_job_of_a_lost_server_goes_on_and_its_late_words_are_refused(self, store):
        job = store.submit(new())
        dead = store.claim("one", 0.05)
        time.sleep(0.1)
        assert store.reap(LATE, LOST) == 1
        assert store.reap(LATE, LOST) == 0
        alive = store.claim("two", 60)
        assert (alive.job.id, alive.epoch, alive.job.attempts) == (job.id, dead.epoch + 1, 2)
        for late in (
            lambda: store.renew(dead, 60),
            lambda: store.tell(dead, "preview", {}),
            lambda: store.finish(dead, "succeeded"),
            lambda: store.release(dead),
        ):
            with pytest.raises(LeaseLostError):
                late()
        assert store.get(job.id).state == "running"
        store.finish(alive, "succeeded", result={"features": 1})
        with pytest.raises(LeaseLostError):
            store.renew(alive, 60)
        assert states(store, job.id) == ["queued", "running", "queued", "running", "succeeded"]

    def test_the_same_server_takes_its_job_up_under_a_new_epoch(self, store):
        store.submit(new())
        first = store.claim("one", 0.05)
        time.sleep(0.1)
        store.reap(LATE, LOST)
        second = store.claim("one", 60)
        assert second.epoch == first.epoch + 1
        with pytest.raises(LeaseLostError):
            store.renew(first, 60)
        assert store.renew(second, 60) is False

    def test_a_job_that_servers_die_of_ends(self, store):
        job = store.submit(new())
        for _ in range(3):
            assert store.claim("one", 0.0).job.id == job.id
            store.reap(LATE, LOST)
        ended = store.get(job.id)
        assert (ended.state, ended.error, ended.attempts) == ("failed", LOST, 3)

    def test_a_server_that_drains_leaves_its_jobs_where_they_stood(self, store):
        job = store.submit(new())
        for _ in range(5):
            lease = store.claim("one", 60)
            store.release(lease)
        waiting = store.get(job.id)
        assert (waiting.state, waiting.attempts) == ("queued", 0)
        with pytest.raises(LeaseLostError):
            store.release(lease)

    def test_a_job_that_waits_too_long_ends(self, store):
        job = store.submit(new(queue_s=0.05))
        other = store.submit(new(queue_s=60))
        time.sleep(0.1)
        # Nobody begins it in the moment before it is ended.
        assert store.claim("one", 60).job.id == other.id
        store.reap(LATE, LOST)
        assert (store.get(job.id).state, store.get(job.id).error) == ("failed", LATE)
        assert store.get(other.id).state == "running"

    def test_a_job_that_had_its_turn_waits_for_another_without_a_limit(self, store):
        job = store.submit(new(queue_s=0.05))
        lease = store.claim("one", 60)
        store.release(lease)
        time.sleep(0.1)
        store.reap(LATE, LOST)
        assert store.get(job.id).state == "queued"

    def test_cancelling(self, store):
        assert store.cancel("none") is None
        waiting, running = store.submit(new()), store.submit(new(priority=1))
        assert store.cancel(waiting.id).state == "cancelled"
        lease = store.claim("one", 60)
        assert lease.job.id == running.id
        assert store.cancel(running.id).cancelling
        assert store.renew(lease, 60) is True
        store.finish(lease, "cancelled")
        assert store.cancel(running.id).state == "cancelled"
        assert states(store, running.id) == ["queued", "running", "cancelled"]

    def test_a_job_that_gets_further_each_time_is_begun_again_however_often(self, store):
        job = store.submit(new())
        for done in (*range(1, 10), 9):
            lease = store.claim("one", 0.0)
            store.renew(lease, 0.0, Progress("detect", done, 20))
            assert store.reap(LATE, LOST) == 1
            assert store.get(job.id).state == "queued"
        lease = store.claim("one", 0.0)
        store.renew(lease, 0.0, Progress("detect", 9, 20))
        store.reap(LATE, LOST)
        ended = store.get(job.id)
        assert (ended.state, ended.error, ended.attempts) == ("failed", LOST, 11)

    def test_a_cancelled_job_of_a_lost_server_is_not_begun_again(self, store):
        job = store.submit(new())
        store.claim("one", 0.0)
        store.cancel(job.id)
        store.reap(LATE, LOST)
        assert store.get(job.id).state == "cancelled"

    def test_a_job_that_is_deleted_while_it_runs(self, store):
        job = store.submit(new())
        lease = store.claim("one", 60)
        store.delete(job.id)
        with pytest.raises(LeaseLostError):
            store.finish(lease, "succeeded")
        assert store.get(job.id) is None

    def test_pages_of_a_list(self, store):
        ids = [store.submit(new()).id for _ in range(7)]
        other = store.submit(new("bob")).id
        pages, after = [], None
        while page := store.list("ann", after=after, most=3):
            pages.append([one.id for one in page])
            after = pages[-1][-1]
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [one for page in pages for one in page] == ids
        assert [one.id for one in store.list()] == [*ids, other]
        store.cancel(ids[2])
        assert [one.id for one in store.list(states=["cancelled"])] == [ids[2]]

    def test_writers_and_readers_at_once(self, store):
        """Twenty readers beside eight writers for a minute in `make accept`."""
        full = bool(os.environ.get("LANNER_FULL"))
        seconds, polling = (60.0, 20) if full else (0.0, 4)
        ended, end = threading.Event(), time.monotonic() + seconds
        errors = []

        def read():
            while not ended.is_set():
                try:
                    for one in store.list(most=5):
                        store.get(one.id)
                        store.events(one.id)
                except Exception as error:  # any at all is a failure of the test
                    errors.append(error)
                    return

        def write(number):
            rounds = 0
            while rounds < 10 or time.monotonic() < end:
                rounds += 1
                store.submit(new(f"client{number}"))
                lease = store.claim(str(number), 60)
                if lease is not None:
                    store.renew(lease, 60, Progress("detect", 1, 2))
                    store.finish(lease, "succeeded")
            return rounds

        with ThreadPoolExecutor(8 + polling) as threads:
            readers = [threads.submit(read) for _ in range(polling)]
            writers = [threads.submit(write, k) for k in range(8)]
            written = sum(writer.result() for writer in writers)
            ended.set()
            for reader in readers:
                reader.result()
        assert errors == []
        assert sum(store.counts().values()) == written >= 80
