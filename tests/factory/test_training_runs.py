"""Training runs: the same bytes when cut short and resumed, and plain words when they fail."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from detectors.resunet import ResUNet, ResUNetSpec
from detectors.retinanet import RetinaNet, RetinaNetSpec
from detectors.training.boxes import BoxTask
from detectors.training.checkpoint import LAST, load_checkpoint
from detectors.training.fit import BEST, fit
from detectors.training.instances import InstanceTask
from detectors.training.log import LOG, read_log
from detectors.training.pictures import Album
from detectors.training.roads import RoadTask
from detectors.training.settings import Settings, hardware
from detectors.training.weights import Average, cosine, encoder_from, save_weights, start_from
from lanner.core.errors import ConfigError, DeviceError, OutputError, TrainingError, WeightsError
from tests.fixtures_training import ROAD, SMALL, pictures


def tiny(outputs=ROAD) -> ResUNet:
    torch.manual_seed(3)
    return ResUNet(ResUNetSpec(outputs, decoder_channels=(8, 8, 8)))


def run(folder, *, steps=5, net=None, task=None, tell=lambda *_: None, **changes):
    task = task or RoadTask(Album(pictures(), masks=True), SMALL, ROAD)
    plan = Settings(steps, warmup=1, threads=1, workers=0, devices="cpu", checkpoint_every=2)
    plan = dataclasses.replace(plan, valid_batches=1, **changes)
    weights = folder / "out.safetensors"
    fit(net or tiny(), task, task, plan, folder, weights=weights, key="k", tell=tell)
    return weights.read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return folder, run(folder, valid_every=2)


def untimed(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(folder / LOG)]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_run_cut_short_anywhere_resumes_to_the_same_bytes(tmp_path, plain, at):
    class CutError(Exception):
        pass

    def cut(what, facts):
        if what == "step" and facts["done"] == at:
            raise CutError

    with pytest.raises(CutError):
        run(tmp_path, tell=cut, valid_every=2)
    assert run(tmp_path, valid_every=2) == plain[1]
    assert untimed(tmp_path) == untimed(plain[0])
    assert (tmp_path / BEST).read_bytes() == (plain[0] / BEST).read_bytes()


def test_the_number_of_workers_does_not_change_weights(tmp_path, plain):
    assert run(tmp_path, workers=2, valid_every=2) == plain[1]


def test_another_seed_gives_other_weights(tmp_path, plain):
    assert run(tmp_path, seed=2) != plain[1]


def test_log_and_weights_say_what_they_should(plain):
    folder, _ = plain
    rows = read_log(folder / LOG)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in rows if "valid_f1" in row] == [2, 4, 5]
    for row in rows:
        if "loss" in row:
            parts = row["bce"] + row["dice"] + 0.3 * row["centreline"]
            assert row["loss"] == pytest.approx(parts, abs=1e-4)
    state = load_file(folder / "out.safetensors")
    assert {v.dtype for v in state.values() if v.ndim > 1} == {torch.float16}
    tiny().load_state_dict(state)


def test_divergence_names_the_step_and_leaves_the_checkpoint(tmp_path):
    with pytest.raises(TrainingError, match=r"diverged at step \d+.*last\.ckpt") as caught:
        run(tmp_path, steps=60, lr=1e25, checkpoint_every=1)
    step = int(caught.value.problem.split("step ")[1].split(":")[0])
    state, _ = load_checkpoint(tmp_path, "k")
    assert state.step == step - 1
    assert not (tmp_path / "out.safetensors").exists()


def test_gradients_that_are_not_finite_never_reach_the_weights(tmp_path):
    class SteepTask(RoadTask):
        steps = 0

        def losses(self, outputs, batch):
            terms = super().losses(outputs, batch)
            self.steps += 1
            # Right on the value, and 0 times infinity on the slope.
            steep = (outputs.sum() * 0).sqrt() * 0
            return {**terms, "bce": terms["bce"] + (steep if self.steps == 4 else 0)}

    task = SteepTask(Album(pictures(), masks=True), SMALL, ROAD)
    with pytest.raises(TrainingError, match=r"step 4: the gradient is not finite.*last\.ckpt"):
        run(tmp_path, task=task, steps=4)
    state, parts = load_checkpoint(tmp_path, "k")
    assert state.step == 2
    assert all(value.isfinite().all() for value in parts["net"].values())
    assert not (tmp_path / "out.safetensors").exists()


def test_a_damaged_checkpoint_is_an_error_not_a_new_start(tmp_path):
    (tmp_path / LAST).write_bytes(b"PK torn")
    with pytest.raises(TrainingError, match=r"last\.ckpt.*remove it"):
        run(tmp_path)


def test_a_checkpoint_of_another_key_is_not_gone_on_from(plain):
    assert load_checkpoint(plain[0], "other") is None
    assert load_checkpoint(plain[0], "k")[0].step == 5


def test_nothing_to_learn_from(tmp_path):
    bare = [dataclasses.replace(one, mask=None) for one in pictures()]
    task = RoadTask(Album(bare, masks=True), SMALL, ROAD)
    with pytest.raises(TrainingError, match="no object to learn from"):
        run(tmp_path, task=task)


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_weights(tiny(), tmp_path / "file" / "out.safetensors")


def test_a_retinanet_of_two_classes_learns(tmp_path):
    torch.manual_seed(1)
    net = RetinaNet(RetinaNetSpec(2, channels=16))
    task = BoxTask(Album(pictures(), masks=False), SMALL)
    run(tmp_path, net=net, task=task, steps=24, lr=2e-3)
    losses = [row["loss"] for row in read_log(tmp_path / LOG) if "loss" in row]
    # Batches differ by some 5 %.
    assert np.mean(losses[-4:]) < 0.88 * np.mean(losses[:4])


def test_instances_learn(tmp_path):
    outputs = ("centre", "object", "boundary")
    task = InstanceTask(Album(pictures(), masks=False), SMALL, outputs)
    run(tmp_path, net=tiny(outputs), task=task, steps=8, lr=3e-3)
    losses = [row["loss"] for row in read_log(tmp_path / LOG) if "loss" in row]
    assert losses[-1] < 0.7 * losses[0]


def test_devices_are_understood_or_refused():
    assert hardware("cpu", "fp32").precision == "32-true"
    assert hardware("cpu:2", "bf16").world == 2
    assert hardware("cpu:2", "bf16").strategy == "ddp"
    with pytest.raises(ConfigError, match="not understood"):
        hardware("gpuu", "auto")
    with pytest.raises(ConfigError, match="is no process"):
        hardware("cpu:0", "auto")
    with pytest.raises(DeviceError, match="CUDA devices"):
        hardware("cuda:77", "auto")


# Weights


def test_averages_move_towards_the_network():
    net = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(net.weight, 0.0)
    average = Average(net, 0.9)
    torch.nn.init.constant_(net.weight, 1.0)
    average.update(net)
    # The first of them weighs 10 / 11: a young average moves faster.
    assert float(average.net.weight.detach()) == pytest.approx(10 / 11)


def test_the_learning_rate_rises_and_falls():
    factors = [cosine(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == pytest.approx(1)
    assert factors[55] == pytest.approx(0.505)
    assert factors[-1] < 0.012


def test_encoders_and_starts_are_taken_over(tmp_path):
    donor = RetinaNet(RetinaNetSpec(1, channels=16))
    path = tmp_path / "donor.safetensors"
    save_weights(donor, path)
    net = tiny()
    encoder_from(net, path)
    own, given = net.net.encoder.layer1[0].conv1.weight, donor.body["layer1"][0].conv1.weight
    assert torch.equal(own, given.half().float())
    other = RetinaNet(RetinaNetSpec(3, channels=16))
    assert start_from(other, path) == 2
    assert torch.equal(other.body["conv1"].weight, donor.body["conv1"].weight.half().float())
    with pytest.raises(WeightsError, match="another architecture"):
        start_from(net, path)
    with pytest.raises(WeightsError, match="cannot be read"):
        start_from(net, tmp_path / "absent.safetensors")


def test_log_lines_are_json(plain):
    lines = (plain[0] / LOG).read_text().splitlines()
    assert all(json.loads(line)["step"] for line in lines)


def test_training_leaves_the_process_as_it_was(tmp_path):
    before = torch.get_num_threads()
    run(tmp_path, threads=before + 1, steps=1)
    assert torch.get_num_threads() == before
    assert np.finfo(np.float64).tiny / 2 > 0
