"""Work on jobs: taken up, stopped, given back, and taken over from a server that was lost."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest
from google.rpc import status_pb2

from lanner.core.errors import SceneError
from lanner.core.grpc_errors import DETAILS_KEY, decode
from lanner.core.job import Progress
from server.database.engine import Database
from server.jobs.model import NewJob
from server.jobs.runner import JobRunner, RunnerOptions
from server.jobs.store import JobStore

QUICK = RunnerOptions(at_once=2, lease_s=1.0, poll_s=0.02)


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    yield JobStore(database)
    database.close()


def new(kind="count", **spec):
    return NewJob(kind, "ann", spec)


def count(lease, cancel, tell):
    """Counts, a hundredth of a second a number."""
    to = lease.job.spec.get("to", 3)
    for k in range(to):
        cancel.check()
        tell(Progress("count", k, to))
        time.sleep(0.01)
    return {"to": to}


def bad_scene(lease, cancel, tell):
    raise SceneError("scene", "a.tif", "is empty", "give another")


def defect(lease, cancel, tell):
    raise KeyError("secret")


WORK = {"count": count, "bad": bad_scene, "defect": defect}


@contextmanager
def running(store, options=QUICK, work=WORK):
    runner = JobRunner(store, work, options)
    runner.start()
    try:
        yield runner
    finally:
        runner.drain(0)


def until(what, timeout_s=10.0):
    end = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def ended(store, job):
    return until(lambda: (one := store.get(job.id)).is_ended and one)


def test_jobs_are_done_so_many_at_once(store):
    at_once, most = [], []

    def work(lease, cancel, tell):
        at_once.append(lease)
        most.append(len(at_once))
        result = count(lease, cancel, tell)
        at_once.remove(lease)
        return result

    with running(store, work={"count": work}) as runner:
        jobs = [store.submit(new(to=5)) for _ in range(6)]
        runner.wake()
        found = [ended(store, one) for one in jobs]
    assert [one.result for one in found] == [{"to": 5}] * 6
    assert {one.attempts for one in found} == {1}
    assert max(most) == 2


def test_errors_of_the_work_are_the_jobs(store):
    with running(store):
        failed = ended(store, store.submit(new("bad")))
        broken = ended(store, store.submit(new("defect")))
    error = decode([(DETAILS_KEY, failed.error)])
    assert isinstance(error, SceneError)
    assert error.value == "a.tif"
    status = status_pb2.Status.FromString(broken.error)
    assert status.code == 13
    assert b"secret" not in broken.error


@pytest.mark.parametrize("here", [True, False])
def test_a_cancelled_job_stops(store, here):
    with running(store) as runner:
        job = store.submit(new(to=100_000))
        until(lambda: store.get(job.id).progress.done > 1)
        store.cancel(job.id)
        began = time.monotonic()
        if here:
            runner.cancelled(job.id)
        assert ended(store, job).state == "cancelled"
        assert time.monotonic() - began < 2
        assert ended(store, store.submit(new())).state == "succeeded"


def test_a_server_that_drains_lets_short_jobs_finish_and_gives_long_ones_back(store):
    with running(store) as runner:
        long, short = store.submit(new(to=100_000)), store.submit(new(to=20))
        until(lambda: store.counts().get("running") == 2)
        assert not runner.drain(1.0)
        assert store.get(short.id).state == "succeeded"
        waiting = store.get(long.id)
        assert (waiting.state, waiting.attempts) == ("queued", 0)
        late = store.submit(new())
        time.sleep(0.1)
        assert store.get(late.id).state == "queued"
    with running(store):
        assert ended(store, late).state == "succeeded"


OTHER = """
import sys, time
from server.database.engine import Database
from server.jobs.runner import JobRunner, RunnerOptions
from server.jobs.store import JobStore

def work(lease, cancel, tell):
    print("begun", flush=True)
    time.sleep(3)
    print("done", flush=True)
    return {"by": "other"}

store = JobStore(Database(sys.argv[1]))
runner = JobRunner(store, {"count": work}, RunnerOptions(lease_s=2, poll_s=0.02))
runner.start()
sys.stdin.read()
runner.drain(5)
"""


def is_locked(path):
    with closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_job_goes_to_another_server_when_its_own_is_lost(store, tmp_path, how):
    job = store.submit(new())
    program = [sys.executable, "-c", OTHER, f"sqlite:///{tmp_path}/jobs.sqlite"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"begun\n"
        other.send_signal(how)
        # SQLite waits for a process that stopped in its own transaction, however long that takes.
        while how == signal.SIGSTOP and is_locked(tmp_path / "jobs.sqlite"):
            other.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            other.send_signal(how)
        with running(store, RunnerOptions(lease_s=2, poll_s=0.02)):
            done = ended(store, job)
        assert (done.result, done.attempts) == ({"to": 3}, 2)
        if how == signal.SIGSTOP:
            # It comes back and believes that the job is its own.
            other.send_signal(signal.SIGCONT)
            assert other.stdout.readline() == b"done\n"
        other.stdin.close()
        other.wait(20)
    assert store.get(job.id) == done


def test_leases_are_kept_while_work_says_nothing(store):
    def quiet(lease, cancel, tell):
        time.sleep(2.5)
        return {}

    with running(store, work={"count": quiet}), running(store, work={"count": quiet}):
        assert ended(store, store.submit(new())).attempts == 1
