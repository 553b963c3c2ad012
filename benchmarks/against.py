"""Lanner and each peer on the same scene: seconds, memory, and how much of it both see."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from agreement import crossed, share_alike, share_found
from numpy.typing import NDArray

from lanner.cli.bench.bars import LARGE, Bar, faster, same_objects
from lanner.cli.bench.fresh import THREAD_VARIABLES, measure
from lanner.cli.bench.job import Job
from lanner.cli.bench.rows import Row, summed
from lanner.cli.bench.scenes import rendered
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect
from lanner.inference.registry import find

HERE = Path(__file__).resolve().parent
SURE = 0.5
"""Score from which an object must be found by both."""

PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Peer:
    """One script of `peers/`, and the piece of Lanner that it is set against.

    `members` are those that Lanner runs with; `last` is the last stage of a Lanner run that the
    peer does too (None: the piece is measured in the script itself). `usual`: as the peer's users
    have it, in float32; else with Lanner's number format and allocator.
    """

    script: str
    detector: str
    members: tuple[str, ...] | None
    last: str | None = None
    usual: bool = False


PEERS = (
    Peer("sahi_sliced", "aircraft", ("retinanet",), "chain: merge_seams", usual=True),
    Peer("sahi_sliced", "aircraft", ("retinanet",), "chain: merge_seams"),
    Peer("torchgeo_grid", "aircraft", ("retinanet",), "chain: merge_seams"),
    Peer("monai_sliding", "roads", ("resunet",), "blend"),
    Peer("torchvision_post", "aircraft", ("retinanet",)),
    Peer("ensemble_boxes_wbf", "aircraft", None),
)


@dataclass(frozen=True)
class Against:
    """One peer beside Lanner, medians of the repeats.

    `ours_s` is a whole run of Lanner, `ours_part_s` only the stages that the peer does too. Of
    boxes, `ours_found` is the share of ours that the peer has with an IoU of 0.9, `theirs_found`
    the other way round; of rasters both are the IoU of what is more likely than not. `uncut` is
    the smaller of both shares among objects that no border of a tile crosses.
    """

    name: str
    version: str
    what: str
    seconds: float
    ours_s: float
    ours_part_s: float
    peak_mb: float
    ours_peak_mb: float | None
    ours_found: float
    theirs_found: float
    uncut: float | None
    ours_count: int
    theirs_count: int


def against_all(size: int, threads: int | None, repeats: int) -> list[Against]:
    """Every peer on scenes of `size` pixels at the detectors' own sampling."""
    done = []
    own: dict[object, Row] = {}
    for peer in PEERS:
        key = (peer.detector, peer.members)
        if peer.last and key not in own:
            own[key] = _own_row(peer, size, threads, repeats)
        done.append(_one(peer, size, threads, repeats, own[key] if peer.last else None))
    return done


def peer_bars(rows: Sequence[Against], size: int) -> list[Bar]:
    """Bars that speak of peers; they are meant for large scenes."""
    small = "" if size >= LARGE else f"meant for scenes of {LARGE} pixels"
    bars = []
    for row in rows:
        if row.name == "sahi":
            alike = min(row.ours_found, row.theirs_found)
            name = f"SAHI, {row.what.rpartition(', ')[2]}"
            bars.append(faster(name, row.ours_s, row.seconds, small))
            bars.append(same_objects(name, alike, small))
    return bars


def facts(rows: Sequence[Against]) -> list[dict[str, Any]]:
    """The same as plain JSON data."""
    return [asdict(row) for row in rows]


def _scene(peer: Peer, size: int) -> Path:
    """About `size` pixels a side, such that a peer's last tile ends with the scene.

    Elsewhere a peer moves it inward, sees the pixels in other places of the network's stride, and
    answers a little otherwise.
    """
    config = find(peer.detector).config
    step = config.tile - 2 * config.halo
    whole = max(1, round((size - 2 * config.halo) / step)) * step + 2 * config.halo
    return rendered(whole, config.gsd, lambda _: None)


def _own_row(peer: Peer, size: int, threads: int | None, repeats: int) -> Row:
    scene = str(_scene(peer, size))
    tile = find(peer.detector).config.tile
    job = Job(scene, peer.detector, peer.members, "cpu", tile, threads=threads, bare=False)
    return summed([measure(job) for _ in range(repeats)])


def _one(peer: Peer, size: int, threads: int | None, repeats: int, own: Row | None) -> Against:
    scene = _scene(peer, size)
    with tempfile.TemporaryDirectory(prefix="lanner-peer-") as folder:
        tile, halo, ours = _ours(peer, scene, Path(folder) / "run")
        out = Path(folder) / "peer.npz"
        reports = [_run(peer, scene, out, tile, halo, threads) for _ in range(repeats)]
        with np.load(out) as arrays:
            ours = arrays.get("ours", ours)
            shares, counts = _alike(ours, arrays)
            uncut = _alike_uncut(ours, arrays, tile, tile - 2 * halo)
    last = reports[-1]
    mid = median(one["seconds"] for one in reports)
    if own is None:
        whole = part = median(one["ours_s"] for one in reports)
    else:
        whole, part = own.seconds, _until(own, peer.last)
    return Against(
        name=last["name"],
        version=last["version"],
        what=last["what"],
        seconds=mid,
        ours_s=whole,
        ours_part_s=part,
        peak_mb=median(one["peak_mb"] for one in reports),
        ours_peak_mb=None if own is None else own.peak_mb,
        ours_found=shares[0],
        theirs_found=shares[1],
        uncut=uncut,
        ours_count=counts[0],
        theirs_count=counts[1],
    )


def _ours(peer: Peer, scene: Path, folder: Path) -> tuple[int, int, NDArray[Any]]:
    """Tile and halo of a Lanner run, and what it saw in the pixels of the scene.

    Of objects that is what `merge_seams` leaves: what later steps think of it is no peer's work.
    """
    request = DetectRequest(
        str(scene),
        peer.detector,
        device="cpu",
        members=peer.members,
        run_dir=folder,
        tile=find(peer.detector).config.tile,
    )
    plan = detect(request, Cancel(), lambda _: None).summary["plan"]
    raster = folder / "probability.tif"
    if raster.exists():
        with rasterio.open(raster) as file:
            return plan["tile"], plan["halo"], file.read(1)
    (snapshot,) = folder.glob("*_merge_seams.parquet")
    frame = gpd.read_parquet(snapshot)
    scored = np.column_stack([frame.geometry.bounds.to_numpy(), frame["score"].to_numpy()])
    return plan["tile"], plan["halo"], scored


def _run(
    peer: Peer, scene: Path, out: Path, tile: int, halo: int, threads: int | None
) -> dict[str, Any]:
    """What a peer's script says."""
    words = [str(PYTHON), str(HERE / "peers" / f"{peer.script}.py"), str(scene), str(out)]
    words += ["--detector", peer.detector, "--tile", str(tile), "--halo", str(halo)]
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    if peer.usual:
        words.append("--usual")
        # Lanner's own choice, which its import makes.
        env.pop("OMP_WAIT_POLICY", None)
    if threads:
        words += ["--threads", str(threads)]
        env.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{peer.script} failed:\n{done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def _alike(ours: NDArray[Any], arrays: Any) -> tuple[tuple[float, float], tuple[int, int]]:
    """Shares found both ways, and how many there are on both sides."""
    if "probability" in arrays:
        theirs = arrays["probability"]
        alike = share_alike(ours, theirs)
        return (alike, alike), (int((ours >= 128).sum()), int((theirs >= 128).sum()))
    boxes = arrays["boxes"]
    mine, sure = ours[:, :4], slice(None)
    theirs_sure = slice(None)
    if "scores" in arrays and ours.shape[1] > 4:
        # What either is sure of must be found by the other; near the threshold a hair decides.
        sure, theirs_sure = ours[:, 4] >= SURE, arrays["scores"] >= SURE
    both = share_found(mine[sure], boxes), share_found(boxes[theirs_sure], mine)
    return both, (len(mine[sure]), len(boxes[theirs_sure]))


def _alike_uncut(ours: NDArray[Any], arrays: Any, tile: int, step: int) -> float | None:
    """The smaller share found of objects that no tile cuts, where there are scores."""
    if "scores" not in arrays or ours.shape[1] < 5:
        return None
    mine, theirs = ours[:, :4], arrays["boxes"]
    own = mine[(ours[:, 4] >= SURE) & ~crossed(mine, tile, step)]
    other = theirs[(arrays["scores"] >= SURE) & ~crossed(theirs, tile, step)]
    return min(share_found(own, theirs), share_found(other, mine))


def _until(row: Row, last: str | None) -> float:
    """Seconds of the stages up to `last`."""
    spent = 0.0
    for name, stage in row.stages.items():
        spent += stage.seconds
        if name == last:
            return spent
    raise KeyError(f"a run of {row.detector} has no stage {last!r}")
