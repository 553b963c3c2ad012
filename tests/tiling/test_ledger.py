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
from tiling.ledger import Ledger

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
    told = -1
    for pause in (0.0, 0.03, 0.11, 0.2):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert worker.stdout is not None
        first = worker.stdout.readline()
        assert first.startswith("open") and int(first.split()[1]) >= told + 1
        time.sleep(pause)
        worker.send_signal(signal.SIGKILL)
        rest = worker.stdout.read().splitlines(keepends=True)
        assert worker.wait() == -signal.SIGKILL
        whole = [int(line) for line in rest if line.endswith("\n")]
        told = max([told, *whole])
        with Ledger(path, "k") as ledger:
            # What was told is there; at most one more, put and not told.
            assert told + 1 <= len(ledger) <= told + 2
            for index in range(len(ledger)):
                assert ledger.get(index) == index.to_bytes(4, "big") * 2000
    assert told > 20
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()
