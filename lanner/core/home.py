"""Where the released configurations and weights are. Ground floor: imports only the errors.

`LANNER_HOME` when it is set, else `lanner/data` of an installed wheel, else the checkout that this
package is imported from. The current folder is never looked at.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from lanner.core.errors import ConfigError

VARIABLE = "LANNER_HOME"
"""Environment variable naming a folder with `configs/` and `weights/`."""


def home() -> Path:
    """Folder that holds `configs/` and `weights/`.

    Raises:
        ConfigError: no such folder, or `LANNER_HOME` names one without `configs/`.
    """
    value = os.environ.get(VARIABLE)
    if value:
        if not (Path(value) / "configs").is_dir():
            raise ConfigError(
                VARIABLE,
                value,
                "has no folder configs/",
                "name the folder that holds configs/ and weights/, or unset it",
            )
        return Path(value).resolve()
    package = Path(str(files("lanner")))
    # Beside an installed package lie the folders of others.
    checkout = package.parent if (package.parent / "pyproject.toml").is_file() else package
    for place in (package / "data", checkout):
        if (place / "configs").is_dir():
            return place
    raise ConfigError(
        VARIABLE,
        "",
        "is not set and this installation of Lanner holds no configs/",
        "set it to the folder that holds configs/ and weights/",
    )


def configs_dir() -> Path:
    """Folder of the released detector configurations, one YAML file each."""
    return home() / "configs"


def weights_dir() -> Path:
    """Folder of the weights, `<detector>/<release>/` each."""
    return home() / "weights"
