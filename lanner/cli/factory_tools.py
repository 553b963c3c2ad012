"""`lanner factory init | compare | forecast | reproduce | hook`: what is beside the steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.cli.reporting import AsJson, Debug, reporting

hook = typer.Typer(help="A push to a branch `train/NAME` starts a factory.", no_args_is_help=True)


def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", show_default=False, help="Where to; made if need be."),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format", help="Of your labels: coco, dota, yolo, voc, geo, masks or images."
        ),
    ] = "coco",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the detector is called.")
    ] = "mine",
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            metavar="A,B",
            help="What it finds; THEIRS=A where the labels call it otherwise.",
        ),
    ] = "object",
    gsd: Annotated[
        float,
        typer.Option("--gsd", metavar="METRES", min=0.001, help="What the networks work at."),
    ] = 0.5,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="FOLDER", help="Folder of the images; relative means from DIR."
        ),
    ] = "data",
    network: Annotated[
        str,
        typer.Option(
            "--network",
            help="retinanet: boxes, of any classes; resunet: outlines, of one class.",
        ),
    ] = "retinanet",
    debug: Debug = False,
) -> None:
    """Write a detector and a factory file to begin with, every key explained.

    For labels of tanks as GeoJSON beside GeoTIFFs:

        lanner factory init tanks --format geo --name tanks --classes tank --data ../images

    Labels that lie there already say which of their classes is which, and where splits are. Then
    set the sources' names and run `lanner factory explore`.
    """
    with reporting(debug):
        from lanner.factory.starter import write_starter

        wanted = tuple(one.strip() for one in classes.split(",") if one.strip())
        files = write_starter(
            folder, form, name, wanted, gsd, data, network, lambda line: typer.echo(line, err=True)
        )
        for path in files:
            typer.echo(str(path))


def compare(
    a: Annotated[
        Path,
        typer.Argument(metavar="A", show_default=False, help="Folder of an `evaluate` run."),
    ],
    b: Annotated[
        Path,
        typer.Argument(
            metavar="B",
            show_default=False,
            help="Another, or a detector's YAML to look at A's predictions with.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for table and pictures.")
    ] = Path("compared"),
    split: Annotated[str, typer.Option("--split", help="Which images.")] = "test",
    draws: Annotated[int, typer.Option("--draws", min=1, help="Of the bootstrap.")] = 500,
    worst: Annotated[int, typer.Option("--worst", min=0, help="Pictures of disagreement.")] = 12,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """How much better B is than A on the same images, with paired intervals and pictures.

    Two runs:

        lanner factory compare runs/old/05_evaluate runs/new/05_evaluate

    One run at two operating points:

        lanner factory compare runs/tanks/05_evaluate runs/tanks/06_search/best.yaml
    """
    with reporting(debug):
        from lanner.factory.compare import compare_runs

        err_console = Console(stderr=True)
        with progress_on(err_console, quiet=as_json) as show:
            done = compare_runs(a, b, out, split=split, draws=draws, worst=worst, tell=show)
        if as_json:
            typer.echo(json.dumps(done.facts(), indent=2))
            return
        console = Console()
        console.print(_differences(done.rows))
        _open(console, done.show)


def forecast(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG.yaml]", show_default=False, help="The factory file, for --run."
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            "--points",
            metavar="FILE.csv",
            show_default=False,
            help="Columns labels, score: what trainings with fewer labels reached.",
        ),
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Train with 1/8, 1/4 and 1/2 of the labels, and all.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of each training of --run.")] = 300,
    target: Annotated[
        float, typer.Option("--target", min=0.0, max=1.0, help="The score to reach.")
    ] = 0.95,
    figure: Annotated[str, typer.Option("--figure", help="Which figure is the score.")] = "f1",
    have: Annotated[
        int | None,
        typer.Option(
            "--have",
            metavar="N",
            min=0,
            show_default="most labels of a point",
            help="Labels there are.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for curve and numbers.")
    ] = Path("forecast"),
    workdir: Annotated[Path | None, typer.Option("--workdir", metavar="DIR")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """How many more labels the target needs, from a learning curve, with an interval.

    From scores you have:

        lanner factory forecast --points curve.csv --target 0.95

    From short trainings on parts of the data:

        lanner factory forecast tanks.factory.yaml --run --steps 300
    """
    with reporting(debug):
        from lanner.core.job import Cancel
        from lanner.factory.forecast import forecast_points, measure_points, read_points
        from lanner.factory.project import open_project

        err_console, cancel = Console(stderr=True), Cancel()
        with cancel_on_signal(cancel, err_console), progress_on(err_console, quiet=as_json) as show:
            if run and config is not None:
                project = open_project(config, workdir, cancel, show)
                measured = measure_points(project, out, steps=steps, figure=figure)
            else:
                measured = read_points(points)
            done = forecast_points(measured, target, out, have=have)
        if as_json:
            typer.echo(json.dumps(done.facts(), indent=2))
            return
        console = Console()
        console.print(done.sentence, markup=False, highlight=False, soft_wrap=True)
        _open(console, done.show)


def reproduce(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            show_default=False,
            help="Folder of a factory, or of its `evaluate` step.",
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", show_default="the run's own", help="Another factory file."
        ),
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Train again as well.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", show_default="a temporary one", help="Fresh folder."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Do an evaluation again from its record and compare every figure, byte for byte.

    Ends with 0 only where everything is identical; differences are printed.

        lanner factory reproduce runs/aircraft
    """
    with reporting(debug):
        from lanner.core.job import Cancel
        from lanner.factory.reproduce import reproduce_run

        err_console, cancel = Console(stderr=True), Cancel()
        with cancel_on_signal(cancel, err_console), progress_on(err_console, quiet=as_json) as show:
            done = reproduce_run(run, config, out, train=train, cancel=cancel, tell=show)
        if as_json:
            typer.echo(json.dumps(done.facts(), indent=2))
        else:
            typer.echo(done.sentence)
            for line in done.differences:
                typer.echo(line)
        done.refuse()


@hook.command()
def install(
    repo: Annotated[
        Path,
        typer.Argument(metavar="BARE_REPO", show_default=False, help="A bare git repository."),
    ],
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            metavar="DIR",
            show_default="lanner-train in the repository",
            help="Where pushes are checked out, run and logged.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace another hook; it is kept beside.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Let a push to `train/NAME` start `lanner factory all` on the pushed factory file.

    The push does not wait. Trainings take turns; each logs to DIR/NAME/COMMIT.log and says how
    it went in COMMIT.json.

        lanner factory hook install /srv/git/tanks.git
        git push origin HEAD:train/first
    """
    with reporting(debug):
        from lanner.factory.hook import install as write_hook

        typer.echo(str(write_hook(repo, work, force=force)))


def _differences(rows: list[dict[str, Any]]) -> Table:
    table = Table("figure", "A", "B", "B - A", "interval", "verdict")
    for row in rows:
        span = "" if row["low"] is None else f"{row['low']:+.4f} .. {row['high']:+.4f}"
        cells = (row["figure"], *(f"{row[key]:.4f}" for key in "ab"), f"{row['difference']:+.4f}")
        table.add_row(*(Text(cell) for cell in (*cells, span, row["verdict"])))
    return table


def _open(console: Console, paths: tuple[Path, ...]) -> None:
    for path in paths:
        console.print(f"open {path}", markup=False, highlight=False, soft_wrap=True)
