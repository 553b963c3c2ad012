"""Which machines are public, and what a rule for hosts admits."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lanner.core.errors import ConfigError
from tiling.addresses import Endpoint, HostRule, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "::7f00:1",
        "fe80::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::80ff:fffe",
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/a.tif", ("h", 80, False)),
        ("HTTPS://User:pw@Data.Example.ORG./a", ("data.example.org", 443, True)),
        ("http://h:8080/a?b=http://c/", ("h", 8080, False)),
        ("http://[::1]:81/a", ("::1", 81, False)),
        ("http://[0:0::1]/a", ("::1", 80, False)),
        ("http://127.1/a", ("127.0.0.1", 80, False)),
        ("http://0x7f000001/a", ("127.0.0.1", 80, False)),
        ("http://münchen.example/a", ("xn--mnchen-3ya.example", 80, False)),
        ("http:///a", None),
        ("http://h:port/a", None),
        ("http://[::1/a", None),
        ("s3://bucket/a", None),
    ],
)
def test_endpoints(url: str, expected: tuple[str, int, bool] | None) -> None:
    found = Endpoint.of(url)
    assert (found and (found.host, found.port, found.tls)) == expected


@pytest.mark.parametrize(
    ("rule", "admitted", "refused"),
    [
        ("data.example.org", [("data.example.org", 80), ("data.example.org", 9)], ["example.org"]),
        ("Data.Example.org:8080", [("data.example.org", 8080)], []),
        ("*.example.org", [("a.example.org", 443), ("a.b.example.org", 80)], ["example.org"]),
        ("127.0.0.1:81", [("127.0.0.1", 81)], []),
        ("[::1]:81", [("::1", 81)], []),
    ],
)
def test_rules(rule: str, admitted: list[tuple[str, int]], refused: list[str]) -> None:
    host_rule = HostRule.of(rule)
    assert all(host_rule.admits(host, port) for host, port in admitted)
    wrong = [*refused, "evil.org", "evilexample.org", "data.example.org.evil.org"]
    assert not any(host_rule.admits(host, 80) for host in wrong)
    if host_rule.port is not None:
        assert not host_rule.admits(host_rule.host, host_rule.port + 1)


@pytest.mark.parametrize("rule", ["", " ", "*", "a.*.org", "http://h", "h/path", "u@h", "h:port"])
def test_what_is_no_rule(rule: str) -> None:
    with pytest.raises(ConfigError):
        HostRule.of(rule)
