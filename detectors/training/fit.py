"""Train one network: Lightning's loop, our batches, checkpoints and averaged weights."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from detectors.inputs import prepare
from detectors.training.batches import Batches, loader
from detectors.training.checkpoint import LAST, State, load_checkpoint, save_checkpoint
from detectors.training.log import LOG, append, rewind
from detectors.training.settings import Settings, hardware
from detectors.training.tasks import Batch, Task
from detectors.training.weights import Average, adamw, cosine, save_weights
from lanner.core.errors import TrainingError

BEST = "best.safetensors"
CLIP = 5.0
"""Largest norm of a step's gradients."""

HELD_OUT = 1 << 20
"""Added to the seed for validation's views: they are never batches of training."""

Tell = Callable[[str, Mapping[str, Any]], None]
"""Told `step` ({done, total, loss}) after each step and `row` (a line of the log)."""


@dataclass(frozen=True)
class Trained:
    """What came out: averaged weights, steps, seconds, and the best metric where there is one."""

    weights: Path
    steps: int
    seconds: float
    metric: str
    best: float | None
    best_step: int
    last: float | None


def fit(
    net: nn.Module,
    task: Task,
    valid: Task | None,
    settings: Settings,
    folder: Path,
    *,
    weights: Path,
    key: str,
    tell: Tell = lambda _, __: None,
) -> Trained:
    """Train a network, from the start or from where a killed run of the same key was.

    On a CPU the same arguments give the same weights, killed and resumed or not, for any number
    of workers.

    Args:
        net: with its first weights.
        task: batches and losses.
        valid: the same on held-out pictures, or None.
        settings: how long, how fast, on what.
        folder: for checkpoint, best weights and log.
        weights: the averaged weights are left here at the end.
        key: checksum of all that the result follows from.
        tell: told of progress, by the first process alone.

    Raises:
        TrainingError: there is nothing to learn from, or the loss is not finite; the last
            checkpoint stays.
        OutputError: something cannot be written.
        ConfigError, DeviceError: `settings` do not suit this machine.
    """
    if not task.objects():
        raise TrainingError(
            "train",
            folder.name,
            "has no object to learn from",
            "add labelled images to split train",
        )
    found = hardware(settings.devices, settings.precision)
    with _steady(settings):
        learner = Learner(net, task, valid, settings, folder, key, tell)
        learner.resume()
        task.pool.read_styles()
        left = settings.steps - learner.state.step
        with warnings.catch_warnings():
            # Lightning asks for more workers, and notes that CUDA is there or not.
            warnings.filterwarnings("ignore", module="lightning")
            logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
            trainer = lightning.Trainer(
                accelerator="gpu" if found.accelerator == "cuda" else "cpu",
                devices=found.devices,
                strategy=found.strategy,
                precision=found.precision,  # type: ignore[arg-type]
                max_steps=left,
                max_epochs=1,
                deterministic="warn",
                use_distributed_sampler=False,
                logger=False,
                enable_checkpointing=False,
                callbacks=[Leave()],
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
            )
            if left > 0:
                # Of each step's batches every process takes its own.
                first, world = learner.state.step, found.world
                numbers = range(first * world + found.rank, settings.steps * world, world)
                pin = found.accelerator == "cuda"
                trainer.fit(learner, loader(task, settings.seed, numbers, settings.workers, pin))
        if trainer.is_global_zero:
            learner.finish(weights)
        return learner.result(weights)


@contextmanager
def _steady(settings: Settings) -> Iterator[None]:
    """One way to sum, whatever ran before in this process; afterwards as it was."""
    flushed = float(np.finfo(np.float64).tiny) / 2 == 0
    threads = torch.get_num_threads()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # Filling what is about to be written anyway only costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(settings.seed)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(threads)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


class Leave(lightning.Callback):
    """Asked to end (SIGTERM), Lightning stops between two steps: none of them is lost."""

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Keep what was learned."""
        if isinstance(exception, SIGTERMException) and trainer.is_global_zero:
            cast(Learner, pl_module).save()


class Learner(lightning.LightningModule):
    """The network, its average, and what happens at each step."""

    def __init__(
        self,
        net: nn.Module,
        task: Task,
        valid: Task | None,
        settings: Settings,
        folder: Path,
        key: str,
        tell: Tell,
    ) -> None:
        super().__init__()
        self.net: nn.Module = net.to(memory_format=torch.channels_last)
        self.task, self.valid, self.settings = task, valid, settings
        self.folder, self.key, self.tell = folder, key, tell
        self.terms = {**task.terms, **settings.loss}
        self.average = Average(self.net, settings.ema)
        self.state = State()
        self.last: float | None = None
        self._optimiser: dict[str, Any] | None = None
        self._began = time.monotonic()

    def resume(self) -> None:
        """Take the checkpoint up, where there is one of this key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = load_checkpoint(self.folder, self.key)
        if found is not None:
            self.state, parts = found
            self.net.load_state_dict(parts["net"])
            self.average.net.load_state_dict(parts["average"])
            self.average.updates = int(parts["updates"])
            self._optimiser = parts["optimiser"]
            torch.set_rng_state(parts["torch"])

    def configure_optimizers(self) -> torch.optim.AdamW:
        """AdamW, with the state of the checkpoint."""
        settings = self.settings
        optimiser = adamw(self.net, settings.lr, settings.weight_decay, settings.encoder_rate)
        if self._optimiser is not None:
            optimiser.load_state_dict(self._optimiser)
            self._optimiser = None
        return optimiser

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """By norm; Lightning's own refuses fused optimisers, for the sake of float16.

        A finite loss may have gradients that are not: one step with them, and neither the weights
        nor the checkpoint of that step could be gone on from.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        if not torch.isfinite(norm):
            raise self.diverged("the gradient")

    def on_fit_start(self) -> None:
        """The average lives where the network does; the log goes on where the checkpoint is."""
        if self.trainer.is_global_zero:
            rewind(self.folder / LOG, self.state.step)
        self.average.net.to(self.device)
        self.net.train()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The weighted loss of one batch."""
        step, settings = self.state.step, self.settings
        for group in self.trainer.optimizers[0].param_groups:
            rate = settings.lr * group.get("share", 1.0)  # former checkpoints have none
            group["lr"] = rate * cosine(step, settings.steps, settings.warmup)
        terms = self.outputs_and_terms(self.net, batch)[1]
        loss = self.weighted(terms)
        if self.anywhere(not torch.isfinite(loss)):
            bad = [name for name, value in terms.items() if not torch.isfinite(value)]
            raise self.diverged(", ".join(bad) or "loss")
        for name, value in {**terms, "loss": loss}.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + float(value.detach())
        self.state.count += 1
        return loss

    def outputs_and_terms(self, net: nn.Module, batch: Batch) -> tuple[Any, dict[str, Tensor]]:
        """A network's answers to a batch, and the loss terms."""
        inputs = prepare(batch["images"], batch["valid"])
        outputs = net(inputs.contiguous(memory_format=torch.channels_last))
        with torch.autocast(self.device.type, enabled=False):
            return outputs, self.task.losses(outputs, batch)

    def weighted(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The terms' sum by weight."""
        return torch.stack([self.terms[name] * value for name, value in terms.items()]).sum()

    def anywhere(self, here: bool) -> bool:
        """Whether it is so in any of the processes: all stop together, and the first says why."""
        if self.trainer.world_size == 1:
            return here
        count = torch.tensor(float(here), device=self.device)
        return float(self.trainer.strategy.reduce(count, reduce_op="sum")) > 0

    def diverged(self, what: str) -> TrainingError:
        """Says at which step, what is not finite, and what is left."""
        there = (self.folder / LAST).exists()
        kept = f"the last good checkpoint is {self.folder / LAST}" if there else "no checkpoint yet"
        return TrainingError(
            "train",
            self.folder.name,
            f"diverged at step {self.state.step + 1}: {what} is not finite; {kept}",
            "lower lr, lengthen warmup, or look at the images of split train",
        )

    def on_train_batch_end(self, *_: Any) -> None:
        """Average, count, and now and then log, validate and save."""
        self.average.update(self.net)
        self.state.step += 1
        step, settings = self.state.step, self.settings
        first = self.trainer.is_global_zero
        done = step >= settings.steps
        loss = self.state.sums["loss"] / self.state.count
        if step % settings.log_every == 0 or done:
            self._log(first)
        often = settings.valid_every
        if (done or (often and step % often == 0)) and self.valid is not None and first:
            self._validate(self.valid)
        if (done or step % settings.checkpoint_every == 0) and first:
            self.save()
        if first:
            self.tell("step", {"done": step, "total": settings.steps, "loss": loss})

    def _elapsed(self) -> float:
        """Seconds of all runs so far; begins anew with each call."""
        now = time.monotonic()
        self.state.seconds += now - self._began
        self._began = now
        return self.state.seconds

    def _log(self, first: bool) -> None:
        count = max(1, self.state.count)
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        means = {name: round(value / count, 6) for name, value in self.state.sums.items()}
        self.state.sums, self.state.count = {}, 0
        self._row({"lr": lr, **means}, first)

    def _row(self, values: dict[str, Any], first: bool = True) -> None:
        if first:
            row = {"step": self.state.step, "seconds": round(self._elapsed(), 1), **values}
            append(self.folder / LOG, row)
            self.tell("row", row)

    def _validate(self, valid: Task) -> None:
        """Loss and metric of the averaged network on fixed held-out views."""
        batches = Batches(valid, self.settings.seed + HELD_OUT)
        meter, losses = valid.meter(), []
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            for k in range(self.settings.valid_batches):
                batch = self.transfer_batch_to_device(batches[k], self.device, 0)
                outputs, terms = self.outputs_and_terms(self.average.net, batch)
                losses.append(float(self.weighted(terms)))
                meter.add(outputs, batch)
        self.last = meter.value()
        values = {"valid_loss": sum(losses) / len(losses), f"valid_{valid.metric}": self.last}
        self._row({name: round(value, 6) for name, value in values.items()})
        if self.last > self.state.best:
            self.state.best, self.state.best_step = self.last, self.state.step
            save_weights(self.average.net, self.folder / BEST)

    def save(self) -> None:
        """Leave a checkpoint of the last finished step."""
        self._elapsed()
        parts = {
            "net": self.net.state_dict(),
            "average": self.average.net.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.trainer.optimizers[0].state_dict(),
        }
        save_checkpoint(self.folder, self.key, self.state, parts)

    def finish(self, weights: Path) -> None:
        """Leave the averaged weights."""
        save_weights(self.average.net, weights)

    def result(self, weights: Path) -> Trained:
        """What came out."""
        best = self.state.best if self.state.best >= 0 else None
        return Trained(
            weights,
            self.state.step,
            self.state.seconds,
            self.task.metric,
            best,
            self.state.best_step,
            self.last,
        )
