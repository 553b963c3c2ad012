"""What a report leads to. Use: `from tests.fixtures_reports import dead_links`."""

import re
from pathlib import Path
from urllib.parse import unquote

from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.raw import RawSet


def links(page: Path) -> list[Path]:
    """Files that a page leads to, as a browser finds them from where it lies."""
    text = page.read_text(encoding="utf-8")
    found = [one for one in re.findall(r'href="([^"]*)"', text) if not one.startswith("#")]
    return [(page.parent / unquote(one.partition("#")[0])) for one in found]


def dead_links(page: Path) -> list[Path]:
    """Those of them that are no files, and places of the page itself that it does not have."""
    text = page.read_text(encoding="utf-8")
    lost = [one for one in re.findall(r'href="#([^"]*)"', text) if f'id="{one}"' not in text]
    return [*(one for one in links(page) if not one.is_file()), *map(Path, lost)]


def not_led_to(page: Path, raw: RawSet) -> set[Path]:
    """What a report of evaluate should lead to and does not, and links of it that are dead.

    It leads to its tables, to each image, and to a picture of what was found in it.
    """
    names = ("figures.json", "objects.csv", "timing.json", "calibration.json")
    pictures = page.parent / "pictures" / "test"
    wanted = {(page.parent / name).resolve() for name in names}
    for sample in raw.samples:
        wanted |= {sample.image.resolve(), (pictures / f"{store.stem(sample.id)}.jpg").resolve()}
    return (wanted - {path.resolve() for path in links(page)}) | set(dead_links(page))
