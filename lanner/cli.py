"""The command line. Heavy libraries are imported inside the commands, so that help is quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lanner import __version__
from lanner.cli_output import check_outputs, check_run_dir
from lanner.cli_progress import cancel_on_signal, progress_on
from lanner.cli_report import AsJson, Debug, reporting
from lanner.cli_serve import serve
from lanner.cli_show import detectors_table, errors_table, summary_tables
from lanner.job import Cancel, DetectRequest

app = typer.Typer(
    help="Find aircraft and roads in satellite GeoTIFFs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)

@app.command()
def detect(
    scene: Annotated[str, typer.Argument(
        help="GeoTIFF, JPEG 2000 or other raster: a path, or an http(s):// or s3:// address.",
        metavar="SCENE", show_default=False)],
    detector: Annotated[str, typer.Option(
        "--detector", "-d", metavar="NAME|FILE.yaml", show_default=False,
        help="A released detector (see `lanner detectors`) or a YAML file of your own.")],
    out: Annotated[list[Path], typer.Option(
        "--out", "-o", metavar="FILE", show_default=False,
        help="File to write: .geojson, .gpkg, .fgb or .parquet. Give it again for more files.")],
    run: Annotated[Path | None, typer.Option(
        "--run", metavar="DIR", show_default=False,
        help="Keep tiles and snapshots here; the same command resumes from them.")] = None,
    gsd: Annotated[float | None, typer.Option(
        "--gsd", metavar="METRES", min=0.001, show_default=False,
        help="Ground sampling of the scene, where the file has no CRS or a wrong one.")] = None,
    device: Annotated[str, typer.Option(
        "--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    tile: Annotated[int | None, typer.Option(
        "--tile", metavar="PIXELS", min=64, show_default=False,
        help="Side of a tile in detector pixels; smaller needs less memory.")] = None,
    members: Annotated[str | None, typer.Option(
        "--members", metavar="A,B", show_default=False,
        help="Only these networks of the ensemble.")] = None,
    quiet: Annotated[bool, typer.Option(
        "--quiet", "-q", help="No progress and no tables.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find objects in one scene and write them as vector features.

    **Examples**

    Aircraft, as GeoJSON for the web and as GeoPackage for QGIS:

        lanner detect airport.tif -d aircraft -o aircraft.geojson -o aircraft.gpkg

    Roads of a large scene, so that it can be stopped and resumed:

        lanner detect county.tif -d roads -o roads.gpkg --run county.run

    A picture without georeference, 0.5 m a pixel (features come in scene pixels):

        lanner detect photo.png -d aircraft --gsd 0.5 -o photo.geojson
    """
    again = (f"run the same command again to resume from {run}" if run
             else "nothing was kept: with --run DIR the same command would resume")
    with reporting(debug, again):
        check_outputs(out, scene)
        if run is not None:
            check_run_dir(run)
        request = DetectRequest(
            scene=scene, detector=detector, gsd=gsd, device=device, tile=tile,
            members=_names(members), run_dir=run,
        )
        summary = _detect_and_write(request, out, quiet=quiet)
        if as_json:
            typer.echo(json.dumps({**summary, "written": [str(path) for path in out]}, indent=2))
        elif not quiet:
            console = Console()
            for table in summary_tables(summary, out):
                console.print(table)


def _names(members: str | None) -> tuple[str, ...] | None:
    """The names in `a,b`; None where nothing was said."""
    if members is None:
        return None
    return tuple(name.strip() for name in members.split(",") if name.strip())


def _detect_and_write(
    request: DetectRequest, out: list[Path], *, quiet: bool
) -> dict[str, object]:
    """Run the request, write every file, and give the summary."""
    from lanner.pipeline import detect as run_detect
    from postprocess.writers import write

    console, cancel = Console(stderr=True), Cancel()
    with cancel_on_signal(cancel, console), progress_on(console, quiet=quiet) as show:
        result = run_detect(request, cancel, show)
        for path in out:
            cancel.check()
            write(result.features, result.frame, path)
    return dict(result.summary)


@app.command()
def detectors(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the released detectors: what they find, at which ground sampling, by which networks."""
    with reporting(debug):
        from lanner.pipeline import list_detectors

        found = list_detectors()
        if as_json:
            from dataclasses import asdict

            typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        else:
            Console().print(detectors_table(found))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("demo"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    debug: Debug = False,
) -> None:
    """Render a scene with known aircraft and roads, find them, and draw what was found."""
    with reporting(debug):
        from lanner.demo import run_demo

        console = Console()
        console.print(run_demo(out, device, console))
        console.print(f"Open {out}/aircraft.png and {out}/roads.png, or drag a .gpkg into QGIS.")


@app.command()
def errors(as_json: AsJson = False) -> None:
    """Print every error with its exit code, HTTP status and gRPC status."""
    if as_json:
        from lanner.cli_show import error_rows

        rows = [{"error": name, "exit": row.exit, "http": row.http, "grpc": row.grpc,
                 "meaning": text} for name, text, row in error_rows()]
        typer.echo(json.dumps(rows, indent=2))
    else:
        Console().print(errors_table())


@app.command()
def version() -> None:
    """Print the version of Lanner and of what it stands on."""
    from importlib.metadata import version as installed

    typer.echo(f"lanner {__version__}")
    typer.echo(f"python {sys.version.split()[0]}")
    for name in ("torch", "rasterio", "geopandas", "grpcio"):
        typer.echo(f"{name} {installed(name)}")


def main() -> None:
    """Entry point of the `lanner` program."""
    app(prog_name="lanner")
