"""A way to a server that breaks: TCP connections that are cut after a number of bytes."""

import socket
import threading
from contextlib import contextmanager, suppress


class Relay:
    """Hands bytes on between clients and a server on loopback; `address` is for the clients.

    Each of `cuts` is for one connection: after so many bytes in a direction ("up" to the server
    or "down" from it) it is cut. Later connections last.
    """

    def __init__(self, target, cuts=()):
        host, _, port = target.rpartition(":")
        self._target, self._cuts = (host, int(port)), list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.broken = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                way, most = self._cuts.pop(0) if self._cuts else ("up", float("inf"))
                for name, one, other in (("up", client, server), ("down", server, client)):
                    left = most if name == way else float("inf")
                    threading.Thread(
                        target=self._hand_on, args=(one, other, left), daemon=True
                    ).start()

    def _hand_on(self, one, other, left):
        with suppress(OSError):
            while data := one.recv(1 << 16):
                left -= len(data)
                if left < 0:
                    with self._lock:
                        self.broken += 1
                    break
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target, *cuts):
    found = Relay(target, cuts)
    try:
        yield found
    finally:
        found.close()
