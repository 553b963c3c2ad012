"""A Res-UNet that looks farther: where it starts from, and how far it sees."""

import torch

from detectors.resunet import Context, ResUNet, ResUNetSpec
from detectors.training.weights import save_weights, start_from

OUTPUTS = ("road", "centreline")


def nets(tmp_path):
    torch.manual_seed(5)
    near = ResUNet(ResUNetSpec(OUTPUTS)).eval()
    far = ResUNet(ResUNetSpec(OUTPUTS, context=(1, 2, 4))).eval()
    save_weights(near, tmp_path / "near.safetensors")
    assert start_from(near, tmp_path / "near.safetensors") == 0
    assert start_from(far, tmp_path / "near.safetensors") == 7  # three layers and their gain
    return near, far


def test_it_starts_as_the_network_without(tmp_path):
    near, far = nets(tmp_path)
    image = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(near(image), far(image), rtol=0, atol=0)
    loss = far(image).square().mean()
    loss.backward()
    # Its gain learns from the first step on, and what it adds from the second.
    assert far.context.gain.grad.abs().sum() > 0


def test_it_sees_as_far_as_its_dilations_reach():
    torch.manual_seed(5)
    context = Context(8, (1, 2, 4)).eval()
    with torch.no_grad():
        context.gain.fill_(1.0)
        for layer in context.layers:
            layer.weight.abs_()
            layer.bias.zero_()
    image = torch.zeros(1, 8, 41, 41)
    image[0, :, 20, 20] = 1.0
    with torch.inference_mode():
        reached = context(image)[0].sum(0) > 0
    rows = torch.nonzero(reached.any(1)).ravel()
    assert (int(rows.min()), int(rows.max())) == (20 - 7, 20 + 7)
    assert image.shape[-2:] == reached.shape
