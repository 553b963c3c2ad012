"""What a report leads to. Use: `from tests.fixtures_reports import dead_links`."""

import re
from pathlib import Path
from urllib.parse import unquote


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
