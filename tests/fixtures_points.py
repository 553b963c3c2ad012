"""A detector that knows the truth, for servers: scenes are texts that say what it finds."""

import json
import sys
import time
from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import Point

from lanner.core.errors import SceneError
from lanner.core.job import DetectionPlan, DetectResult, Progress
from lanner.core.offers import DetectorOffer
from server.work import Work

OFFER = DetectorOffer(
    "points", "1.0.0", "", ("thing",), "objects", 1.0, (0.5, 2.0), ("red",), (), ()
)
PROPERTIES = {"type": "object", "properties": {"id": {"type": "string"}}}


def points(request, cancel, tell):
    """As many points as the scene's text says, each found after as many seconds as it says."""
    facts = json.loads(Path(request.scene).read_text())
    if "error" in facts:
        raise SceneError("scene", request.scene, facts["error"], "give another")
    for k in range(facts["count"]):
        cancel.check()
        tell(Progress("detect", k, facts["count"], preview=lambda k=k: [preview(k)]))
        time.sleep(facts.get("each_s", 0))
    frame = gpd.GeoDataFrame(
        {
            "id": [f"p{k}" for k in range(facts["count"])],
            "label": "thing",
            "confidence": 0.5,
            "decision": "accept",
            "text": "x" * facts.get("text", 0),
        },
        geometry=[Point(7 + k * 1e-4, 50) for k in range(facts["count"])],
        crs="EPSG:4326",
    )
    texts = [json.dumps(one) for one in frame.iterfeatures()]
    return DetectResult(texts, {"counts": facts["count"]}, frame, layer="points")


def preview(number):
    """What is drawn of a point before the end."""
    geometry = {"type": "Point", "coordinates": [7 + number * 1e-4, 50]}
    properties = {"label": "thing", "confidence": 0.4, "provisional": True}
    return json.dumps(
        {
            "type": "Feature",
            "id": f"preview-{number}",
            "geometry": geometry,
            "properties": properties,
        }
    )


def plan(request):
    """One tile a point."""
    facts = json.loads(Path(request.scene).read_text())
    return DetectionPlan(facts["count"], 1.5, 100, 2.25, 1000, None, ("A note.",))


WORK = Work(points, lambda: [OFFER], plan, lambda _: PROPERTIES)

SERVER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from server.options import ServeOptions
from server.process import serve
from server.uploads import UploadLimits
from tests.fixtures_points import WORK
options = dict(eval(sys.argv[3]), roots=(Path(sys.argv[1]),), data=Path(sys.argv[2]))
def ready(one):
    print(*filter(None, (one.address, one.http_address)), sep="\\n", flush=True)
serve(WORK, ServeOptions(**options), ready=ready)
"""
"""A server in a process of its own that prints its addresses, a line each."""


def server_command(folder, data, **options):
    """What to run it with: folder of scenes, folder of jobs, other options."""
    return [sys.executable, "-c", SERVER, str(folder), str(data), repr(options)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A folder of scenes: few.tif, none.tif, many.tif, slow.tif and bad.tif."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, facts in (
        ("few", {"count": 3}),
        ("none", {"count": 0}),
        ("many", {"count": 30_000}),
        ("slow", {"count": 1000, "each_s": 0.05}),
        ("bad", {"error": "is empty"}),
    ):
        (folder / f"{name}.tif").write_text(json.dumps(facts))
    return folder
