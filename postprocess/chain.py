"""Runs a chain of steps, leaving a snapshot after each, so that any step can be rerun.

What a step receives is always what its snapshot says (it is read back), so a run that restarts
in the middle gives the same bytes as one that did not.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from shapely.errors import ShapelyError

from lanner.core.config import StepSpec
from lanner.core.errors import ConfigError, StepError
from lanner.core.files import replacing
from lanner.core.job import Progress
from lanner.core.machine import trim_heap
from lanner.core.schema import Schema
from postprocess import contract
from postprocess.chain_files import files_named, find_files
from postprocess.context import Context
from postprocess.frame import MANY, column, empty, tidy
from postprocess.provenance import ProvenanceArray
from postprocess.registry import Step, step
from postprocess.snapshots import read_snapshot, write_snapshot

REJECTED = "rejected.parquet"
RECORD = "chain.json"
FORMER_NOTE = "did"
"""What steps called `note` before; private ones may still set it."""
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    ShapelyError,
    TypeError,
    ValueError,
)
"""What a step's own fault looks like. A LannerError passes as it is: it already explains."""


@dataclass(frozen=True)
class ChainResult:
    """Objects kept, and those taken out with `rejected`, `rejected_by` and `rejected_at`."""

    objects: gpd.GeoDataFrame
    rejected: gpd.GeoDataFrame


@dataclass(frozen=True)
class Chain:
    """Steps with checked parameters, in order."""

    links: tuple[tuple[Step, BaseModel], ...]

    @classmethod
    def from_specs(cls, specs: Sequence[StepSpec]) -> Chain:
        """Look every step up and check its parameters, before any work is done.

        Raises:
            StepError: unknown step, with the nearest name.
            ConfigError: unknown or wrong parameter, naming the key and the nearest valid one.
        """
        return cls(tuple(_link(i, spec) for i, spec in enumerate(specs)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the steps, in order."""
        return tuple(link[0].name for link in self.links)

    @property
    def schema(self) -> Schema:
        """The properties of features that come out, whatever goes in."""
        steps = [link[0] for link in self.links]
        shapes = [one.geometry for one in steps if one.geometry is not None]
        columns = [column for one in steps for column in one.columns]
        return contract.schema(columns, shapes[-1] if shapes else "Polygon")

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the steps read, each once."""
        every = [name for _, params in self.links for name in files_named(params)]
        return tuple(dict.fromkeys(every))

    @property
    def judges_sizes(self) -> bool:
        """Whether a step knows how large its objects are."""
        return any(step.size_likelihood is not None for step, _ in self.links)

    def measuring(self) -> Chain:
        """The steps before the one that knows how large its objects are, without those that
        reject for size: what is needed to judge a ground sampling that may be wrong.
        """
        knows = [step.size_likelihood is not None for step, _ in self.links]
        return Chain(tuple(link for link in self.links[: knows.index(True)] if not link[0].by_size))

    def size_likelihood(
        self, objects: gpd.GeoDataFrame, context: Context, factors: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How likely what was measured is at other ground samplings than the scene's.

        Args:
            objects: n objects that `measuring` has measured.
            context: surroundings.
            factors: (m,) other samplings over the scene's.

        Returns:
            (n, m) logarithms, comparable along each row.
        """
        context = self._with_files(context)
        judge, params = next(
            (step.size_likelihood, params)
            for step, params in self.links
            if step.size_likelihood is not None
        )
        return np.asarray(judge(objects, context, params, factors), np.float64)

    def snapshot(self, done: int) -> str:
        """File name of the snapshot after `done` steps (0: what came in)."""
        return f"{done:02d}_{self.names[done - 1] if done else 'input'}.parquet"

    def run(
        self,
        objects: gpd.GeoDataFrame | None,
        context: Context,
        start: str | int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ChainResult:
        """Run all steps, or those from `start` (a name, or a number counted from 1) on.

        With `start` the snapshot before that step in `context.workdir` is taken and `objects`
        is not looked at. `progress` is told before each step, and by steps that take long under
        their own name.

        Raises:
            StepError: a step failed (named), `start` is no step of this chain, or the snapshots
                belong to another chain, detector or scene.
            ConfigError: a file that a step reads is not there.
            Cancelled: the caller went away, seen between steps.
        """
        first = 0 if start is None else self._index(start)
        context = self._with_files(context)
        if first == 0 and start is None:
            taken = _begin(self, objects, context)
            notes: list[dict[str, str]] = []
            rasters: list[list[str]] = []
            rejected = empty().assign(rejected_by=column([]), rejected_at=pd.Series(dtype="int64"))
        else:
            taken, rejected, notes, rasters = _resume(self, first, context)
        # The folder may hold rasters of other runs, or of steps that come later.
        context = context.begun(rasters[-1] if rasters else [])
        for done in range(first, len(self.links)):
            context.cancel.check()
            _tell(progress, self, done)
            held = [taken]
            del taken  # the step may let go of what it has been given
            around = _with_progress(context, progress, self.names[done])
            taken, gone, note = _one(self.links[done], held, around, notes, done)
            if len(taken) >= MANY:
                trim_heap()
            notes, rasters = [*notes, note], [*rasters, context.made]
            if len(gone):
                rejected = tidy(pd.concat([rejected, gone], ignore_index=True), "rejected")
            write_snapshot(rejected, context.workdir / REJECTED)
            path = context.workdir / self.snapshot(done + 1)
            write_snapshot(taken, path)
            _record(self, context, notes, rasters)
            # What the runner wrote itself is as it was read. Shapes are read anew, into one piece:
            # the step made them between things that are gone.
            known, many = {"steps": taken["steps"].copy()}, len(taken) >= MANY
            del taken, gone  # or the same objects would be held twice
            if many:
                trim_heap()
            taken = read_snapshot(path, known)
        _tell(progress, self, len(self.links))
        return ChainResult(taken, rejected)

    def apply(
        self,
        objects: gpd.GeoDataFrame,
        context: Context,
        notes: Sequence[dict[str, str]] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> ChainResult:
        """Run all steps in memory: no snapshots, and no restart in the middle. The result is that
        of `run`.

        Args:
            objects: what comes in; not changed.
            context: surroundings.
            notes: what earlier steps did to the scene at large.
            progress: as `run` tells it.

        Raises:
            StepError: a step failed (named).
            ConfigError: a file that a step reads is not there.
            Cancelled: the caller went away, seen between steps.
        """
        context = self._with_files(context)
        taken, gone = tidy(objects, "input"), []
        history = list(notes)
        for done, link in enumerate(self.links):
            context.cancel.check()
            _tell(progress, self, done)
            around = _with_progress(context, progress, self.names[done])
            taken, rejected, note = _one(link, [taken], around, history, done)
            history.append(note)
            gone.append(rejected)
        _tell(progress, self, len(self.links))
        some = [part for part in gone if len(part)]
        if some:
            return ChainResult(taken, tidy(pd.concat(some, ignore_index=True), "rejected"))
        return ChainResult(taken, gone[-1] if gone else taken.iloc[:0])

    def _with_files(self, context: Context) -> Context:
        """The same surroundings with every file that the steps read as it is now."""
        if not self.files:
            return context
        return replace(context, files={**context.files, **find_files(self.files, context.files)})

    def _index(self, start: str | int) -> int:
        if isinstance(start, int) and 1 <= start <= len(self.links):
            return start - 1
        if isinstance(start, str) and start in self.names:
            return self.names.index(start)
        near = difflib.get_close_matches(str(start), self.names, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(self.names)}"
        raise StepError("start", start, "is not a step of this chain", remedy)

    def described(self, context: Context) -> dict[str, Any]:
        """What snapshots depend on: scene, detector, and each step's parameters and files."""
        return {
            "scene_id": context.scene_id,
            "weights_sha256": context.detector.weights_sha256,
            "steps": [_described(link, context) for link in self.links],
        }


def _described(link: tuple[Step, BaseModel], context: Context) -> list[Any]:
    found, params = link
    facts = [found.name, params.model_dump(mode="json")]
    named = [name for name in files_named(params) if name in context.files]
    read = {name: context.files[name].sha256 for name in named}
    return [*facts, read] if read else facts


def _link(position: int, spec: StepSpec) -> tuple[Step, BaseModel]:
    found = step(spec.step)
    try:
        return found, found.params.model_validate(spec.params)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"chain.{position}.{spec.step}." + ".".join(str(part) for part in first["loc"])
        if first["type"] != "extra_forbidden":
            raise ConfigError(where, first.get("input"), first["msg"], "correct it") from error
        known = sorted(found.params.model_fields)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
        raise ConfigError(
            where, first.get("input"), f"is not a parameter of {spec.step}", remedy
        ) from error


def _begin(chain: Chain, objects: gpd.GeoDataFrame | None, context: Context) -> gpd.GeoDataFrame:
    if objects is None:
        raise StepError("objects", None, "nothing to run on", "give objects or `start`")
    path = context.workdir / chain.snapshot(0)
    write_snapshot(tidy(objects, "input"), path)
    _record(chain, context, [], [])
    return read_snapshot(path)


def _resume(
    chain: Chain, first: int, context: Context
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, list[dict[str, str]], list[list[str]]]:
    """Objects, rejected ones, and of each step before: its note, and the rasters there were."""
    path = context.workdir / RECORD
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StepError(
            "start",
            chain.names[first],
            f"{path.name} cannot be read ({error})",
            "run the chain from the beginning once",
        ) from error
    now, then = chain.described(context), record["chain"]
    same = {**now, "steps": now["steps"][:first]} == {**then, "steps": then["steps"][:first]}
    rasters = record.get("made", [])
    if not same or len(record["notes"]) < first or len(rasters) < first:
        raise StepError(
            "start",
            chain.names[first],
            "the snapshots before it come from another scene, detector or chain, "
            "or a file that a step reads was changed",
            "run the chain from the beginning once",
        )
    taken = read_snapshot(context.workdir / chain.snapshot(first))
    if first == 0:
        rejected = empty().assign(rejected_by=column([]), rejected_at=pd.Series(dtype="int64"))
    else:
        rejected = read_snapshot(context.workdir / REJECTED)
        rejected = tidy(rejected[rejected["rejected_at"] <= first], "rejected")
    # In the order in which a step is noted, so that features come out in the same bytes.
    notes = [{"step": note["step"], "did": note["did"]} for note in record["notes"][:first]]
    return taken, rejected, notes, rasters[:first]


def _one(
    link: tuple[Step, BaseModel],
    held: list[gpd.GeoDataFrame],
    context: Context,
    notes: Sequence[dict[str, str]],
    done: int,
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, dict[str, str]]:
    """One step: objects kept, objects rejected, and what the step did to the scene at large.

    `held` is the step's input alone, and empty afterwards: nobody but the step holds it.
    """
    found, params = link
    try:
        result = found.run(held.pop(), context, params)
    except _FAILURES as error:
        raise StepError(
            "step",
            found.name,
            f"failed with {type(error).__name__}: {error}",
            f"mend it, then restart the chain at {found.name!r}",
        ) from error
    note = {"step": found.name, "did": str(_scene_note(result) or "ran")}
    frame = tidy(result, found.name)
    del result
    if len(frame) >= MANY:
        trim_heap()
    frame.attrs = {}
    frame = frame.rename(columns={FORMER_NOTE: "note"})
    outcomes = list(frame["note"]) if "note" in frame.columns else [None] * len(frame)
    frame["steps"] = pd.Series(
        ProvenanceArray.of(frame["steps"]).longer(found.name, outcomes, notes)
    )
    frame = frame.drop(columns="note", errors="ignore")
    out = frame["rejected"].notna()
    gone = tidy(frame[out], found.name)
    gone["rejected_by"] = column([found.name] * len(gone))
    gone["rejected_at"] = pd.Series([done + 1] * len(gone), dtype="int64")
    return tidy(frame[~out], found.name), gone, note


def _scene_note(result: object) -> object:
    """What a step says that it did to the scene at large; None where it says nothing."""
    attrs = getattr(result, "attrs", {})
    return attrs.get("note", attrs.get(FORMER_NOTE))


def _record(
    chain: Chain,
    context: Context,
    notes: Sequence[dict[str, str]],
    rasters: Sequence[Sequence[str]],
) -> None:
    """Write down, for a restart, what each step did and the rasters there were after it."""
    record = {"chain": chain.described(context), "notes": list(notes), "made": list(rasters)}
    path: Path = context.workdir / RECORD
    with replacing(path) as beside:
        beside.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")


def _with_progress(
    context: Context, progress: Callable[[Progress], None] | None, stage: str
) -> Context:
    """The same surroundings for a step that says how far it is under its own name."""
    if progress is None:
        return context
    return replace(context, tell=lambda done, total: progress(Progress(stage, done, total)))


def _tell(progress: Callable[[Progress], None] | None, chain: Chain, done: int) -> None:
    if progress is not None:
        name = chain.names[done] if done < len(chain.links) else "done"
        progress(Progress(f"chain: {name}", done, len(chain.links)))
