"""`lanner plan --server`: what detections would be, as a server says it of each scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lanner.cli.kept_uploads import keep, take_or_send
from lanner.client.offers import require_offer
from lanner.core.errors import AccessError, AuthenticationError, Cancelled, LannerError, ServerError
from lanner.core.job import Cancel, DetectionPlan, Progress
from tiling.names import is_remote

if TYPE_CHECKING:
    from lanner.archives.scenes import SceneFilter, SkippedScene
    from lanner.cli.progress import OnProgress
    from lanner.client.client import Client
    from lanner.client.uploads import Upload

_ENDING = (Cancelled, ServerError, AuthenticationError, AccessError)
"""Errors that every other scene would meet, too."""

SHOWN = 10
"""Scenes, and problems, that tables show; --json has them all."""


@dataclass(frozen=True)
class ServerPlan:
    """What a server says of scenes.

    Attributes:
        plans: scene, detector and plan.
        failed: scene, detector and error.
        skipped: scenes that are not wanted.
        notes: for people.
    """

    server: str
    plans: tuple[tuple[str, str, DetectionPlan], ...]
    failed: tuple[tuple[str, str, LannerError], ...]
    skipped: tuple[SkippedScene, ...]
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float | None:
        """Of all, one after the other; None where the server does not know it of some."""
        known = [plan.seconds for _, _, plan in self.plans if plan.seconds is not None]
        return sum(known) if len(known) == len(self.plans) else None

    def facts(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "server": self.server,
            "scenes": len({scene for scene, _, _ in self.plans}),
            "tiles": sum(plan.tiles for _, _, plan in self.plans),
            "megapixels": round(sum(plan.megapixels for _, _, plan in self.plans), 3),
            "bytes_to_read": sum(plan.read_bytes for _, _, plan in self.plans),
            "seconds": self.seconds,
            "plans": [
                {
                    "scene": scene,
                    "detector": detector,
                    "tiles": plan.tiles,
                    "megapixels": plan.megapixels,
                    "bytes_to_read": plan.read_bytes,
                    "seconds": plan.seconds,
                    "memory_bytes": plan.memory_bytes,
                    "result_bytes": plan.result_bytes,
                    "notes": list(plan.notes),
                }
                for scene, detector, plan in self.plans
            ],
            "cannot_be_run": [
                {
                    "scene": scene,
                    "detector": detector,
                    "error": type(error).__name__,
                    "message": str(error),
                }
                for scene, detector, error in self.failed
            ],
            "skipped": [
                {"scene": one.uri, "problem": one.problem, "remedy": one.remedy}
                for one in self.skipped
            ],
            "notes": list(self.notes),
        }


def plan_on_server(
    client: Client,
    sources: Sequence[str],
    detectors: Sequence[str],
    chosen: SceneFilter,
    cancel: Cancel,
    show: OnProgress,
    *,
    gsd: float | None,
    device: str,
    tile: int | None,
) -> ServerPlan:
    """Have a server plan detections. Scenes that lie here are sent, and kept there for the
    detection that follows.

    Args:
        client: of the server.
        sources: as of `lanner.plan`; a path that is not here is the server's.
        detectors: names on offer there.
        chosen: which scenes are wanted, by what catalogues say.
        cancel: asks for an end.
        show: told of progress.
        gsd: as of `lanner.plan`.
        device: as of `lanner.plan`.
        tile: as of `lanner.plan`.

    Raises:
        LannerError: nothing can be planned; scenes that fail by themselves are in the plan.
    """
    for detector in detectors:
        require_offer(client, detector)
    uris, skipped, notes = _found(sources, chosen, cancel)
    plans: list[tuple[str, str, DetectionPlan]] = []
    failed: list[tuple[str, str, LannerError]] = []
    sent = 0

    def report(progress: Progress) -> None:
        cancel.check()
        show(progress)

    for number, uri in enumerate(uris):
        report(Progress("plan", number, len(uris)))
        upload: Upload | None = None
        for detector in detectors:
            try:
                if upload is None and not is_remote(uri) and Path(uri).is_file():
                    upload = take_or_send(client, Path(uri), report)
                    sent += 1
                scene = uri if upload is None else upload
                plan = client.plan(scene, detector, gsd=gsd, device=device, tile=tile)
                plans.append((uri, detector, plan))
            except _ENDING:
                raise
            except LannerError as error:
                failed.append((uri, detector, error))
        if upload is not None:
            keep(client, Path(uri), upload)
    report(Progress("plan", len(uris), len(uris)))
    if sent:
        notes = (
            *notes,
            f"{sent} scenes were sent to {client.address}; `lanner detect --server` takes them "
            "from there, within a day.",
        )
    return ServerPlan(client.address, tuple(plans), tuple(failed), skipped, notes)


def _found(
    sources: Sequence[str], chosen: SceneFilter, cancel: Cancel
) -> tuple[list[str], tuple[SkippedScene, ...], tuple[str, ...]]:
    """Addresses of scenes, those that are not wanted, and notes."""
    from lanner.archives.sources import check_filter, find_scenes

    check_filter(chosen)
    theirs = [one for one in sources if _is_theirs(one)]
    ours = [one for one in sources if one not in theirs]
    if not ours:
        return theirs, (), ()
    found = find_scenes(ours, chosen, cancel, lambda source, count: None)
    return [*(one.uri for one in found.scenes), *theirs], found.skipped, found.notes


def _is_theirs(source: str) -> bool:
    """Whether a source can only be a path of the server's."""
    return "://" not in source and not set("*?[") & set(source) and not Path(source).exists()


def show_server_plan(console: Console, plan: ServerPlan) -> None:
    """The plan as tables."""
    from rich.table import Table
    from rich.text import Text

    from lanner.archives.words import duration, size

    table = Table("plan", "")
    table.columns[1].justify = "right"
    facts, seconds = plan.facts(), plan.seconds
    table.add_row("server", Text(plan.server))
    table.add_row("scenes", str(facts["scenes"]))
    table.add_row("tiles", str(facts["tiles"]))
    table.add_row("to read", size(facts["bytes_to_read"]))
    table.add_row("time there", "not known yet" if seconds is None else duration(seconds))
    table.add_row("cannot be run", str(len(plan.failed)))
    table.add_row("not wanted", str(len(plan.skipped)))
    console.print(table)
    for scene, detector, one in plan.plans[:SHOWN]:
        time = "" if one.seconds is None else f", {duration(one.seconds)}"
        text = f"{scene} ({detector}): {one.tiles} tiles, {size(one.read_bytes)} to read{time}"
        console.print(Text(text), soft_wrap=True)
    rows = [f"{scene} ({detector}): {error}" for scene, detector, error in plan.failed]
    rows += [f"{one.uri}: {one.problem}; {one.remedy}" for one in plan.skipped]
    for row in rows[:SHOWN]:
        console.print(Text(row), soft_wrap=True)
    left = max(0, len(plan.plans) - SHOWN) + max(0, len(rows) - SHOWN)
    if left:
        console.print(f"and {left} more; --json lists them all")
    for note in plan.notes:
        console.print(Text(note), soft_wrap=True)
