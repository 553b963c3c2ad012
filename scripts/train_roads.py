"""Train the roads Res-UNet: python scripts/train_roads.py DATA OUT --steps 4000."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from training.common import Average, Log, adamw, cosine, save
from training.roads import (
    RoadBatches,
    Source,
    read_massachusetts,
    read_road_chips,
    road_loss,
    style_table,
)

from detectors.inputs import prepare
from detectors.resunet import ResUNet, ResUNetSpec


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--chips", type=Path, nargs="+", required=True, help="of make_chips.py")
    parser.add_argument("--start", type=Path, help="weights of an earlier run to go on from")
    parser.add_argument("--gentle", type=float, default=0.0, help="share of views changed little")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    rendered = [one for path in args.chips for one in read_road_chips(path)]
    sources = [
        Source(read_massachusetts(args.data, "train"), 0.78, 0.6, 2.2),
        Source(rendered, 0.22, 0.7, 1.5),
    ]
    batches = RoadBatches(sources, style_table(args.data), args.seed, args.gentle)
    loader = torch.utils.data.DataLoader(
        batches, batch_size=None, num_workers=args.workers, prefetch_factor=4
    )
    net = ResUNet(ResUNetSpec(("road", "centreline"), args.encoder)).to(
        memory_format=torch.channels_last
    )
    if args.start:
        net.load_state_dict(
            {
                k: v.float() if v.is_floating_point() else v
                for k, v in load_file(args.start).items()
            },
            strict=False,
        )
    average, optimiser, log = Average(net), adamw(net, args.lr), Log(args.out)
    net.train()
    for step, (images, shown, target, judged) in zip(range(args.steps), loader, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = args.lr * cosine(step, args.steps)
        x = prepare(images, shown).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        bce, dice, line = road_loss(logits, target, judged)
        optimiser.zero_grad()
        (bce + dice + 0.3 * line).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average.update(net)
        log.add(step, args.steps, bce=bce.item(), dice=dice.item(), line=line.item())
        if step % 300 == 299:
            save(average.net, args.out / "resunet.safetensors")
    save(average.net, args.out / "resunet.safetensors")


if __name__ == "__main__":
    main()
