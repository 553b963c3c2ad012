"""Step `train`: every member that the factory file names, one after the other, each resumable."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from lanner.core.errors import Cancelled, LannerError
from lanner.core.job import Progress
from lanner.factory.files import write_text
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.samples import read_samples
from lanner.factory.steps.train.child import job_file, run_member
from lanner.factory.steps.train.draw import draw_curves
from lanner.factory.steps.train.pace import Pace, expected
from lanner.factory.steps.train.plan import NO_MATTER, Job, check, dataset_key, job_of
from lanner.factory.steps.train.tracking import Tracker, commit_of, ui_command

RECORD = "member.json"
CURVES = "curves.png"
BATCHES = "batches.png"


def run(project: Project) -> Outcome:
    """Train the members of `train.members` from the frozen dataset, but for those kept.

    Leaves `<member>.safetensors` (averaged weights) and, in `<member>/`, the log, the last
    checkpoint, the best weights by metric, curves and a sheet of views. A member whose weights
    follow from the same things as before is kept; a killed one goes on from its checkpoint.

    Raises:
        ConfigError, DatasetError: the configuration does not fit the detector or the dataset.
        TrainingError: nothing to learn from, or training diverged.
        OutputError: something cannot be written, or the tracking store cannot be reached.
    """
    detector = project.detector()
    samples = read_samples(project.need("dataset", SAMPLES))
    check(project, detector, samples)
    version, dataset = dataset_key(project, samples)
    tags = {"dataset": version, "commit": commit_of(project.detector_path.parent)}
    members: dict[str, Any] = {}
    show: list[Path] = []
    for name in project.config.train.trained:
        project.cancel.check()
        job = job_of(project, detector, name, dataset)
        members[name] = _kept(job) or _trained(project, job, tags)
        show += [job.folder / CURVES, job.folder / BATCHES]
    summary: dict[str, Any] = {"dataset": version, "members": members}
    if members:
        summary["all runs"] = ui_command(project)
    return Outcome(summary, tuple(show))


def _kept(job: Job) -> dict[str, Any] | None:
    """What was said of a member that is finished and still right."""
    try:
        record = json.loads((job.folder / RECORD).read_text(encoding="utf-8"))
        same = record["key"] == job.key and record["sha256"] == _sha256(job.weights)
    except (OSError, ValueError, KeyError):
        return None
    return {**record["summary"], "kept": True} if same else None


def _trained(project: Project, job: Job, tags: dict[str, str]) -> dict[str, Any]:
    """Train one member, followed by MLflow."""
    from detectors.training.log import LOG, read_log

    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / RECORD).unlink(missing_ok=True)
    before = job_file(job.folder)
    resumed = before is not None and before.key == job.key
    if before is not None and resumed and job.training.threads is None:
        # Sums depend on the number of threads: a resumed run keeps its own.
        job = job.model_copy(update={"threads": before.threads})
    tracker = Tracker(project, job.member, job.key, tags)
    numbers = {**job.training.model_dump(mode="json"), "seed": job.seed, "threads": job.threads}
    tracker.params({name: value for name, value in numbers.items() if name not in NO_MATTER})
    # MLflow has parameters stay what they were; these may change when a run is gone on with.
    tracker.tags({name: value for name, value in numbers.items() if name in NO_MATTER})

    pace, stage = Pace(), f"train {job.member}"

    def on(what: str, facts: dict[str, Any]) -> None:
        if what == "row":
            step = facts["step"]
            tracker.metrics(step, {k: v for k, v in facts.items() if k not in ("step", "seconds")})
        elif what == "pace":
            if resumed:
                return  # its own steps soon tell what is left of them
            remark = expected(job, facts["seconds"], project.path.name)
            project.tell(Progress(stage, 0, job.training.steps, remark=remark))
        elif what == "step":
            done, total = facts["done"], facts["total"]
            pace.add(done, time.monotonic())
            project.tell(Progress(stage, done, total, pace.words(total, facts["loss"])))
        else:
            project.tell(Progress("decode", facts["done"], facts["total"]))

    try:
        done = run_member(job, project.cancel, on)
    except LannerError as error:
        tracker.end("KILLED" if isinstance(error, Cancelled) else "FAILED")
        raise
    tracker.end("FINISHED")
    rows = read_log(job.folder / LOG)
    draw_curves(rows, job.folder / CURVES, f"{job.member}, {job.training.steps} steps")
    summary = {
        "steps": done["steps"],
        "seconds": round(done["seconds"], 1),
        **{k: v for k, v in rows[-1].items() if k.startswith("valid_")},
        "best": {"metric": done["metric"], "value": done["best"], "step": done["best_step"]},
        "mlflow": tracker.run,
        "sha256": _sha256(job.weights),
    }
    record = {"key": job.key, "sha256": summary["sha256"], "tags": tags, "summary": summary}
    write_text(json.dumps(record, indent=1, sort_keys=True), job.folder / RECORD)
    return summary


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
