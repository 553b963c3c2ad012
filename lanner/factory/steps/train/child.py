"""Starts the process of one member, relays what it tells, and ends it when asked."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import lanner.core.errors
from lanner.core.errors import LannerError, TrainingError
from lanner.core.job import Cancel
from lanner.factory.files import write_text
from lanner.factory.steps.train.plan import Job

OUTPUT = "train.log"
"""What libraries said, in the member's folder."""

JOB = "job.json"
"""What the process is told, in the member's folder."""

GRACE = 30.0
"""Seconds that a process has to leave a checkpoint and end before it is killed."""


def run_member(
    job: Job, cancel: Cancel, on: Callable[[str, dict[str, Any]], None]
) -> dict[str, Any]:
    """Train one member in a process of its own.

    Args:
        job: what to train.
        cancel: looked at a few times a second.
        on: called with what the process tells (`pictures`, `pace`, `step`, `row`) and its facts.

    Returns:
        Facts of `detectors.training.fit.Trained`.

    Raises:
        TrainingError: it was killed, or broke; what it left is gone on from next time.
        LannerError: whatever it raised.
        Cancelled: the caller cancelled.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    job_file = job.folder / JOB
    write_text(job.model_dump_json(indent=1), job_file)
    places = os.pathsep.join(place for place in sys.path if place)
    env = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": str(job.threads)}
    with (job.folder / OUTPUT).open("w") as output:
        process = subprocess.Popen(
            # -P: a file of the current folder must not stand in for a library.
            [sys.executable, "-P", "-m", __name__.rpartition(".")[0] + ".member", str(job_file)],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=env,
            start_new_session=True,
        )
        try:
            done = _listen(process, cancel, on)
            process.wait(timeout=GRACE)
        finally:
            _end(process)
    if done is None:
        raise _broken(job, process.returncode)
    return done


def _listen(
    process: subprocess.Popen[str], cancel: Cancel, on: Callable[[str, dict[str, Any]], None]
) -> dict[str, Any] | None:
    """Relay lines until the process closes its output; what it said when done."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    done = None
    while True:
        cancel.check()
        try:
            line = lines.get(timeout=0.25)
        except queue.Empty:
            continue
        if line is None:
            return done
        facts = json.loads(line)
        what = facts.pop("what")
        if what == "error":
            kind: type[LannerError] = getattr(lanner.core.errors, facts["kind"])
            raise kind(*facts["said"])
        if what == "done":
            done = facts
        else:
            on(what, facts)


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        # A killed process may leave half a line.
        if line.endswith("\n"):
            lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and those that it started.

    It is asked alone: between two steps it leaves a checkpoint, which it could not if those that
    read its pictures were gone.
    """
    asked = process.poll() is None
    if asked:
        process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE)
    finally:
        if asked or process.returncode:
            # Others that train with it would wait for it, on a GPU for half an hour.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _broken(job: Job, code: int) -> TrainingError:
    """What became of a process that did not say."""
    if code in (0, 128 + signal.SIGTERM):
        # Asked to end, it leaves a checkpoint and says nothing.
        problem = "its process was asked to end from outside, by SIGTERM"
        remedy = "run it again: it goes on from its last step"
    elif code < 0:
        name = signal.Signals(-code).name
        problem = f"its process was ended by {name}"
        remedy = "run it again to resume; if memory was short, give fewer pixels or workers"
    else:
        text = (job.folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "no word")
        problem, remedy = f"its process broke: {last}", f"see {job.folder / OUTPUT}"
    return TrainingError("train", job.member, problem, remedy)


def job_file(folder: Path) -> Job | None:
    """The job that a member's folder was last used for; None where none is there, or an old one."""
    try:
        return Job.model_validate_json((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
