"""`lanner render` and `lanner sample`: images whose ground truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from lanner.cli.progress import progress_on
from lanner.cli.reporting import Debug, reporting
from lanner.core.errors import ConfigError, OutputError
from lanner.core.folders import check_folder, check_name

ENDINGS = (".tif", ".tiff")

Number = TypeVar("Number", int, float)


def render(
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.tif",
            help="GeoTIFF to write; the truth goes beside it.",
            show_default=False,
        ),
    ],
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Pixels across and down.")
    ] = "2048x2048",
    gsd: Annotated[float, typer.Option("--gsd", metavar="METRES", help="Metres a pixel.")] = 0.5,
    seed: Annotated[
        int,
        typer.Option("--seed", help="Everything random follows from it; one seed is one place."),
    ] = 0,
    aircraft: Annotated[
        int | None,
        typer.Option(
            "--aircraft",
            metavar="N",
            show_default="a busy day",
            help="How many aircraft, as far as there is room.",
        ),
    ] = None,
    roads: Annotated[bool, typer.Option("--roads/--no-roads", help="Draw roads.")] = True,
    clouds: Annotated[
        float,
        typer.Option("--clouds", metavar="SHARE", help="Share of the scene under cloud, 0 to 0.9."),
    ] = 0.0,
    dtype: Annotated[
        str, typer.Option("--dtype", help="uint8, uint16, int16 or float32.")
    ] = "uint8",
    bands: Annotated[
        int, typer.Option("--bands", help="1 panchromatic, 3 colour, 4 with near infrared.")
    ] = 3,
    nodata: Annotated[
        str,
        typer.Option(
            "--nodata",
            help="How missing pixels are marked, in a corner left out of the swath: "
            "none, value, nan, alpha, mask or sidecar.",
        ),
    ] = "none",
    epsg: Annotated[
        int | None,
        typer.Option("--epsg", metavar="CODE", show_default="UTM", help="CRS of the file."),
    ] = None,
    at: Annotated[
        str, typer.Option("--at", metavar="LON,LAT", help="Where its first pixel is, in degrees.")
    ] = "11.78,48.36",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Render a scene with aircraft and roads, and the exact truth about them as GeoJSON.

    **Examples**

    A megapixel to try a detector on:

        lanner render scene.tif --size 1024x1024

    A large 16-bit scene with clouds and a missing corner:

        lanner render big.tif --size 20000x20000 --dtype uint16 --clouds 0.2 --nodata value
    """
    with reporting(debug):
        if out.suffix.lower() not in ENDINGS:
            raise OutputError("OUT.tif", out, "does not end in .tif", "name a .tif file")
        for path in (out, out.with_suffix(".truth.geojson")):
            check_name("OUT.tif", path)
        check_folder("OUT.tif", out.parent)
        width, height = _pair("--size", size, "x", int, "2048x2048")
        lon, lat = _pair("--at", at, ",", float, "11.78,48.36")
        from lanner.synth.scene import render as render_to
        from lanner.synth.spec import RenderSpec

        spec = RenderSpec(
            width=width,
            height=height,
            gsd=gsd,
            seed=seed,
            epsg=epsg,
            lon=lon,
            lat=lat,
            dtype=dtype,  # type: ignore[arg-type]  # the spec checks it
            bands=bands,  # type: ignore[arg-type]  # the spec checks it
            nodata=nodata,  # type: ignore[arg-type]  # the spec checks it
            nodata_wedge=nodata != "none",
            aircraft=aircraft,
            roads=roads,
            clouds=clouds,
        )
        with progress_on(Console(stderr=True), quiet=quiet) as show:
            done = render_to(out, spec, show)
        if not quiet:
            typer.echo(f"{done.scene}: {done.aircraft} aircraft, {done.roads} roads")
            typer.echo(f"{done.truth}: where they are")


def sample(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder to write to; made if need be.", show_default=False
        ),
    ],
    images: Annotated[int, typer.Option("--images", metavar="N", help="How many.")] = 20,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Pixels across and down.")
    ] = "384x384",
    gsd: Annotated[float, typer.Option("--gsd", metavar="METRES", help="Metres a pixel.")] = 0.8,
    seed: Annotated[int, typer.Option("--seed", help="Everything random follows from it.")] = 1,
    at: Annotated[
        str, typer.Option("--at", metavar="LON,LAT", help="Where the first lies, in degrees.")
    ] = "11.78,48.36",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
    debug: Debug = False,
) -> None:
    """Render storage tanks with labels: a folder to learn making a detector with.

    Each image is a GeoTIFF with a GeoJSON file of the same stem, one polygon a tank;
    docs/tutorial.md makes a detector of them.

    **Examples**

    Twenty images to train and test with, and one larger scene of another place:

        lanner sample images

        lanner sample new --images 1 --size 1024x1024 --seed 2 --at 12.6,48.9
    """
    with reporting(debug):
        check_name("DIR", folder)
        if folder.exists() and not folder.is_dir():
            raise OutputError("DIR", folder, "is a file", "name a folder")
        width, height = _pair("--size", size, "x", int, "384x384")
        lon, lat = _pair("--at", at, ",", float, "11.78,48.36")
        from lanner.synth.spec import RenderSpec
        from lanner.synth.tank_folder import write_folder

        spec = RenderSpec(width=width, height=height, gsd=gsd, seed=seed, lon=lon, lat=lat)
        with progress_on(Console(stderr=True), quiet=quiet) as show:
            done = write_folder(folder, spec, images, show)
        if not quiet:
            typer.echo(f"{folder}: {len(done.images)} images, {done.tanks} tanks")


def _pair(
    argument: str, text: str, between: str, kind: Callable[[str], Number], example: str
) -> tuple[Number, Number]:
    """Two numbers written as in `example`.

    Raises:
        ConfigError: anything else.
    """
    try:
        first, second = (kind(part) for part in text.lower().split(between))
    except ValueError as error:
        raise ConfigError(
            argument, text, "is not a pair of numbers", f"write it as in {example}"
        ) from error
    return first, second
