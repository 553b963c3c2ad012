"""A detection that goes on without its client, from the client's side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from google.longrunning import operations_pb2

from lanner.client.calls import Calls
from lanner.client.events import EventReader, WatchEvent
from lanner.client.operation_status import OperationStatus, Waiting, form_of
from lanner.client.resuming import ResultPosition, WatchCursor
from lanner.core.errors import Argument
from lanner.core.files import replacing
from lanner.core.job import Progress
from lanner.inference.detections import Detections


class Operation(OperationStatus):
    """A submitted detection. What it says is as of the last answer: `refresh` and `wait` ask anew.

    Args:
        server: where it is.
        message: as the server gave it.
    """

    def __init__(self, server: Calls, message: operations_pb2.Operation) -> None:
        super().__init__(message)
        self._server = server

    def refresh(self) -> Operation:
        """Ask how it stands.

        Raises:
            UnknownOperationError: it was deleted.
            ServerError: the server cannot be reached.
        """
        return self._take(self._server.get_operation(self.name))

    def watch(self, previews: bool = True, cursor: str = "") -> Iterator[WatchEvent]:
        """Follow it: progress, what is found so far, and at its end the features.

        A server that goes away is asked again when it is back; each final feature comes once.

        Args:
            previews: whether what is found so far is wanted.
            cursor: of the last event that was read, also by another process; empty: from the
                beginning.

        Raises:
            UnknownOperationError: it was deleted.
            ServerError: the server stays away.
        """
        reader = EventReader()
        for message in self._server.watch(WatchCursor(self.name, previews, cursor)):
            if (event := reader.take(message)) is not None:
                yield event

    def poll(self, seconds: float) -> Operation:
        """Wait for its end for so many seconds at most, and say how it stands then.

        Raises:
            UnknownOperationError: it was deleted.
            ServerError: the server stays away.
        """
        return self._take(self._server.wait_operation(self.name, seconds))

    def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Operation:
        """Wait until it is done, however it ends.

        A server that goes away is asked again when it is back.

        Args:
            timeout: seconds; None: for ever.
            on_progress: called in this thread as the work goes on.

        Raises:
            ServerError: it is not done within `timeout`, or the server stays away.
            UnknownOperationError: it was deleted.
        """
        waiting = Waiting(timeout, on_progress is not None)
        while not self.done:
            self._take(self._server.wait_operation(self.name, waiting.seconds()))
            if on_progress is not None and waiting.is_news(self.progress):
                on_progress(self.progress)
        return self

    def result(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Detections:
        """What was found; waits for it.

        Raises:
            LannerError: what the detection failed of, of the same class as on the server;
                `Cancelled`; and as of `wait`.
        """
        self.wait(timeout, on_progress)
        self._result()
        return self._detections(b"".join(self._server.result(ResultPosition(self.name, "geojson"))))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to a file by its ending, as the server made it: `.geojson`, `.gpkg`,
        `.fgb` or `.parquet`; waits for it.

        Raises:
            ConfigError: another ending.
            OutputError: it cannot be written.
            LannerError: as of `result`.
        """
        target = Path(path)
        self.wait()
        self._result()
        with replacing(target, Argument("path")) as beside, beside.open("wb") as file:
            for part in self._server.result(ResultPosition(self.name, form_of(target))):
                file.write(part)
        return target

    def cancel(self) -> None:
        """Ask for its end; one that is done stays as it is."""
        self._server.cancel_operation(self.name)

    def delete(self) -> None:
        """Have the server forget it and its result; work on it stops."""
        self._server.delete_operation(self.name)
