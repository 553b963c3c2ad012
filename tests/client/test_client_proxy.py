"""Which proxy gRPC goes through, as gRPC itself decides it."""

import pytest

from lanner.client.proxy import Proxy, is_loopback, proxy_of

HTTP = {"http_proxy": "http://proxy.example:3128"}
FOUND = Proxy("http_proxy", "proxy.example:3128")


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051",
        "127.8.9.10:1",
        "localhost:50051",
        "LOCALHOST:50051",
        "me.localhost:50051",
        "[::1]:50051",
        "::1",
        "localhost",
        "dns:///localhost:50051",
        "dns:127.0.0.1:50051",
        "ipv4:127.0.0.1:50051",
        "ipv6:[::1]:50051",
        "unix:/run/lanner.sock",
    ],
)
def test_this_machine_is_spoken_to_directly(target):
    assert is_loopback(target)
    assert proxy_of(target, HTTP) is None


@pytest.mark.parametrize(
    "target", ["10.0.0.1:50051", "gpu.example:50051", "localhost.example:1", "[2001:db8::1]:50051"]
)
def test_another_machine_is_spoken_to_by_the_proxy(target):
    assert not is_loopback(target)
    assert proxy_of(target, HTTP) == FOUND
    assert proxy_of(target, {}) is None


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"grpc_proxy": "http://a:1", "https_proxy": "http://b:2", **HTTP}, ("grpc_proxy", "a:1")),
        ({"https_proxy": "http://b:2", **HTTP}, ("https_proxy", "b:2")),
        ({"http_proxy": "http://user:secret@c:3/"}, ("http_proxy", "c:3")),
        ({"https_proxy": "", **HTTP}, None),  # what is empty turns the others off
        ({"http_proxy": "c:3"}, None),  # gRPC takes addresses of http:// alone
        ({"http_proxy": "socks5://c:3"}, None),
        ({"HTTP_PROXY": "http://c:3"}, None),
    ],
)
def test_the_variables_are_those_of_grpc(environment, found):
    assert proxy_of("gpu.example:50051", environment) == (found and Proxy(*found))


@pytest.mark.parametrize(
    ("target", "kept", "direct"),
    [
        ("gpu.example:50051", "gpu.example", True),
        ("gpu.example:50051", "other, .EXAMPLE", True),
        ("gpu.example:50051", "gpu", False),
        ("gpu.example:50051", "", False),
        ("10.1.2.3:50051", "10.1.0.0/16", True),
        ("10.2.2.3:50051", "10.1.0.0/16", False),
    ],
)
def test_hosts_of_no_proxy_are_spoken_to_directly(target, kept, direct):
    assert (proxy_of(target, {**HTTP, "no_proxy": kept}) is None) is direct
    # The variable of gRPC alone goes before it.
    assert proxy_of(target, {**HTTP, "no_grpc_proxy": "x.example", "no_proxy": kept}) == FOUND
