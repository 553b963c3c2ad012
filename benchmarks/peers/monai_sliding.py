"""MONAI: sliding window inference over a whole scene with our Res-UNet of roads."""

from __future__ import annotations

import numpy as np
import rasterio
import torch
from common import ensemble, quiet, raw_output, task, tell, timed
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor


def main() -> None:
    asked = task()
    whole = ensemble(asked)
    member, where = whole.members[0], whole.compute

    def probability(pictures: Tensor) -> Tensor:
        result = torch.sigmoid(raw_output(member.net, pictures, where).float())
        if member.config.mirror:
            again = raw_output(member.net, pictures.flip(-1), where)
            result = (result + torch.sigmoid(again.float()).flip(-1)) / 2
        return result.cpu()

    def work() -> NDArray[np.uint8]:
        with rasterio.open(asked.scene) as file:
            picture = torch.from_numpy(file.read((1, 2, 3))).float() / 255
        with quiet():
            result = sliding_window_inference(
                picture[None], asked.tile, 1, probability, asked.overlap, mode="gaussian"
            )
        return (result[0] * 255).round().to(torch.uint8).numpy()

    result, seconds = timed(work, where)
    tell(asked, "monai", "scene to probability", seconds, probability=result[0])


if __name__ == "__main__":
    main()
