"""One measurement in a process of its own: a job as the line on stdin, the answer a JSON file.

It ends when stdin does: whoever asked may be killed, and is not measured for any longer.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from lanner.cli.bench.job import Job, Measured
from lanner.cli.bench.memory import peak_mb, resident_mb
from lanner.core.errors import FLAGS, LannerError
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detectors.device import Compute

LIBRARIES = (
    "lanner.inference.tiles",
    "lanner.inference.manifest",
    "postprocess.chain",
    "postprocess.writers",
)
"""What a run imports when it begins: in a server it is there."""


def measure(job: Job) -> Measured:
    """Run the detector over the scene once, then its networks by themselves.

    Raises:
        LannerError: as `lanner.inference.pipeline.detect`.
    """
    since = time.perf_counter()
    request = _request(job)
    compute, nets = _load(job, request)
    load_s = time.perf_counter() - since
    model = resident_mb()
    counted = dict.fromkeys(nets, 0)
    result, seconds, stages = _timed(request, nets, counted, compute)
    peak = peak_mb()
    gpu, gpu_mb = _gpu(compute)
    plan, scene = result.summary["plan"], result.summary["scene"]
    detector = result.summary["detector"]
    bare, share = (_bare(request, nets, counted, plan["tile"], compute)) if job.bare else ({}, 0.0)
    return Measured(
        detector=detector["name"],
        release=detector["release"],
        members=tuple(detector["members"]),
        runs_on=detector["runs_on"],
        threads=_threads(),
        width=scene["width"],
        height=scene["height"],
        megapixels=result.summary["megapixels"],
        tile=plan["tile"],
        tiles=plan["tiles"],
        objects=len(result.features),
        load_s=load_s,
        seconds=seconds,
        stages=stages,
        bare=bare,
        bare_share=share,
        model_mb=model,
        peak_mb=peak,
        gpu=gpu,
        gpu_mb=gpu_mb,
    )


def main(answer: Path) -> None:
    """Measure the job on stdin; an error of ours is written like an answer."""
    reply: dict[str, Any]
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        job = Job.from_json(stdin.readline().decode())
    Thread(target=_end_with_stdin, daemon=True).start()
    try:
        reply = {"measured": asdict(measure(job))}
    except LannerError as error:
        # `lanner bench` asked for it, so in the words of the command line.
        cli_error = error.spelled(FLAGS)
        facts = [cli_error.argument, str(cli_error.value), cli_error.problem, cli_error.remedy]
        reply = {"error": type(error).__name__, "facts": facts}
    answer.write_text(json.dumps(reply), encoding="utf-8")


def _end_with_stdin() -> None:
    # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


def _request(job: Job) -> DetectRequest:
    return DetectRequest(
        scene=job.scene,
        detector=job.detector,
        gsd=job.gsd,
        device=job.device,
        tile=job.tile,
        members=job.members,
    )


def _load(job: Job, request: DetectRequest) -> tuple[Compute, dict[str, nn.Module]]:
    """Libraries imported, networks loaded and tried, as the pipeline will find them."""
    from lanner.inference.registry import find, load
    from lanner.inference.warm import warm

    # A wrong name is told before anything heavy is imported.
    entry = find(request.detector)

    from detectors.ensemble import Ensemble

    for name in LIBRARIES:
        import_module(name)
    predictor = load(entry, request).predictor
    assert isinstance(predictor, Ensemble)
    # As in a server, or from the second scene of a batch on.
    warm(request.detector, request.device, request.members)
    return predictor.compute, {one.config.name: one.net for one in predictor.members}


def _timed(
    request: DetectRequest,
    nets: dict[str, nn.Module],
    counted: dict[str, int],
    compute: Compute,
) -> tuple[DetectResult, float, dict[str, float]]:
    """One run; counts the tiles that each network was shown on the way."""
    from lanner.cli.bench.bare import BEFORE, wait, watching
    from lanner.inference.pipeline import detect

    stage, turn = "", Lock()

    def follow(progress: Progress) -> None:
        nonlocal stage
        stage = progress.stage

    def count(name: str, inputs: Tensor) -> None:
        # Later stages look at single objects again.
        with turn:
            counted[name] += len(inputs) if stage in BEFORE else 0

    with watching(nets, count):
        since = time.perf_counter()
        result = detect(request, Cancel(), follow)
        wait(compute)
        seconds = time.perf_counter() - since
    return result, seconds, dict(result.summary["seconds"])


def _bare(
    request: DetectRequest,
    nets: dict[str, nn.Module],
    counted: dict[str, int],
    tile: int,
    compute: Compute,
) -> tuple[dict[str, float], float]:
    """Seconds of each network for all tiles, and the share of tiles it was measured on."""
    from lanner.cli.bench.bare import record, replay
    from lanner.inference.pipeline import detect

    def run(cancel: Cancel, tell: Callable[[Progress], None]) -> DetectResult:
        return detect(request, cancel, tell)

    records = record(nets, tile, run)
    bare, share = {}, 1.0
    for name, network in records.items():
        whole = counted[name]
        if network.tiles == 0 or whole == 0:
            # Nothing valid in the scene: no network was asked.
            return {}, 0.0
        bare[name] = replay(nets[name], network.inputs, compute) * whole / network.tiles
        share = min(share, network.tiles / whole)
    return bare, share


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _gpu(compute: Compute) -> tuple[str | None, float | None]:
    """Name of the GPU and the most megabytes that were held on it; neither on a CPU."""
    if compute.device.type != "cuda":
        return None, None
    import torch

    most = torch.cuda.max_memory_allocated(compute.device) / 1e6
    return torch.cuda.get_device_name(compute.device), most


if __name__ == "__main__":
    main(Path(sys.argv[1]))
