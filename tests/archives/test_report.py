"""The report of a batch: its numbers, its structure, and that it asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from lanner.archives.records import BatchRecord, ErrorFacts, Outcome, SceneFacts
from lanner.archives.report import Chip, write_report
from lanner.archives.scenes import SceneRef
from lanner.core.errors import OutputError

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
VOID = {"meta", "link", "br", "img"}


@dataclass
class Node:
    """An element: its attributes, and the text and elements inside."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    inside: list = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = (one if isinstance(one, str) else one.text for one in self.inside)
        return " ".join("".join(parts).split())

    def all(self, tag: str | None = None, **wanted: str) -> list[Node]:
        found = []
        for one in self.inside:
            if isinstance(one, str):
                continue
            has = all(one.attributes.get(key) == value for key, value in wanted.items())
            if has and tag in (None, one.tag):
                found.append(one)
            found += one.all(tag, **wanted)
        return found

    def one(self, tag: str | None = None, **wanted: str) -> Node:
        found = self.all(tag, **wanted)
        assert len(found) == 1, (tag, wanted, len(found))
        return found[0]

    def rows(self, name: str) -> list[list[str]]:
        """Texts of the cells of a table's body."""
        body = self.one("table", id=name).one("tbody")
        return [[c.text for c in r.inside if isinstance(c, Node)] for r in body.all("tr")]


class Reader(HTMLParser):
    """A page as a tree; elements that are not closed in order are an error."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {key: value or "" for key, value in attrs})
        self.open[-1].inside.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].inside.append(Node(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag):
        if tag not in VOID or self.open[-1].tag == tag:
            assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].inside.append(data)


def read(path: Path) -> Node:
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def ring(west: float, south: float, side: float = 0.1):
    east, north = west + side, south + side
    return ((west, south), (east, south), (east, north), (west, north), (west, south))


SQUARE = ring(10.0, 50.0)


def record(
    name: str,
    state="done",
    *,
    detector: str = "aircraft",
    footprint=SQUARE,
    acquired: str | None = "2024-05-01T10:00:00Z",
    scene: SceneRef | None = None,
    error: ErrorFacts | None = None,
    **changes,
) -> BatchRecord:
    """A record by hand: done, with three features of which 2.4 are right."""
    outcome = Outcome(
        key="k",
        features=3,
        counts={detector: {"accept": 2, "review": 1}},
        expected=2.4,
        expected_sd=0.6,
        megapixels=2.5,
        tiles=4,
        seconds={"tiles": 3.0, "write": 0.5},
        outputs=(f"scenes/{name}/{detector}.gpkg",),
    )
    facts = SceneFacts(
        100, 100, 0.5, ("red",), "uint8", "EPSG:32632", acquired, footprint, 1, "stamp"
    )
    done = state == "done"
    wrong = ErrorFacts("SceneError", "scene", f"/archive/{name}.tif", "is no raster", "mend it")
    return BatchRecord(
        scene or SceneRef(f"/archive/{name}.tif", name),
        detector,
        state,
        facts=facts if done else None,
        outcome=replace(outcome, **changes) if done else None,
        error=error or (wrong if state in ("failed", "skipped") else None),
    )


def png(width: int = 4, height: int = 3) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 90)).save(file, "PNG")
    return file.getvalue()


def chip(scene: str, **changes) -> Chip:
    return replace(Chip(scene, "aircraft", 0.914, "accept", png()), **changes)


def report(records, folder: Path, **facts) -> Path:
    given = {"title": "A batch", "chips": [], "started": None, "ended": None} | facts
    return write_report(records, folder, **given)


def page(records, folder: Path, **facts) -> Node:
    return read(report(records, folder, **facts))


MIXED = [
    record("one", expected=100.0, expected_sd=3.0, features=120, counts={"a": {"accept": 120}}),
    record("two", expected=212.0, expected_sd=4.0, features=250, counts={"b": {"review": 250}}),
    record("bad", "failed"),
    record("left", "skipped"),
    record("later", "waiting"),
]


def test_numbers_of_the_headline(tmp_path):
    found = page(MIXED, tmp_path)
    told = {
        name: found.one("dd", id=name).text
        for name in ("scenes-done", "scenes-failed", "scenes-skipped", "features", "expected")
    }
    # The square root of 3² + 4² is 5, of which 1.645 to each side hold 90 %.
    assert told == {
        "scenes-done": "2",
        "scenes-failed": "1",
        "scenes-skipped": "1",
        "features": "370",
        "expected": "312 ± 8",
    }
    assert "304 to 320" in found.one("dl").text


def test_features_by_label_and_decision(tmp_path):
    records = [
        record("one", counts={"truck": {"accept": 1200, "odd": 1}, "bus": {"review": 2}}),
        record("two", counts={"truck": {"accept": 300}}),
    ]
    found = page(records, tmp_path)
    heads = [one.text for one in found.one("table", id="labels").all("th", scope="col")]
    assert heads == ["Label", "accept", "review", "odd", "All"]
    assert found.rows("labels") == [
        ["truck", "1,500", "0", "1", "1,501"],
        ["bus", "0", "2", "0", "2"],
    ]


def test_scenes_of_several_detectors_have_the_state_that_wants_attention(tmp_path):
    records = [
        record("a"),
        record("a", "failed", detector="roads"),
        record("b"),
        record("b", "skipped", detector="roads"),
        record("c", "waiting"),
        record("c", detector="roads"),
    ]
    found = page(records, tmp_path)
    names = ("scenes-done", "scenes-failed", "scenes-skipped")
    assert [found.one("dd", id=name).text for name in names] == ["1", "1", "0"]
    by_detector = {row[0]: row[1:6] for row in found.rows("detectors")}
    assert by_detector == {
        "aircraft": ["2", "0", "0", "6", "4.8 ± 1.4"],
        "roads": ["1", "1", "1", "3", "2.4 ± 1.0"],
    }
    assert len(found.rows("scenes")) == 6


def test_every_scene_is_a_row_with_its_numbers_and_files(tmp_path):
    found = page([record("b c"), record("a", features=0, counts={}, expected=0)], tmp_path)
    first, second = found.rows("scenes")
    assert first == ["a", "done", "2024-05-01 10:00", "0", "0", "2.5", "3.5", "gpkg"]
    assert second == ["b c", "done", "2024-05-01 10:00", "3", "2.4 ± 1.0", "2.5", "3.5", "gpkg"]
    links = [one.attributes["href"] for one in found.one("table", id="scenes").all("a")]
    assert links == ["scenes/a/aircraft.gpkg", "scenes/b%20c/aircraft.gpkg"]


def test_failed_and_skipped_scenes_say_why_and_what_to_do(tmp_path):
    found = page(MIXED, tmp_path)
    rows = found.rows("troubled")
    assert [row[:3] for row in rows] == [
        ["bad", "failed", "SceneError"],
        ["left", "skipped", "SceneError"],
    ]
    assert rows[0][3:] == ["scene /archive/bad.tif: is no raster", "mend it"]


def test_a_failure_without_an_error_is_a_row_too(tmp_path):
    found = page([replace(record("x", "failed"), error=None)], tmp_path)
    assert found.rows("troubled") == [["x", "failed", "", "", ""]]


def test_slowest_scenes_by_stage(tmp_path):
    stages = {f"stage {k}": float(k) for k in range(8)}
    records = [record(f"s{k}", seconds={"tiles": float(k)}) for k in range(20)]
    found = page([*records, record("slow", seconds={"tiles": 50.0, **stages})], tmp_path)
    rows = found.rows("slowest")
    assert [row[0] for row in rows][:3] == ["slow", "s19", "s18"]
    assert len(rows) == 10
    heads = [one.text for one in found.one("table", id="slowest").all("th", scope="col")]
    assert heads[3:] == ["tiles", "stage 7", "stage 6", "stage 5", "stage 4", "other"]
    # In all; nothing beside the bar; then the stages, and 1 + 2 + 3 seconds of others.
    assert rows[0][1:] == ["78.0", "", "50.0", "7.0", "6.0", "5.0", "4.0", "6.0"]


def marks(found: Node) -> dict[str, Node]:
    group = found.one("g", **{"class": "marks"})
    return {one.one("title").text.partition(":")[0]: one for one in group.all("path")}


def test_footprints_are_coloured_by_count_and_failures_apart(tmp_path):
    outcome = {"counts": {}, "expected": 0.0}
    records = [
        record("none", features=0, footprint=ring(10, 50), **outcome),
        record("few", features=2, footprint=ring(11, 50), **outcome),
        record("many", features=300, footprint=ring(12, 50), **outcome),
        record("bad", "failed", scene=SceneRef("/bad.tif", "bad", bounds=(13, 50, 13.1, 50.1))),
        record("nowhere", footprint=None, **outcome),
    ]
    found = page(records, tmp_path)
    drawn = marks(found)
    assert {name: one.attributes["class"].split()[0] for name, one in drawn.items()} == {
        "none": "n0",
        "few": "n1",
        "many": "n4",
        "bad": "failed",
    }
    # Each leads to its row.
    assert found.one("tr", id=drawn["bad"].attributes["data-to"]).all("th")[0].text == "bad"
    # West to east, as they lie.
    starts = [float(re.match(r"M([\d.]+)", drawn[n].attributes["d"])[1]) for n in drawn]
    assert list(drawn) == ["none", "few", "many", "bad"] and starts == sorted(starts)


@pytest.mark.parametrize("east", [-179.5, 180.5])
def test_a_footprint_across_the_antimeridian_is_one_shape(tmp_path, east):
    across = ((179.5, 1.0), (east, 1.0), (east, 2.0), (179.5, 2.0), (179.5, 1.0))
    records = [record("across", footprint=across), record("east", footprint=ring(-179, 1))]
    drawn = marks(page(records, tmp_path))
    path = drawn["across"].attributes["d"]
    assert path.count("M") == 1
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", path)]
    assert max(xs) - min(xs) > 100, "the map is of these scenes, not of the Earth"
    assert max(xs) < float(re.match(r"M([\d.]+)", drawn["east"].attributes["d"])[1])


@pytest.mark.parametrize(
    "footprint",
    [
        ring(0, -89.9, 0.05),
        ((-180, 80), (-90, 80), (0, 80), (90, 80), (180, 80), (-180, 80)),
        ((-180, -90), (-90, -90), (0, -90), (90, -90), (180, -90), (180, 90), (-180, 90),
         (-180, -90)),
        ring(5, 5, 1e-5),
        ((1, 1), (1, 1), (1, 1), (1, 1)),
        ((1.0, 1.0), (2.0, 2.0), (1.0, 1.0)),
    ],
)  # fmt: skip
def test_odd_footprints_do_no_harm(tmp_path, footprint):
    found = page([record("odd", footprint=footprint), record("other")], tmp_path)
    assert "other" in marks(found)
    numbers = re.findall(r"nan|inf", " ".join(one.attributes["d"] for one in found.all("path")))
    assert numbers == []


def test_scenes_without_a_place_have_no_map(tmp_path):
    found = page([record("one", footprint=None)], tmp_path)
    assert found.all("svg", **{"class": "map"}) == []


def bars(found: Node, title: str) -> list[tuple[str, float]]:
    """What the bars of a chart tell, and their heights."""
    chart = next(
        one for one in found.all("svg") if one.all("title") and one.all("title")[0].text == title
    )
    return [
        (one.one("title").text, float(one.attributes["height"]))
        for one in chart.all("rect", **{"class": "bar"})
    ]


def test_counts_over_days(tmp_path):
    days = ["2024-05-01", "2024-05-01T23:59:00Z", "2024-05-01T23:59:00-02:00", "2024-05-04", None]
    records = [record(f"s{k}", acquired=day) for k, day in enumerate(days)]
    told = bars(page(records, tmp_path), "Features by day of acquisition")
    assert [text for text, _ in told] == [
        "2024-05-01: 6 features in 2 scenes",
        "2024-05-02: 3 features in 1 scene",
        "2024-05-04: 3 features in 1 scene",
    ]
    assert told[0][1] == pytest.approx(2 * told[1][1], abs=0.2)


@pytest.mark.parametrize(
    ("last", "unit", "name"), [("2025-02-01", "month", "2025-02"), ("2044-02-01", "year", "2044")]
)
def test_long_times_have_wider_bars(tmp_path, last, unit, name):
    records = [record("a", acquired="2024-01-31"), record("b", acquired=last)]
    told = bars(page(records, tmp_path), f"Features by {unit} of acquisition")
    assert [text.partition(":")[0] for text, _ in told] == ["2024-01-31"[: len(name)], name]


def test_a_scene_without_features_still_has_a_bar(tmp_path):
    nothing = {"features": 0, "counts": {}, "expected": 0.0, "expected_sd": 0.0}
    told = bars(page([record("a", **nothing)], tmp_path), "Features by day of acquisition")
    assert told == [("2024-05-01: 0 features in 1 scene", 1.5)]


def test_histogram_of_confidences(tmp_path):
    counts = [0] * 18 + [5, 10]
    found = page([record("a")], tmp_path, scores={"aircraft": counts, "roads": [0] * 20})
    told = bars(found, "aircraft")
    assert [text for text, _ in told] == ["0.90 to 0.95: 5 features", "0.95 to 1.00: 10 features"]
    assert told[1][1] == pytest.approx(2 * told[0][1], abs=0.2)
    assert all(one.all("title")[0].text != "roads" for one in found.all("svg"))


def test_contact_sheet(tmp_path):
    chips = [chip("one"), chip("gone", decision="review", png=b"no picture")]
    found = page([record("one")], tmp_path, chips=chips)
    pictures = found.all("img")
    data = pictures[0].attributes["src"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(data) == png()
    assert (pictures[0].attributes["width"], pictures[0].attributes["height"]) == ("4", "3")
    captions = [one.text for one in found.all("figcaption")][-2:]
    assert captions == ["aircraft 0.91 accept one", "aircraft 0.91 review gone"]
    assert all(one.attributes["alt"] for one in pictures)


def test_nothing_is_asked_from_outside(tmp_path):
    records = [record("a", scene=SceneRef("https://x.org/a.tif", "a")), record("b", "failed")]
    path = report(records, tmp_path, chips=[chip("a")], scores={"aircraft": [1] * 20})
    found = read(path)
    policy = found.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert "default-src 'none'" in policy
    for one in found.all():
        for name in ("src", "srcset", "poster", "data", "action", "xlink:href"):
            assert one.attributes.get(name, "data:").startswith("data:"), one
        href = one.attributes.get("href", "")
        assert "://" not in href and not href.startswith("//"), one
    assert [one.attributes["rel"] for one in found.all("link")] == ["icon"]
    style = found.one("style").text
    assert "url(" not in style and "@import" not in style


def test_only_its_own_script_may_run(tmp_path):
    path = report([record(HOSTILE)], tmp_path, title=HOSTILE, chips=[chip(HOSTILE)])
    found = read(path)
    script = found.one("script")
    source = "".join(script.inside)
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    policy = found.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert f"script-src 'sha256-{digest}'" in policy


def test_hostile_texts_are_texts(tmp_path):
    error = ErrorFacts(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    records = [
        record(HOSTILE, detector=HOSTILE, counts={HOSTILE: {HOSTILE: 1}}, seconds={HOSTILE: 1.0},
               notes=(HOSTILE,), outputs=(HOSTILE, "javascript:alert(3)")),
        record("x", "failed", error=error, scene=SceneRef(HOSTILE, "x")),
        record("y", acquired=HOSTILE),
    ]  # fmt: skip
    chips = [chip(HOSTILE, label=HOSTILE, decision=HOSTILE)]
    scores = {HOSTILE: [1, 2]}
    found = page(
        records, tmp_path, title=HOSTILE, chips=chips, scores=scores, started=HOSTILE, ended="x"
    )
    assert len(found.all("script")) == 1
    assert len(found.all("img")) == 1
    assert not any(name.startswith("on") for one in found.all() for name in one.attributes)
    hrefs = [one.attributes["href"] for one in found.all("a")]
    assert not any(href.lower().startswith("javascript:") for href in hrefs)
    assert found.one("h1").text == HOSTILE
    assert {row[0] for row in found.rows("scenes")} == {HOSTILE, "x", "y"}


def test_signatures_of_addresses_are_not_shown(tmp_path):
    address = "https://user:word@x.org/a.tif?X-Amz-Signature=SECRET"
    error = ErrorFacts("SceneError", "scene", address, "is no raster", "mend it")
    scene = SceneRef(address, "a")
    text = report([record("a", "failed", scene=scene, error=error)], tmp_path).read_text()
    assert "SECRET" not in text and "user:word" not in text
    assert "https://x.org/a.tif" in text


def test_names_that_are_no_unicode_are_shown_all_the_same(tmp_path):
    found = page([record("a", scene=SceneRef("/\udcff.tif", "\udcff"))], tmp_path)
    assert found.rows("scenes")[0][0] == "?"


def test_same_facts_in_any_order_give_the_same_bytes(tmp_path):
    facts = {"chips": [chip("one")], "scores": {"a": [1], "b": [2]}, "started": "2024-05-01"}
    first = report(MIXED, tmp_path / "a.html", **facts).read_bytes()
    second = report(MIXED[::-1], tmp_path / "b.html", **facts | {"scores": {"b": [2], "a": [1]}})
    assert second.read_bytes() == first


def test_headings_captions_and_titles_are_there_for_who_cannot_see(tmp_path):
    found = page(MIXED, tmp_path, chips=[chip("one")], scores={"aircraft": [1] * 20})
    levels = [int(one.tag[1]) for one in found.all() if re.fullmatch(r"h[1-6]", one.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for table in found.all("table"):
        assert table.one("caption").text
        assert all(one.attributes.get("scope") for one in table.all("th"))
    ids = [one.attributes["id"] for one in found.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for svg in found.all("svg"):
        names = svg.attributes["aria-labelledby"].split()
        assert [found.one(id=name).tag for name in names] == ["title", "desc"]
    for one in found.all("a"):
        if one.attributes["href"].startswith("#"):
            assert one.attributes["href"][1:] in ids


def test_an_empty_batch_has_a_page(tmp_path):
    found = page([], tmp_path)
    assert found.one("dd", id="scenes-done").text == "0"
    assert found.all("table") == []


def test_times_are_said_with_how_long_it_took(tmp_path):
    found = page([], tmp_path, started="2024-05-01T10:00:00+02:00", ended="2024-05-01T10:05:00Z")
    told = found.one("header").text
    assert "2024-05-01 08:00 to 2024-05-01 10:05" in told and "2 h 05 min" in told


def test_a_folder_or_a_file_may_be_given(tmp_path):
    assert report([], tmp_path) == tmp_path / "report.html"
    assert report([], tmp_path / "other.html") == tmp_path / "other.html"
    with pytest.raises(OutputError):
        report([], tmp_path / "missing" / "report.html")
