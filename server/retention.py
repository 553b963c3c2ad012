"""Results and uploads are kept for a while, and no longer."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from lanner.core.errors import ServerError
from server.detections import Detections
from server.settings import Settings
from server.uploads import Uploads

log = logging.getLogger("lanner.server")


@dataclass(frozen=True)
class Retention:
    """How long what clients leave is kept.

    Attributes:
        results_s: seconds after its end that a detection and its result are kept.
        results_bytes: of all results together: beyond, the oldest go; None: any.
        every_s: seconds from one look to the next.
    """

    results_s: float = Settings.keep_results * 86400
    results_bytes: int | None = None
    every_s: float = 60.0


class Sweeper:
    """A thread that forgets what is over."""

    def __init__(self, retention: Retention, detections: Detections, uploads: Uploads) -> None:
        self._retention = retention
        self._detections = detections
        self._uploads = uploads
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once the look under way is over."""
        self._stopped.set()
        self._thread.join()

    def sweep(self) -> None:
        """Look once."""
        retention = self._retention
        uploads = self._uploads.expire(time.time())
        try:
            results = self._detections.expire(retention.results_s, retention.results_bytes)
        except ServerError as error:
            log.warning("retention: %s", error)
            return
        if uploads or results:
            fields = {"event": "forgotten", "uploads": uploads, "results": results}
            log.info("forgotten", extra={"fields": fields})

    def _run(self) -> None:
        while not self._stopped.wait(self._retention.every_s):
            self.sweep()
