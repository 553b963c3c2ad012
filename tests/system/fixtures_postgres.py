"""A real PostgreSQL of Debian's packages on the loopback, for the tests of one module.

Use: `from tests.system.fixtures_postgres import postgres`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

MISSING = "needs PostgreSQL (Debian: postgresql)"


class Postgres:
    """A cluster of its own in a folder; `stop` and `start` at will."""

    def __init__(self, folder):
        self.folder = folder
        self.port = _free_port()
        self._bin = binaries()
        # It refuses to run as root.
        self._as = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self._run("initdb", "-D", folder / "data", "-A", "trust", "-U", "lanner", "-E", "UTF8")

    def _run(self, program, *words):
        subprocess.run(
            [self._bin / program, *map(str, words)],
            check=True,
            capture_output=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            **self._as,
        )

    def start(self):
        words = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        log = self.folder / "log"
        self._run("pg_ctl", "-D", self.folder / "data", "-l", log, "-o", words, "-w", "start")

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", self.folder / "data", "-m", mode, "-w", "stop")

    def new_database(self, name):
        with psycopg.connect(f"{self._plain}/postgres", autocommit=True) as db:
            db.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://lanner@127.0.0.1:{self.port}/{name}"

    @property
    def _plain(self):
        return f"postgresql://lanner@127.0.0.1:{self.port}"


def binaries():
    """Where the server's programs are; None without a server."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    every = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return every[-1].parent if every else None


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running():
    """A cluster that runs, and is taken away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lanner-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres():
    assert binaries() is not None, MISSING
    with running() as server:
        yield server
