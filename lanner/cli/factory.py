"""`lanner factory`: from a folder of images to a released detector, step by step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lanner.cli.factory_tools import compare, forecast, hook, init, reproduce
from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.cli.reporting import AsJson, Debug, reporting

if TYPE_CHECKING:
    from lanner.factory.project import Outcome, Project
    from lanner.factory.step_status import StepState

factory = typer.Typer(
    help="Make and improve detectors: YAML in, a released version out. Start with `init`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

File = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG.yaml",
        show_default=False,
        help="The factory file; `lanner factory init` writes one to begin with.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="Run it even where nothing has changed.")
]
Workdir = Annotated[
    Path | None,
    typer.Option(
        "--workdir",
        metavar="DIR",
        show_default="runs/<factory>",
        help="Where the steps leave their snapshots.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]


_HELP = {
    "explore": """Step 1: read the sources and say how good they are.

    Writes `report.html` (class balance, sizes, duplicates, leakage between splits, doubtful
    labels) and `findings.json`. Fails where there is more of something than `explore.limits`
    allows; the report is written even then.

        lanner factory explore tanks.factory.yaml
    """,
    "process": """Step 2: masks, composites, rendered images, repaired labels: what `process` lists.

    Every change is in `changes.jsonl`; a picture an operation shows what it did.

        lanner factory process tanks.factory.yaml
    """,
    "dataset": """Step 3: freeze a version: splits, checksums, exports.

    The same images, labels and settings give the same version, wherever they lie.

        lanner factory dataset tanks.factory.yaml
    """,
    "train": """Step 4: train the members that `train.members` lists.

    Stopped or killed, the same command goes on from the last checkpoint, on a CPU to the very
    weights an undisturbed run would have given. Runs are tracked with MLflow.

        lanner factory train tanks.factory.yaml
    """,
    "evaluate": """Step 5: predict, calibrate, measure, with intervals and worst cases.

    Writes `report.html` and `figures.json`. Raw predictions are kept: search, release and
    compare work on them.

        lanner factory evaluate tanks.factory.yaml
    """,
    "search": """Step 6: find operating points on the stored predictions; no network is run.

    Writes `points.csv`, `pareto.png` and `best.yaml`, the detector with the chosen point. Take
    it over by copying it over the detector's file, then evaluate and release. Stopped, it goes
    on where it was.

        lanner factory search tanks.factory.yaml
    """,
    "release": """Step 7: calibrate, set the accept threshold, check the gates, write the weights.

    Writes `weights/<detector>/<release>/` and `accept_at` into the detector's file. Refuses
    where a gated figure is worse than that of the released version beyond its interval, and then
    leaves everything as it was.

        lanner factory release tanks.factory.yaml
    """,
    "all": """Every step in order; those that are still right are skipped.

    A search is run where `search.space` names something.

        lanner factory all tanks.factory.yaml
    """,
}
"""The commands that run steps; they differ in which."""


def _add(name: str, text: str) -> None:
    """One command that runs the step of its name, or all."""

    def command(
        config: File,
        force: Force = False,
        workdir: Workdir = None,
        quiet: Quiet = False,
        as_json: AsJson = False,
        debug: Debug = False,
    ) -> None:
        _steps(None if name == "all" else (name,), config, force, workdir, quiet, as_json, debug)

    command.__doc__ = text
    factory.command(name=name)(command)


for _name, _text in _HELP.items():
    _add(_name, _text)


@factory.command()
def status(
    config: File, workdir: Workdir = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Which steps are fresh, stale (something they follow from has changed) or missing."""
    with reporting(debug):
        from lanner.factory.project import open_project
        from lanner.factory.step_status import step_states

        project = open_project(config, workdir)
        states = step_states(project)
        if as_json:
            rows = [
                {"step": s.step, "state": s.state, "seconds": s.seconds, "folder": str(s.folder)}
                for s in states
            ]
            typer.echo(json.dumps(rows, indent=2))
            return
        console = Console()
        console.print(_states_table(states))
        # Without a space there is nothing to search, and `all` leaves it out.
        wanted = [s for s in states if s.step != "search" or project.config.search.space]
        behind = next((s.step for s in wanted if s.state != "fresh"), None)
        if behind:
            _say(console, f"Next: lanner factory {behind} {project.asked}")


factory.command()(init)
factory.command()(compare)
factory.command()(forecast)
factory.command()(reproduce)
factory.add_typer(hook, name="hook")


def _steps(
    steps: tuple[str, ...] | None,
    config: Path,
    force: bool,
    workdir: Path | None,
    quiet: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Run these steps (None: all), showing progress on stderr and what they say on stdout."""
    with reporting(debug, f"the same command goes on from there: {config}"):
        from lanner.core.job import Cancel
        from lanner.factory.project import STEPS, open_project
        from lanner.factory.runner import run_step

        console = Console(stderr=True)
        cancel = Cancel()
        done: list[tuple[str, Outcome, bool]] = []
        try:
            with (
                cancel_on_signal(cancel, console),
                progress_on(console, quiet=quiet or as_json) as show,
            ):
                project = open_project(config, workdir, cancel, show)
                chosen = STEPS if steps is None else steps
                if steps is None and not project.config.search.space:
                    chosen = tuple(step for step in chosen if step != "search")
                for step in chosen:
                    cancel.check()
                    outcome, ran = run_step(project, step, force)
                    done.append((step, outcome, ran))
        finally:
            # What was done is worth seeing where a later step fails, most of all before a gate.
            if not (quiet or as_json):
                _show(done)
        if as_json:
            typer.echo(json.dumps([_plain(project, *one) for one in done], indent=2))


def _show(done: Sequence[tuple[str, Outcome, bool]]) -> None:
    """What steps said, and the files worth opening."""
    console = Console()
    for step, outcome, ran in done:
        console.print(_outcome_table(step, outcome, ran))
        for path in outcome.show:
            _say(console, f"open {path}")


def _plain(project: Project, step: str, outcome: Outcome, ran: bool) -> dict[str, Any]:
    return {
        "step": step,
        "ran": ran,
        "folder": str(project.step_dir(step)),
        "summary": outcome.summary,
        "show": [str(path) for path in outcome.show],
    }


def _outcome_table(step: str, outcome: Outcome, ran: bool) -> Table:
    table = Table(step, "done now" if ran else "unchanged since its last run")
    for name, value in flat(outcome.summary):
        # As Text: a value may hold what rich would take for markup.
        table.add_row(_plain_text(name), _plain_text(value))
    return table


def _states_table(states: tuple[StepState, ...]) -> Table:
    table = Table("step", "state", "last run", "folder")
    colour = {"fresh": "green", "stale": "yellow", "missing": "dim"}
    for one in states:
        took = "" if one.seconds is None else f"{one.seconds:.1f} s"
        state = f"[{colour[one.state]}]{one.state}[/]"
        table.add_row(one.step, state, took, _plain_text(str(one.folder)))
    return table


def flat(summary: object, name: str = "") -> list[tuple[str, str]]:
    """Nested JSON data as rows of dotted name and text; lists of plain values on one line."""
    if isinstance(summary, dict):
        return [
            row
            for key, value in summary.items()
            for row in flat(value, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(summary, list | tuple):
        return [(name, ", ".join(str(one) for one in summary))]
    return [(name, f"{summary:.4g}" if isinstance(summary, float) else str(summary))]


def _plain_text(value: str) -> Any:
    from rich.text import Text

    return Text(value)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
