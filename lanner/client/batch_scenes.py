"""Scenes of a batch that a server runs: sent there, waited for, and their results fetched.

All else of a batch is as on one machine: its plan, its ledger, the files that come out. What a
scene's operations are called is written down, so that a batch which was stopped goes on with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from detectors.releases import split_name
from lanner.archives.basis import Basis
from lanner.archives.opening import error_facts, facts_of
from lanner.archives.records import SceneFacts
from lanner.archives.work import WORK, DetectorDone, SceneJob, as_texts, keep_result, read_part
from lanner.client.client import Client
from lanner.client.offers import require_offer
from lanner.client.operation import Operation
from lanner.client.uploads import Upload
from lanner.core.errors import (
    AccessError,
    Argument,
    AuthenticationError,
    Cancelled,
    ConfigError,
    LannerError,
    OutputError,
    SceneError,
    ServerError,
    UnknownOperationError,
    UnknownUploadError,
)
from lanner.core.files import replacing
from lanner.core.job import Cancel, DetectResult
from tiling.names import is_remote

if TYPE_CHECKING:
    from tiling.scene import Scene

_POLL_S = 1.0
"""How soon a wish to stop is noticed."""

_ENDING = (Cancelled, OutputError, ServerError, AuthenticationError, AccessError)
"""Errors of calls that end a batch: no other scene would fare better."""


@dataclass
class _Sent:
    """What a server has of a scene: the file, and operations by detector.

    `content` is the checksum of the scene when it was sent.
    """

    server: str
    content: str
    upload: str | None = None
    size: int = 0
    operations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Opened:
    """A scene as it is here: what is kept of it, and the checksum of its content."""

    facts: SceneFacts
    content: str


class ServerScenes:
    """Runs scenes of a batch by a server; threads share it. A `lanner.archives.work.RunScene`.

    Local scenes are sent and, once their detectors are done, deleted there; addresses are given as
    they are. Operations stay with the server until it forgets them.

    Args:
        client: of the server.
        detectors: as the batch names them; the server must have them in the releases of this
            machine.

    Raises:
        UnknownDetectorError: one is not on offer, or not installed here.
        ConfigError: the server has another release of one.
        LannerError: the server cannot be reached, or lets nobody in.
    """

    def __init__(self, client: Client, detectors: Sequence[str]) -> None:
        self._client = client
        self._names = {name: self._name_there(name) for name in detectors}

    def _name_there(self, detector: str) -> str:
        """What the server knows a detector by: a batch has one release of it, whatever is the
        default there.
        """
        from lanner.inference.registry import find, pinned

        release = pinned(detector)
        offer = require_offer(self._client, release)
        if release != detector and offer.releases:
            return release
        ours = find(detector).config.release
        if split_name(detector)[1] is None and offer.release != ours:
            raise self._another(detector, f"release {offer.release}", ours)
        return detector

    def __call__(self, job: SceneJob, cancel: Cancel) -> list[DetectorDone]:
        """Run every detector of a job; an error of one keeps none of the others from it.

        Raises:
            Cancelled: the caller asked to stop; what was submitted goes on.
            OutputError: a file cannot be written.
            ServerError: the server stays away.
            LannerError: it lets nobody in, or its detectors are others than here.
        """
        try:
            opened = _opened(job)
        except _ENDING:
            raise
        except LannerError as error:
            return [_failed(detector, error) for detector in job.detectors]
        sent = self._known(job, opened.content)
        submitted: dict[str, Operation] = {}
        failed: dict[str, DetectorDone] = {}
        for detector in job.detectors:
            cancel.check()
            try:
                submitted[detector] = self._submitted(job, detector, sent, cancel)
            except _ENDING:
                raise
            except LannerError as error:
                failed[detector] = _failed(detector, error)
        done, others = [], dict(job.others)
        for detector in job.detectors:
            if detector in failed:
                done.append(failed[detector])
                continue
            one = self._ended(job, detector, submitted[detector], opened, others, cancel)
            if one.outcome is not None:
                others[detector] = one.outcome.key
            done.append(one)
        if sent.upload is not None:
            with suppress(UnknownUploadError):
                self._client.delete_upload(Upload(sent.upload, sent.size))
            sent.upload = None
            # The names of operations stay: the batch may be stopped before it knows of these.
            _write(job, sent)
        return done

    def _known(self, job: SceneJob, content: str) -> _Sent:
        """What this server has of a scene by an earlier run, else nothing."""
        try:
            found = _Sent(**json.loads(_record(job).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            found = None
        if found is not None and (found.server, found.content) == (self._client.address, content):
            return found
        return _Sent(self._client.address, content)

    def _submitted(self, job: SceneJob, detector: str, sent: _Sent, cancel: Cancel) -> Operation:
        """The operation of a detector: the one that was submitted before, or a new one."""
        if detector in sent.operations:
            with suppress(UnknownOperationError):
                known = self._client.operation(sent.operations[detector])
                if not known.done or known.state == "succeeded":
                    return known
        try:
            operation = self._submit(job, detector, sent, cancel)
        except UnknownUploadError:  # it was sent long ago
            sent.upload = None
            operation = self._submit(job, detector, sent, cancel)
        if operation.done and operation.state != "succeeded":
            # An earlier batch of this client asked for the same.
            operation.delete()
            operation = self._submit(job, detector, sent, cancel)
        sent.operations[detector] = operation.name
        _write(job, sent)
        return operation

    def _submit(self, job: SceneJob, detector: str, sent: _Sent, cancel: Cancel) -> Operation:
        from lanner.inference.registry import find

        scene: str | Upload = job.ref.uri
        if not is_remote(job.ref.uri):
            if sent.upload is None:
                upload = self._client.upload(job.ref.uri, lambda _: cancel.check())
                sent.upload, sent.size = upload.name, upload.size
                _write(job, sent)
            scene = Upload(sent.upload, sent.size)
        options = job.options
        source = scene.name if isinstance(scene, Upload) else scene
        name, release = self._names[detector], find(options.found_as(detector)).config.release
        facts = (sent.content, source, name, release, options.tile, options.gsd, options.device)
        return self._client.submit(
            scene,
            name,
            gsd=options.gsd,
            device=options.device,
            tile=options.tile,
            request_id=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        )

    def _ended(
        self,
        job: SceneJob,
        detector: str,
        operation: Operation,
        opened: _Opened,
        others: Mapping[str, str],
        cancel: Cancel,
    ) -> DetectorDone:
        """What became of an operation; waits for it."""
        try:
            while not operation.done:
                cancel.check()
                operation.poll(_POLL_S)
        except UnknownOperationError as error:
            return _failed(detector, error)
        if operation.state == "cancelled":
            cause = ServerError(
                "server", operation.name, "was cancelled there", "try failed scenes again"
            )
            return _failed(detector, cause)
        if operation.state != "succeeded":
            try:
                operation.result()
            except LannerError as error:
                return _failed(detector, error)
        result = self._fetched(job, detector, operation)
        return keep_result(job, detector, result, opened.facts, others)

    def _fetched(self, job: SceneJob, detector: str, operation: Operation) -> DetectResult:
        """The result of an operation, as if it had been made here."""
        from lanner.inference.pipeline import detector_for_scene
        from lanner.inference.registry import find
        from postprocess.chain import Chain
        from postprocess.writers import empty_frame

        entry, found = find(job.options.found_as(detector)), operation.result()
        made = {"lanner": found.summary["lanner"], **found.summary["detector"]}
        if not Basis.of(entry).made(made):
            raise self._another(detector, "another configuration or release of Lanner", "this one")
        wanted = job.runs_on.get(detector, made["runs_on"])
        if made["runs_on"] != wanted:
            raise OutputError(
                Argument("path"),
                job.out,
                f"holds results of {wanted}, and the server adds some of {made['runs_on']}",
                "go on with it on such a machine, or begin a new batch",
            )
        table = job.out / WORK / f"{job.ref.name}.{detector}.parquet"
        operation.save(table)
        frame = read_part(table)
        table.unlink()
        for name in frame.columns[frame.dtypes == "str"]:  # as a run has them
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
        config = detector_for_scene(entry, job.options.request(job.ref, detector)).config
        schema = Chain.from_specs(config.chain).schema
        if len(frame):
            schema = as_texts(schema)
        else:  # a table without rows does not tell the types of its texts
            frame = empty_frame(schema, frame.crs)
        return DetectResult(found.features, found.summary, frame, schema, config.name)

    def _another(self, detector: str, theirs: str, ours: str) -> ConfigError:
        return ConfigError(
            Argument("detector"),
            detector,
            f"is {theirs} at {self._client.address} and {ours} here",
            "bring server and client to one release",
        )


def _opened(job: SceneJob) -> _Opened:
    """A scene, opened here.

    Raises:
        SceneError: it cannot be read, or is more than one file.
        LannerError: it cannot be used.
    """
    from tiling.scene import open_scene

    scene = open_scene(job.ref.uri, gsd=job.options.gsd, crs=job.options.crs)
    facts = facts_of(scene, job.ref)
    content = facts.stamp if is_remote(job.ref.uri) else _content_of_one_file(scene)
    return _Opened(facts, content)


def _content_of_one_file(scene: Scene) -> str:
    """Checksum of a scene that is one file; overviews beside it are not needed.

    Raises:
        SceneError: files beside it change its pixels or its place, and would not be sent.
    """
    with Path(scene.uri).open("rb") as file:
        alone = hashlib.file_digest(file, "sha256").hexdigest()
    if scene.sha256(scene.grid(min(scene.gsd))) != alone:
        raise SceneError(
            Argument("scene"),
            scene.uri,
            "is more than one file, and a single one can be sent to a server",
            "make one of them, such as by `gdal_translate -of COG`",
        )
    return alone


def _record(job: SceneJob) -> Path:
    """Where it is written down what a server has of a scene."""
    return job.out / WORK / f"{job.ref.name}.server.json"


def _write(job: SceneJob, sent: _Sent) -> None:
    path = _record(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, Argument("path")) as beside:
        beside.write_text(json.dumps(asdict(sent)), encoding="utf-8")


def _failed(detector: str, error: LannerError) -> DetectorDone:
    return DetectorDone(detector, None, error_facts(error), {})
