"""A GeoPackage that is there: what others put into it or hold open is never lost or torn."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from pyproj import CRS

from lanner.core.errors import OutputError
from postprocess.geopackage import check_geopackage
from postprocess.style import style
from postprocess.writers import write

UTM = "EPSG:32633"


def found(count: int, detector: str = "aircraft", crs: object = UTM, *, lines: bool = False):
    """What a scene's frame looks like, with a column that only this detector has."""
    boxes = [shapely.box(10 * i, 0, 10 * i + 5, 8) for i in range(count)]
    return gpd.GeoDataFrame(
        {
            "id": [f"{detector}-{i}" for i in range(count)],
            "detector": [detector] * count,
            "label": [detector] * count,
            "confidence": [0.5] * count,
            "decision": ["accept"] * count,
            f"{detector}_m": [1.5] * count,
            "weights_sha256": ["0" * 64] * count,
        },
        geometry=[box.boundary if lines else box for box in boxes],
        crs=crs,
    )


def project(path: Path, *, crs: object = "EPSG:2056") -> None:
    """A user's file: two layers, a plain table, a style, a QGIS project, a view and a trigger."""
    for layer, kind in (("parcels", shapely.box(0, 0, 1, 1)), ("wells", shapely.Point(3, 4))):
        frame = gpd.GeoDataFrame({"owner": ["me"] * 3}, geometry=[kind] * 3, crs=crs)
        pyogrio.write_dataframe(frame, path, driver="GPKG", layer=layer)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("""
            CREATE TABLE notes (fid INTEGER PRIMARY KEY, text TEXT);
            INSERT INTO notes VALUES (1, 'look here');
            INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)
                VALUES ('notes', 'attributes', 'aircraft', 0);
            CREATE TABLE qgis_projects (name TEXT PRIMARY KEY, metadata BLOB, content BLOB);
            INSERT INTO qgis_projects VALUES ('mine', x'00', x'504b');
            CREATE VIEW owners AS SELECT DISTINCT owner FROM parcels;
            CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
                f_table_catalog TEXT, f_table_schema TEXT, f_table_name TEXT,
                f_geometry_column TEXT, styleName TEXT, styleQML TEXT, styleSLD TEXT,
                useAsDefault BOOLEAN, description TEXT, owner TEXT, ui TEXT, update_time DATETIME);
            INSERT INTO layer_styles (f_table_name, f_geometry_column, styleQML, useAsDefault)
                VALUES ('parcels', 'geom', 'pink', 1);
            CREATE TRIGGER mine AFTER DELETE ON notes BEGIN SELECT RAISE(ABORT, 'kept'); END;
        """)


def users(path: Path) -> list[str]:
    """All that is in a file and not ours, as SQL."""
    ours = ("aircraft", "roads", "objects")
    with closing(sqlite3.connect(path)) as db:
        lines = [
            f"{kind} {name} {sql}"
            for kind, name, sql in db.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
            )
            if not any(one in name for one in ours)
        ]
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table','view')"):
            if not any(one in name for one in (*ours, "sqlite_sequence")):
                lines += [
                    f"{name} {row}"
                    for row in db.execute(f'SELECT * FROM "{name}"')
                    if not set(ours) & set(row[:4]) and row[1:2] != (32633,)
                ]
    return sorted(lines)


def sound(path: Path, layer: str, count: int, crs: object = UTM) -> gpd.GeoDataFrame:
    """The layer, of a file in which nothing is broken."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    info = pyogrio.read_info(path, layer=layer)
    assert info["features"] == count
    frame = gpd.read_file(path, layer=layer)
    assert len(frame) == count
    if count:
        assert CRS(frame.crs) == CRS(crs)
        # By the spatial index, which a plain read leaves alone.
        some = gpd.read_file(path, layer=layer, bbox=(0, 0, 6, 1))
        assert len(some) == 1
        assert tuple(info["total_bounds"]) == tuple(frame.total_bounds)
    return frame


@pytest.fixture
def holder():
    """Start another process that has a database open, does what it is told and waits for a line."""
    started: list[subprocess.Popen[str]] = []

    def hold(path: Path, code: str) -> subprocess.Popen[str]:
        head = f"""
            import sqlite3, sys
            db = sqlite3.connect({str(path)!r}, isolation_level=None)
            db.create_function("ST_IsEmpty", 1, lambda shape: 0)
            for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
                db.create_function(name, 1, lambda shape: 0)
            def print_rows(sql):
                print(db.execute(sql).fetchall(), flush=True)
            def wait():
                print("ready", flush=True)
                sys.stdin.readline()
        """
        words = textwrap.dedent(head) + textwrap.dedent(code)
        other = subprocess.Popen(
            [sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(other)
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        return other

    yield hold
    for one in started:
        one.kill()
        one.communicate()


# --- files that others have open ----------------------------------------------------------------

IN_WAL = """
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute("UPDATE {layer} SET label = 'edited'")
    db.execute("BEGIN")
    said_before = db.execute("SELECT count(*) FROM {layer}").fetchall()
    wait()
    print(db.execute("SELECT count(*) FROM {layer}").fetchall() == said_before, flush=True)
    db.execute("COMMIT")
    print_rows("PRAGMA integrity_check")
    print_rows("SELECT count(*), min(label) FROM {layer}")
    db.close()
"""


@pytest.mark.parametrize("others", [False, True])
def test_a_file_that_is_open_in_wal_mode_is_old_or_new_and_never_torn(tmp_path, holder, others):
    path = tmp_path / "found.gpkg"
    if others:
        project(path)
    before = users(path) if others else []
    write((), found(300), path)
    layer = "aircraft"
    other = holder(path, IN_WAL.format(layer=layer))
    assert (tmp_path / "found.gpkg-wal").stat().st_size > 10_000, "pages are in the log alone"
    note = write((), found(50), path)
    assert (note is not None) == others
    sound(path, layer, 50)
    output, _ = other.communicate("\n")
    # In its transaction it sees the old rows, after that the new ones.
    assert output.splitlines() == ["True", "[('ok',)]", "[(50, 'aircraft')]"]
    frame = sound(path, layer, 50)
    assert set(frame["label"]) == {"aircraft"}
    if others:
        assert users(path) == before


def test_what_a_crash_left_of_wal_mode_does_not_reach_the_new_file(tmp_path, holder):
    path, plain = tmp_path / "found.gpkg", tmp_path / "plain.gpkg"
    write((), found(300), path)
    crashed = holder(path, IN_WAL.format(layer="aircraft"))
    crashed.kill()
    crashed.wait()
    assert (tmp_path / "found.gpkg-wal").exists()
    write((), found(50), path)
    sound(path, "aircraft", 50)
    write((), found(50), plain)
    assert path.read_bytes() == plain.read_bytes()
    assert {one.name for one in tmp_path.iterdir()} == {
        "found.gpkg", "found.qml", "plain.gpkg", "plain.qml",
    }  # fmt: skip


@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_a_log_without_its_file_is_not_applied_to_the_new_one(tmp_path, holder, ending):
    path, kept = tmp_path / "found.gpkg", tmp_path / "kept"
    write((), found(300), path)
    mode = "WAL" if ending == "-wal" else "DELETE"
    code = f"""
        db.execute("PRAGMA journal_mode={mode}")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN")
        db.execute("UPDATE aircraft SET label = hex(zeroblob(900))")
        if {mode == "WAL"}:
            db.execute("COMMIT")
        wait()
    """
    crashed = holder(path, code)
    log = path.with_name(path.name + ending)
    assert log.stat().st_size > 10_000
    log.rename(kept)
    crashed.kill()
    crashed.wait()
    for one in tmp_path.glob("found.*"):
        one.unlink()
    kept.rename(log)
    write((), found(50), path)
    sound(path, "aircraft", 50)
    assert not log.exists()


@pytest.mark.parametrize("others", [False, True])
def test_who_reads_the_old_file_goes_on_reading_it(tmp_path, holder, others):
    path = tmp_path / "found.gpkg"
    if others:
        project(path)
    layer = "aircraft"
    write((), found(3000), path)
    reader = holder(
        path,
        f"""
        rows = db.execute("SELECT label FROM {layer}")
        first = rows.fetchone()
        wait()
        print(1 + len(rows.fetchall()), flush=True)
        print_rows("PRAGMA integrity_check")
        """,
    )
    write((), found(5), path)
    sound(path, layer, 5)
    output, _ = reader.communicate("\n")
    assert output.splitlines() == ["3000", "[('ok',)]"]


def test_a_file_that_is_being_written_is_refused_before_and_waited_for_after(tmp_path, holder):
    path = tmp_path / "project.gpkg"
    project(path)
    other = holder(
        path,
        """
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO notes VALUES (2, 'mine too')")
        wait()
        import time
        time.sleep(1)
        db.execute("COMMIT")
        """,
    )
    with pytest.raises(OutputError, match=r"project\.gpkg'.*another program.*locked"):
        check_geopackage(path, "aircraft")
    assert other.stdin is not None
    other.stdin.write("\n")
    other.stdin.flush()
    assert write((), found(4), path) == "added layer aircraft to project.gpkg beside 3 other layers"
    sound(path, "aircraft", 4)
    with closing(sqlite3.connect(path)) as db:
        assert len(db.execute("SELECT * FROM notes").fetchall()) == 2, "their edit is there too"


# --- what else is in the file -------------------------------------------------------------------


def test_a_layer_is_added_and_replaced_and_all_else_stays(tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    path.chmod(0o640)
    before = users(path)
    beside = "project.gpkg beside 3 other layers"
    assert write((), found(7), path) == f"added layer aircraft to {beside}"
    sound(path, "aircraft", 7)
    assert users(path) == before
    assert write((), found(4), path) == f"replaced layer aircraft in {beside}"
    frame = sound(path, "aircraft", 4)
    assert list(frame["id"]) == [f"aircraft-{i}" for i in range(4)]
    assert users(path) == before
    note = write((), found(3, "roads", lines=True), path)
    assert note == "added layer roads to project.gpkg beside 4 other layers"
    sound(path, "roads", 3)
    sound(path, "aircraft", 4)
    assert users(path) == before
    assert len(gpd.read_file(path, layer="parcels")) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["project.gpkg"], "a style is for one layer"


def test_nothing_found_leaves_an_empty_layer(tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    empty = gpd.GeoDataFrame({"id": []}, geometry=gpd.GeoSeries([], crs=UTM))
    for count in (0, 3, 0):
        write((), found(count) if count else empty, path, "aircraft")
        sound(path, "aircraft", count)


def test_detectors_share_a_file(tmp_path):
    path = tmp_path / "airport.gpkg"
    assert write((), found(3), path) is None
    note = write((), found(2, "roads", lines=True), path)
    assert note == "added layer roads to airport.gpkg beside 1 other layer"
    note = write((), found(5), path)
    assert note == "replaced layer aircraft in airport.gpkg beside 1 other layer"
    sound(path, "aircraft", 5)
    sound(path, "roads", 2)


def styles(path: Path) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT f_table_name, styleQML, useAsDefault FROM layer_styles ORDER BY id"
        ).fetchall()


def test_our_style_is_kept_in_the_file_and_theirs_stays(tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    areas, lines = (style(lines=one).decode() for one in (False, True))
    write((), found(2), path)
    assert styles(path) == [("parcels", "pink", 1), ("aircraft", areas, 1)]
    write((), found(2, lines=True), path)
    assert styles(path) == [("parcels", "pink", 1), ("aircraft", lines, 1)]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE layer_styles SET styleQML = 'mine' WHERE f_table_name = 'aircraft'")
    write((), found(2), path)
    assert styles(path) == [("parcels", "pink", 1), ("aircraft", "mine", 1)]


def test_a_style_that_was_saved_in_a_file_of_ours_stays(tmp_path):
    """The file is no longer ours alone."""
    path = tmp_path / "found.gpkg"
    write((), found(2), path)
    assert write((), found(3), path) is None
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE layer_styles SET styleQML = 'mine'")
    note = write((), found(3), path)
    assert note == "replaced layer aircraft in found.gpkg; the rest of the file is as it was"
    sound(path, "aircraft", 3)
    assert styles(path) == [("aircraft", "mine", 1)]


def test_the_layer_of_an_earlier_version_is_replaced_under_its_name(tmp_path):
    path = tmp_path / "found.gpkg"
    table = found(2).assign(detector="aircraft")
    pyogrio.write_dataframe(table, path, driver="GPKG", layer="objects")
    assert write((), found(3), path) is None
    sound(path, "objects", 3)


def test_a_file_without_styles_gets_a_table_that_qgis_reads(tmp_path):
    path = tmp_path / "project.gpkg"
    frame = gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=UTM)
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer="mine")
    for _ in range(2):
        write((), found(2), path)
        assert [name for name, _, _ in styles(path)] == ["aircraft"]
    assert {name for name, _ in pyogrio.list_layers(path)} == {"mine", "aircraft", "layer_styles"}
    assert (
        write((), found(2), path) == "replaced layer aircraft in project.gpkg beside 1 other layer"
    )


CUSTOM = "+proj=tmerc +lat_0=48 +lon_0={} +ellps=GRS80 +units=m"


@pytest.mark.parametrize("crs", [CUSTOM.format(11), "EPSG:9989", "ESRI:102003", "EPSG:2056"])
def test_the_crs_is_known_whatever_numbers_the_file_uses(tmp_path, crs):
    path = tmp_path / "project.gpkg"
    theirs = CRS(CUSTOM.format(9))
    project(path, crs=theirs)  # the first custom CRS, under the number that ours has by itself
    for _ in range(2):
        write((), found(3, crs=crs), path)
        frame = gpd.read_file(path, layer="aircraft")
        assert CRS(frame.crs).equals(CRS(crs), ignore_axis_order=True)
        assert CRS(gpd.read_file(path, layer="wells").crs) == theirs
        with closing(sqlite3.connect(path)) as db:
            (number,) = db.execute(
                "SELECT srs_id FROM gpkg_contents WHERE table_name = 'aircraft'"
            ).fetchone()
            heads = {shape[4:8] for (shape,) in db.execute("SELECT geom FROM aircraft")}
            assert heads == {number.to_bytes(4, "little")}
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            assert db.execute("SELECT count(*) FROM gpkg_spatial_ref_sys").fetchone()[0] == 5


def test_a_scene_without_crs_goes_in_too(tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    write((), found(3, crs=None), path)
    assert len(gpd.read_file(path, layer="aircraft")) == 3


# --- what is refused ----------------------------------------------------------------------------


def refused(path: Path, words: str) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError, match=words):
        check_geopackage(path, "aircraft")
    with pytest.raises(OutputError, match=words):
        write((), found(3), path)
    assert path.read_bytes() == before
    assert {one.name for one in path.parent.iterdir()} == {path.name}


@pytest.mark.parametrize("name", ["aircraft", "Aircraft"])
def test_a_layer_of_our_name_that_is_not_ours_is_refused(tmp_path, name):
    path = tmp_path / "project.gpkg"
    frame = gpd.GeoDataFrame({"tail": ["D-ABCD"]}, geometry=[shapely.Point(0, 0)], crs=UTM)
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer=name)
    refused(path, r"layer 'aircraft' that Lanner did not write.*rename")


def test_a_plain_table_of_our_name_is_refused(tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE aircraft (tail TEXT)")
    refused(path, "layer 'aircraft' that Lanner did not write")


def test_a_foreign_layer_named_objects_is_theirs(tmp_path):
    path = tmp_path / "project.gpkg"
    frame = gpd.GeoDataFrame({"id": ["a"]}, geometry=[shapely.Point(0, 0)], crs=UTM)
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer="objects")
    assert "added layer aircraft" in write((), found(3), path)
    assert len(gpd.read_file(path, layer="objects")) == 1
    sound(path, "aircraft", 3)


def test_a_database_that_is_no_geopackage_is_refused(tmp_path):
    path = tmp_path / "songs.gpkg"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE songs (name TEXT)")
    refused(path, "no GeoPackage")


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    raw = bytearray(path.read_bytes())
    raw[100:4096] = os.urandom(3996)
    path.write_bytes(raw)
    refused(path, "is damaged")


@pytest.mark.parametrize("held", [b"", b"no database", b"SQLite format 3\0"])
def test_what_is_no_database_is_written_over(tmp_path, held):
    path, plain = tmp_path / "found.gpkg", tmp_path / "plain.gpkg"
    path.write_bytes(held)
    check_geopackage(path, "aircraft")
    write((), found(3), path)
    write((), found(3), plain)
    assert path.read_bytes() == plain.read_bytes()


NO_ROOM = """
    import resource, signal, sys
    sys.path.insert(0, {here!r})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from pathlib import Path
    from lanner.core.errors import OutputError
    from postprocess.geopackage import check_geopackage
    check_geopackage(Path({path!r}), "aircraft")
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
    try:
        check_geopackage(Path({path!r}), "aircraft")
    except OutputError as error:
        print("refused:", error)
"""


def test_a_folder_that_takes_no_database_is_refused_before(tmp_path, request):
    words = {"here": str(request.config.rootpath), "path": str(tmp_path / "new.gpkg")}
    code = textwrap.dedent(NO_ROOM).format(**words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused:"), done.stderr
    assert "takes no SQLite database" in done.stdout
    assert list(tmp_path.iterdir()) == []


# --- failures in the middle ---------------------------------------------------------------------

FULL = """
    import resource, signal, sys
    sys.path.insert(0, {here!r})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from pathlib import Path
    import geopandas as gpd, shapely
    from lanner.core.errors import OutputError
    from postprocess.writers import write
    path = Path({path!r})
    boxes = [shapely.box(i, 0, i + 1, 1) for i in range(9000)]
    ids = [str(i) * 20 for i in range(9000)]
    table = gpd.GeoDataFrame({{"id": ids}}, geometry=boxes, crs=32633)
    before = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 2_500_000,) * 2)
    try:
        write((), table, path, "aircraft")
    except OutputError as error:
        print("refused:", error)
"""


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, request):
    path = tmp_path / "project.gpkg"
    project(path)
    before = path.read_bytes()
    code = textwrap.dedent(FULL).format(here=str(request.config.rootpath), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused:"), done.stderr
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["project.gpkg"]


WRITES_ON = """
    import os, sys, time
    sys.path.insert(0, {here!r})
    from pathlib import Path
    import geopandas as gpd, shapely
    from postprocess.writers import write
    def found(count):
        boxes = [shapely.box(10 * i, 0, 10 * i + 5, 8) for i in range(count)]
        facts = {{"id": [str(i) for i in range(count)], "confidence": [0.5] * count}}
        for name in ("detector", "label", "decision", "weights_sha256"):
            facts[name] = ["aircraft"] * count
        return gpd.GeoDataFrame(facts, geometry=boxes, crs=32633)
    frames = [found(2000), found(3000)]
    for _ in range({rounds}):
        child = os.fork()
        if not child:
            while True:
                for frame in frames:
                    write((), frame, Path({path!r}))
                    print(os.getpid(), flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
"""


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_killed_at_any_moment_the_file_is_whole(tmp_path, request, holder, mode):
    path, rounds, seed = tmp_path / "project.gpkg", 12, random.Random(mode)
    project(path)
    before = users(path)
    holder(path, f"db.execute('PRAGMA journal_mode={mode}'); db.execute('SELECT 1'); wait()")
    code = textwrap.dedent(WRITES_ON).format(
        here=str(request.config.rootpath), path=str(path), rounds=rounds
    )
    counts = set()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        for _ in range(rounds):
            child = int(other.stdout.readline())
            time.sleep(seed.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
            while other.stdout.readline() != "gone\n":
                pass
            with closing(sqlite3.connect(path)) as db:
                (count,) = db.execute("SELECT count(*) FROM aircraft").fetchone()
            sound(path, "aircraft", count)
            counts.add(count)
            assert users(path) == before
    assert counts <= {2000, 3000}


TWO = """
    import sys
    sys.path.insert(0, {here!r})
    from pathlib import Path
    import geopandas as gpd, shapely
    from postprocess.writers import write
    facts = dict(id=["a"], detector=["{name}"], label=["a"], confidence=[1.0], decision=["accept"])
    facts["weights_sha256"] = ["0"]
    frame = gpd.GeoDataFrame(facts, geometry=[shapely.box(0, 0, 1, 1)], crs=32633)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(10):
        write((), frame, Path({path!r}))
"""


def test_two_that_write_at_once_keep_each_others_layers(tmp_path, request):
    path = tmp_path / "project.gpkg"
    project(path)
    here = str(request.config.rootpath)
    both = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(TWO).format(here=here, path=str(path), name=name),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("aircraft", "roads")
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in both:
        _, output = one.communicate()
        assert one.returncode == 0, output
    sound(path, "aircraft", 1)
    sound(path, "roads", 1)
    assert [one.name for one in tmp_path.iterdir()] == ["project.gpkg"]
