"""torchgeo: a loop over GridGeoSampler with our RetinaNet, torchvision's suppression at the end."""

from __future__ import annotations

import torch
from common import Boxes, quiet, task, tell, timed
from torch import Tensor
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GridGeoSampler
from torchvision.ops import batched_nms

IOU = 0.5


def main() -> None:
    asked = task()
    predictor = Boxes(asked)

    def work() -> Tensor:
        scene = RasterDataset(paths=str(asked.scene))
        sampler = GridGeoSampler(scene, size=asked.tile, stride=asked.step)
        left, top = scene.bounds[0].start, scene.bounds[1].stop
        width, height = scene.res
        found = []
        with quiet():
            for query in sampler:
                sample = scene[query]
                boxes, scores, labels = predictor(sample["image"] / 255)
                x, y = sample["bounds"][:2]
                corner = torch.tensor([(x.start - left) / width, (top - y.stop) / height])
                found.append((boxes + corner.repeat(2).float(), scores, labels))
            boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
            return boxes[batched_nms(boxes, scores, labels, IOU)]

    boxes, seconds = timed(work, predictor.where)
    tell(asked, "torchgeo", "scene to boxes", seconds, boxes=boxes)


if __name__ == "__main__":
    main()
