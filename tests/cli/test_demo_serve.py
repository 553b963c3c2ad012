"""`lanner serve` as an operator starts and stops it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lanner.cli.serve import _by_name
from lanner.client.client import Client
from lanner.core.errors import (
    TABLE,
    AddressError,
    Cancelled,
    ConfigError,
    DeviceError,
    UnknownDetectorError,
)
from lanner.core.job import Cancel
from lanner.inference import registry as released
from lanner.inference.pipeline import detect, list_detectors
from lanner.inference.warm import warm
from server.options import ServeOptions
from server.run import start
from server.work import Work

PROGRAM = Path(sys.executable).parent / "lanner"


@contextmanager
def serving(home: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port, and its address."""
    process = subprocess.Popen(
        [PROGRAM, "serve", "--port", "0", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LANNER_HOME": str(home)},
    )
    try:
        log = []
        for line in process.stderr:
            log.append(line)
            if match := re.match(r"serving on (\S+)$", line):
                yield process, match[1]
                break
        else:
            pytest.fail("".join(log))
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def test_it_offers_what_the_home_holds_and_stops_on_sigterm(tiny_home, tmp_path):
    with serving(tiny_home, "--root", str(tmp_path)) as (process, address):
        with Client(address) as client:
            offers = client.detectors()
        assert [one.name for one in offers] == ["tiny", "tinyroads"]
        assert all(len(net.weights_sha256) == 64 for one in offers for net in one.networks)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(30) == 0


def test_what_cannot_be_warmed_is_told_at_once():
    words = [PROGRAM, "serve", "--warm", "aircrafd"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == TABLE[UnknownDetectorError].exit
    assert "aircraft" in done.stderr


def test_the_first_request_for_auto_finds_what_was_warmed(at_home, tmp_path, pictures):
    pictures.write_tif(tmp_path / "town.tif", pictures.texture(60, 60))
    released.LOADED.clear()
    warm("tiny", "cpu")
    options = ServeOptions(port=0, roots=(tmp_path,), auto_device="cpu")
    server = start(Work(detect, list_detectors), options)
    with Client(server.address) as client:
        for device in ("auto", "cpu"):
            client.detect("town.tif", "tiny", device=device)
    server.stop(0)
    assert len(released.LOADED) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"bands": ["gray", "gray", "gray"]},
        {"bands": ["swir1", "nir", "red"]},
        {"gsd": 0.05, "gsd_range": [0.02, 0.1]},
    ],
    ids=["grey", "infrared", "fine"],
)
def test_any_bands_and_ground_sampling_can_be_warmed(tiny_home, own_config, pictures, changes):
    path = Path(own_config(pictures.objects, **changes))
    (path.parent / "weights").symlink_to(tiny_home / "weights")
    assert warm(str(path), "cpu") > 0


def test_warming_stops_when_it_is_cancelled(at_home):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        warm("tiny", "cpu", cancel=cancel)


def test_a_taken_port_is_no_fault_of_a_configuration(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        words = [PROGRAM, "serve", "--port", port, "--root", str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == TABLE[AddressError].exit
    assert f"error: --port '{port}': is in use on 127.0.0.1" in done.stderr


@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_a_device_that_is_not_there_is_told_at_once(device):
    words = [PROGRAM, "serve", "--port", "0", "--device", device]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == TABLE[DeviceError].exit
    assert f"--device '{device}'" in done.stderr


def test_what_auto_comes_down_to_has_a_name():
    assert re.fullmatch(r"cpu|cuda:\d+", _by_name("auto"))
    assert _by_name("cpu") == "cpu"


def refused(*words: str) -> str:
    done = subprocess.run([PROGRAM, "serve", *words], capture_output=True, text=True, check=False)
    assert done.returncode == TABLE[ConfigError].exit
    assert done.stderr.splitlines()[-1].startswith("error: ")
    return done.stderr


def test_a_certificate_needs_its_key(tmp_path):
    (tmp_path / "cert.pem").write_text("x")
    assert "--tls-key" in refused("--tls-cert", str(tmp_path / "cert.pem"))
    assert "--tls-cert" in refused("--tls-key", str(tmp_path / "key.pem"))


def test_a_missing_certificate_is_named(tmp_path):
    message = refused("--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(tmp_path / "no.key"))
    assert "no.pem" in message


def test_what_is_no_certificate_is_not_blamed_on_the_port(tmp_path):
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    message = refused("--tls-cert", f"{tmp_path}/cert.pem", "--tls-key", f"{tmp_path}/key.pem")
    assert "error: --tls-cert" in message


def test_a_root_must_be_a_folder(tmp_path):
    assert "--root" in refused("--port", "0", "--root", str(tmp_path / "gone"))
