"""The recipes of docs/deploy set what can be set, and its table lists all of that."""

import re
from pathlib import Path

import typer
import yaml

from lanner.cli.app import app
from server.settings import VARIABLE, keys
from server.settings_sources import merge

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "deploy"


def variables_of_the_image():
    text = (FOLDER / "Dockerfile").read_text()
    return dict(re.findall(rf"({VARIABLE}\w+)=(\S+)", text))


def test_the_image_sets_what_a_server_for_others_needs():
    settings = merge({}, variables_of_the_image()).settings
    assert (settings.host, settings.data, settings.root) == (
        "0.0.0.0",
        Path("/data"),
        (Path("/scenes"),),
    )
    text = (FOLDER / "Dockerfile").read_text()
    ports = {int(one) for one in re.search(r"^EXPOSE (.*)$", text, re.M)[1].split()}
    assert ports == {settings.port, settings.http_port, settings.metrics_port}
    assert f"http://127.0.0.1:{settings.http_port}/healthz" in text
    assert 'CMD ["serve"]' in text


def test_servers_of_the_compose_file_share_what_they_must():
    services = yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]
    one, other = services["server-a"], services["server-b"]
    assert one["environment"] == other["environment"] and one["volumes"] == other["volumes"]
    assert set(one["ports"]).isdisjoint(other["ports"])
    settings = merge({}, {**variables_of_the_image(), **one["environment"]}).settings
    assert settings.database.startswith("postgresql+psycopg://lanner:")
    inside = {int(port.rpartition(":")[2]) for port in one["ports"]}
    assert inside == {settings.port, settings.http_port}
    assert int(one["stop_grace_period"].removesuffix("s")) > settings.grace


def test_the_unit_reads_the_file_beside_it():
    unit = (FOLDER / "lanner.service").read_text()
    command = typer.main.get_command(app).commands["serve"]
    known = {name for parameter in command.params for name in parameter.opts}
    (line,) = re.findall(r"^ExecStart=\S+ serve (.*)$", unit, re.M)
    assert set(re.findall(r"--[a-z-]+", line)) <= known
    assert line.endswith("--config /etc/lanner/server.yaml")
    settings = merge({}, {}, FOLDER / "server.yaml").settings
    assert str(settings.data) == "/var/lib/lanner"
    assert f"ReadOnlyPaths={settings.root[0]}" in unit
    assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.M)[1]) > settings.grace


def test_the_table_of_settings_lists_each_with_its_default_and_meaning():
    text = (FOLDER / "README.md").read_text()
    table = [line for line in text.splitlines() if f"| `{VARIABLE}" in line]
    assert table == [
        f"| `{key.name}` | `{key.variable}` | {key.default_text} | {key.meaning.text} |"
        for key in keys()
    ]
