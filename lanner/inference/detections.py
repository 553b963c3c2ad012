"""What was found in one scene: the one result type of Python, local and remote."""

from __future__ import annotations

import base64
import html
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.errors import ConfigError, LannerError, SceneError

if TYPE_CHECKING:
    import geopandas as gpd

    from lanner.core.schema import Schema

Feature = Mapping[str, Any]
"""A GeoJSON feature: `id`, `geometry`, `properties`."""

PREVIEW_PX = 900
"""Longest side of the picture that a notebook shows."""

LONLAT = "EPSG:4326"


@dataclass(frozen=True)
class Detections:
    """The features of one scene, in final order.

    Iterating gives GeoJSON features as dicts (longitude and latitude; scene pixels where the
    scene has no CRS); `len` counts them; an index gives one of them, a slice or a boolean array
    fewer of them.

    Attributes:
        features: the same as compact RFC 7946 texts, byte for byte what `lanner detect` writes.
        summary: plain JSON data: counts, seconds by stage, scene, detector, checksums.
        scene: path or address of the scene, for `overlay`; None where it is not known here.
        gsd: ground sampling that was given for the scene, metres a pixel.
        crs: CRS that was given for the scene.
        candidates: what was left out, where it was asked for; `reason` says why each was.
    """

    features: Sequence[str] = field(repr=False)
    summary: Mapping[str, Any] = field(repr=False)
    scene: str | None = None
    gsd: float | None = None
    crs: str | None = None
    candidates: Detections | None = field(default=None, repr=False, compare=False)
    _frame: Any = field(default=None, repr=False, compare=False)
    _schema: Schema | None = field(default=None, repr=False, compare=False)
    _layer: str | None = field(default=None, repr=False, compare=False)
    # Keeps the file of a scene that came as an array for as long as the result is there.
    _held: Any = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (json.loads(text) for text in self.features)

    def __getitem__(self, index: Any) -> Any:
        """One feature of a number; `Detections` of a slice, a boolean array or numbers."""
        if isinstance(index, int):
            return json.loads(self.features[index])
        if isinstance(index, slice):
            return self._only(range(len(self))[index])
        import numpy as np

        chosen = np.asarray(index)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            raise IndexError(f"{chosen.shape} booleans for {len(self)} features")
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return self._only(rows.tolist())

    def filter(self, keep: Callable[[Feature], bool] | None = None, **wanted: Any) -> Detections:
        """Those that a function keeps, and whose properties have the wanted values.

        Args:
            keep: is given each feature and says whether it stays; None keeps all.
            wanted: property to value, or to a set, list or tuple of values:
                `found.filter(decision="accept", label={"aircraft"})`.

        Raises:
            ConfigError: a property that no feature has.
        """
        rows, known = [], set[str]()
        for row, feature in enumerate(self):
            facts = feature["properties"]
            known |= facts.keys()
            if all(_is(facts.get(name), value) for name, value in wanted.items()) and (
                keep is None or keep(feature)
            ):
                rows.append(row)
        unknown = [name for name in wanted if known and name not in known]
        if unknown:
            raise ConfigError(
                "filter",
                unknown[0],
                "is no property of these features",
                f"choose one of {', '.join(sorted(known))}",
            )
        return self._only(rows)

    @cached_property
    def gdf(self) -> gpd.GeoDataFrame:
        """A GeoDataFrame in the scene's CRS (from a server: in EPSG:4326), one row a feature.

        Where the scene has no CRS, its geometries are in scene pixels and its CRS is None.
        """
        return _frame_of(self) if self._frame is None else self._frame

    def to_file(self, path: str | os.PathLike[str]) -> Path:
        """Write .geojson, .json, .gpkg, .fgb or .parquet, and a QGIS style beside it.

        Raises:
            OutputError: unknown ending, GeoJSON for a scene without a CRS, no folder, no space.
        """
        from postprocess.writers import write

        target = Path(path)
        write(self.features, self.gdf, target, self._layer or self._detector, self._schema)
        return target

    @property
    def _detector(self) -> str | None:
        """Who found them, where the summary says so."""
        named = self.summary.get("detector")
        return named.get("name") if isinstance(named, Mapping) else None

    def overlay(
        self,
        path: str | os.PathLike[str],
        *,
        scene: str | os.PathLike[str] | None = None,
        max_side: int = 1600,
    ) -> Path:
        """Draw the features over the scene into a PNG.

        Args:
            path: file to write.
            scene: path or address of the scene; by default where it was read from.
            max_side: longest side of the picture in pixels.

        Raises:
            SceneError: the scene is not known here, or cannot be read any more.
            OutputError: the picture cannot be written.
        """
        from postprocess.overlay import draw_overlay

        where = self.scene if scene is None else os.fspath(scene)
        if where is None:
            raise SceneError(
                "scene", "", "is not known here: a server read it", "give `scene=`, its path here"
            )
        return draw_overlay(
            where, self.features, Path(path), max_side=max_side, gsd=self.gsd, crs=self.crs
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of features by label and decision, of those that are here."""
        found: dict[str, dict[str, int]] = {}
        for feature in self:
            facts = feature["properties"]
            row = found.setdefault(str(facts.get("label")), {})
            decision = str(facts.get("decision"))
            row[decision] = row.get(decision, 0) + 1
        return {label: dict(sorted(found[label].items())) for label in sorted(found)}

    def _only(self, rows: Sequence[int]) -> Detections:
        frame = None if self._frame is None else self._frame.iloc[list(rows)].reset_index(drop=True)
        return replace(self, features=tuple(self.features[row] for row in rows), _frame=frame)

    def _repr_html_(self) -> str:
        """A table of counts and a picture, for notebooks."""
        rows = "".join(
            f"<tr><td>{html.escape(label)}</td><td>{html.escape(decision)}</td><td>{n}</td></tr>"
            for label, row in self.counts().items()
            for decision, n in row.items()
        )
        name = html.escape(str(self.scene or self.summary.get("scene", {}).get("id", "")))
        table = (
            f"<p><b>{len(self)}</b> features in {name}</p>"
            f"<table><tr><th>label</th><th>decision</th><th>count</th></tr>{rows}</table>"
        )
        return table + self._picture()

    def _picture(self) -> str:
        """The overlay as an image of a page; a sentence where it cannot be drawn."""
        with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
            try:
                path = self.overlay(Path(folder) / "overlay.png", max_side=PREVIEW_PX)
            except LannerError as error:
                return f"<p>No picture: {html.escape(str(error))}</p>"
            data = base64.b64encode(path.read_bytes()).decode("ascii")
        return f'<img alt="features over the scene" src="data:image/png;base64,{data}"/>'


def _is(value: Any, wanted: Any) -> bool:
    several = isinstance(wanted, set | frozenset | list | tuple)
    return bool(value in wanted if several else value == wanted)


def _frame_of(found: Detections) -> gpd.GeoDataFrame:
    """The frame of feature texts alone, as a server sends them."""
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry import shape

    scene = found.summary.get("scene")
    placed = not isinstance(scene, Mapping) or "crs" not in scene or scene["crs"] is not None
    crs = LONLAT if placed else None
    every = list(found)
    names = dict.fromkeys(name for one in every for name in one["properties"])
    columns = {
        name: pd.Series([one["properties"].get(name) for one in every]) for name in names or ["id"]
    }
    shapes = gpd.GeoSeries([shape(one["geometry"]) for one in every], crs=crs)
    return gpd.GeoDataFrame(columns, geometry=shapes)
