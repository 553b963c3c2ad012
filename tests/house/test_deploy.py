"""The recipes of docs/deploy call a command that there is, with options that it has."""

import json
import re
from pathlib import Path

import typer
import yaml

from lanner.cli.app import app

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "deploy"


def options_of_serve():
    command = typer.main.get_command(app).commands["serve"]
    return {name for parameter in command.params for name in parameter.opts}


def test_options_of_the_recipes_are_those_of_the_command():
    known = options_of_serve()
    texts = [
        (FOLDER / name).read_text().split(start, 1)[1]
        for name, start in (("Dockerfile", 'CMD ["serve"'), ("lanner.service", "lanner serve"))
    ]
    compose = yaml.safe_load((FOLDER / "compose.yml").read_text())
    given = [re.findall(r"(?<![\w-])--[a-z][a-z-]+", text) for text in texts]
    words = compose["services"]["server-a"]["command"]
    given.append([word.partition("=")[0] for word in words if word.startswith("--")])
    foreign = {"--interval", "--timeout", "--start-period"}
    for one in given:
        assert len(one) >= 8
        assert set(one) - foreign <= known, set(one) - known


def test_servers_of_the_compose_file_share_what_they_must():
    services = yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]
    one, other = services["server-a"], services["server-b"]
    assert one["command"] == other["command"] and one["volumes"] == other["volumes"]
    assert set(one["ports"]).isdisjoint(other["ports"])
    assert json.dumps(services)
