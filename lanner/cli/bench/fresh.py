"""A measurement in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from lanner.cli.bench.job import Job, Measured
from lanner.core.errors import TABLE, Cancelled, DeviceMemoryError, LannerError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""What libraries read once, when they are imported."""


def measure(job: Job) -> Measured:
    """The job's figures, from a process that has done nothing else.

    Raises:
        LannerError: what the process raised.
        DeviceMemoryError: it was killed, as happens where memory is short.
    """
    env = dict(os.environ)
    if job.threads is not None:
        env.update(dict.fromkeys(THREAD_VARIABLES, str(job.threads)))
    with tempfile.TemporaryDirectory(prefix="lanner-bench-") as folder:
        answer, errors = Path(folder) / "answer.json", Path(folder) / "stderr"
        with errors.open("wb") as stderr:
            code = _finished(answer, job, env, stderr)
        if code != 0 or not answer.exists():
            raise _broken(job, code, errors.read_text(errors="replace"))
        reply = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in reply:
        raise _error(reply["error"], reply["facts"])
    return Measured.from_facts(reply["measured"])


def _finished(answer: Path, job: Job, env: dict[str, str], stderr: IO[bytes]) -> int:
    """The exit code of a process that measured, or was told to end when this one does."""
    process = subprocess.Popen(
        # -P: a file of the current folder must not stand in for a library.
        [sys.executable, "-P", "-m", "lanner.cli.bench.worker", str(answer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=env,
    )
    assert process.stdin is not None
    try:
        # It lives as long as this end of the pipe is open, however this process ends.
        with suppress(BrokenPipeError):
            process.stdin.write(job.to_json().encode() + b"\n")
            process.stdin.flush()
        return process.wait()
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


def _broken(job: Job, code: int, stderr: str) -> LannerError:
    if code < 0:
        return DeviceMemoryError(
            "SCENE",
            job.scene,
            f"the measuring process was ended by signal {-code}",
            "if memory was short, give a smaller --size or --tile",
        )
    last = (stderr.strip().splitlines() or ["it said nothing"])[-1]
    problem, remedy = f"the measuring process failed ({last})", "try `lanner detect` on it"
    return LannerError("SCENE", job.scene, problem, remedy)


def _error(name: str, facts: list[str]) -> LannerError:
    """The error that the process met, by the name of its class or else as the root."""
    if name == Cancelled.__name__:
        return Cancelled()
    kinds = {kind.__name__: kind for kind in TABLE}
    return kinds.get(name, LannerError)(*facts)
