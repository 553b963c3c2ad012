"""The commands of docs/http.md do what they say."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from server.options import ServeOptions
from server.run import start
from server.work import Work
from tests.fixtures_points import OFFER, PROPERTIES, plan, points

DOCS = Path(__file__).resolve().parents[2] / "docs" / "http.md"


def test_the_page_of_curl(tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    commands = re.findall(r"<!-- test: curl -->\n```bash\n(.*?)```", text, re.S)
    assert len(commands) == 3
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    (scenes / "airport.tif").write_text('{"count": 5}')
    (tmp_path / "mine.tif").write_text(json.dumps({"count": 2, "padding": "x" * 3000}))
    offer = replace(OFFER, name="aircraft")
    work = Work(points, lambda: [offer], plan, lambda _: PROPERTIES)
    server = start(work, ServeOptions(port=0, http_port=0, roots=(scenes,)))
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env={**os.environ, "SERVER": f"http://{server.http_address}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        server.stop(0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["true", '"2"']
    assert len(json.loads((tmp_path / "aircraft.geojson").read_text())["features"]) == 5
    assert "featureCount" in (tmp_path / "events.txt").read_text()
