"""Progress: bars on a terminal, few plain lines elsewhere; a signal becomes a cancel."""

import errno
import io
import os
import signal
import threading

import pytest
from rich.console import Console

from lanner.cli.progress import PLAIN_SECONDS, _Lines, cancel_on_signal, progress_on
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel, Progress


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=100), stream


def test_plain_lines_where_nobody_watches():
    plain, stream = console(terminal=False)
    with progress_on(plain) as show:
        for done in range(1, 101):
            show(Progress("detect", done, 100))
        show(Progress("count", 7, 0))
        show(Progress("write", 0, 1))
        show(Progress("write", 1, 1))
    assert stream.getvalue().splitlines() == [
        "detect 1/100 (1 %)",
        "detect 100/100 (100 %)",
        "count 7",
        "write",
    ]


def test_a_slow_stage_speaks_now_and_then():
    plain, stream = console(terminal=False)
    now = [0.0]
    lines = _Lines(plain, clock=lambda: now[0])
    for done in range(11):
        lines.show(Progress("detect", done, 10))
        now[0] += PLAIN_SECONDS / 2
    output = stream.getvalue().splitlines()
    assert output == [f"detect {n}/10 ({n}0 %)".replace("(00 %)", "(0 %)") for n in range(0, 11, 2)]


def test_the_end_is_told_once():
    plain, stream = console(terminal=False)
    with progress_on(plain) as show:
        for _ in range(3):
            show(Progress("detect", 4, 4))
    assert stream.getvalue().count("detect") == 1


def test_bars_on_a_terminal():
    terminal, stream = console(terminal=True)
    with progress_on(terminal) as show:
        show(Progress("detect", 3, 4))
        show(Progress("chain", 1, 2))
    assert "3/4" in stream.getvalue()
    assert "1/2" in stream.getvalue()


def test_threads_may_tell_at_once():
    plain, stream = console(terminal=False)
    with progress_on(plain) as show:
        threads = [
            threading.Thread(target=lambda n=n: [show(Progress(f"s{n}", i, 50)) for i in range(51)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(stream.getvalue().splitlines()) == sorted(
        line for n in range(8) for line in (f"s{n} 0/50 (0 %)", f"s{n} 50/50 (100 %)")
    )


def test_quiet_says_nothing():
    plain, stream = console(terminal=False)
    with progress_on(plain, quiet=True) as show:
        show(Progress("detect", 1, 1))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_cancels_second_stops_and_handlers_come_back(number):
    plain, stream = console(terminal=False)
    before, cancel = signal.getsignal(number), Cancel()
    with cancel_on_signal(cancel, plain):
        os.kill(os.getpid(), number)
        assert cancel.is_set()
        with pytest.raises(Cancelled):
            cancel.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert "stopping" in stream.getvalue()


def test_signals_are_left_alone_outside_the_main_thread():
    plain, _ = console(terminal=False)
    handlers = []

    def inside():
        with cancel_on_signal(Cancel(), plain):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


class FullDisk(io.StringIO):
    """A log on a disk that is full until somebody makes room."""

    room = False

    def write(self, text: str) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_a_log_on_a_full_disk_ends_no_run():
    log = FullDisk()
    with progress_on(Console(file=log)) as show:
        show(Progress("detect", 0, 2))
        log.room = True
        show(Progress("detect", 2, 2))
    assert log.getvalue().endswith("detect 2/2 (100 %)\n")
