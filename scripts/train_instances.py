"""Train the aircraft Res-UNet: train_instances.py DATA MASKS CHIPS OUT --encoder-from W."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from training.common import Average, Log, adamw, cosine, save
from training.instances import InstanceBatches, from_composites, from_pictures, instance_loss
from training.masks import without_shadow
from training.sources import Compositor, aerial, hrplanes, negatives, read_chips

from detectors.inputs import prepare
from detectors.resunet import ResUNet, ResUNetSpec


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("chips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--encoder-from", type=Path, help="RetinaNet weights whose residual body starts the encoder"
    )
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights of an earlier run to go on from")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    clean = negatives(args.data)
    train, _ = hrplanes(args.data)
    masks = dict(np.load(args.masks))
    masks = {p.name: without_shadow(p.rgb, masks[p.name], p.boxes) for p in train}
    makers = [
        (0.45, from_pictures(train, masks, 0.6, 1.8)),
        (0.08, from_pictures(aerial(args.data), {}, 0.8, 2.4)),
        (0.06, from_pictures(clean, {}, 0.3, 1.2)),
        (0.25, from_composites(Compositor(args.data, clean))),
        (0.22, from_pictures(*read_chips(args.chips), 0.7, 2.2)),
    ]
    loader = torch.utils.data.DataLoader(
        InstanceBatches(makers, args.seed),
        batch_size=None,
        num_workers=args.workers,
        prefetch_factor=4,
    )
    net = ResUNet(ResUNetSpec(("object", "boundary", "centre"))).to(
        memory_format=torch.channels_last
    )
    if args.encoder_from:
        body = {
            k.removeprefix("body."): v.float()
            for k, v in load_file(args.encoder_from).items()
            if k.startswith("body.")
        }
        own = net.net.encoder.state_dict()
        own.update({k: v for k, v in body.items() if k in own})
        net.net.encoder.load_state_dict(own)
    if args.start:
        net.load_state_dict({k: v.float() for k, v in load_file(args.start).items()})
    else:
        torch.nn.init.constant_(net.net.segmentation_head[0].bias, -3.0)
    average, optimiser, log = Average(net), adamw(net, args.lr), Log(args.out)
    net.train()
    for step, (images, target, valid, boxes) in zip(range(args.steps), loader, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = args.lr * cosine(step, args.steps)
        x = prepare(images, valid).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        seg, line, centre, projection = instance_loss(logits, target, valid, boxes)
        optimiser.zero_grad()
        (seg + line + 0.5 * centre + 0.3 * projection).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average.update(net)
        log.add(
            step,
            args.steps,
            seg=seg.item(),
            line=line.item(),
            centre=centre.item(),
            projection=projection.item(),
        )
        if step % 200 == 199:
            save(average.net, args.out / "resunet.safetensors")
    save(average.net, args.out / "resunet.safetensors")


if __name__ == "__main__":
    main()
