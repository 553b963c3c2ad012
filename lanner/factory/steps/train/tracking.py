"""MLflow: parameters, metrics and tags of each member's run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.errors import OutputError
from lanner.factory.project import Project

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DATABASE = "mlflow.db"


class Tracker:
    """One run of an MLflow store, gone on with where it was begun before.

    Args:
        project: names the experiment and the store: a SQLite file in the working folder unless
            `train.tracking` gives an address.
        member: the run's name.
        key: of the job; a run of the same key is gone on with.
        tags: further facts.

    Raises:
        OutputError: the store cannot be reached or written.
    """

    def __init__(self, project: Project, member: str, key: str, tags: Mapping[str, str]) -> None:
        # Nothing about the user goes out, and a server that is gone is said within seconds.
        for name, value in (
            ("MLFLOW_DISABLE_TELEMETRY", "true"),
            ("DO_NOT_TRACK", "true"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "15"),
        ):
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        own = project.config.train.tracking is None
        if own and "?" in str(project.folder):
            # What follows it is no part of the path to MLflow: the file would lie elsewhere.
            raise OutputError(
                "--workdir",
                project.folder,
                "has a ? in its name, where MLflow can keep no runs",
                "name another folder, or a store in train.tracking",
            )
        project.folder.mkdir(parents=True, exist_ok=True)
        self.address = address_of(project)
        with self._translated_errors():
            self.client: MlflowClient = MlflowClient(self.address)
            experiment = self._experiment(project.config.factory, project.folder if own else None)
            found = self.client.search_runs([experiment], f"tags.key = '{key}'", max_results=1)
            if found:
                self.run = found[0].info.run_id
                self.client.update_run(self.run, status="RUNNING")
            else:
                begun = self.client.create_run(
                    experiment, tags={**tags, "key": key}, run_name=member
                )
                self.run = begun.info.run_id

    def _experiment(self, name: str, folder: Path | None) -> str:
        there = self.client.get_experiment_by_name(name)
        if there is not None:
            return str(there.experiment_id)
        place = None if folder is None else (folder / "mlflow").resolve().as_uri()
        return str(self.client.create_experiment(name, artifact_location=place))

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise OutputError(
                "train.tracking",
                self.address,
                f"MLflow says: {error.message}",
                "correct the address, or leave it out for a file in the working folder",
            ) from error

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; those of a run that is gone on with are there already."""
        from mlflow.entities import Param

        with self._translated_errors():
            listed = [Param(name, str(value)) for name, value in values.items()]
            self.client.log_batch(self.run, params=listed)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Record facts that may be others the next time."""
        with self._translated_errors():
            for name, value in values.items():
                self.client.set_tag(self.run, name, str(value))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record figures of one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._translated_errors():
            listed = [Metric(name, float(value), now, step) for name, value in values.items()]
            self.client.log_batch(self.run, metrics=listed)

    def end(self, status: str) -> None:
        """Close the run: FINISHED, FAILED or KILLED."""
        with self._translated_errors():
            self.client.set_terminated(self.run, status)


def address_of(project: Project) -> str:
    """The MLflow store: `train.tracking`, else a SQLite file in the work folder."""
    return project.config.train.tracking or f"sqlite:///{project.folder / DATABASE}"


def ui_command(project: Project) -> str:
    """The command that shows the store's runs in a browser, as a shell takes it."""
    beside = Path(sys.executable).with_name("mlflow")
    program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
    return shlex.join([program, "ui", "--backend-store-uri", address_of(project)])


def commit_of(folder: Path) -> str:
    """The git commit that a folder is at, with `+` where files were changed; "" without git."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *args], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
