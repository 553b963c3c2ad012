"""What a run is made of, as checksums: the key that finished tiles are kept under, and a file.

The key depends neither on the time, nor on the machine's name, nor on where the scene lies. What
does is in the file's section `run`, which is written when a run ends: the request, and what came
out. `lanner replay` runs it again from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.errors import Argument, OutputError
from lanner.core.version import __version__

if TYPE_CHECKING:
    from lanner.core.config import DetectorConfig
    from lanner.core.job import DetectRequest, DetectResult
    from tiling.grid import TilePlan
    from tiling.normalise import Stretch

FILE = "manifest.json"
"""Its name in the run folder."""

RESULT = "result.parquet"
"""Name of the features that a run came to, beside it: GeoParquet in the scene's CRS."""

RUN = "run"
"""Section of the file that a finished run adds."""


@dataclass(frozen=True)
class Manifest:
    """Everything that finished tiles depend on, and the files that the chain reads after them.

    `identity` names the device and number format the networks ran in; `weights` the checksums
    of the weights' files, `weights_sha256` one over them all; `chain_files` those of the files
    that steps of the chain read, by name.
    """

    scene_sha256: str
    scene_gsd: tuple[float, float]
    detector: str
    release: str
    config_sha256: str
    weights: Mapping[str, str]
    weights_sha256: str
    members: tuple[str, ...]
    identity: str
    plan: TilePlan
    stretch: Stretch
    chain_files: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What finished tiles depend on, as plain JSON data."""
        grid = self.plan.grid
        return {
            "lanner": __version__,
            "scene": {
                "sha256": self.scene_sha256,
                "gsd": list(self.scene_gsd),
                "width": grid.scene_width,
                "height": grid.scene_height,
            },
            "detector": {
                "name": self.detector,
                "release": self.release,
                "config_sha256": self.config_sha256,
                "weights_sha256": self.weights_sha256,
                "weights": dict(sorted(self.weights.items())),
                "members": list(self.members),
                "runs_on": self.identity,
            },
            "plan": {
                "tile": self.plan.tile,
                "halo": self.plan.halo,
                "gsd": grid.gsd,
                "width": grid.width,
                "height": grid.height,
                "tiles": len(self.plan),
            },
            "stretch": _stretch_facts(self.stretch),
        }

    def all_facts(self) -> dict[str, Any]:
        """Those facts, and the files that the chain reads where it reads any."""
        facts = self.facts()
        if self.chain_files:
            facts["detector"]["chain_files"] = dict(sorted(self.chain_files.items()))
        return facts

    @property
    def key(self) -> str:
        """SHA-256 over the facts: runs of one key do the same tiles to the same bytes."""
        text = json.dumps(self.facts(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write `manifest.json`; equal runs give equal bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        return _write(folder, {**self.all_facts(), "key": self.key})

    def record(
        self, folder: Path, request: DetectRequest, config: DetectorConfig, result: DetectResult
    ) -> None:
        """Write it with the section `run`, what was asked and what came out, and the features.

        Args:
            folder: the run folder.
            request: as it was given, before anything was estimated.
            config: of the detector that ran.
            result: with `features_sha256` in its summary.

        Raises:
            OutputError: a file cannot be written.
        """
        from postprocess.writers import write

        path = folder / RESULT
        write(result.features, result.frame, path, result.layer, result.schema)
        path.with_suffix(".qml").unlink(missing_ok=True)
        scene = result.summary["scene"]
        found = {
            "features": len(result.features),
            "features_sha256": result.summary["features_sha256"],
        }
        if result.candidates is not None:
            found["candidates"] = len(result.candidates.features)
            found["candidates_sha256"] = features_sha256(result.candidates.features)
        run = {
            "request": portable_request(request),
            "scene": {name: scene[name] for name in ("id", "crs")},
            "config": config.facts,
            "result": found,
        }
        _write(folder, {**self.all_facts(), "key": self.key, RUN: run})


def record_outputs(folder: Path, paths: Sequence[Path]) -> None:
    """Add to the record of a finished run the files that its features were written to.

    A pipe holds nothing that could be compared later, and is left out.

    Raises:
        OutputError: the manifest cannot be read any more, or not be written.
    """
    try:
        facts = read_manifest(folder)
        run = facts[RUN]
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(
            Argument("run_dir"),
            folder,
            f"its {FILE} was changed while the outputs were written ({error})",
            "run the same command again",
        ) from error
    outputs = []
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            outputs.append({"path": str(path.absolute()), "sha256": digest})
    _write(folder, {**facts, RUN: {**run, "outputs": outputs}})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a run folder.

    Raises:
        OSError, ValueError: there is none, or it is damaged.
    """
    facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if not isinstance(facts, dict) or not {"lanner", "key"} <= facts.keys():
        raise ValueError("is no manifest of a run")
    return facts


def portable_request(request: DetectRequest) -> dict[str, Any]:
    """A request as plain JSON data that means the same in any working directory.

    An address is kept without what may be a password or a signature.
    """
    from detectors.releases import SUFFIXES
    from tiling.names import display_name, is_remote

    facts = {**asdict(request), "members": request.members and list(request.members)}
    del facts["run_dir"]
    scene, detector = request.scene, request.detector
    facts["scene"] = display_name(scene) if is_remote(scene) else str(Path(scene).absolute())
    if detector.endswith(SUFFIXES):
        facts["detector"] = str(Path(detector).absolute())
    return facts


def features_sha256(texts: Iterable[str]) -> str:
    """SHA-256 of feature texts, a line each, UTF-8."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _write(folder: Path, facts: Mapping[str, Any]) -> Path:
    from lanner.core.files import replacing

    path = folder / FILE
    text = json.dumps(facts, sort_keys=True, indent=1) + "\n"
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path


def _stretch_facts(stretch: Stretch) -> dict[str, Any]:
    """A stretch as plain data; a border's value is there where there is such a border."""
    border = {} if stretch.fill is None else {"fill": stretch.fill}
    return {"low": list(stretch.low), "high": list(stretch.high), **border}
