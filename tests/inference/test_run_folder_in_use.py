"""One run a folder at a time, and nothing of an earlier one in what comes out."""

from __future__ import annotations

import pytest

from lanner.core.errors import OutputError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.manifest import FILE
from lanner.inference.pipeline import detect
from lanner.inference.run_folder import LEDGER


@pytest.fixture
def scene(tmp_path, pictures):
    return pictures.write_tif(tmp_path / "scene.tif", pictures.texture(200, 200))


def run(scene, folder, progress=lambda _: None, **kwargs):
    kwargs = {"detector": "tinyroads", **kwargs}
    return detect(DetectRequest(str(scene), run_dir=folder, **kwargs), Cancel(), progress)


def test_a_scene_is_not_written_over_by_its_own_run(at_home, tmp_path, pictures):
    for name in ("threshold", "probability"):
        scene = pictures.write_tif(tmp_path / f"{name}.tif", pictures.texture(100, 100))
        before = scene.read_bytes()
        with pytest.raises(OutputError, match="holds the scene itself"):
            run(scene, tmp_path)
        assert scene.read_bytes() == before
    with pytest.raises(OutputError, match="name a new folder"):
        run("elsewhere.tif", tmp_path)


@pytest.mark.parametrize("stage", ["detect", "blend", "chain: threshold", "write"])
def test_a_second_run_is_kept_out_until_the_first_is_done(
    stage, at_home, scene, tmp_path, pictures
):
    other = pictures.write_tif(tmp_path / "other.tif", pictures.texture(200, 200, seed=1))
    folder, refusals = tmp_path / "run", []

    def meddle(progress):
        if progress.stage == stage and not refusals:
            before = (folder / FILE).read_bytes()
            with pytest.raises(OutputError, match="in use by another run") as caught:
                run(other, folder)
            refusals.append(caught.value)
            assert (folder / FILE).read_bytes() == before

    found = run(scene, folder, meddle)
    assert len(refusals) == 1
    assert found.summary["scene"]["sha256"] in (folder / FILE).read_text()
    rasters = [path.read_bytes() for path in sorted(folder.glob("*.tif"))]
    run(scene, tmp_path / "alone")
    assert rasters == [path.read_bytes() for path in sorted((tmp_path / "alone").glob("*.tif"))]
    # Afterwards the folder is free, for another scene and by the next run for this one.
    run(other, folder)
    assert run(scene, folder).features == found.features


@pytest.mark.parametrize("left", [[FILE], [LEDGER]])
def test_what_a_killed_run_left_is_resumed(left, at_home, scene, tmp_path):
    first = run(scene, tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name not in left:
            path.unlink()
    events = []
    assert run(scene, tmp_path / "run", events.append).features == first.features
    begun = next(p.done for p in events if p.stage == "detect")
    assert begun == (first.summary["plan"]["tiles"] if LEDGER in left else 0)


def test_votes_of_members_that_are_silent_now_are_removed(
    at_home, scene, tmp_path, pictures, own_config
):
    (first,) = pictures.raster["members"]
    members = [{**first, "name": name} for name in ("masks", "again", "third")]
    detector, folder = own_config(pictures.raster, members=members), tmp_path / "run"

    def votes(*names):
        run(scene, folder, detector=detector, members=names or None)
        return sorted(path.stem for path in folder.glob("vote-*"))

    assert votes() == ["vote-again", "vote-masks", "vote-third"]
    assert votes("masks", "third") == ["vote-masks", "vote-third"]
    assert votes("masks") == []
    (folder / "vote-odd.tif").mkdir()
    with pytest.raises(OutputError, match=r"vote-odd\.tif.*cannot be removed"):
        votes("masks")
