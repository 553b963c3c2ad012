"""What Prometheus is told."""

import re
import time
import urllib.request

import lanner
from server.options import ServeOptions
from server.run import start
from tests.fixtures_points import WORK, scenes

__all__ = ["scenes"]


SUBMITTED = 'lanner_calls_total{code="OK",method="SubmitDetection"}'
WAITED = 'lanner_job_wait_seconds_count{kind="detect"}'


def scraped(server):
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        text = answer.read().decode()
    return {
        name: float(value)
        for name, value in re.findall(r"^(lanner_\S+?(?:\{.*?\})?) (\S+)$", text, re.M)
    }


def test_calls_jobs_and_what_is_found_are_counted(scenes):
    server = start(WORK, ServeOptions(port=0, metrics_port=0, roots=(scenes,)))
    try:
        before = scraped(server)
        assert before['lanner_jobs{state="queued"}'] == 0
        with lanner.Client(server.address) as client:
            client.submit("few.tif", "points").result(20)
            operation = client.submit("bad.tif", "points")
            operation.wait(20)
            client.detect("few.tif", "points")
            slow = client.submit("slow.tif", "points")
            while slow.refresh().state != "running":
                pass
            found, end = scraped(server), time.monotonic() + 10
            # A call is counted just after its answer, and a job just after it is begun.
            while min(found[SUBMITTED], found[WAITED]) < 3 and time.monotonic() < end:
                found = scraped(server)
            slow.cancel()
        assert found['lanner_jobs{state="running"}'] == 1
        assert found['lanner_jobs{state="succeeded"}'] == 1
        assert found['lanner_jobs_ended_total{reason="",state="succeeded"}'] == 1
        assert found['lanner_jobs_ended_total{reason="SceneError",state="failed"}'] == 1
        assert found[SUBMITTED] == 3
        assert found['lanner_calls_total{code="OK",method="Detect"}'] == 1
        assert found[WAITED] == 3
        assert found['lanner_feature_confidence_count{detector="points"}'] == 6
    finally:
        server.stop(0)
