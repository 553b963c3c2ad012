"""What the user of a scene should be told although nothing failed: a sentence each."""

from __future__ import annotations

from tiling.grid import Grid
from tiling.normalise import Stretch
from tiling.sample import Level
from tiling.scene import Scene


def notes_of(scene: Scene, grid: Grid, stretch: Stretch) -> tuple[str, ...]:
    """Notes on how a scene is read on a grid, in the order of opening, reading, normalising.

    Raises:
        SceneError: the scene cannot be read.
    """
    asked, taken = Level.of(scene, grid), Level.checked(scene, grid)
    blank: tuple[str, ...] = ()
    if asked != taken:
        blank = (
            "The scene's overviews do not show what its pixels show (blank, or older); the pixels "
            "are read instead, which takes longer. To make them anew: gdaladdo -clean SCENE, then "
            "gdaladdo -r average SCENE",
        )
    return (*scene.notes, *blank, *stretch.notes)
