"""What `lanner plan` and `lanner batch` have in common: sources, detectors, filters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanner.core.errors import ConfigError

if TYPE_CHECKING:
    import shapely

    from lanner.archives.scenes import Bounds, SceneFilter

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE…",
        show_default=False,
        help="Folder, glob, raster, list (.txt, .csv), STAC item, catalogue or API, GeoParquet of "
        "STAC items, s3:// or https:// prefix.",
    ),
]
Detectors = Annotated[
    list[str],
    typer.Option(
        "--detector",
        "-d",
        metavar="NAME|FILE.yaml",
        show_default=False,
        help="A released detector, NAME@RELEASE or a YAML file of your own. Give it again for "
        "more.",
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="gpkg|geojson|fgb|parquet",
        help="Files of each scene; gpkg where none is given. Give it again for more.",
    ),
]
Box = Annotated[
    str | None,
    typer.Option(
        "--bbox",
        metavar="W,S,E,N",
        show_default=False,
        help="Scenes that touch these degrees of longitude and latitude.",
    ),
]
Area = Annotated[
    Path | None,
    typer.Option(
        "--area", metavar="FILE", show_default=False, help="Scenes that touch the polygons of it."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="DATE", show_default=False, help="Scenes of this day or time and later."
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="DATE", show_default=False, help="Scenes of this day or time and before."
    ),
]
Cloud = Annotated[
    float | None,
    typer.Option(
        "--cloud",
        metavar="PERCENT",
        min=0,
        max=100,
        show_default=False,
        help="Scenes with no more cloud, where their catalogue says.",
    ),
]
Assets = Annotated[
    list[str] | None,
    typer.Option(
        "--asset",
        metavar="NAME",
        show_default=False,
        help="Asset of STAC items to read; the first that an item has of those given.",
    ),
]
Bands = Annotated[
    list[str] | None,
    typer.Option(
        "--band", metavar="NAME", show_default=False, help="A band that the asset must have."
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="PIXELS",
        min=64,
        show_default=False,
        help="Side of a tile in detector pixels; smaller needs less memory.",
    ),
]
Gsd = Annotated[
    float | None,
    typer.Option(
        "--gsd",
        metavar="METRES",
        min=0.001,
        show_default=False,
        help="Ground sampling of every scene, in place of what the files say.",
    ),
]
Crs = Annotated[
    str | None,
    typer.Option(
        "--crs", metavar="EPSG:CODE", show_default=False, help="CRS of scenes that say none."
    ),
]


def scene_filter(
    box: str | None,
    area: Path | None,
    since: str | None,
    until: str | None,
    cloud: float | None,
    assets: list[str] | None,
    bands: list[str] | None,
) -> SceneFilter:
    """The filter that the options ask for.

    Raises:
        ConfigError: a box that is no four numbers, or a file without polygons.
    """
    from lanner.archives.scenes import SceneFilter

    return SceneFilter(
        None if box is None else _bounds(box),
        None if area is None else _area(area),
        since,
        until,
        cloud,
        tuple(assets or ()),
        tuple(bands or ()),
    )


def _bounds(text: str) -> Bounds:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            "--bbox", text, "is no box of four numbers", "give west,south,east,north in degrees"
        ) from None
    return west, south, east, north


def _area(path: Path) -> shapely.Geometry:
    import geopandas as gpd
    import shapely

    try:
        frame = gpd.read_file(path)
    except (OSError, RuntimeError, ValueError) as error:  # pyogrio raises RuntimeErrors
        raise ConfigError(
            "--area", path, f"cannot be read ({error})", "give a file of polygons, such as GeoJSON"
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame) or not len(frame):
        raise ConfigError("--area", path, "holds no polygon", "give a file of polygons")
    if frame.crs is None:
        raise ConfigError(
            "--area",
            path,
            "says no CRS",
            "put it in: ogr2ogr -a_srs EPSG:CODE new.gpkg old, or give its .prj file, too",
        )
    return shapely.union_all(frame.to_crs("EPSG:4326").geometry.values)
