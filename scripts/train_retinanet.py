"""Train the aircraft RetinaNet: python scripts/train_retinanet.py DATA OUT --steps 4500."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from training.boxes import BoxBatches, box_loss
from training.common import Average, Log, adamw, cosine, save
from training.sources import Compositor, aerial, hrplanes, negatives, read_chips

from detectors.inputs import prepare
from detectors.retinanet import RetinaNet, RetinaNetSpec


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--chips", type=Path, required=True, help="rendered chips of make_chips.py")
    parser.add_argument("--start", type=Path, help="weights of an earlier run to go on from")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    clean = negatives(args.data)
    train, _ = hrplanes(args.data)
    chips, _ = read_chips(args.chips)
    groups = [
        (train, 0.5, 1.6),
        (aerial(args.data), 0.7, 2.4),
        (clean, 0.3, 1.2),
        (chips, 0.5, 1.5),
    ]
    batches = BoxBatches(groups, [0.54, 0.16, 0.08, 0.12], Compositor(args.data, clean), args.seed)
    loader = torch.utils.data.DataLoader(
        batches, batch_size=None, num_workers=args.workers, prefetch_factor=4
    )
    net = RetinaNet(RetinaNetSpec(classes=1)).to(memory_format=torch.channels_last)
    if args.start:
        net.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in load_file(args.start).items()}
        )
    average, optimiser, log = Average(net), adamw(net, args.lr), Log(args.out)
    net.train()
    for step, (images, valid, boxes, ignored) in zip(range(args.steps), loader, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = args.lr * cosine(step, args.steps)
        x = prepare(images, valid).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits, offsets, anchors = net(x)
        cls, reg = box_loss(logits, offsets, anchors, boxes, ignored)
        optimiser.zero_grad()
        (cls + reg).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average.update(net)
        log.add(step, args.steps, cls=cls.item(), reg=reg.item())
        if step % 300 == 299:
            save(average.net, args.out / "retinanet.safetensors")
    save(average.net, args.out / "retinanet.safetensors")


if __name__ == "__main__":
    main()
