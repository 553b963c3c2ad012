"""What all peers share: our networks, tiles, thresholds and number format, and one JSON line.

Each script is run by `benchmarks/run.py` in `.venv-peers`, as

    python benchmarks/peers/NAME.py SCENE OUT.npz --detector aircraft --tile 768 --threads 4

on a scene whose pixels are the detector's own. What is timed begins with the scene's file and ends
with boxes (or a probability) in memory; imports and loading networks come before, as for Lanner.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

import detectors.device
from detectors.boxes import LEAST_SIDE
from detectors.device import Compute, running
from detectors.ensemble import Ensemble
from detectors.inputs import prepare
from detectors.members import load_member
from detectors.ready import SteadyGroupNorm
from detectors.retinanet import STRIDE, decode_boxes
from lanner.cli.bench.bare import wait
from lanner.cli.bench.memory import peak_mb
from lanner.core.config import DetectorConfig
from lanner.inference.registry import find


@dataclass(frozen=True)
class Task:
    """What one peer is asked; `tile` and `halo` are those of Lanner's own run.

    `usual`: networks in float32 and torch's own memory layout, allocator and norms as they come,
    as the peer's users have them; else in the number format of Lanner, whose settings they share.
    """

    scene: Path
    out: Path
    detector: str
    tile: int
    halo: int
    device: str
    usual: bool = False

    @property
    def step(self) -> int:
        """Pixels from one tile to the next."""
        return self.tile - 2 * self.halo

    @property
    def overlap(self) -> float:
        """Share of a tile that it has in common with the next."""
        return 2 * self.halo / self.tile


def task() -> Task:
    """The task on the command line; sets torch's threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--detector", default="aircraft")
    parser.add_argument("--tile", type=int, required=True)
    parser.add_argument("--halo", type=int, default=96)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--usual", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    return Task(**{k: v for k, v in vars(options).items() if k != "threads"})


def ensemble(asked: Task, members: tuple[str, ...] | None = None) -> Ensemble:
    """The detector's released networks."""
    entry = find(asked.detector)
    if asked.usual:
        detectors.device.keep_memory = lambda: False
    return Ensemble(entry.config, entry.release_dir, asked.device, members)


class Boxes:
    """A RetinaNet with torchvision's suppression behind it, for one picture at a time.

    Scores are calibrated and cut off as Lanner does with this network alone, so that both look
    for the same objects.
    """

    def __init__(self, asked: Task) -> None:
        whole = ensemble(asked, (_box_member(find(asked.detector).config),))
        self.where: Compute = whole.compute
        self.member = whole.members[0]
        if asked.usual:
            self.where = replace(whole.compute, autocast=None)
            folder = find(asked.detector).release_dir
            self.member = load_member(whole.config, self.member.config, folder, self.where)
            _as_it_comes(self.member.net)
        self.layout = torch.contiguous_format if asked.usual else torch.channels_last
        self.curves = (whole.vote_curves[0], whole.curve)
        self.least = whole.config.fusion.min_score

    def __call__(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, 4), scores (n,), labels (n,) in a (3, h, w) picture of 0..1."""
        height, width = picture.shape[-2:]
        net, layout = self.member.net, self.layout
        logits, offsets, anchors = raw_output(net, picture[None], self.where, layout)
        return self.decoded(logits[0], offsets[0], anchors, (height, width))

    def decoded(
        self, logits: Tensor, offsets: Tensor, anchors: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same from a network's raw output."""
        scores = torch.sigmoid(logits.float())
        anchor, label = torch.nonzero(scores >= self.member.config.threshold, as_tuple=True)
        boxes = clip_boxes_to_image(decode_boxes(offsets[anchor], anchors[anchor]), size)
        wide = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(-1)
        boxes, label, score = boxes[wide], label[wide], scores[anchor, label][wide]
        keep = batched_nms(boxes, score, label, self.member.config.nms_iou)
        vote = self.curves[0].apply(score[keep].cpu().double().numpy())
        sure = vote >= self.least
        final = torch.from_numpy(np.asarray(self.curves[1].apply(vote[sure]), np.float32))
        return boxes[keep].cpu()[sure], final, label[keep].cpu()[sure]


def _as_it_comes(net: torch.nn.Module) -> None:
    """Undo what Lanner does to a network beside filling it."""
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in net.modules():
        if isinstance(module, SteadyGroupNorm):
            module.__class__ = torch.nn.GroupNorm


def raw_output(
    net: torch.nn.Module,
    pictures: Tensor,
    where: Compute,
    layout: torch.memory_format = torch.channels_last,
) -> Any:
    """What a network says of (n, 3, h, w) pictures of 0..1, filled up to its stride."""
    height, width = pictures.shape[-2:]
    more = (0, -width % STRIDE, 0, -height % STRIDE)
    valid = F.pad(torch.ones(len(pictures), height, width, dtype=torch.bool), more)
    inputs = prepare(F.pad(pictures, more).to(where.device), valid.to(where.device))
    with running(where):
        return net(inputs.contiguous(memory_format=layout))


def tiles(scene: Path, asked: Task, most: int) -> Iterator[tuple[int, int, Tensor]]:
    """(x, y, (3, tile, tile) of 0..1) of up to `most` whole tiles of a scene."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(scene) as file:
        corners = [
            (x, y)
            for y in range(0, file.height - asked.tile + 1, asked.step)
            for x in range(0, file.width - asked.tile + 1, asked.step)
        ]
        for x, y in corners[:most]:
            raw = file.read((1, 2, 3), window=Window(x, y, asked.tile, asked.tile))
            yield x, y, torch.from_numpy(raw).float() / 255


@contextmanager
def quiet() -> Iterator[None]:
    """Inference without gradients around code that is not ours."""
    with torch.inference_mode():
        yield


def timed(work: Callable[[], Any], where: Compute) -> tuple[Any, float]:
    """What `work` gives, and its seconds."""
    wait(where)
    since = time.perf_counter()
    result = work()
    wait(where)
    return result, time.perf_counter() - since


def tell(
    asked: Task, package: str, what: str, seconds: float, ours_s: float | None = None, **arrays: Any
) -> None:
    """Write the arrays to the task's npz and print the one JSON line.

    `ours_s` is Lanner's own time for the same piece of work, where the script measured both;
    where None, the whole of a Lanner run is what compares.
    """
    np.savez_compressed(asked.out, **{name: np.asarray(value) for name, value in arrays.items()})
    facts = {
        "name": package,
        "version": version(package),
        "what": what,
        "seconds": seconds,
        "ours_s": ours_s,
        "peak_mb": peak_mb(),
        "threads": torch.get_num_threads(),
        "arrays": str(asked.out),
    }
    print(json.dumps(facts))


def _box_member(config: DetectorConfig) -> str:
    return next(one.name for one in config.members if one.kind == "retinanet")
