"""What every training run shares: schedule, averaged weights, logging, saving."""

from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file


def cosine(step: int, total: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    t = (step - warmup) / max(1, total - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, t)))


class Average:
    """Exponential moving average of a network's weights, the ones that are shipped."""

    def __init__(self, net, decay=0.998):
        self.net = copy.deepcopy(net).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net):
        """Move towards `net`; young averages move faster."""
        self.updates += 1
        d = min(self.decay, self.updates / (self.updates + 10))
        for a, b in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - d)
            else:
                a.copy_(b)


def adamw(net, lr, decay=0.05):
    """AdamW without weight decay on norms and biases."""
    flat = [p for p in net.parameters() if p.ndim <= 1]
    deep = [p for p in net.parameters() if p.ndim > 1]
    return torch.optim.AdamW(
        [{"params": deep, "weight_decay": decay}, {"params": flat, "weight_decay": 0.0}], lr=lr
    )


class Log:
    """Running means to the terminal and to a JSON-lines file."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "log.jsonl").open("a")
        self.start, self.sums, self.count = time.time(), {}, 0

    def add(self, step, total, every=50, **values):
        """Collect; print a line every `every` steps."""
        self.count += 1
        for k, v in values.items():
            self.sums[k] = self.sums.get(k, 0.0) + float(v)
        if step % every == every - 1:
            means = {k: round(v / self.count, 4) for k, v in self.sums.items()}
            line = {
                "step": step + 1,
                "of": total,
                "seconds": round(time.time() - self.start),
                **means,
            }
            print(json.dumps(line), flush=True)
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
            self.sums, self.count = {}, 0


def save(net, path: Path):
    """Weights as safetensors: convolutions in float16 (they run in bfloat16), the rest as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        k: (v.half() if v.dtype == torch.float32 and v.ndim > 1 else v)
        .detach()
        .contiguous()
        .clone()
        for k, v in net.state_dict().items()
    }
    save_file(state, str(path))
