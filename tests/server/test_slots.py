"""First come, first served; bounded; and nobody waits who was cancelled."""

import threading
import time

import pytest

from lanner.core.errors import BusyError, Cancelled
from lanner.core.job import Cancel, Progress
from server.mailbox import Mailbox
from server.slots import Slots


def never() -> None:
    raise AssertionError("should not have had to wait")


def test_the_first_runs_at_once_and_the_second_waits_its_turn():
    slots, order = Slots(), []
    first, second = slots.enter("cpu"), slots.enter("cpu")
    queued = threading.Event()

    def follow() -> None:
        with second:
            second.wait(Cancel(), queued.set)
            order.append("second")

    with first:
        first.wait(Cancel(), never)
        thread = threading.Thread(target=follow)
        thread.start()
        assert queued.wait(2)
        order.append("first")
    thread.join(2)
    assert order == ["first", "second"]


def test_turns_are_in_order_of_arrival():
    slots, order = Slots(), []
    holder = slots.enter("cpu")
    tickets = [slots.enter("cpu") for _ in range(8)]

    def follow(number: int) -> None:
        with tickets[number]:
            tickets[number].wait(Cancel(), lambda: None)
            order.append(number)

    threads = [threading.Thread(target=follow, args=(n,)) for n in reversed(range(8))]
    for thread in threads:
        thread.start()
    with holder:
        pass
    for thread in threads:
        thread.join(5)
    assert order == list(range(8))


def test_no_more_run_than_the_device_takes():
    slots, lock = Slots(per_device=3, max_waiting=50), threading.Lock()
    running = [0, 0]

    def work() -> None:
        with slots.enter("cpu") as ticket:
            ticket.wait(Cancel(), lambda: None)
            with lock:
                running[0] += 1
                running[1] = max(running)
            time.sleep(0.01)
            with lock:
                running[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert running == [0, 3]


def test_devices_do_not_wait_for_each_other():
    slots = Slots()
    with slots.enter("cuda:0"), slots.enter("cpu") as ticket:
        assert ticket.wait(Cancel(), never)  # `never` fails the test when it is asked to wait


def test_the_line_is_bounded_over_all_devices_and_opens_again():
    slots = Slots(per_device=1, max_waiting=2)
    one, waiting_one = slots.enter("a"), slots.enter("a")
    other, _waiting_other = slots.enter("b"), slots.enter("b")
    with pytest.raises(BusyError, match="2"):
        slots.enter("a")
    slots.enter("c")  # a free device needs no line
    with waiting_one:
        pass
    slots.enter("a")
    with pytest.raises(BusyError):
        slots.enter("b")
    with one, other:
        pass
    slots.enter("b")


def test_waiting_ends_on_cancel():
    slots, cancel = Slots(), Cancel()
    with slots.enter("cpu"), slots.enter("cpu") as second:
        threading.Timer(0.2, cancel.set).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            second.wait(cancel, lambda: None)
        assert 0.1 < time.monotonic() - started < 1


def test_a_turn_that_comes_cancelled_is_not_taken():
    slots, cancel = Slots(), Cancel()
    cancel.set()
    with slots.enter("cpu") as ticket, pytest.raises(Cancelled):
        ticket.wait(cancel, never)


def test_a_mailbox_keeps_the_newest_of_a_stage_and_never_blocks():
    box = Mailbox()
    for number in range(10_000):
        box.put(Progress("tiles", number, 10_000))
    box.put(Progress("chain", 0, 3))
    box.close()
    assert list(box) == [Progress("tiles", 9_999, 10_000), Progress("chain", 0, 3)]


def test_a_mailbox_is_bounded_even_when_every_report_is_another_stage():
    box = Mailbox()
    for number in range(10_000):
        box.put(Progress(f"stage {number}", 0, 0))
    box.close()
    kept = list(box)
    assert 1 < len(kept) <= 100
    assert kept[-1].stage == "stage 9999"


def test_closing_a_mailbox_wakes_its_reader():
    box = Mailbox()
    read: list[list[Progress]] = []
    reader = threading.Thread(target=lambda: read.append(list(box)))
    reader.start()
    time.sleep(0.05)
    assert reader.is_alive()
    box.close()
    reader.join(1)
    assert read == [[]]
