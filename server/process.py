"""A server as a process: until a signal comes."""

from __future__ import annotations

import logging
import queue
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from lanner.core.job import Cancel
from server.address import is_loopback
from server.log import NAME, configure
from server.options import ServeOptions
from server.run import STOP_S, RunningServer, start
from server.work import Work

log = logging.getLogger(NAME)

_LOOK_S = 0.5
# How soon a signal is noticed that came at the worst moment.
_News = queue.SimpleQueue["int | Future[None]"]
# Numbers of signals, and a preparation that is over.


def serve(
    work: Work,
    options: ServeOptions | None = None,
    ready: Callable[[RunningServer], None] | None = None,
    prepare: Callable[[Cancel], None] | None = None,
) -> bool:
    """Serve until SIGTERM or SIGINT, then stop gracefully; a second signal ends the process.

    To be called from the main thread.

    Args:
        work: what is served.
        options: how to serve.
        ready: given the server once it listens.
        prepare: what is to be done before health says SERVING; requests are answered meanwhile.
            It looks at its `Cancel`, which is set when a signal comes; if it does not end within
            two seconds it is left behind, and Python waits for its thread at the end.

    Returns:
        Whether every detection came to its own end.

    Raises:
        ConfigError, AddressError: see `start`.
        LannerError: what `prepare` raised.
    """
    configure()
    chosen = options or ServeOptions()
    # SimpleQueue.put may interrupt its own get; Event.set could deadlock in a handler.
    news: _News = queue.SimpleQueue()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, lambda number, _: news.put(number)) for n in signals}
    stop = Cancel()
    aside = ThreadPoolExecutor(1, thread_name_prefix="prepare")
    preparing: list[Future[None]] = []
    try:
        running = start(work, chosen, prepared=prepare is None)
        _announce(running, chosen)
        if ready is not None:
            ready(running)
        if prepare is not None:
            preparing.append(aside.submit(prepare, stop))
            preparing[0].add_done_callback(news.put)
        failure = _await(news, running)
    finally:
        stop.set()
        aside.shutdown(wait=False)
        for number, handler in before.items():
            signal.signal(number, handler)
    log.info("stopping", extra={"fields": {"event": "stopping", "grace_s": chosen.grace_s}})
    finished = running.stop(chosen.grace_s)
    wait(preparing, STOP_S)
    log.info("stopped", extra={"fields": {"event": "stopped", "all_finished": finished}})
    if failure is not None:
        raise failure
    return finished


def _await(news: _News, running: RunningServer) -> BaseException | None:
    """Return at a signal, or with what the preparation failed of.

    A signal that comes between the interpreter's last look and its falling asleep wakes nobody:
    it has to wake by itself to run the handler.
    """
    while True:
        try:
            one = news.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if not isinstance(one, Future):
            return None
        if (failure := one.exception()) is not None:
            return failure
        running.prepared()
        log.info("prepared", extra={"fields": {"event": "prepared"}})


def _announce(running: RunningServer, options: ServeOptions) -> None:
    line: dict[str, Any] = {"event": "listening", "address": running.address}
    if running.http_address is not None:
        line["http"] = running.http_address
    line["roots"] = [str(root) for root in options.roots]
    log.info("listening", extra={"fields": line})
    if options.credentials is None and not is_loopback(options.host):
        line = {
            "event": "unencrypted",
            "address": running.address,
            "problem": "tokens and scenes can be read on the way: serve with TLS, or behind what "
            "brings it",
        }
        log.warning("unencrypted", extra={"fields": line})
