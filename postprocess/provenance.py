"""What was done to each object, held in few bytes: the column `steps` of a frame.

To whoever reads it, a value is a list of {"step", "did"} dicts. Held are the JSON texts of what was
done, each once, and for every object the numbers of its texts: as Python objects they would take
several times as much as the objects' shapes.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray, ExtensionDtype, take

Entry = dict[str, str]
Codes = NDArray[np.int32]

PART = 1000
"""Objects whose values are made at once."""

FEW = 10_000
"""Texts that are looked up before one is held again."""


class ProvenanceDtype(ExtensionDtype):  # type: ignore[misc] # no types
    """The type of such a column."""

    name = "told"
    type = list
    na_value = None

    @classmethod
    def construct_array_type(cls) -> builtins.type[ProvenanceArray]:
        """What holds the values."""
        return ProvenanceArray


class ProvenanceArray(ExtensionArray):  # type: ignore[misc] # no types
    """n lists of what was done, first to last, or None; never changed.

    `words` are JSON texts, and `codes` (n, k) says which of them belong to an object, those of
    shorter lists at the right and -1 before; None is -1 throughout.
    """

    def __init__(self, words: pa.StringArray, codes: Codes) -> None:
        self.words, self.codes = words, codes
        self._part: tuple[int, list[list[Entry] | None]] = (-1, [])

    @classmethod
    def of(cls, values: Iterable[Sequence[Entry] | None]) -> ProvenanceArray:
        """Hold these."""
        if isinstance(values, pd.Series) and isinstance(values.array, ProvenanceArray):
            return values.array
        words, rows, past = [pa.array([], pa.string())], [], 0
        known: dict[str, int] = {}
        left = iter(values)
        while some := list(islice(left, PART)):
            if len(known) > FEW:  # so many have something of their own to say
                words.append(pa.array(list(known), pa.string()))
                past, known = past + len(known), {}
            # Objects share what is the same for them.
            entries = {id(entry): entry for row in some for entry in row or ()}
            code = {
                at: past + known.setdefault(json.dumps(entry), len(known))
                for at, entry in entries.items()
            }
            rows += [np.array([code[id(entry)] for entry in row or ()], np.int32) for row in some]
        words.append(pa.array(list(known), pa.string()))
        wide = max(map(len, rows), default=0)
        codes = np.full((len(rows), wide), -1, np.int32)
        for row, line in zip(codes, rows, strict=True):
            row[wide - len(line) :] = line
        return cls(pa.concat_arrays(words), codes)

    def longer(
        self, name: str, outcomes: Sequence[str | None], notes: Sequence[Entry]
    ) -> ProvenanceArray:
        """The same with a step at the end; objects of which nothing is told begin with `notes`."""
        known: dict[str, int] = {}
        last = np.fromiter(
            (known.setdefault(str(what or "kept"), len(known)) for what in outcomes),
            np.int32,
            len(outcomes),
        )
        past, fresh = self.codes, self.isna()
        words = [self.words]
        if fresh.any() and len(notes):
            past = _widened(past, len(notes))
            past[fresh, -len(notes) :] = len(self.words) + np.arange(len(notes))
            words.append(pa.array([json.dumps(note) for note in notes], pa.string()))
        start = sum(map(len, words))
        words.append(pa.array([json.dumps({"step": name, "did": k}) for k in known], pa.string()))
        return ProvenanceArray(pa.concat_arrays(words), np.column_stack([past, start + last]))

    def texts(self) -> list[str | None]:
        """The JSON text of every list, as `json.dumps` would write it."""
        words, lines = self._used()
        return [f"[{', '.join(words[i] for i in line)}]" if line else None for line in lines]

    def _used(self) -> tuple[list[str], list[list[int]]]:
        """The words that are in use, and each list's places among them."""
        used, place = np.unique(self.codes, return_inverse=True)
        none = int(len(used) > 0 and used[0] < 0)
        words = self.words.take(pa.array(used[none:])).to_pylist()
        place = place.reshape(self.codes.shape) - none
        return words, [line[line >= 0].tolist() for line in place]

    def _values(self) -> list[list[Entry] | None]:
        """All values; what is the same for several objects is one dict."""
        words, lines = self._used()
        entries = json.loads(f"[{','.join(words)}]")
        return [[entries[i] for i in line] or None for line in lines]

    # What pandas asks of an array.

    @classmethod
    def _from_sequence(
        cls, scalars: Any, *, dtype: Any = None, copy: bool = False
    ) -> ProvenanceArray:
        return cls.of(scalars)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[ProvenanceArray]) -> ProvenanceArray:
        start = np.cumsum([0, *(len(part.words) for part in to_concat)])
        wide = max(part.codes.shape[1] for part in to_concat)
        codes = [
            _widened(np.where(part.codes < 0, -1, part.codes + low).astype(np.int32), wide)
            for part, low in zip(to_concat, start, strict=False)
        ]
        return cls(pa.concat_arrays([part.words for part in to_concat]), np.concatenate(codes))

    @property
    def dtype(self) -> ProvenanceDtype:
        """The column's type."""
        return ProvenanceDtype()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.codes.nbytes + self.words.nbytes)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, int | np.integer):
            row = range(len(self))[item]
            if self._part[0] != row // PART:  # neighbours are asked for next
                low = row // PART * PART
                self._part = (
                    row // PART,
                    ProvenanceArray(self.words, self.codes[low : low + PART])._values(),
                )
            return self._part[1][row % PART]
        return ProvenanceArray(
            self.words, self.codes[pd.api.indexers.check_array_indexer(self, item)]
        )

    def __iter__(self) -> Iterator[Any]:
        for low in range(0, len(self), PART):
            yield from ProvenanceArray(self.words, self.codes[low : low + PART])._values()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.fromiter(self, dtype=object, count=len(self))

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        return pa.array(list(self), type)

    __hash__ = None  # type: ignore[assignment]  # as pandas has it

    def __eq__(self, other: Any) -> Any:
        return np.array([a == b for a, b in zip(self, other, strict=True)], np.bool_)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """As another type; as objects, the values."""
        return self.copy() if dtype == self.dtype else np.asarray(self).astype(dtype)

    def isna(self) -> NDArray[np.bool_]:
        """(n,) whether a value is None."""
        return np.asarray((self.codes < 0).all(axis=1), np.bool_)

    def take(
        self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None
    ) -> ProvenanceArray:
        """The values at those places; with `allow_fill` None at -1."""
        return ProvenanceArray(
            self.words, take(self.codes, indices, allow_fill=allow_fill, fill_value=-1)
        )

    def copy(self) -> ProvenanceArray:
        """The same, held anew."""
        return ProvenanceArray(self.words, self.codes.copy())


def _widened(codes: Codes, wide: int) -> Codes:
    """The same, copied, with at least so many columns."""
    more = max(wide - codes.shape[1], 0)
    return np.pad(codes, ((0, 0), (more, 0)), constant_values=-1)
