"""Our layers beside those of torchvision and segmentation-models-pytorch: equal to the bit."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork

from detectors.layers.heads import Heads, anchor_boxes
from detectors.layers.pyramid import FeaturePyramid
from detectors.layers.resnet import STAGES, ResNet
from detectors.layers.unet import UNet
from detectors.resunet import ResUNet, ResUNetSpec
from detectors.retinanet import RetinaNet, RetinaNetSpec

IMAGES = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
SIZES = ((12, 17, 24), (34, 48, 68), (92, 120, 156))


def started(make, seed=7):
    torch.manual_seed(seed)
    net = make()
    return net, torch.rand(1)


def same(ours, theirs, ours_after, theirs_after):
    """Weights of one start, under the same names, and the generator where it was left."""
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert torch.equal(ours_after, theirs_after)


def seen(net):
    """A network whose norms have seen something."""
    torch.manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
@pytest.mark.parametrize("channels", [(64, 48, 32, 16, 8), (32, 24, 16, 8), (16, 8)])
def test_a_unet_is_that_of_the_library(encoder, channels):
    def library():
        net = smp.Unet(
            encoder,
            encoder_depth=len(channels),
            encoder_weights=None,
            decoder_channels=channels,
            classes=3,
        )
        for stage in range(len(channels), 5):
            setattr(net.encoder, f"layer{stage}", nn.Identity())
        return net

    theirs, theirs_after = started(library)
    ours, ours_after = started(lambda: UNet(encoder, channels, 3))
    same(ours, theirs, ours_after, theirs_after)
    assert ours.encoder.out_channels == tuple(theirs.encoder.out_channels)
    for training in (False, True):
        pair = [seen(net).train(training) for net in (ours, theirs)]
        mine, other = (
            net.segmentation_head(net.decoder(list(net.encoder(IMAGES)))) for net in pair
        )
        assert torch.equal(mine, other)
        mine.square().mean().backward()
        other.square().mean().backward()
    grads = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(mine.grad, other.grad) for mine, other in grads)


@pytest.mark.parametrize("name", STAGES)
def test_a_body_is_that_of_the_library(name):
    def library():
        whole = torchvision.models.get_model(name, weights=None)
        return IntermediateLayerGetter(whole, {"layer2": "p3", "layer3": "p4", "layer4": "p5"})

    theirs, theirs_after = started(library)
    ours, ours_after = started(lambda: ResNet(name))
    same(ours, theirs, ours_after, theirs_after)
    seen(ours).eval()
    seen(theirs).eval()
    with torch.no_grad():
        levels, others = ours(IMAGES), list(theirs(IMAGES).values())
    assert [level.shape[1] for level in levels] == list(ours.out_channels)
    assert all(torch.equal(a, b) for a, b in zip(levels[-3:], others, strict=True))


def test_a_pyramid_is_that_of_the_library():
    channels = [32, 64, 128]
    theirs, theirs_after = started(lambda: FeaturePyramidNetwork(channels, 48))
    ours, ours_after = started(lambda: FeaturePyramid(channels, 48))
    same(ours, theirs, ours_after, theirs_after)
    levels = [torch.rand(2, c, 40 // s, 64 // s) for c, s in zip(channels, (1, 2, 4), strict=True)]
    others = theirs(dict(zip("abc", levels, strict=True))).values()
    assert all(torch.equal(a, b) for a, b in zip(ours(levels), others, strict=True))


def test_heads_and_anchors_are_those_of_the_library():
    def norm(channels):
        return nn.GroupNorm(16, channels)

    theirs, theirs_after = started(lambda: RetinaNetHead(48, 6, 3, norm_layer=norm))
    ours, ours_after = started(lambda: Heads(48, 6, 3))
    same(ours, theirs, ours_after, theirs_after)
    levels = [torch.rand(2, 48, 96 // s, 160 // s) for s in (8, 16, 32)]
    told = theirs(levels)
    logits, offsets = ours(levels)
    assert torch.equal(logits, told["cls_logits"])
    assert torch.equal(offsets, told["bbox_regression"])
    ratios = (0.5, 2.0)
    maker = AnchorGenerator(SIZES, (ratios,) * 3)
    for dtype in (torch.float32, torch.bfloat16):
        typed = [level.to(dtype) for level in levels]
        want = maker(ImageList(IMAGES[:1], [(96, 160)]), [level[:1] for level in typed])[0]
        got = anchor_boxes(IMAGES, typed, SIZES, ratios)
        assert got.dtype == dtype
        assert torch.equal(got, want)
    assert len(got) == logits.shape[1]


def test_bodies_that_are_not_ours_come_from_the_libraries():
    net = ResUNet(ResUNetSpec(("road",), encoder="mobilenet_v2", decoder_channels=(16, 16, 8, 8)))
    assert net.eval()(IMAGES).shape == (2, 1, 96, 160)
    boxes = RetinaNet(RetinaNetSpec(2, backbone="resnext50_32x4d", channels=16)).eval()
    logits, _, anchors = boxes(IMAGES)
    places = sum((96 // s) * (160 // s) for s in (8, 16, 32))
    assert logits.shape == (2, 3 * places, 2)
    assert anchors.shape == (3 * places, 4)


@pytest.mark.parametrize("depth", [0, 6])
def test_a_body_has_one_to_five_levels(depth):
    with pytest.raises(ValueError, match="1 to 5 levels"):
        ResNet("resnet18", depth)


def test_an_anchor_begins_unlikely():
    net = Heads(16, 1, 1)
    bias = net.classification_head.cls_logits.bias.detach()
    assert float(torch.sigmoid(bias)) == pytest.approx(0.01)
    assert not net.regression_head.bbox_reg.bias.any()
