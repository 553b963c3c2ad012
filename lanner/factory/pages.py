"""Reports as HTML pages: one look for all, pictures inside, links to the files they are about."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from lanner.factory.files import WORKDIR, keep, write_text

TEMPLATE = "report.html"
"""A page's own part, in the package that writes it; it extends `page.html` beside this module."""

QUALITY = 86
"""Of JPEG."""


def write_page(
    package: str, path: Path, argument: str = WORKDIR, template: str = TEMPLATE, **facts: Any
) -> Path:
    """Fill a package's template and write the page; the same facts give the same bytes.

    Args:
        package: whose template it is; modules say `__package__`.
        path: of the page.
        argument: what named the folder, for messages.
        template: the file in the package.
        facts: what the template asks for. `link` is there as well: the address of a file.

    Raises:
        OutputError: it cannot be written.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, select_autoescape

    own, shared = PackageLoader(package, "."), PackageLoader(str(__package__), ".")
    environment = Environment(
        loader=ChoiceLoader([own, shared]),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["link"] = lambda file: address(Path(file), path)
    write_text(environment.get_template(template).render(**facts), path, argument)
    return path


def address(file: Path, page: Path) -> str:
    """A file as a page names it: relative to the page, so that both may be moved together."""
    return quote(os.path.relpath(file.absolute(), page.absolute().parent))


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """(h, w, 3) uint8 as JPEG."""
    done, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"no JPEG of {rgb.shape}")
    return bytes(data.tobytes())


def write_jpeg(rgb: NDArray[np.uint8], path: Path, argument: str = WORKDIR) -> Path:
    """Write (h, w, 3) uint8 as JPEG; returns `path`.

    Raises:
        OutputError: it cannot be written.
    """
    data = jpeg(rgb)
    keep(lambda beside: beside.write_bytes(data), path, argument)
    return path


def inside(content: bytes, kind: str = "jpeg") -> str:
    """The bytes of a picture as the address of an image inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def number(value: float | None, whole: bool = False) -> str:
    """A figure: three decimals, or a whole number; a dash where nothing can be said."""
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.0f}" if whole else f"{value:.3f}"


def span(figure: Mapping[str, float | None], whole: bool = False) -> str:
    """The interval of a figure; empty where it has none."""
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return ""
    return f"{number(low, whole)} to {number(high, whole)}"


def bar(figure: Mapping[str, float | None]) -> dict[str, str] | None:
    """Where value and interval lie on a bar from 0 to 1, in per cent; None where it is no share."""
    value, low, high = (figure.get(name) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return None
    if not all(0 <= one <= 1 for one in (value, low, high)):
        return None
    return {
        "from": f"{100 * low:.1f}%",
        "width": f"{100 * (high - low):.1f}%",
        "at": f"{100 * value:.1f}%",
    }


__all__ = ["address", "bar", "inside", "jpeg", "number", "span", "write_jpeg", "write_page"]
