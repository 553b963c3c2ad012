"""Workers of a Ray cluster, each an actor: a process of its own with networks loaded once.

The cluster's machines see the same files under the same paths: scenes, weights and the folder of
the batch. Ray starts workers, hands them work and says when one is gone; what is done, and what
is not, stands in our own ledgers.
"""

from __future__ import annotations

import os
import platform
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from lanner.archives.executors import Answer, Needs, Work
from lanner.core.config import Strict
from lanner.core.errors import Argument, ConfigError, DeviceError, LannerError
from lanner.core.job import Cancel

_ON = Argument("on")

RENEWED_S = 5.0
"""How often the cluster is asked for room for more workers."""

PATIENCE_S = 300.0
"""How long a cluster may take to start its first worker, or to replace the last one."""

STARTS = 3
"""Workers that may fail to start, one after the other, before that is an error."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ARENAS = "MALLOC_ARENA_MAX"
"""glibc reads it when a process starts. Ray's own threads open a heap each; those of every piece of
work would use these in turn, and leave 50 MB in each.
"""


class Params(Strict):
    """`workers` of `worker_cores` cores each; 0: as many as the cluster has cores for, also later.

    `address` is that of a cluster (`ray://HOST:10001`); where it is empty, it is the one that
    RAY_ADDRESS names or that runs on this machine, else one is started here.
    """

    workers: int = Field(0, ge=0)
    worker_cores: int = Field(1, ge=1, le=256)
    address: str = ""


class Worker:
    """What runs in a worker's process."""

    def start(self, cores: int, device: str | None) -> tuple[str, str]:
        """Pin this process to cores of its own; gives its machine's name and number format.

        Args:
            cores: how many it has.
            device: that networks will run on; None: none will, and the format is empty.
        """
        self._cores = _own_cores(cores)
        if device is None:
            return platform.node(), ""
        from detectors.device import compute

        return platform.node(), compute(device).identity

    def run(self, work: Work) -> tuple[Any, BaseException | None]:
        """The value of a piece of work, or what it raised."""
        try:
            return work(Cancel()), None
        except Exception as error:  # whatever it is: the driver raises it as it is
            return None, error


def _own_cores(count: int) -> IO[bytes] | None:
    """Pin this process to `count` cores that no other worker of this machine is pinned to.

    A file for each such set of cores is locked by its worker, and free again when that ends. Gives
    the locked file; None where this system pins nothing, or every set is taken.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    import fcntl

    ours = sorted(os.sched_getaffinity(0))
    folder = Path(tempfile.gettempdir()) / f"lanner-cores-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(0, len(ours) - count + 1, count):
        own = ours[first : first + count]
        file = (folder / "-".join(map(str, own))).open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        os.sched_setaffinity(0, own)
        return file
    return None


@dataclass
class _Actor:
    """A worker as the driver knows it: its handle, what it has in hand, and whether it may work."""

    handle: Any
    starting: Any = None
    number: int | None = None
    ref: Any = None


@dataclass
class ClusterPool:
    """The workers of a cluster that are of one number format."""

    ray: Any
    params: Params
    needs: Needs
    environment: Mapping[str, str]
    actors: list[_Actor] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    not_started: list[str] = field(default_factory=list)
    number_format: str | None = None
    cuts: bool = True
    _renewed: float = float("-inf")
    _since: float = field(default_factory=time.monotonic)
    _waiting: list[tuple[int, Work]] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence on each machine whose workers are not used."""
        return tuple(
            f"{count} workers of {what} are not used: the batch is of {self.number_format}."
            for what, count in sorted(self.refused.items())
        )

    def room(self) -> int:
        """One piece of work a worker, those that are starting included; one while there is none."""
        self._renew()
        return max(1, len(self.actors))

    def submit(self, number: int, work: Work) -> None:
        """Hand it to an idle worker, or to the next one that is."""
        self._waiting.append((number, work))
        self._hand_out()

    def wait(self, cancel: Cancel) -> Answer:
        """The next answer, or that its worker is gone.

        Raises:
            Cancelled: the caller asked to stop.
            DeviceError: no worker is left that may work, and none comes.
        """
        while True:
            cancel.check()
            self._renew()
            self._hand_out()
            busy = {one.ref: one for one in self.actors if one.ref is not None}
            if not busy:
                self._none_left()
                time.sleep(0.1)
                continue
            self._since = time.monotonic()
            ready, _ = self.ray.wait(list(busy), num_returns=1, timeout=0.2)
            if ready:
                return self._answer(busy[ready[0]])

    def close(self) -> None:
        """End all workers."""
        for one in self.actors:
            self.ray.kill(one.handle)

    def _answer(self, actor: _Actor) -> Answer:
        number, ref = actor.number, actor.ref
        assert number is not None
        actor.number = actor.ref = None
        try:
            value, error = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as failed:
            return Answer(number, error=failed)
        except self.ray.exceptions.RayError:
            self.actors.remove(actor)
            self._renewed = float("-inf")
            return Answer(number, lost=True)
        return Answer(number, value, error)

    def _hand_out(self) -> None:
        for one in self.actors:
            if not self._waiting:
                return
            if one.starting is None and one.ref is None:
                number, work = self._waiting.pop(0)
                one.number, one.ref = number, one.handle.run.remote(work)

    def _renew(self) -> None:
        """Let in workers that have started, and start more where the cluster has room for them."""
        for one in [one for one in self.actors if one.starting is not None]:
            if self.ray.wait([one.starting], timeout=0)[0]:
                self._let_in(one)
        if time.monotonic() - self._renewed < RENEWED_S:
            return
        self._renewed = time.monotonic()
        total = self.ray.cluster_resources().get("CPU", 0)
        wanted = int(total // self.params.worker_cores)
        if self.params.workers:
            wanted = min(wanted, self.params.workers)
        for _ in range(wanted - len(self.actors) - self.refused.total()):
            self._start()

    def _start(self) -> None:
        cores = self.params.worker_cores
        options: dict[str, Any] = {"num_cpus": cores, "max_restarts": 0}
        if self.environment:
            options["runtime_env"] = {"env_vars": dict(self.environment)}
        handle = self.ray.remote(Worker).options(**options).remote()
        self.actors.append(_Actor(handle, handle.start.remote(cores, self.needs.device)))

    def _let_in(self, actor: _Actor) -> None:
        """Let a worker work whose number format is that of the batch."""
        try:
            node, number_format = self.ray.get(actor.starting)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, LannerError):
                raise error.cause from error
            raise
        except self.ray.exceptions.RayError as error:
            self.actors.remove(actor)
            self.not_started.append(" ".join(str(error).split()))
            return
        self.not_started.clear()
        wanted = self.needs.number_format or self.number_format or number_format
        if number_format == wanted:
            self.number_format = wanted
            actor.starting = None
            return
        self.number_format = wanted
        self.actors.remove(actor)
        self.refused[f"{node} ({number_format})"] += 1
        self.ray.kill(actor.handle)

    def _none_left(self) -> None:
        starting = any(one.starting is not None for one in self.actors)
        if len(self.not_started) >= STARTS and not self.actors:
            raise DeviceError(
                _ON,
                "ray",
                f"workers do not start ({self.not_started[-1][:300]})",
                "install the same release of Lanner on every machine of the cluster",
            )
        if self.refused and not self.actors:
            raise DeviceError(
                _ON, "ray", " ".join(self.notes), "add workers of that kind, or begin a new batch"
            )
        if not starting and time.monotonic() - self._since > PATIENCE_S:
            raise DeviceError(
                _ON,
                "ray",
                f"the cluster has no room for a worker of {self.params.worker_cores} cores",
                "start more of its machines, or ask for fewer cores a worker",
            )


@contextmanager
def run(params: Params, needs: Needs) -> Iterator[ClusterPool]:
    """Workers of a cluster until the block ends; what was started for it is shut down then.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    # Nothing about the user goes out; workers that are started here inherit it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ConfigError(
            _ON, "ray", "Ray is not installed", "install it (pip install ray), or use local"
        ) from error
    environment = dict.fromkeys(_THREADS, str(params.worker_cores)) | {_ARENAS: "1"}
    ours = not ray.is_initialized()
    started = ours and not _joined(ray, params)
    if started:
        _start(ray, params, environment)
    # Workers of a cluster that was started with the environment need no processes of their own
    # kind, which take seconds.
    pool = ClusterPool(ray, params, needs, {} if started else environment)
    try:
        yield pool
    finally:
        pool.close()
        if ours:
            ray.shutdown()


def _joined(ray: Any, params: Params) -> bool:
    """Join the cluster that is named or that runs here, if there is one."""
    address = params.address or os.environ.get("RAY_ADDRESS", "")
    if address:
        _require_answer(address)
    try:
        ray.init(address=address or "auto", log_to_driver=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        ray.shutdown()
        if address:
            raise _silent(address, error) from error
        return False
    return True


def _start(ray: Any, params: Params, environment: Mapping[str, str]) -> None:
    """Start a cluster on this machine whose processes have an environment."""
    from lanner.core.machine import cores

    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        # Left to itself Ray takes every core of the machine, also those that we may not use.
        ray.init(
            address="local",
            num_cpus=params.workers * params.worker_cores or cores(),
            include_dashboard=False,
            log_to_driver=False,
        )
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_answer(address: str) -> None:
    """Make sure that something listens there: Ray itself waits half a minute before it says so."""
    where = address.partition("://")[2] or address
    host, _, port = where.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise _silent(address, error) from error


def _silent(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        _ON, address, f"no Ray cluster answers ({error})", "start it, or correct the address"
    )
