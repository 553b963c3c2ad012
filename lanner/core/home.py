"""Where the released configurations and weights are. Ground floor: imports only the errors.

`LANNER_HOME` when it is set, else the checkout that this package is imported from, else
`share/lanner` of the environment, where a wheel puts them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lanner.core.errors import ConfigError

VARIABLE = "LANNER_HOME"
"""Environment variable naming a folder with `configs/` and `weights/`."""


def home() -> Path:
    """Folder that holds `configs/` and `weights/`.

    Raises:
        ConfigError: no such folder, or `LANNER_HOME` names one without `configs/`.
    """
    said = os.environ.get(VARIABLE)
    if said:
        if not (Path(said) / "configs").is_dir():
            raise ConfigError(
                VARIABLE,
                said,
                "has no folder configs/",
                "name the folder that holds configs/ and weights/, or unset it",
            )
        return Path(said).resolve()
    for place in (Path(__file__).resolve().parents[1], Path(sys.prefix) / "share" / "lanner"):
        if (place / "configs").is_dir():
            return place
    raise ConfigError(
        VARIABLE,
        "",
        "is not set and no configs/ folder is beside Lanner",
        "set it to the folder that holds configs/ and weights/",
    )


def configs_dir() -> Path:
    """Folder of the released detector configurations, one YAML file each."""
    return home() / "configs"


def weights_dir() -> Path:
    """Folder of the weights, `<detector>/<release>/` each."""
    return home() / "weights"
