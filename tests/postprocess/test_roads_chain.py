"""The whole road chain on a network whose centre lines are known."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lanner.core.config import StepSpec
from lanner.core.errors import Cancelled, StepError
from lanner.core.job import Cancel
from postprocess.chain import Chain, ChainResult
from postprocess.context import Context
from postprocess.frame import COLUMNS, empty
from postprocess.roads.network import from_frame
from postprocess.roads.relaxed import relaxed_lines
from postprocess.roads.sample import on_valid
from postprocess.roads.topology import audit
from tests.fixtures_roads import CROSSINGS, SIZE, TOWN, painted, road_context, spoilt

STEPS = (
    "threshold",
    "clean",
    "skeletonise",
    "trace",
    "prune",
    "bridge",
    "smooth",
    "junctions",
    "measure",
    "classify",
)
BLOCKED = ("threshold", "clean", "skeletonise", "trace")


def chain(block: int = 2048) -> Chain:
    specs = [StepSpec(step=s, **({"block": block} if s in BLOCKED else {})) for s in STEPS]
    return Chain.from_specs([*specs, StepSpec(step="triage", accept_at=0.8)])


def run(context: Context, block: int = 2048) -> ChainResult:
    return chain(block).run(empty(), context)


def lines(frame: gpd.GeoDataFrame) -> NDArray[np.object_]:
    return np.asarray(frame.geometry.array, dtype=object)


def junctions(frame: gpd.GeoDataFrame) -> NDArray[np.float64]:
    found = from_frame(frame)
    return found.nodes[found.degree >= 3]


@pytest.fixture(scope="module")
def mask() -> NDArray[np.uint8]:
    return painted(TOWN)


@pytest.fixture(scope="module")
def true(mask: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> ChainResult:
    return run(road_context(tmp_path_factory.mktemp("true"), mask))


@pytest.fixture(scope="module")
def noisy(mask: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> ChainResult:
    return run(road_context(tmp_path_factory.mktemp("noisy"), spoilt(mask, 5)))


def test_true_mask_gives_the_true_centre_lines(true: ChainResult) -> None:
    assert relaxed_lines(lines(true.objects), TOWN, 3).f1 >= 0.998
    assert relaxed_lines(lines(true.objects), TOWN, 1).f1 >= 0.985


def test_true_mask_gives_every_junction_once(true: ChainResult) -> None:
    found = junctions(true.objects)
    assert len(found) == len(CROSSINGS)
    off = cKDTree(found).query(CROSSINGS)[0]
    roundabout = np.hypot(*(CROSSINGS - [800, 260]).T) < 20
    assert off[~roundabout].max() < 1.5
    # Five pixels of ring between two mouths of seven say little about where they meet.
    assert off[roundabout].max() < 3.5
    nodes = from_frame(true.objects)
    assert np.count_nonzero(nodes.degree == 1) == 46
    assert nodes.length.min() > 15


def test_carriageways_beside_each_other_stay_two(true: ChainResult) -> None:
    carriageways = [line for line in TOWN if line.coords[0] in ((450, 400), (450, 415))]
    assert len(carriageways) == 2
    for carriageway in carriageways:
        far = [shapely.hausdorff_distance(carriageway, line) for line in lines(true.objects)]
        assert min(far) < 1.5


def test_ring_has_one_node_and_only_rings_end_where_they_begin(true: ChainResult) -> None:
    loops = true.objects[true.objects.from_node == true.objects.to_node]
    assert len(loops) == 1
    assert loops.geometry.iloc[0].is_ring
    assert loops.length_m.iloc[0] == pytest.approx(2 * np.pi * 60, rel=0.01)


def test_lengths_and_widths_are_metres(true: ChainResult) -> None:
    assert true.objects.length_m.sum() == pytest.approx(shapely.length(TOWN).sum(), rel=0.01)
    assert true.objects.width_m.median() == pytest.approx(7, abs=0.3)
    assert true.objects.width_m.between(5.5, 8.5).all()


def test_half_metre_pixels_give_the_same_roads(tmp_path: Path) -> None:
    part = TOWN[[8, 9]]  # the curve and the ring
    fine = shapely.transform(part, lambda xy: 2 * (xy - [400, 0]))
    found = run(road_context(tmp_path, painted(fine, 14, 1200), gsd=0.5)).objects
    assert found.length_m.sum() == pytest.approx(shapely.length(part).sum(), rel=0.01)
    assert found.width_m.to_numpy() == pytest.approx(7, abs=0.3)


def test_topology_is_sound(true: ChainResult, noisy: ChainResult) -> None:
    for result in (true, noisy):
        found = from_frame(result.objects)
        assert audit(found) == []
        assert np.array_equal(found.ends, result.objects[["from_node", "to_node"]].to_numpy())


def test_trees_yards_and_noise(noisy: ChainResult) -> None:
    found = relaxed_lines(lines(noisy.objects), TOWN, 3)
    assert found.precision >= 0.985
    assert found.recall >= 0.965
    near, _ = cKDTree(junctions(noisy.objects)).query(CROSSINGS)
    assert np.count_nonzero(near < 3.5) >= len(CROSSINGS) - 1
    reasons = " ".join(noisy.rejected.rejected)
    assert "spur" in reasons
    notes = [step["did"] for steps in noisy.objects.steps for step in steps]
    assert any("gap of" in text for text in notes)


@pytest.mark.parametrize("block", [256, 512])
def test_blocks_do_not_show(
    mask: NDArray[np.uint8], noisy: ChainResult, tmp_path: Path, block: int
) -> None:
    other = run(road_context(tmp_path, spoilt(mask, 5)), block).objects
    assert len(other) == len(noisy.objects)
    assert shapely.equals_exact(lines(other), lines(noisy.objects)).all()
    assert other.drop(columns="geometry").equals(noisy.objects.drop(columns="geometry"))


def test_contract_columns(true: ChainResult) -> None:
    frame = true.objects
    assert {*COLUMNS, "from_node", "to_node", "length_m", "width_m", "road_class"} <= {*frame}
    assert (frame.label == "road").all()
    assert frame.score.between(0.5, 1).all()
    assert [vote["resunet"] for vote in frame.votes] == frame.score.tolist()
    assert (frame.tile == -1).all()
    assert (frame.cut == 0).all()
    for steps in frame.steps:
        assert [step["step"] for step in steps] == [*STEPS, "triage"]
    assert (frame.geometry.geom_type == "LineString").all()


@pytest.mark.parametrize("start", ["threshold", "trace", "prune", "smooth", "classify"])
def test_restart_gives_the_same(tmp_path: Path, start: str) -> None:
    context = road_context(tmp_path, spoilt(painted(TOWN, size=512), 2, 4, False))
    whole = run(context).objects
    last = context.workdir / "11_triage.parquet"
    before = last.read_bytes()
    again = chain().run(None, context, start=start).objects
    assert last.read_bytes() == before
    assert again.geometry.geom_equals_exact(whole.geometry, 0).all()


@pytest.mark.parametrize("level", [0, 20])
def test_blank_gives_an_empty_frame_with_every_column(tmp_path: Path, level: int) -> None:
    result = run(road_context(tmp_path, np.full((300, 400), level, np.uint8)))
    assert len(result.objects) == len(result.rejected) == 0
    assert {*COLUMNS, "from_node", "to_node", "length_m", "width_m", "road_class"} <= {
        *result.objects
    }


def test_solid_road_everywhere_is_no_road(tmp_path: Path) -> None:
    assert len(run(road_context(tmp_path, np.full((600, 700), 255, np.uint8))).objects) == 0


def test_nothing_lies_on_invalid_pixels(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    valid = np.hypot(x - 500, y - 500) < 380
    # A seam of missing pixels along a street, and across the two carriageways.
    valid[76:80] = False
    valid[:, 700:708] = False
    context = road_context(tmp_path, spoilt(mask, 3), valid=valid)
    found = lines(run(context).objects)
    assert len(found) > 10
    points = shapely.get_coordinates(shapely.segmentize(found, 0.5))
    assert on_valid(context, points).all()
    assert relaxed_lines(found, TOWN, 3, valid).recall > 0.9


def test_centreline_band_sharpens(tmp_path: Path) -> None:
    # A footway runs along one side of the road, so that the mask's middle is not the road's.
    road = np.array([shapely.LineString([(20, 150), (380, 150)])], dtype=object)
    wide = painted(np.array([*road, shapely.LineString([(20, 155), (380, 155)])]), 7, 400)
    ridge = painted(road, 3, 400)
    blunt = run(road_context(tmp_path / "a", wide)).objects
    sharp = run(road_context(tmp_path / "b", wide, centreline=ridge)).objects
    off = [np.abs(lines(f)[0].interpolate(0.5, normalized=True).y - 150) for f in (blunt, sharp)]
    assert off[0] > 1.7
    assert off[1] < 1.2


def test_missing_raster_is_explained(tmp_path: Path) -> None:
    context = road_context(tmp_path, np.zeros((64, 64), np.uint8))
    with pytest.raises(StepError, match="skeletonise"):
        Chain.from_specs([StepSpec(step="trace")]).run(empty(), context)


def test_cancel_stops_inside_a_step(tmp_path: Path) -> None:
    cancel = Cancel()
    context = road_context(tmp_path, np.zeros((64, 64), np.uint8))
    stopped = Context(**{**vars(context), "cancel": cancel})
    cancel.set()
    with pytest.raises(Cancelled):
        chain().links[0][0].run(empty(), stopped, chain().links[0][1])
