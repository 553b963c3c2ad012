"""The report of a batch in a real browser: it looks as it should, sorts, and asks for nothing."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lanner.archives.scenes import SceneRef
from tests.archives.test_report import HOSTILE, chip, record, report, ring

CHROMIUM = shutil.which("chromium") or "chromium"
WIDE, NARROW = (1280, 1600), (500, 1600)
PROBE = """
<script>addEventListener("load", () => {
  const all = (what) => [...document.querySelectorAll(what)];
  const names = () => all("#scenes tbody th").map((one) => one.innerText);
  const heads = all("#scenes thead button");
  const head = (text) => heads.find((one) => one.innerText.startsWith(text));
  const told = { plain: names(), width: document.documentElement.scrollWidth - innerWidth };
  head("Features").click();
  told.features = names();
  head("Features").click();
  told.reversed = names();
  const filter = document.querySelector("input[type=search]");
  filter.value = "S1 DONE";
  filter.dispatchEvent(new Event("input"));
  told.shown = all("#scenes tbody tr").filter((one) => !one.hidden).length;
  document.querySelector(".marks path").dispatchEvent(new MouseEvent("click"));
  told.hash = location.hash;
  told.asked = performance.getEntriesByType("resource").map((one) => one.name)
    .filter((name) => !name.startsWith("data:"));
  document.body.dataset.told = JSON.stringify(told);
});</script>
</body>"""
"""Clicks as a reader would; the page's own policy would not let it run."""


def chromium(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the browser with a profile of its own, and no way out."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    quiet = ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *flags, *quiet, profile, "--enable-logging=stderr", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the page says to the browser's console: errors, and what its policy refused."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(page: Path, size: tuple[int, int], *words: str) -> np.ndarray:
    """A picture of the page, (h, w, 3)."""
    picture = page.with_suffix(".png")
    window = f"--window-size={size[0]},{size[1]}"
    done = chromium(page.parent, window, f"--screenshot={picture}", *words, page.as_uri())
    assert console(done) == []
    return np.asarray(Image.open(picture).convert("RGB"))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    records = [
        record(f"s{k}", features=k, counts={"a": {"accept": k}}, footprint=ring(10 + 0.2 * k, 50.0))
        for k in range(12)
    ]
    bad = SceneRef("/bad.tif", "bad", bounds=(9.0, 50.0, 9.1, 50.1))
    records += [record("bad", "failed", scene=bad)]
    records += [record(HOSTILE, counts={HOSTILE: {HOSTILE: 1}})]
    scores = {"aircraft": list(range(20))}
    return report(
        records, folder, title=HOSTILE, chips=[chip("s1"), chip(HOSTILE)] * 3, scores=scores
    )


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_it_is_drawn_in_both_schemes_and_sizes(page, size, scheme):
    seen = screenshot(page, size, f"--blink-settings=preferredColorScheme={scheme}")
    assert seen.shape[:2] == (size[1], size[0])
    paper = tuple(int(value) for value in seen[2, 2])
    assert paper == ((18, 23, 26) if scheme == 0 else (252, 252, 251))
    colours = np.unique(seen.reshape(-1, 3), axis=0)
    accent, bad = (((132, 191, 226), (255, 138, 125)), ((27, 94, 134), (179, 38, 30)))[scheme]
    for colour in (accent, bad):
        assert (colours == colour).all(axis=1).any(), colour


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_sorts_filters_and_leads_from_the_map_to_a_row(page, tmp_path, size):
    text = page.read_text("utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    probed = tmp_path / "probed.html"
    probed.write_text(text.replace("</body>", PROBE), "utf-8")
    window = f"--window-size={size[0]},{size[1]}"
    done = chromium(tmp_path, window, "--dump-dom", "--virtual-time-budget=2000", probed.as_uri())
    found = re.search(r'data-told="([^"]*)"', done.stdout)
    assert found, done.stderr
    told = json.loads(html.unescape(found[1]))
    assert told["width"] <= 0, "the page itself does not scroll sideways"
    assert sorted(told["features"]) == sorted(told["plain"])
    assert told["features"][0] == "s11"
    assert told["reversed"][-1] == "s11"
    # s1, s10 and s11
    assert told["shown"] == 3
    assert told["hash"].startswith("#scene-")
    assert told["asked"] == []


def test_its_policy_lets_nobody_elses_script_run(page, tmp_path):
    text = page.read_text("utf-8")
    spoilt = tmp_path / "spoilt.html"
    script = '<script>document.body.dataset.spoilt = "yes"</script></body>'
    picture = '<img src="https://example.org/x.png">'
    spoilt.write_text(text.replace("</body>", picture + script), "utf-8")
    done = chromium(tmp_path, "--dump-dom", spoilt.as_uri())
    assert "data-spoilt" not in done.stdout
    assert len(console(done)) == 2
    assert "<button" in done.stdout, "its own does"
