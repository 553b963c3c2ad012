"""Operating points: which parameters of a detector may be searched, and over what."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from lanner.core.config import DetectorConfig, Fusion, Member
from lanner.core.errors import ConfigError
from lanner.factory.config import line_of

Kind = Literal["float", "log", "int", "one_of"]
Point = dict[str, Any]
"""Dotted path to value."""

LEVELS = 20
"""Levels that a continuous range without a step counts for: its ends are some 5 % steps apart."""

# What stored predictions were already made with.
_NETWORK = {"name", "kind", "weights", "arch", "mirror", "nms_iou", "instances"}
_FORMS = "[low, high], [low, high, step], {log: [low, high]}, {int: [low, high]} or {one_of: [...]}"


@dataclass(frozen=True)
class Axis:
    """One parameter and what it may be.

    `low` and `high` are inclusive. `step` is the resolution of a float or int axis; None for a
    continuous one. `choices` are those of `one_of`.
    """

    path: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def levels(self) -> int:
        """How many values it can take; `LEVELS` where it is continuous."""
        if self.kind == "one_of":
            return len(self.choices)
        if self.step is None:
            return LEVELS
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values at its borders, all of them for choices."""
        if self.kind == "one_of":
            return self.choices
        cast = int if self.kind == "int" else float
        return cast(self.low), cast(self.high)

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that a parameter must take for the axis to be right."""
        if self.kind not in ("float", "log"):
            return self.ends
        # A fraction from the middle finds a parameter that takes whole numbers only.
        away = 0.37 * (self.high - self.low) if self.step is None else self.step
        return (*self.ends, self.low + away)


def parse_space(
    space: Mapping[str, Any], detector: DetectorConfig, text: str = ""
) -> tuple[Axis, ...]:
    """Read and check `search.space`.

    Args:
        space: dotted path to range.
        detector: what the paths lead into.
        text: the factory file, for line numbers.

    Raises:
        ConfigError: a path leads nowhere (with the nearest that does), its value would need the
            networks to run again, or a range is malformed or beyond what the parameter takes.
    """
    if not space:
        raise ConfigError(
            "search.space", "{}", "names nothing to search", "add paths such as fusion.iou"
        )
    axes = []
    for path, given in space.items():
        line = line_of(text, ("search", "space", path)) if text else None
        where = f"search.space.{path}" + (f" (line {line})" if line else "")
        _check_path(path, detector, where)
        axis = _axis(path, given, where)
        for value in axis.probes:
            _check_value(detector, path, value, where)
        axes.append(axis)
    return tuple(axes)


def at_point(detector: DetectorConfig, point: Mapping[str, Any]) -> DetectorConfig:
    """The detector with the values of a point.

    Raises:
        ValidationError: a value that the detector does not take.
    """
    raw = detector.model_dump(mode="json")
    for path, value in point.items():
        head, *rest = path.split(".")
        place: Any = raw[head]
        if head in ("members", "chain"):
            name = "name" if head == "members" else "step"
            place = next(item for item in place if item[name] == rest[0])
            rest = rest[1:]
        for part in rest[:-1]:
            place = place.setdefault(part, {})
        place[rest[-1]] = value
    return DetectorConfig.model_validate(raw)


def value_at(detector: DetectorConfig, path: str) -> Any:
    """What a detector says there now, defaults of steps included; None where it says nothing."""
    head, *rest = path.split(".")
    place: Any = getattr(detector, head)
    if head == "members":
        place = next(member for member in place if member.name == rest[0])
        rest = rest[1:]
    if head == "chain":
        spec = next(spec for spec in place if spec.step == rest[0])
        field = _step_params(rest[0]).model_fields[rest[1]]
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        return spec.params.get(rest[1], default)
    for part in rest:
        place = getattr(place, part)
    return place


def known_paths(detector: DetectorConfig) -> tuple[str, ...]:
    """Every dotted path that can be searched on stored predictions."""
    return tuple(_paths(detector))


def size_of(axes: tuple[Axis, ...]) -> dict[str, Any]:
    """How many configurations the space holds, as JSON data for `space.json`."""
    return {
        "configurations": math.prod(axis.levels for axis in axes),
        "reference": 12_000,
        "continuous_counts_as": LEVELS,
        "axes": {
            axis.path: {
                "kind": axis.kind,
                "from": list(axis.ends),
                "step": axis.step,
                "levels": axis.levels,
                "counted": "exactly"
                if axis.kind == "one_of" or axis.step is not None
                else f"continuous, taken as {LEVELS} levels",
            }
            for axis in axes
        },
    }


def _step_params(name: str) -> type[BaseModel]:
    from postprocess.registry import step

    return step(name).params


def _paths(detector: DetectorConfig) -> Iterator[str]:
    objects = detector.output == "objects"
    if objects:
        yield from (f"fusion.{name}" for name in Fusion.model_fields)
    # Rasters are fused by weight and `override_above` alone; whatever else is said changes nothing.
    silent = _NETWORK | ({"override_above"} if objects else {"threshold"})
    for member in detector.members:
        for name in Member.model_fields:
            if name not in silent:
                yield f"members.{member.name}.{name}"
    for spec in detector.chain:
        yield from (f"chain.{spec.step}.{name}" for name in _step_params(spec.step).model_fields)


def _check_path(path: str, detector: DetectorConfig, where: str) -> None:
    known = known_paths(detector)
    if path in known:
        return
    parts = path.split(".")
    if parts[0] == "members" and len(parts) > 2 and parts[2] in _NETWORK:
        raise ConfigError(
            where, path, "needs the networks to run again", "search what comes after the networks"
        )
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(known)}"
    raise ConfigError(where, path, f"is no parameter of {detector.name}", remedy)


def _axis(path: str, given: Any, where: str) -> Axis:
    kind: Any = "float"
    body = given
    step = None
    if isinstance(given, Mapping):
        step = given.get("step")
        kinds = [key for key in given if key != "step"]
        if len(kinds) != 1 or kinds[0] not in ("float", "log", "int", "one_of"):
            raise ConfigError(where, given, "is no range", f"write it as {_FORMS}")
        kind, body = kinds[0], given[kinds[0]]
    if not isinstance(body, list | tuple) or not body:
        raise ConfigError(where, given, "is no range", f"write it as {_FORMS}")
    if kind == "one_of":
        plain = (bool, int, float, str, type(None))
        if not all(isinstance(one, plain) for one in body) or len(set(map(repr, body))) < len(body):
            raise ConfigError(where, given, "holds lists or repeats", "name each plain value once")
        return Axis(path, "one_of", choices=tuple(body))
    if len(body) == 3 and step is None:
        *body, step = body
    numbers = [*body, 1 if step is None else step]
    good = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if len(body) != 2 or not good or not all(math.isfinite(n) for n in numbers):
        raise ConfigError(where, given, "is no pair of numbers", f"write it as {_FORMS}")
    low, high = body
    if not low < high:
        raise ConfigError(where, given, "does not rise", "put the lower number first")
    if step is not None and not 0 < step <= high - low:
        remedy = f"give a step of at most {high - low:g}, or name values as {{one_of: [...]}}"
        raise ConfigError(where, given, f"has no step of {step:g}", remedy)
    if kind == "log" and (low <= 0 or step is not None):
        raise ConfigError(where, given, "is no log range", "begin above 0, without a step")
    if kind == "int":
        step = 1 if step is None else step
        if any(int(n) != n for n in (low, high, step)):
            raise ConfigError(where, given, "holds fractions", "use whole numbers for int")
    return Axis(path, kind, low, high, step)


def _check_value(detector: DetectorConfig, path: str, value: Any, where: str) -> None:
    try:
        changed = at_point(detector, {path: value})
        if path.startswith("chain."):
            name = path.split(".")[1]
            spec = next(spec for spec in changed.chain if spec.step == name)
            _step_params(name).model_validate(spec.params)
    except ValidationError as error:
        first = error.errors()[0]
        whole = first["type"] == "int_from_float"
        remedy = "write it as {int: [low, high]}" if whole else "narrow the range to what it takes"
        raise ConfigError(where, value, first["msg"], remedy) from error


__all__ = ["Axis", "Point", "at_point", "known_paths", "parse_space", "size_of", "value_at"]
