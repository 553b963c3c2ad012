"""Why two runs may differ: what each was made from, and the parts in which these differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCENE, NAME, CRS = "scene content", "scene name", "CRS"
GSD, TILE, FORMAT = "ground sampling", "tile", "number format"
VERSION, DETECTOR, RELEASE = "Lanner version", "detector", "release"
NETWORKS, WEIGHTS, CONFIG, FILES = "networks", "weights", "configuration", "file of the chain"


@dataclass(frozen=True)
class RunFacts:
    """What one run of a detector on a scene was made from, as far as it is recorded.

    Attributes:
        values: by the names above, in the order they are told; what is not recorded is not there.
        files: checksums by kind and name of the file, such as `weights boxes.safetensors`; None
            where only the checksum of all weights is known.
        config: the detector's configuration as plain data; None where only its checksum is known.
    """

    values: Mapping[str, Any]
    files: Mapping[str, str] | None = None
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Cause:
    """One thing that differs: its name, and its value in both runs (None: it has none there).

    `scenes` are the names of those of which it is so.
    """

    what: str
    first: Any
    second: Any
    scenes: tuple[str, ...] = ()


def facts_of(
    summary: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
    scene: Mapping[str, Any] | None = None,
) -> RunFacts:
    """Those of a run's summary, or of a manifest, which says the same.

    Args:
        summary: with `lanner`, `scene`, `detector` and `plan`.
        config: the configuration as plain data, where it is known.
        scene: `id` and `crs` of the scene, where the summary has none.
    """
    raster = {**summary["scene"], **(scene or {})}
    detector, plan = summary["detector"], summary["plan"]
    values = {
        SCENE: raster["sha256"],
        NAME: raster["id"],
        CRS: raster["crs"],
        GSD: list(raster["gsd"]),
        VERSION: summary["lanner"],
        DETECTOR: detector["name"],
        RELEASE: detector["release"],
        NETWORKS: list(detector["members"]),
        WEIGHTS: detector["weights_sha256"],
        CONFIG: detector["config_sha256"],
        TILE: plan["tile"],
        FORMAT: detector["runs_on"],
    }
    return RunFacts(values, files_of(detector["weights"], detector.get("chain_files", {})), config)


def files_of(weights: Mapping[str, str], chain_files: Mapping[str, str]) -> dict[str, str]:
    """Checksums of files by name as `RunFacts.files` holds them."""
    return {
        **{f"{WEIGHTS} {name}": sha for name, sha in sorted(weights.items())},
        **{f"{FILES} {name}": sha for name, sha in sorted(chain_files.items())},
    }


def causes(first: RunFacts, second: RunFacts, scene: str = "") -> tuple[Cause, ...]:
    """What is recorded of both and is not the same, in a fixed order.

    Where both configurations are known each key that differs is one; else their checksums are.
    Of weights each file that differs is one, where files are known.
    """
    scenes = (scene,) if scene else ()
    parts: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    if first.files is not None and second.files is not None:
        parts[WEIGHTS] = first.files, second.files
    if first.config is not None and second.config is not None:
        parts[CONFIG] = _keys(first.config), _keys(second.config)
    found: list[Cause] = []
    for what in first.values:
        if what in parts:
            found += _different(*parts[what], scenes)
        elif what in second.values and first.values[what] != second.values[what]:
            found.append(Cause(what, first.values[what], second.values[what], scenes))
    return tuple(found)


def _different(
    first: Mapping[str, Any], second: Mapping[str, Any], scenes: tuple[str, ...]
) -> list[Cause]:
    return [
        Cause(what, first.get(what), second.get(what), scenes)
        for what in dict.fromkeys((*first, *second))
        if first.get(what) != second.get(what)
    ]


def together(found: Iterable[Cause]) -> tuple[Cause, ...]:
    """Causes of many scenes, each once with all its scenes."""
    scenes: dict[tuple[str, str], list[str]] = {}
    kept: dict[tuple[str, str], Cause] = {}
    for one in found:
        key = one.what, repr((one.first, one.second))
        kept.setdefault(key, one)
        scenes.setdefault(key, []).extend(one.scenes)
    return tuple(
        Cause(one.what, one.first, one.second, tuple(dict.fromkeys(scenes[key])))
        for key, one in kept.items()
    )


def _keys(config: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{CONFIG} {key}": value for key, value in flat(config).items()}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as one value a key, such as `chain.triage.floor`.

    Steps and members go by their names, so that one more of them changes no other's key.
    """
    result: dict[str, Any] = {}

    def put(value: Any, place: str) -> None:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                put(inner, f"{place}.{name}" if place else str(name))
        elif isinstance(value, Sequence) and value and all(isinstance(v, Mapping) for v in value):
            named = Counter[str]()
            for number, inner in enumerate(value):
                name = str(inner.get("step") or inner.get("name") or number)
                named[name] += 1
                put(inner, f"{place}.{name}" + (f"[{named[name]}]" if named[name] > 1 else ""))
            result[place] = [str(v.get("step") or v.get("name") or k) for k, v in enumerate(value)]
        else:
            result[place] = list(value) if isinstance(value, tuple) else value

    put(config, "")
    return result


def brief(value: Any) -> str:
    """A value as it is told in a line: of a checksum the beginning, `none` of what is not there."""
    if value is None:
        return "none"
    if isinstance(value, str):
        is_sha = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return value[:12] if is_sha else value
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {brief(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence):
        return ", ".join(brief(inner) for inner in value)
    return str(value)
