"""The ledger: what is put stays, another key starts afresh, a kill breaks nothing."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import OutputError
from tiling.ledger import BATCH, BATCH_S, Ledger, NamedLedger

ROOT = Path(__file__).parents[2]


def test_what_is_put_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite", "k") as ledger:
        assert not ledger.done(3) and len(ledger) == 0
        ledger.put(3, b"three")
        ledger.put(0, b"")
        ledger.put(3, b"three again")
        assert ledger.done(3) and ledger.get(3) == b"three again" and len(ledger) == 2
        with pytest.raises(KeyError):
            ledger.get(1)
    with Ledger(tmp_path / "l.sqlite", "k") as ledger:
        assert ledger.done(0) and ledger.done(3) and not ledger.done(1)
        assert ledger.get(0) == b"" and ledger.get(3) == b"three again"
    assert [p.name for p in tmp_path.iterdir()] == ["l.sqlite"]


def test_another_key_starts_afresh(tmp_path: Path) -> None:
    for key, expected in (("a", 0), ("a", 1), ("b", 0), ("a", 0)):
        with Ledger(tmp_path / "l.sqlite", key) as ledger:
            assert len(ledger) == expected and ledger.done(7) == bool(expected)
            ledger.put(7, key.encode())


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.integers(0, 2**40), st.binary(max_size=4000), max_size=20))
def test_any_payload_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[int, bytes]
) -> None:
    path = tmp_path_factory.mktemp("l") / "l.sqlite"
    with Ledger(path, "k") as ledger:
        for index, payload in rows.items():
            ledger.put(index, payload)
    with Ledger(path, "k") as ledger:
        assert {index: ledger.get(index) for index in rows} == rows
        assert len(ledger) == len(rows)


def test_threads_may_share_it(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite", "k") as ledger:
        threads = [
            threading.Thread(
                target=lambda n=n: [ledger.put(i, b"%d" % i) for i in range(n, 200, 4)]
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ledger) == 200 and ledger.get(133) == b"133"


def test_a_second_run_is_kept_out_and_let_in_afterwards(tmp_path: Path) -> None:
    code = "import sys; from tiling.ledger import Ledger; Ledger(sys.argv[1], 'k')"
    command = [sys.executable, "-c", code, str(tmp_path / "l.sqlite")]
    with Ledger(tmp_path / "l.sqlite", "k"):
        held = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert held.returncode != 0 and "is in use by another run" in held.stderr
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("content", [b"this is no database, not by a long way" * 100, None])
def test_what_is_no_ledger(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "no" / "l.sqlite"
    if content is not None:
        path = tmp_path / "l.sqlite"
        path.write_bytes(content)
    with pytest.raises(OutputError, match=r"l\.sqlite.*cannot be used.*delete it"):
        Ledger(path, "k")


WORKER = """
import sys
from tiling.ledger import Ledger
with Ledger(sys.argv[1], "k") as ledger:
    print("open", len(ledger), flush=True)
    for index in range(len(ledger), 1_000_000):
        ledger.put(index, index.to_bytes(4, "big") * 2000)
        print(index, flush=True)
"""


def test_killed_at_any_moment_every_put_that_returned_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    last = -1
    for pause in (0.0, 0.03, 0.11, 0.2):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert worker.stdout is not None
        first = worker.stdout.readline()
        assert first.startswith("open") and int(first.split()[1]) >= last + 1
        time.sleep(pause)
        worker.send_signal(signal.SIGKILL)
        rest = worker.stdout.read().splitlines(keepends=True)
        assert worker.wait() == -signal.SIGKILL
        whole = [int(line) for line in rest if line.endswith("\n")]
        last = max([last, *whole])
        with Ledger(path, "k") as ledger:
            # What was told is there; at most one more, put and not told.
            assert last + 1 <= len(ledger) <= last + 2
            for index in range(len(ledger)):
                assert ledger.get(index) == index.to_bytes(4, "big") * 2000
    assert last > 20
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_named_what_is_put_stays_and_another_key_starts_afresh(tmp_path: Path) -> None:
    path, names = tmp_path / "l.sqlite", [f"{n:x}" for n in range(3 * BATCH + 5)]
    with NamedLedger(path, "k") as ledger:
        for name in names:
            ledger.put(name, name.encode())
            assert ledger.done(name) and ledger.get(name) == name.encode()
        ledger.put("0", b"again")
        with pytest.raises(KeyError):
            ledger.get("none")
    with NamedLedger(path, "k") as ledger:
        assert len(ledger) == len(names) and not ledger.done("none")
        assert [ledger.get(name) for name in names[1:]] == [name.encode() for name in names[1:]]
        assert ledger.get("0") == b"again"
    assert [p.name for p in tmp_path.iterdir()] == ["l.sqlite"]
    with NamedLedger(path, "other") as ledger:
        assert len(ledger) == 0 and not ledger.done("0")


def test_named_what_was_put_before_an_error_stays(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"

    def fail() -> None:
        with NamedLedger(path, "k") as ledger:
            for name in "abc":
                ledger.put(name, b"")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    with NamedLedger(path, "k") as ledger:
        assert all(ledger.done(name) for name in "abc")


NAMED = """
import sys, time
from tiling.ledger import NamedLedger
pause = float(sys.argv[2])
with NamedLedger(sys.argv[1], "k") as ledger:
    print("open", len(ledger), flush=True)
    for number in range(len(ledger), 1_000_000):
        ledger.put(f"{number}", number.to_bytes(4, "big") * 2000)
        print(number, flush=True)
        time.sleep(pause)
"""


@pytest.mark.parametrize(("pause", "until", "lost"), [(0.0, 200, BATCH - 1), (1.1 * BATCH_S, 3, 0)])
def test_named_killed_only_the_last_puts_are_lost(
    pause: float, until: int, lost: int, tmp_path: Path
) -> None:
    """Of quick ones less than a batch, of slow ones none."""
    path = tmp_path / "l.sqlite"
    worker = subprocess.Popen(
        [sys.executable, "-c", NAMED, str(path), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert worker.stdout is not None
    for line in worker.stdout:
        if line == f"{until}\n":
            break
    worker.send_signal(signal.SIGKILL)
    whole = [until, *(int(line) for line in worker.stdout if line.endswith("\n"))]
    assert worker.wait() == -signal.SIGKILL
    with NamedLedger(path, "k") as ledger:
        assert whole[-1] + 1 - lost <= len(ledger) <= whole[-1] + 2
        for number in range(len(ledger)):
            assert ledger.get(f"{number}") == number.to_bytes(4, "big") * 2000


FULL = """
import resource, signal, sys
from lanner.core.errors import OutputError
from tiling.ledger import NamedLedger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    with NamedLedger(sys.argv[1], "k") as ledger:
        for number in range(1000):
            ledger.put(f"{number}", number.to_bytes(4, "big") * 2000)
except OutputError as error:
    print(number, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits on files")
def test_named_a_full_disk_is_told_and_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    number, _, message = done.stdout.partition(" ")
    assert "l.sqlite" in message and "free space" in message
    with NamedLedger(path, "k") as ledger:
        assert 0 < len(ledger) <= int(number)
        for index in range(len(ledger)):
            assert ledger.get(f"{index}") == index.to_bytes(4, "big") * 2000
