"""Names of scenes: safe as file names, and each used once."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

LONGEST = 100
"""Characters of a name."""
DIGITS = 8
"""Of the checksum that tells two scenes of one name apart."""
_MOST_SHOWN = 3


def safe_name(text: str) -> str:
    """A name of letters, digits, `.`, `_` and `-` that begins with none of `.` and `-`.

    Accents are dropped; other characters become `_`, several in a row one.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(one for one in plain if not unicodedata.combining(one))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).lstrip(".-")
    return plain[:LONGEST] or "scene"


def unique_names(scenes: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names for scenes, in their order, of which no two are alike in small letters.

    Where several have one name, each of them gets `-` and digits of its uri's checksum. A name
    does not depend on the order.

    Args:
        scenes: for each the text that its name is made of, and its uri, which no other has.
    """
    digits = [0] * len(scenes)
    while True:
        names = [_named(text, uri, n) for (text, uri), n in zip(scenes, digits, strict=True)]
        alike = defaultdict(list)
        for index, name in enumerate(names):
            alike[name.lower()].append(index)
        clashes = [group for group in alike.values() if len(group) > 1]
        if not clashes:
            return tuple(names)
        for group in clashes:
            # One that got its digits keeps them beside another that was called so all along.
            shortest = min(digits[index] for index in group)
            for index in group:
                if digits[index] == shortest:
                    digits[index] += DIGITS


def _named(text: str, uri: str, digits: int) -> str:
    name = safe_name(text)
    if not digits:
        return name
    # A path may hold bytes that are no Unicode.
    checksum = hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{name[: LONGEST - 1 - digits]}-{checksum}"


def clash_note(before: Sequence[str], after: Sequence[str]) -> str | None:
    """A sentence on the names that several scenes had; None where there are none.

    Args:
        before: what their names were made of.
        after: their names.
    """
    changed = sorted(
        {
            name
            for text, final in zip(before, after, strict=True)
            if (name := safe_name(text)) != final
        }
    )
    if not changed:
        return None
    names = ", ".join(changed[:_MOST_SHOWN])
    if len(changed) > _MOST_SHOWN:
        names += f" and {len(changed) - _MOST_SHOWN} more"
    return (
        f"Several scenes are called {names}: the names of their outputs end in {DIGITS} digits of "
        "the checksum of each address."
    )
