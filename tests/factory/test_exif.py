"""Images that EXIF turns, and other ways to store them: pixels as shown, labels on the objects."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps
from rasterio.transform import from_origin

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.images import image_size, missing, read_mask, read_rgb, verify, write_png
from lanner.factory.orientation import orientation, upright
from lanner.factory.samples import MASK_UNKNOWN, Sample
from lanner.factory.steps.process import run
from tests.fixtures_process import ROOT, after, project_of
from tests.fixtures_readers import OBJECT, H, W, photo, read, whys

TURNS = range(1, 9)
SIDEWAYS = (5, 6, 7, 8)


def stored_size(turn: int) -> tuple[int, int]:
    return (H, W) if turn in SIDEWAYS else (W, H)


def stored_box(turn: int) -> tuple[float, ...]:
    """Where the object lies in stored pixels: found by looking, not by calculating."""
    x0, y0, x1, y1 = OBJECT
    mark = np.zeros((H, W), np.uint8)
    mark[y0:y1, x0:x1] = 1
    rows, columns = np.nonzero(upright(mark, {6: 8, 8: 6}.get(turn, turn)))
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def on_the_object(found) -> None:
    """Every box of every sample is where its image is bright."""
    assert found.samples
    for sample in found.samples:
        rgb = read_rgb(sample.image)
        assert rgb.shape[:2] == (sample.height, sample.width)
        [label] = sample.labels
        x0, y0, x1, y1 = (round(value) for value in label.box)
        assert (rgb[y0:y1, x0:x1] > 200).all()
        assert (rgb > 200).all(axis=2).sum() == (x1 - x0) * (y1 - y0)
        if label.polygon is not None:
            xs, ys = zip(*label.polygon, strict=True)
            assert (min(xs), min(ys), max(xs), max(ys)) == label.box


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_pixels_are_turned_as_viewers_show_them(tmp_path, turn, ending):
    path = tmp_path / f"a.{ending}"
    pixels = photo(path, turn)
    assert orientation(path) == turn
    assert np.array_equal(read_rgb(path), pixels)
    with Image.open(path) as image:
        # Pillow turns a TIFF by itself.
        viewed = image if ending == "tif" else ImageOps.exif_transpose(image)
        assert np.array_equal(np.asarray(viewed.convert("RGB")), pixels)
    assert verify(path) == image_size(path) == (W, H)


def test_bigtiff_of_either_order_and_what_says_nonsense(tmp_path):
    rgb = np.zeros((H, W, 3), np.uint8)
    for order, big in (("<", 43), (">", 43), (">", 42)):
        # One directory with a single tag.
        head = (b"II" if order == "<" else b"MM") + np.array(big, order + "u2").tobytes()
        if big == 43:
            head += np.array([8, 0], order + "u2").tobytes() + np.array(16, order + "u8").tobytes()
            head += np.array(1, order + "u8").tobytes()
        else:
            head += np.array(8, order + "u4").tobytes() + np.array(1, order + "u2").tobytes()
        head += np.array([274, 3], order + "u2").tobytes()
        head += np.array(1, order + ("u8" if big == 43 else "u4")).tobytes()
        head += np.array([6, 0], order + "u2").tobytes()
        (tmp_path / "a.tif").write_bytes(head)
        assert orientation(tmp_path / "a.tif") == 6
    tags = Image.Exif()
    tags[274] = 9
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=tags)
    (tmp_path / "b.tif").write_bytes(b"II*\0")
    for name in ("a.jpg", "b.tif", "none.png"):
        assert orientation(tmp_path / name) == 1


def test_a_raster_with_a_place_is_not_turned(tmp_path):
    path = tmp_path / "a.tif"
    photo(path, 6)
    with rasterio.open(path, "r+") as file:
        file.transform, file.crs = from_origin(5e5, 5e6, 0.5, 0.5), "EPSG:32633"
    assert orientation(path) == 1
    assert read_rgb(path).shape == (W, H, 3)


def test_a_picture_with_a_world_file_is_not_turned(tmp_path):
    path = tmp_path / "a.jpg"
    photo(path, 6)
    assert orientation(path) == 6
    (tmp_path / "a.jgw").write_text("0.5\n0\n0\n-0.5\n500000\n5000000\n")
    assert orientation(path) == 1


def test_a_png_says_it_after_its_pixels_too(tmp_path):
    photo(tmp_path / "a.png", 8)
    raw = (tmp_path / "a.png").read_bytes()
    start = raw.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(raw[start : start + 4], "big")
    last = raw.rindex(b"IEND") - 4
    moved = raw[:start] + raw[end:last] + raw[start:end] + raw[last:]
    (tmp_path / "a.png").write_bytes(moved)
    assert orientation(tmp_path / "a.png") == 8
    assert read_rgb(tmp_path / "a.png").shape == (H, W, 3)


def write_yolo(root: Path, turns, box, size) -> Path:
    """Images with labels of `box` in pixels of an image of that size, both by turn."""
    (root / "labels").mkdir(parents=True)
    for turn in turns:
        photo(root / f"images/{turn}.png", turn)
        (x0, y0, x1, y1), (w, h) = box(turn), size(turn)
        numbers = ((x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h)
        ring = (x0 / w, y0 / h, x1 / w, y0 / h, x1 / w, y1 / h, x0 / w, y1 / h)
        chosen = ring if turn % 2 else numbers
        (root / f"labels/{turn}.txt").write_text(f"0 {' '.join(map(str, chosen))}\n")
    return root


def test_yolo_labels_are_of_the_image_as_it_is_shown(tmp_path):
    root = write_yolo(tmp_path, TURNS, lambda _: OBJECT, lambda _: (W, H))
    found = read(root, format="yolo")
    assert len(found.samples) == 8
    on_the_object(found)
    [skip] = found.skipped
    assert skip.kind == "adjusted"
    assert "images: 7" in skip.what
    assert "shown pixels; where they lie beside their objects give options: {exif: st" in skip.why


def test_yolo_labels_of_stored_pixels_by_the_option(tmp_path):
    root = write_yolo(tmp_path, TURNS, stored_box, stored_size)
    on_the_object(read(root, format="yolo", options={"exif": "stored"}))
    with pytest.raises(ConfigError, match=r"exif 'raw': is not known; give one of shown, stored"):
        read(root, format="yolo", options={"exif": "raw"})


def write_coco(root: Path, turns, box, size) -> Path:
    images, notes = [], []
    for turn in turns:
        photo(root / f"{turn}.png", turn)
        x0, y0, x1, y1 = (int(value) for value in box(turn))
        w, h = size(turn)
        images.append({"id": turn, "file_name": f"{turn}.png", "width": w, "height": h})
        notes.append({"id": turn, "image_id": turn, "category_id": 1,
                      "bbox": [x0, y0, x1 - x0, y1 - y0],
                      "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]})  # fmt: skip
    kinds = [{"id": 1, "name": "plane"}]
    data = {"images": images, "annotations": notes, "categories": kinds}
    (root / "labels.json").write_text(json.dumps(data))
    return root


def test_coco_says_by_its_size_which_pixels_it_counts(tmp_path):
    root = write_coco(tmp_path / "shown", TURNS, lambda _: OBJECT, lambda _: (W, H))
    found = read(root, format="coco")
    assert len(found.samples) == 8
    on_the_object(found)
    stored = write_coco(tmp_path / "stored", SIDEWAYS, stored_box, stored_size)
    found = read(stored, format="coco")
    assert len(found.samples) == 4
    on_the_object(found)
    assert "of the stored pixels, as their size says" in whys(found)
    # A half turn does not show in a size: it must be said.
    half = write_coco(tmp_path / "half", (2, 3, 4), stored_box, stored_size)
    on_the_object(read(half, format="coco", options={"exif": "stored"}))


def test_a_stored_size_beside_labels_of_the_image_as_shown_is_seen_through(tmp_path):
    """As Label Studio exports: the object at x 70 is beyond a width of 60."""
    root = write_coco(tmp_path, SIDEWAYS, lambda _: OBJECT, stored_size)
    found = read(root, format="coco")
    on_the_object(found)
    assert "shown pixels, since they do not fit into the others" in whys(found)
    # The option stands against everything.
    found = read(root, format="coco", options={"exif": "stored"})
    assert all(label.box != OBJECT for one in found.samples for label in one.labels)


def test_a_size_that_is_neither_is_told_with_both(tmp_path):
    root = write_coco(tmp_path, (6, 1), lambda _: OBJECT, lambda turn: (W + turn - 1, H))
    found = read(root, format="coco")
    assert [one.id for one in found.samples] == ["s/1"]
    assert "6.png: is 80x60 as shown and 60x80 as stored, and its labels are for 85x60" in whys(
        found
    )


def test_voc_without_a_size_and_boxes_that_fit_one_way_alone(tmp_path):
    (tmp_path / "Annotations").mkdir()
    for turn in SIDEWAYS:
        photo(tmp_path / f"JPEGImages/{turn}.png", turn)
        x0, y0, x1, y1 = stored_box(turn)
        box = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        (tmp_path / f"Annotations/{turn}.xml").write_text(
            f"<annotation><object><name>plane</name><bndbox>{box}</bndbox></object></annotation>"
        )
    # Some of the four reach below 60, the height as shown.
    found = read(tmp_path, format="voc", options={"origin": 0})
    assert len(found.samples) == 4
    on_the_object(found)


@pytest.mark.parametrize("frame", ["shown", "stored"])
def test_masks_of_either_size_come_out_on_the_object(tmp_path, frame):
    for turn in SIDEWAYS:
        pixels = photo(tmp_path / f"images/{turn}.png", turn)
        mask = (pixels[..., 0] > 200).astype(np.uint8)
        back = {6: 8, 8: 6}.get(turn, turn)
        write_png(mask if frame == "shown" else upright(mask, back), tmp_path / f"masks/{turn}.png")
    found = read(tmp_path, format="masks", classes={"road": "road"})
    assert len(found.samples) == 4
    for one in found.samples:
        assert np.array_equal(read_mask(one.mask) == 1, read_rgb(one.image)[..., 0] > 200)
    assert f"of the {frame} pixels, as their size says" in whys(found)


def test_a_network_looks_at_the_image_as_its_mask_lies(tmp_path):
    """What evaluate and ignore_unseen_lines show to networks is turned too."""
    from lanner.synth.road_chips import render_road_chip

    chip = render_road_chip(np.random.default_rng(3), 448, 1.0)
    mask = np.zeros((448, 448), np.uint8)
    for one in chip.roads:
        if one.width >= 5:
            line = np.round((one.line - 0.5) * 8).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(mask, [line], False, 1, 7, cv2.LINE_8, 3)
    write_png(mask, tmp_path / "mask.png")
    picture = Image.fromarray(upright(chip.rgb, 8))
    tags = picture.getexif()
    tags[274] = 6
    picture.save(tmp_path / "a.png", exif=tags)
    sample = Sample("first/a", "first", "train", tmp_path / "a.png", 448, 448)
    op = {"op": "ignore_unseen_lines", "model": str(ROOT / "configs" / "roads.yaml")}
    project = project_of(tmp_path, [op], [sample.but(gsd=1.0, mask=tmp_path / "mask.png")])
    run(project)
    road = read_mask(after(project)["first/a"].mask) == 1
    assert road[mask == 1].mean() > 0.8


# What else an image is stored as


def write_palette(path: Path, **place) -> np.ndarray:
    """A raster of palette numbers: a sea of 7 without data, and an object; returns its colours."""
    numbers = np.full((H, W), 3, np.uint8)
    numbers[:, :20] = 7
    x0, y0, x1, y1 = OBJECT
    numbers[y0:y1, x0:x1] = 250
    colours = {3: (60, 80, 40, 255), 7: (9, 9, 9, 255), 250: (230, 220, 210, 255)}
    with rasterio.open(
        path, "w", driver="GTiff", width=W, height=H, count=1, dtype="uint8", nodata=7, **place
    ) as file:
        file.write(numbers, 1)
        file.write_colormap(1, colours)
    rgb = np.zeros((H, W, 3), np.uint8)
    for number, colour in colours.items():
        rgb[numbers == number] = colour[:3] if number != 7 else 0
    return rgb


def test_a_raster_with_a_palette_is_read_in_its_colours(tmp_path):
    rgb = write_palette(tmp_path / "a.tif")
    assert np.array_equal(read_rgb(tmp_path / "a.tif"), rgb)
    assert np.array_equal(missing(tmp_path / "a.tif"), ~rgb.any(axis=2))
    assert verify(tmp_path / "a.tif") == image_size(tmp_path / "a.tif") == (W, H)


def test_labels_on_a_placed_palette_raster(tmp_path):
    import geopandas
    import shapely

    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 0.5, 0.5)}
    (tmp_path / "data").mkdir()
    rgb = write_palette(tmp_path / "data/a.tif", **place)
    x0, y0, x1, y1 = (value * 0.5 for value in OBJECT)
    square = shapely.box(5e5 + x0, 5e6 - y1, 5e5 + x1, 5e6 - y0)
    frame = geopandas.GeoDataFrame(geometry=[square], crs="EPSG:32633")
    frame.to_file(tmp_path / "data/a.gpkg")
    found = read(tmp_path / "data", format="geo")
    [sample] = found.samples
    assert sample.labels[0].box == OBJECT
    assert (sample.id, sample.gsd is not None, sample.origin is not None) == ("s/a", True, True)
    assert "a.tif): have a palette: read in its colours" in whys(found)
    # A raster like any other, for all that comes after.
    from tiling.scene import open_scene

    scene = open_scene(sample.image)
    assert scene.bands == ("red", "green", "blue")
    assert scene.found.alpha == 4
    assert np.array_equal(read_rgb(sample.image), rgb)
    first = sample.image.read_bytes()
    sample.image.unlink()
    assert read(tmp_path / "data", format="geo").samples[0].image.read_bytes() == first


def test_a_palette_raster_that_is_turned_as_well(tmp_path):
    root = write_coco(tmp_path, (6,), lambda _: OBJECT, lambda _: (W, H))
    pixels = read_rgb(root / "6.png")
    image = Image.fromarray(upright(pixels, 8)[..., 0]).convert("P")
    image.save(root / "6.tif", tiffinfo={274: 6})
    labels = (root / "labels.json").read_text().replace("6.png", "6.tif")
    (root / "labels.json").write_text(labels)
    found = read(root, format="coco")
    on_the_object(found)
    assert found.samples[0].origin is not None
    assert "palette" in whys(found) and "turned by EXIF" in whys(found)


@pytest.mark.parametrize("kind", ["rgba.png", "rgba.webp", "rgba.tif", "palette.png", "key.png"])
def test_where_alpha_is_0_there_is_no_image(tmp_path, kind):
    name, ending = kind.split(".")
    path = tmp_path / f"images/a.{ending}"
    path.parent.mkdir()
    rgb = np.full((H, W, 3), 90, np.uint8)
    rgb[:, :20] = (250, 10, 250)
    alpha = np.full((H, W), 255, np.uint8)
    alpha[:, :20] = 0
    if ending == "tif":
        with rasterio.open(
            path, "w", driver="GTiff", width=W, height=H, count=4, dtype="uint8",
            photometric="rgb", alpha="yes",
        ) as file:  # fmt: skip
            file.write(np.concatenate([np.moveaxis(rgb, 2, 0), alpha[None]]))
    elif name == "rgba":
        Image.fromarray(np.dstack([rgb, alpha])).save(path, lossless=True)
    elif name == "palette":
        image = Image.fromarray((alpha > 0).astype(np.uint8))
        image.putpalette([250, 10, 250, 90, 90, 90])
        image.save(path, transparency=0)
    else:
        Image.fromarray(rgb).save(path, transparency=(250, 10, 250))
    pixels = read_rgb(path)
    assert (pixels[:, :20] == 0).all()
    assert (pixels[:, 20:] == 90).all()
    assert np.array_equal(missing(path), alpha == 0)
    write_png(np.ones((H, W), np.uint8), tmp_path / "masks/a.png")
    found = read(tmp_path, format="masks", classes={"road": "road"})
    mask = read_mask(found.samples[0].mask)
    assert (mask[:, :20] == MASK_UNKNOWN).all()
    assert (mask[:, 20:] == 1).all()
    assert "hold no data in places" in whys(found)


def test_a_cut_palette_raster_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    write_palette(path)
    path.write_bytes(path.read_bytes()[:1500])
    for reader in (verify, read_rgb):
        with pytest.raises(DatasetError, match="does not decode"):
            reader(path)
