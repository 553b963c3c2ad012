"""What strangers do to a server: asking it over both listeners, and files that they leave."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import json_format

from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc

CHECKOUT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120


@dataclass
class Served:
    """A `lanner serve` in a process of its own."""

    grpc: str
    http: str
    pid: int
    log: Path

    def status(self, verb, path, body=None, token=None, **headers):
        """HTTP status of a request, and the text of its answer."""
        sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        host, port = self.http.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        try:
            connection.request(verb, path, sent, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def peak_mb(self):
        """The most memory that its process has had."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(one.split()[1]) for one in lines if one.startswith("VmHWM")) / 1024


@contextmanager
def served(home, root, folder, *options) -> Iterator[Served]:
    """`lanner serve` of the scenes below `root`; what it keeps and says lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, log = folder / "ready.json", folder / "log"
    command = [sys.executable, "-m", "lanner", "serve", "--port", "0", "--http-port", "0"]
    command += ["--root", str(root), "--data", str(folder / "data"), "--device", "cpu"]
    environment = {
        **os.environ,
        "LANNER_HOME": str(home),
        "PYTHONPATH": str(CHECKOUT),
        "OMP_NUM_THREADS": "1",
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready), *options],
            env=environment,
            stderr=errors,
            cwd=root,
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        facts = json.loads(ready.read_text())
        found = Served(facts["grpc"], facts["http"].partition("://")[2], process.pid, log)
        while found.status("GET", "/readyz")[0] != 200:
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield found
    finally:
        process.kill()
        process.wait()


def spec_of(scene, upload=False) -> words.DetectionSpec:
    """A detection by the tiny detector."""
    source = words.SceneSource(upload=scene) if upload else words.SceneSource(uri=scene)
    return words.DetectionSpec(
        scene=source, detector=words.DetectorChoice(name="tiny"), device="cpu"
    )


@dataclass
class Answer:
    """How a question ended: `code` is gRPC's name or HTTP's status, `text` all that was said."""

    way: str
    code: str | int
    text: str


def asked_everywhere(server: Served, spec: words.DetectionSpec, token=None) -> list[Answer]:
    """A spec planned, run and submitted over gRPC, and planned and submitted over HTTP.

    What was submitted is waited for: the answer is then the error that its work ended with.
    """
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    answers = []
    with grpc.insecure_channel(server.grpc) as channel:
        stub = pb_grpc.DetectionServiceStub(channel)
        operations = operations_pb2_grpc.OperationsStub(channel)

        def submitted():
            name = stub.SubmitDetection(
                pb.SubmitDetectionRequest(spec=spec), metadata=metadata, timeout=PATIENCE_S
            ).name
            wait = operations_pb2.WaitOperationRequest(name=name)
            wait.timeout.FromSeconds(PATIENCE_S)
            error = operations.WaitOperation(wait, metadata=metadata).error
            codes = {one.value[0]: one.name for one in grpc.StatusCode}
            return Answer("submitted", codes[error.code], str(error))

        def streamed():
            request = pb.DetectRequest(spec=spec)
            return list(stub.Detect(request, metadata=metadata, timeout=PATIENCE_S))

        def planned():
            request = pb.PlanDetectionRequest(spec=spec)
            return stub.PlanDetection(request, metadata=metadata, timeout=PATIENCE_S)

        for way in (planned, streamed, submitted):
            try:
                found = way()
                done = found if isinstance(found, Answer) else Answer(way.__name__, "OK", "")
            except grpc.RpcError as error:
                details = str(dict(error.trailing_metadata()))
                done = Answer(way.__name__, error.code().name, f"{error.details()} {details}")
            answers.append(done)
    body = {"spec": json_format.MessageToDict(spec)}
    status, text = server.status("POST", "/v1/plans", body, token)
    answers.append(Answer("http plan", status, text))
    status, text = server.status("POST", "/v1/detections", body, token)
    if status == 200:
        name = json.loads(text)["name"]
        wait = {"timeout": f"{PATIENCE_S}s"}
        status, text = server.status("POST", f"/v1/{name}:wait", wait, token)
        # The error of an operation has gRPC's number: that of INVALID_ARGUMENT is 422 for scenes.
        error = json.loads(text).get("error", {})
        status = 422 if (status, error.get("code")) == (200, 3) else status
        text = json.dumps(error)  # beside it the operation repeats the request, to its own client
    answers.append(Answer("http submit", status, text))
    return answers


@dataclass
class Web:
    """A web server of one answer for each path; `asked` are the paths that were asked for."""

    address: str = ""
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def leads(self, path: str, to: str) -> None:
        """Redirect a path."""
        self.pages[path] = (302, {"Location": to}, b"")


@contextmanager
def web() -> Iterator[Web]:
    """A web server on the loopback."""
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format, *args):
            pass

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            path = self.path.partition("?")[0]
            state.asked.append(path)
            status, headers, data = state.pages.get(path, (404, {}, b""))
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        state.address = f"127.0.0.1:{httpd.server_port}"
        yield state
        httpd.shutdown()
        thread.join()
