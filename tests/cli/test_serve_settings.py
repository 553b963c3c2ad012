"""`lanner serve`: its options are the keys of the settings, and what holds can be printed."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import typer
import yaml

from lanner.cli.app import app
from lanner.core.errors import TABLE, ConfigError
from server.settings import keys


def run(*words, **variables):
    return subprocess.run(
        [sys.executable, "-m", "lanner", *map(str, words)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_key_is_an_option_without_a_default_of_its_own():
    command = typer.main.get_command(app).commands["serve"]
    options = {one.name: one for one in command.params}
    for key in keys():
        option = options.pop(key.name)
        assert key.option in option.opts
        assert option.default in (None, [], ())
    assert set(options) == {"config", "print_config", "debug"}


def test_help_shows_the_defaults_of_the_model():
    text = run("serve", "--help", COLUMNS="400").stdout
    blocks = re.split(r"│ --(?=[a-z])", text)[1:]
    shown = {re.split(r"[\s/]", block, maxsplit=1)[0]: block for block in blocks}
    for key in keys():
        default = key.default_text.replace("`data`", "--data")
        assert f"[default: ({default})]" in shown[key.option.removeprefix("--")]


def test_what_holds_is_printed_with_where_it_comes_from(tmp_path):
    file = tmp_path / "server.yaml"
    file.write_text("http_port: 1\nroot: [scenes]\nallow_remote: true\nwarm: [roads]\n")
    done = run(
        "serve", "--config", file, "--port", 0, "--no-allow-remote", "--print-config",
        "--warm", "a", "--warm", "b",
        LANNER_SERVE_HTTP_PORT="2", LANNER_SERVE_DATABASE="postgresql://u:s3cret@h/d",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3cret" not in done.stdout
    found = yaml.safe_load(done.stdout)
    assert (found["port"], found["http_port"], found["allow_remote"]) == (0, 2, False)
    assert (found["root"], found["warm"]) == ([str(tmp_path / "scenes")], ["a", "b"])
    sources = {line.split(":")[0]: line.rpartition("  # ")[2] for line in done.stdout.splitlines()}
    assert sources["allow_remote"] == "--allow-remote"
    assert (sources["http_port"], sources["root"]) == ("LANNER_SERVE_HTTP_PORT", str(file))


def test_a_wrong_setting_ends_the_command_with_one_line(tmp_path):
    done = run("serve", LANNER_SERVE_PORTT="1")
    assert done.returncode == TABLE[ConfigError].exit
    assert done.stderr.count("\n") == 1
    assert "LANNER_SERVE_PORT'" in done.stderr


def test_tokens_are_kept_where_the_settings_of_the_server_say(tmp_path):
    file = tmp_path / "server.yaml"
    file.write_text("database: sqlite:///" + str(tmp_path / "own.sqlite") + "\nhttp_port: 8080\n")
    made = run("token", "new", "anna", LANNER_SERVE_CONFIG=str(file))
    assert made.returncode == 0, made.stderr
    listed = run("token", "list", "--config", file)
    assert "anna" in listed.stdout
    assert (tmp_path / "own.sqlite").exists()
    elsewhere = run("token", "list", LANNER_SERVE_DATA=str(tmp_path / "other"))
    assert (elsewhere.returncode, elsewhere.stdout) == (0, "")


def test_a_server_serves_by_its_file_and_variables(tmp_path, at_home):
    file = tmp_path / "server.yaml"
    file.write_text("port: 0\nhttp_port: 70\ndevice: cpu\nready_file: ready.json\nroot: .\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "lanner", "serve", "--config", str(file), "--http-port", "0"],
        env={**os.environ, "LANNER_SERVE_TOKEN_FILE": str(tmp_path / "token")},
        stderr=subprocess.DEVNULL,
    )
    try:
        ready = tmp_path / "ready.json"
        end = time.monotonic() + 100
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        address = json.loads(ready.read_text())["http"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}/v1/detectors", timeout=30)
        assert caught.value.code == 401
        token = (tmp_path / "token").read_text().strip()
        request = urllib.request.Request(
            f"{address}/v1/detectors", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["detectors"]
        process.terminate()
        assert process.wait(60) == 0
        assert not ready.exists()
    finally:
        process.kill()
        process.wait()
