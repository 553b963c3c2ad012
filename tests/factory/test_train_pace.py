"""How long a training takes: before its first step, at each step, and from the starter's file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from detectors.resunet import ResUNet, ResUNetSpec
from detectors.retinanet import RetinaNet, RetinaNetSpec
from detectors.training.pace import seconds_a_step
from detectors.training.settings import Settings
from lanner.cli.progress import progress_on
from lanner.core.config import DetectorConfig
from lanner.core.job import Progress
from lanner.factory.config import Training, load_factory
from lanner.factory.starter import write_starter
from lanner.factory.steps.train.pace import LATELY, Pace, expected, spell
from lanner.factory.steps.train.plan import Job
from tests.fixtures_training import TANKS

NETWORKS = {
    "retinanet": lambda: RetinaNet(RetinaNetSpec(1, channels=16)),
    "resunet": lambda: ResUNet(
        ResUNetSpec(("object", "boundary", "centre"), decoder_channels=(8, 8, 8))
    ),
}


def job(**changes: object) -> Job:
    member = {"name": "boxes", "kind": "retinanet", "weights": "boxes.safetensors"}
    here = Path("work")
    return Job(
        detector=DetectorConfig.model_validate({**TANKS, "members": [member]}),
        member="boxes",
        training=Training.model_validate(changes),
        seed=1,
        devices="cpu",
        threads=2,
        samples=here,
        folder=here,
        weights=here,
        start=None,
        encoder_from=None,
        key="",
    )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_timing_a_view_changes_nothing_that_follows(name, precision):
    torch.manual_seed(7)
    net = NETWORKS[name]()
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    before = torch.get_rng_state()
    settings = Settings(10, devices="cpu", precision=precision)
    small, large = (seconds_a_step(net, pixels, settings) for pixels in (65_536, 65_536_000))
    assert small is not None and large is not None and 0 < small < large
    assert torch.equal(torch.get_rng_state(), before)
    after = net.state_dict()
    assert all(torch.equal(weights[key], after[key]) for key in weights)
    assert all(one.grad is None for one in net.parameters())


def test_the_rate_is_that_of_the_last_steps():
    pace = Pace()
    pace.add(1, 100.0)
    assert pace.seconds_a_step is None
    assert pace.words(10, 0.5) == "loss 0.5"
    pace.add(2, 104.0)
    assert pace.seconds_a_step == 4.0
    assert pace.words(2, 0.25) == "loss 0.25, 4 s a step"
    # A slow beginning is forgotten.
    for step in range(3, LATELY + 4):
        pace.add(step, 104.0 + 0.5 * (step - 2))
    assert pace.seconds_a_step == 0.5
    assert pace.words(LATELY + 3 + 240, None) == "2 steps/s, 2 min left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3599, "1 h 0 min"), (43_200, "12 h 0 min")],
)
def test_times_as_people_say_them(seconds, text):
    assert spell(seconds) == text


def test_a_long_training_says_what_would_make_it_shorter():
    long = expected(job(steps=3000), 14.4, "tanks.factory.yaml")
    assert "12 h 0 min" in long and "3000 steps of 1 megapixels" in long
    for words in ("train.members.boxes", "`steps`", "`pixels`", "tanks.factory.yaml"):
        assert words in long
    short = expected(job(steps=10), 2.0, "tanks.factory.yaml")
    assert "20 s" in short and "`steps`" not in short


@pytest.mark.parametrize("network", ["retinanet", "resunet"])
def test_without_a_gpu_the_first_training_is_short(tmp_path, network):
    work = {}
    for gpu in (False, True):
        _, file = write_starter(
            tmp_path / str(gpu), "geo", "tanks", ("tank",), 0.5, "data", network, gpu=gpu
        )
        training = load_factory(file).train.members[network]
        assert training.warmup < training.steps / 5
        work[gpu] = training.steps * training.pixels
    # A core does a megapixel of either network, forward and back, in 10 to 25 s.
    assert work[False] * 25 / 1e6 < 0.6 * 3600
    assert work[True] == 3000 * 1_000_000


@pytest.mark.parametrize("terminal", [False, True])
def test_a_remark_stays_readable_and_details_follow_the_count(terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    with progress_on(console) as show:
        show(Progress("train boxes", 0, 30, remark="takes about 12 h"))
        show(Progress("train boxes", 1, 30, detail="loss 0.5, 4 s a step"))
    text = stream.getvalue()
    assert text.count("takes about 12 h") == 1
    assert text.index("takes about 12 h") < text.rindex("loss 0.5, 4 s a step")
    if not terminal:
        assert text.splitlines()[1] == "train boxes 1/30 (3 %): loss 0.5, 4 s a step"
