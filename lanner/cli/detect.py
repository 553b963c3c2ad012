"""`lanner detect`: from one scene to files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lanner.cli.outputs import check_candidates, check_layers, check_outputs, check_place
from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.cli.remote import Server, Token, detect_on_server
from lanner.cli.reporting import INCOMPLETE, AsJson, Debug, reporting
from lanner.cli.tables import summary_tables
from lanner.cli.write import write_outputs
from lanner.core.job import Cancel, DetectRequest, DetectResult
from lanner.inference.run_folder import check_run_dir
from tiling.names import is_remote, local_file

AUTO, LEAST_GSD = "auto", 0.001


def _known_gsd(value: str | None) -> str | None:
    """`--gsd` as it was written, if it is metres above 0 or `auto`."""
    if value is None or value == AUTO:
        return value
    try:
        metres = float(value)
    except ValueError:
        metres = math.nan
    if not (math.isfinite(metres) and metres >= LEAST_GSD):
        raise typer.BadParameter(f"{value!r} is neither metres above {LEAST_GSD:g} nor {AUTO!r}.")
    return value


def detect(
    scene: Annotated[
        str,
        typer.Argument(
            help="GeoTIFF, JPEG 2000 or other raster: a path, or an http(s):// or s3:// address.",
            metavar="SCENE",
            show_default=False,
        ),
    ],
    detector: Annotated[
        str,
        typer.Option(
            "--detector",
            "-d",
            metavar="NAME|FILE.yaml",
            show_default=False,
            help="A released detector (see `lanner detectors`), one of its releases as "
            "NAME@RELEASE, or a YAML file of your own.",
        ),
    ],
    out: Annotated[
        list[Path],
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            show_default=False,
            help="File to write: .geojson, .json, .gpkg, .fgb or .parquet. Give it again for more. "
            "A GeoPackage keeps its other layers.",
        ),
    ],
    candidates: Annotated[
        Path | None,
        typer.Option(
            "--candidates",
            metavar="FILE",
            show_default=False,
            help="Write what is not worth a look too, each with the reason; a GeoPackage of --out "
            "gets a layer of it.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            show_default=False,
            help="Keep tiles and snapshots in this folder; the same command resumes from them.",
        ),
    ] = None,
    gsd: Annotated[
        str | None,
        typer.Option(
            "--gsd",
            metavar="METRES|auto",
            show_default=False,
            callback=_known_gsd,
            help="Ground sampling of the scene, where the file has no CRS or a wrong one: all "
            "metres follow it, coordinates stay those of the file. With auto it is estimated from "
            "the sizes of what is found.",
        ),
    ] = None,
    crs: Annotated[
        str | None,
        typer.Option(
            "--crs",
            metavar="EPSG:CODE",
            show_default=False,
            help="CRS of a scene that says none, such as a JPEG with a world file.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            metavar="PIXELS",
            min=64,
            show_default=False,
            help="Side of a tile in detector pixels; smaller needs less memory.",
        ),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            "--members",
            metavar="A,B",
            show_default=False,
            help="Only these networks of the ensemble.",
        ),
    ] = None,
    server: Server = None,
    token: Token = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no tables.")
    ] = False,
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

        lanner detect photo.png -d aircraft --gsd 0.5 -o photo.json

    The same where nobody knows its ground sampling:

        lanner detect photo.png -d aircraft --gsd auto -o photo.json

    By a server, to which the scene is sent:

        lanner detect airport.tif -d aircraft -o aircraft.gpkg --server gpu.example.org:50051
    """
    again = (
        f"run the same command again to resume from {run}"
        if run
        else "nothing was kept: with --run DIR the same command would resume"
    )
    with reporting(debug, again):
        check_outputs(out, scene, run)
        if candidates is not None:
            check_candidates(candidates, out, scene, run)
        if not is_remote(scene) and server is None:
            local_file(scene)  # a misspelt path is told before any library is loaded
        metres = None if gsd in (None, AUTO) else float(gsd)
        # With `auto` there will be some ground sampling, whichever.
        some = 1.0 if gsd == AUTO else metres
        check_place(out, scene, some, crs)
        if candidates is not None:
            check_place([candidates], scene, some, crs, "--candidates")
        if run is not None:
            check_run_dir(run, scene)
        request = DetectRequest(
            scene=scene,
            detector=detector,
            gsd=metres,
            device=device,
            tile=tile,
            members=_names(members),
            run_dir=run,
            candidates=candidates is not None,
            crs=crs,
            estimate_gsd=gsd == AUTO,
        )
        summary: Mapping[str, Any]
        if server is not None:
            summary, notes = detect_on_server(server, token, request, out, quiet=quiet)
        else:
            check_layers(out, candidates, request)
            result, notes = detect_and_write(request, out, candidates, quiet=quiet)
            summary = result.summary
        out = list(dict.fromkeys([*out, *([candidates] if candidates else [])]))
        if as_json:
            written = [str(path) for path in out]
            typer.echo(json.dumps({**summary, "written": written, "notes": notes}, indent=2))
        elif not quiet:
            console = Console()
            for table in summary_tables(summary, out):
                console.print(table)
            for note in notes:
                console.print(note, markup=False, highlight=False, soft_wrap=True)
        if unread := summary.get("unread"):
            from tiling.unread import blocks_text

            told = f"error: the result is partial: {blocks_text(len(unread))} of the scene"
            typer.echo(f"{told} cannot be read; fetch the file again", err=True)
            raise typer.Exit(INCOMPLETE)


def _names(members: str | None) -> tuple[str, ...] | None:
    """The names in `a,b`; None where nothing was said."""
    if members is None:
        return None
    return tuple(name.strip() for name in members.split(",") if name.strip())


def detect_and_write(
    request: DetectRequest,
    out: Sequence[Path],
    candidates: Path | None = None,
    *,
    quiet: bool = False,
) -> tuple[DetectResult, Sequence[str]]:
    """Run the request, showing progress on stderr, and write every file.

    Args:
        request: what to find where.
        out: files for what was found.
        candidates: file for what was left out, which the request asks for then.
        quiet: without progress.

    Returns:
        What was found, and what there is to say of the scene and of files that hold more than
        that, a line each.

    Raises:
        LannerError: what the pipeline or a writer raises; `Cancelled` after a Ctrl-C.
    """
    from lanner.inference.manifest import record_outputs
    from lanner.inference.pipeline import detect as run_detect

    console, cancel = Console(stderr=True), Cancel()
    with cancel_on_signal(cancel, console), progress_on(console, quiet=quiet) as show:
        result = run_detect(request, cancel, show)
        written = write_outputs(result, out, candidates, request.run_dir, cancel)
        if request.run_dir is not None:
            record_outputs(request.run_dir, [*out, *([candidates] if candidates else [])])
        return result, [*result.summary["notes"], *written]
