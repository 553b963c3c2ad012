"""Process: operations by name, rules of repair, and the record of what was changed."""

import hashlib

import numpy as np
import pytest
import rasterio

from lanner.core.errors import BandError, Cancelled, ConfigError, DatasetError
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.ops import pseudo_labels, registry
from lanner.factory.ops.resample import scale_mask
from lanner.factory.ops.work import Work
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import IDS_UNKNOWN, MASK_UNKNOWN, Label, Sample
from lanner.factory.steps.explore.predictions import Predictions
from lanner.factory.steps.process import run
from lanner.factory.steps.train.pictures import pictures
from tests.fixtures_process import after, changes, cross, plane, project_of, stored, write_cutouts
from tests.fixtures_readers import raster


@pytest.fixture
def cutouts(tmp_path):
    return write_cutouts(tmp_path)


# ---------------------------------------------------------------- names and parameters


def test_every_operation_can_be_had_by_its_name():
    for name in registry.BUILTIN:
        assert registry.op(name).name == name
    assert set(registry.BUILTIN) <= set(registry.names())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"op": "repairs"}, "did you mean 'repair'"),
        ({"op": "repair", "shift": "drop"}, "did you mean 'shifted'"),
        ({"op": "repair", "shifted": "mend"}, "process.1.repair.shifted"),
        ({"op": "tile", "side": 64, "overlap": 64}, "leaves nothing"),
        ({"op": "weight", "samples": {"frist": 1}}, "choose among first"),
        ({"op": "weight", "labels": {"first": -1}}, "negative"),
        ({"op": "select", "sources": ["second"]}, "is no source"),
        ({"op": "render", "kind": "roads", "label": "canal"}, "no class of the sources"),
        ({"op": "render", "kind": "aircraft", "sun": [2, 40]}, "5 to 90 degrees"),
        ({"op": "render", "kind": "aircraft", "shadow": [1, 2]}, "must rise within 0 to"),
    ],
)
def test_what_is_not_known_is_refused_before_anything_is_made(tmp_path, spec, message):
    samples = [stored(tmp_path, "first/a")]
    project = project_of(tmp_path, [{"op": "select"}, spec], samples)
    with pytest.raises(ConfigError, match=message):
        run(project)
    assert not (project.step_dir("process") / SAMPLES).exists()


# ---------------------------------------------------------------- pseudo-labels


PREDICTIONS = Predictions(
    np.array([[10.0, 5, 30, 25], [50, 5, 70, 25]]), np.array([0.9, 0.6]), ("x", "x")
)


def test_two_looks_agree_on_what_both_see():
    back = pseudo_labels.mirrored(pseudo_labels.mirrored(PREDICTIONS, 100), 100)
    np.testing.assert_allclose(back.boxes, PREDICTIONS.boxes)
    other = Predictions(PREDICTIONS.boxes[:1] + 2, np.array([0.7]), ("x",))
    both = pseudo_labels.agreed(PREDICTIONS, other)
    np.testing.assert_allclose(both.scores, [0.8, 0.3])
    np.testing.assert_allclose(both.boxes[0], PREDICTIONS.boxes[0] + 1)
    apart = pseudo_labels.agreed(
        PREDICTIONS, Predictions(PREDICTIONS.boxes, PREDICTIONS.scores, ("y", "y"))
    )
    assert sorted(apart.scores) == [0.3, 0.3, 0.45, 0.45]
    nothing = Predictions(np.zeros((0, 4)), np.zeros(0), ())
    assert len(pseudo_labels.agreed(nothing, nothing).boxes) == 0


def test_what_is_not_sure_is_ignored():
    params = pseudo_labels.Params(model="m", accept=0.8, ignore=0.5, weight=0.7)
    found = pseudo_labels.labels_of(PREDICTIONS, params)
    assert [(one.box[0], one.weight) for one in found] == [(10, 0.7), (50, 0)]
    stricter = params.model_copy(update={"ignore": 0.7})
    assert len(pseudo_labels.labels_of(PREDICTIONS, stricter)) == 1


# ---------------------------------------------------------------- the step


def test_selection_weights_and_what_they_leave_out(tmp_path):
    samples = [stored(tmp_path, f"first/{k}", labels=(plane(1, 1, 20, 20),)) for k in range(6)]
    samples += [stored(tmp_path, "roads/0", role="negative")]
    ops = [
        {"op": "select", "sources": ["first"], "count": 4},
        {"op": "weight", "samples": {"first": 2}, "labels": {"first": 0.5}},
    ]
    project = project_of(tmp_path, ops, samples)
    run(project)
    kept = after(project)
    assert len(kept) == 5
    assert "roads/0" in kept
    dropped = {name for op, name, note in changes(project) if "is over the 4 of first" in note}
    assert dropped == {one.id for one in samples} - set(kept)
    assert {(one.weight, one.labels[0].weight) for n, one in kept.items() if n[0] == "f"} == {
        (2, 0.5)
    }
    # More images leave the choice mostly as it was.
    more = [*samples, stored(tmp_path, "first/9", labels=samples[0].labels)]
    again = project_of(tmp_path, ops, more)
    run(again)
    assert len(set(kept) & set(after(again))) >= 4
    few = [{"op": "select", "least_labels": 2}]
    project = project_of(tmp_path, few, samples)
    run(project)
    assert set(after(project)) == {"roads/0"}


def test_scaled_and_cut_images_carry_their_masks_and_labels(tmp_path):
    rgb, boxes, masks = cross(at=((30, 40), (70, 100)))
    ids = tmp_path / "ids.png"
    write_png((masks[0] + 2 * masks[1]).astype(np.uint16), ids)
    one = stored(tmp_path, "first/a", rgb, ids=ids, gsd=0.5, labels=tuple(plane(*b) for b in boxes))
    ops = [{"op": "resample", "gsd": 0.25}, {"op": "tile", "side": 128, "overlap": 32}]
    project = project_of(tmp_path, ops, [one])
    run(project)
    tiles = after(project)
    assert len(tiles) == 9
    counts = {1: 0, 2: 0}
    for name, tile in tiles.items():
        x0, y0 = map(int, name.rsplit("/", 1)[1].split("_"))
        assert (tile.width, tile.height, tile.gsd) == (128, 128, 0.25)
        assert read_rgb(tile.image).shape == (128, 128, 3)
        numbers = read_mask(tile.ids)
        for k, label in enumerate(tile.labels):
            bx0, by0, bx1, by1 = label.box
            which = next(
                n for n, b in enumerate(boxes, 1)
                if 2 * b[0] <= bx0 + x0 + 1e-6 and bx1 + x0 <= 2 * b[2] + 1e-6
                and 2 * b[1] <= by0 + y0 + 1e-6 and by1 + y0 <= 2 * b[3] + 1e-6
            )  # fmt: skip
            part = scale_mask(masks[which - 1], (320, 240))[y0 : y0 + 128, x0 : x0 + 128]
            np.testing.assert_array_equal(numbers == k + 1, part)
            counts[which] += label.weight > 0
    assert all(counts.values())
    assert any("cut into 9 tiles" in note for _, _, note in changes(project))


def test_tiles_that_no_road_crosses_are_learned_from_too(tmp_path):
    road = Label("road", (0, 10, 160, 10), line=((0.0, 10.0), (160.0, 10.0)))
    rgb = np.full((200, 160, 3), 90, np.uint8)
    samples = [
        stored(tmp_path, "roads/a", rgb, labels=(road,)),
        stored(tmp_path, "roads/b", rgb, role="unlabelled"),
        stored(tmp_path, "first/c", rgb),
    ]
    ops = [{"op": "tile", "side": 100, "overlap": 10}, {"op": "masks_from_polygons"}]
    project = project_of(tmp_path, ops, samples)
    run(project)
    found = after(project)
    masks = {name: one.mask for name, one in found.items()}
    bare = masks["roads/a/0_100"]
    assert read_mask(masks["roads/a/0_0"]).any() and not read_mask(bare).any()
    assert read_mask(bare).shape == (100, 100)
    assert not any(masks[name] for name in masks if not name.startswith("roads/a"))
    assert len(pictures(found.values(), "train", "roads", ("road",))) == 6


def test_degrees_become_square_pixels(tmp_path):
    path = tmp_path / "a.tif"
    raster(path, left=15.0, top=60.0, crs="EPSG:4326", res=1e-5)
    box = plane(20, 20, 40, 30)
    one = stored(tmp_path, "first/a", np.zeros((60, 80, 3), np.uint8), labels=(box,), gsd=0.7885)
    flat = one.but(id="first/b")
    project = project_of(tmp_path, [{"op": "resample", "gsd": 0.7885}], [one.but(image=path), flat])
    run(project)
    found = after(project)
    # A degree of longitude is half as long as one of latitude there.
    new = found["first/a"]
    assert (new.width, new.height) == (57, 85)
    x0, y0, x1, y1 = new.labels[0].box
    assert (x1 - x0) / (y1 - y0) == pytest.approx(1.0, rel=0.01)
    assert read_rgb(new.image).shape == (85, 57, 3)
    assert found["first/b"] == flat
    again = project_of(tmp_path, [{"op": "resample", "gsd": 0.3943}], [one.but(image=path)])
    run(again)
    assert (after(again)["first/a"].width, after(again)["first/a"].height) == (113, 170)


def test_bands_are_chosen_by_number_or_name(tmp_path):
    path = tmp_path / "four.tif"
    levels = np.arange(4 * 32 * 40, dtype=np.uint16).reshape(4, 32, 40)
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=32, count=4, dtype="uint16",
        crs="EPSG:32635", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 66e5),
    ) as out:  # fmt: skip
        out.write(levels)
        out.descriptions = ("red", "green", "blue", "nir")
    one = Sample("first/a", "first", "train", path, 40, 32, gsd=1.0, place=(27.0, 59.5))
    project = project_of(tmp_path, [{"op": "bands", "bands": ["nir", 1, "red"]}], [one])
    run(project)
    assert after(project)["first/a"].origin == hashlib.sha256(path.read_bytes()).hexdigest()
    rgb = read_rgb(after(project)["first/a"].image)
    assert rgb.shape == (32, 40, 3)
    np.testing.assert_array_equal(rgb[..., 1], rgb[..., 2])
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[-1, -1].tolist() == [255, 255, 255]
    # The fourth band's values are others than the first's, but rise alike.
    assert np.abs(rgb[..., 0].astype(int) - rgb[..., 1]).max() <= 1
    with pytest.raises(BandError, match="has 4 bands"):
        run(project_of(tmp_path, [{"op": "bands", "bands": [1, 2, 5]}], [one]))


OPS = [
    {"op": "masks_from_boxes", "sources": ["first"]},
    {"op": "unsure_rims", "sources": ["first"], "outside": 1},
    {"op": "masks_from_polygons", "sources": ["roads"], "width_m": 4},
    {"op": "composites", "cutouts": "cut", "photographs": "whole", "backgrounds": ["roads"],
     "count": 3, "size": 96, "sides": [14, 40]},
    {"op": "render", "kind": "aircraft", "count": 2, "size": 96},
    {"op": "render", "kind": "roads", "count": 2, "size": 96},
    {"op": "render", "kind": "towns", "count": 2, "size": 96},
]  # fmt: skip


@pytest.fixture
def mixed(cutouts):
    rgb, boxes, _ = cross()
    line = Label("road", (0, 60, 160, 60), line=((0, 60), (160, 60)))
    return [
        stored(cutouts, "first/a", rgb, labels=(plane(*boxes[0]),)),
        stored(cutouts, "roads/a", cross(at=())[0], gsd=0.5, labels=(line,)),
        stored(cutouts, "roads/b", cross(at=())[0], role="negative"),
        stored(cutouts, "roads/c", cross(at=())[0], role="negative", split="test"),
    ]


def test_masks_and_made_sources(cutouts, mixed):
    project = project_of(cutouts, OPS, mixed)
    outcome = run(project)
    samples = after(project)
    assert {one.source for one in samples.values()} == {
        "first", "roads", "composites", "rendered", "rendered-roads", "rendered-towns"
    }  # fmt: skip
    ids = read_mask(samples["first/a"].ids)
    assert (ids == 1).sum() > 50
    assert (ids == IDS_UNKNOWN).sum() > 50
    # 4 m at 0.5 m a pixel; roads are the second class of the sources.
    assert (read_mask(samples["roads/a"].mask)[:, 80] == 2).sum() == 8
    for one in samples.values():
        if one.source not in ("first", "roads"):
            assert one.split == "train"
        if one.ids is not None:
            assert read_mask(one.ids).shape == (one.height, one.width)
    composites = [one for one in samples.values() if one.source == "composites"]
    assert all("on roads/b" in one.history[0] for one in composites)
    assert {label.kind for one in composites for label in one.labels} <= {"C130", "KC135"}
    planes = [
        label for n, one in samples.items() if n.startswith("rendered/") for label in one.labels
    ]
    assert planes
    assert all(label.kind and label.polygon for label in planes)
    lines = [x for one in samples.values() if one.source == "rendered-roads" for x in one.labels]
    assert all(0 <= v <= 96 for label in lines for point in label.line for v in point)
    towns = [one for one in samples.values() if one.source == "rendered-towns"]
    assert all(label.label == "road" and label.line for one in towns for label in one.labels)
    masks = [read_mask(one.mask) for one in towns]
    assert {int(v) for mask in masks for v in np.unique(mask)} <= {0, 2, MASK_UNKNOWN}
    assert any((mask == 2).any() for mask in masks)
    assert {name for _, name, _ in changes(project)} == set(samples) - {"roads/b", "roads/c"}
    assert len(outcome.show) == len(OPS) + 1
    assert all(path.is_file() for path in outcome.show)


def test_backgrounds_that_may_be_tested_on_are_not_pasted_on(cutouts, mixed):
    later = [one.but(split=None) if one.id == "roads/b" else one for one in mixed]
    with pytest.raises(DatasetError, match=r"give it splits, as \{train: \.\}"):
        run(project_of(cutouts, OPS[3:4], later))


def test_types_left_out_are_pasted_nowhere(cutouts, mixed):
    project = project_of(cutouts, [{**OPS[3], "count": 6, "skip": ["C130"]}], mixed)
    run(project)
    composites = [one for one in after(project).values() if one.source == "composites"]
    assert {label.kind for one in composites for label in one.labels} == {"KC135"}
    with pytest.raises(ConfigError, match=r"skip 'C13': is no folder.*C130, KC135"):
        run(project_of(cutouts, [{**OPS[3], "skip": ["C13"]}], mixed))


def test_lines_are_drawn_anew_in_metres_and_need_to_know_them(cutouts, mixed):
    drawn = {"op": "masks_from_polygons", "sources": ["roads"], "width_m": 4}
    anew = {"op": "redraw_lines", "sources": ["roads"], "width_m": 6}
    widths = []
    for ops in ([drawn], [drawn, anew]):
        project = project_of(cutouts, ops, mixed)
        run(project)
        masks = [one.mask for one in after(project).values() if one.source == "roads" and one.mask]
        widths.append(sum(int((read_mask(mask) == 2).sum()) for mask in masks))
    assert widths[1] > 1.3 * widths[0] > 0
    unknown = [one.but(gsd=None) if one.source == "roads" else one for one in mixed]
    with pytest.raises(ConfigError, match="gsd"):
        run(project_of(cutouts, [drawn, anew], unknown))


def test_each_picture_made_of_an_image_knows_which(tmp_path):
    one = stored(tmp_path, "first/a", gsd=0.5)
    own = hashlib.sha256(one.image.read_bytes()).hexdigest()
    scaled, tiled = {"op": "resample", "gsd": 0.25}, {"op": "tile", "side": 96}
    for ops in ([scaled], [tiled], [scaled, tiled], [tiled, scaled]):
        project = project_of(tmp_path, ops, [one])
        run(project)
        assert {picture.origin for picture in after(project).values()} == {own}
    project = project_of(tmp_path, [{"op": "resample", "gsd": 0.5}, {**tiled, "side": 512}], [one])
    run(project)
    assert after(project)["first/a"].origin is None


def test_files_are_made_once_and_the_same_everywhere(cutouts, mixed):
    project = project_of(cutouts, OPS, mixed)
    run(project)
    files = project.step_dir("process") / "files"
    first = {
        p.relative_to(files): (p.stat().st_mtime_ns, p.read_bytes()) for p in files.rglob("*.*")
    }
    assert len(first) == 1 + 1 + 1 + 9 + 6 + 6 + 6
    run(project)
    again = {
        p.relative_to(files): (p.stat().st_mtime_ns, p.read_bytes()) for p in files.rglob("*.*")
    }
    assert again == first
    other = Project(project.config, project.path, cutouts / "other")
    for name in (SAMPLES, "findings.json"):
        path = other.step_dir("explore") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((project.step_dir("explore") / name).read_bytes())
    run(other)
    there = other.step_dir("process") / "files"
    assert {p.relative_to(there): p.read_bytes() for p in there.rglob("*.*")} == {
        name: content for name, (_, content) in first.items()
    }
    # Fewer operations leave nothing of the others behind.
    run(Project(project_of(cutouts, OPS[:1], mixed).config, project.path, project.folder))
    assert {p.parent.name for p in files.rglob("*.*")} == {"masks_from_boxes"}


def test_a_source_made_twice_is_refused_and_cancel_stops(tmp_path):
    one = stored(tmp_path, "first/a")
    twice = [{"op": "render", "kind": "roads", "count": 1, "size": 64}] * 2
    with pytest.raises(ConfigError, match="is a source already"):
        run(project_of(tmp_path, twice, [one]))
    project = project_of(tmp_path, [{"op": "masks_from_boxes"}], [one])
    project.cancel.set()
    with pytest.raises(Cancelled):
        run(project)


def test_chance_goes_by_the_name_of_a_sample_alone(tmp_path):
    project = project_of(tmp_path)
    work, other = Work(project, "render", 0), Work(project, "render", 1)
    assert work.rng("a").integers(1 << 60) == work.rng("a").integers(1 << 60)
    assert work.rng("a").integers(1 << 60) != work.rng("b").integers(1 << 60)
    assert work.rng("a").integers(1 << 60) != other.rng("a").integers(1 << 60)
