"""A second, mirrored look makes a Res-UNet blind to which way is left."""

from __future__ import annotations

import torch

from detectors.members import MaskMember
from detectors.resunet import ResUNet, ResUNetSpec
from lanner.core.config import Member


def test_a_mirrored_tile_gives_the_mirrored_probability():
    torch.manual_seed(3)
    net = ResUNet(ResUNetSpec(("road", "centreline"), decoder_channels=(16, 16, 8, 8))).eval()
    member = Member(name="m", kind="resunet", weights="m", mirror=True)
    tile, valid = torch.randn(1, 3, 64, 64), torch.ones(1, 64, 64, dtype=torch.bool)
    with torch.inference_mode():
        straight = MaskMember(member, net).probability(tile, valid)[0]
        turned = MaskMember(member, net).probability(tile.flip(-1), valid)[0]
        once = MaskMember(member.model_copy(update={"mirror": False}), net)
        alone = once.probability(tile, valid)[0]
    assert abs(straight - turned[..., ::-1]).max() < 1e-5
    assert abs(straight - alone).max() > 1e-3
