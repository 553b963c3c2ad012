"""Detector configuration: what `configs/*.yaml` may say. Unknown keys are refused.

Ground floor: imports nothing of ours but the errors.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lanner.core.errors import Argument, ConfigError
from lanner.core.renamed import current_name

ENCODERS = ("resnet18", "lite0", "lite1", "lite2")
"""What `encoder` in the `arch` of a Res-UNet may be: a ResNet-18, or an EfficientNet-Lite."""

VOTE = "vote-"
"""Begin of the names of rasters that hold one network's own word."""

ROUNDED = 0.01
"""Share by which pixels of a nominal size may differ from it on the ground: a map projection makes
those of 0.2 m in UTM 0.1998 to 0.2001 m."""

CURRENT_VERSION = 1
"""Version of the schema below; older files are upgraded on reading, newer ones refused."""


_FILE = Argument("detector")


class Strict(BaseModel):
    """Base of every configuration model: frozen, no unknown keys.

    `renamed` maps the former names of keys to today's: files that users wrote stay readable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: Any) -> Any:
        if not isinstance(values, dict) or cls.renamed.keys().isdisjoint(values):
            return values
        accepted: dict[Any, Any] = {}
        for key, value in values.items():
            name = current_name(key, cls.renamed) if isinstance(key, str) else key
            if name in accepted or (name != key and name in values):
                raise ValueError(f"{key!r} is the former name of {name!r}: give it once")
            accepted[name] = value
        return accepted


class Normalise(Strict):
    """How raw values become 0..1.

    `auto` leaves uint8 as it is (divided by 255) and stretches everything else between the
    scene's `percentiles`; `stretch` always stretches.
    """

    mode: Literal["auto", "stretch"] = "auto"
    percentiles: tuple[float, float] = (1.0, 99.0)

    @field_validator("percentiles")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError("give two that rise within 0 to 100, such as [1, 99]")
        return value


class Instances(Strict):
    """How a Res-UNet's object, boundary and centre channels become single objects.

    A seed is a peak of the centre channel of at least `peak`, `spacing` detector pixels from the
    next. Instances under `min_area` square pixels are dropped; outlines may move by `simplify`
    pixels to lose vertices.
    """

    peak: float = Field(0.3, gt=0, le=1)
    spacing: int = Field(4, ge=1)
    min_area: float = Field(16.0, ge=0, allow_inf_nan=False)
    simplify: float = Field(0.25, ge=0, allow_inf_nan=False)


class Member(Strict):
    """One network of the ensemble; `weights` is relative to the weights folder of the release.

    `threshold` is the least box score of a RetinaNet, the least object probability of a pixel
    of a Res-UNet. Of a RetinaNet's boxes of one class that overlap by more than `nms_iou` the
    best stays. `weight` is the member's say in the fusion. With `mirror` a Res-UNet looks twice,
    the second time at the mirrored tile: better, and twice the time. In a detector of rasters a
    member with `override_above` does not vote: it raises the others' probability where its own is
    above that, the more the surer it is.
    """

    renamed: ClassVar[Mapping[str, str]] = {"heard_from": "override_above"}

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    kind: Literal["retinanet", "resunet"]
    weights: str
    arch: dict[str, Any] = Field(default_factory=dict)
    threshold: float = Field(0.3, gt=0, lt=1)
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    nms_iou: float = Field(0.5, gt=0, le=1)
    mirror: bool = False
    override_above: float | None = Field(None, ge=0, lt=1)
    instances: Instances = Instances()

    @model_validator(mode="after")
    def _known_encoder(self) -> Member:
        encoder = self.arch.get("encoder", ENCODERS[0])
        if self.kind == "resunet" and encoder not in ENCODERS:
            known = ", ".join(ENCODERS)
            raise ValueError(f"arch.encoder of {self.name} is one of {known}, not {encoder!r}")
        return self

    @property
    def vote(self) -> str:
        """Name of the raster of its own word, where several give one together."""
        return f"{VOTE}{self.name}"


class Fusion(Strict):
    """Weighted box fusion (Solovyev et al., 2021).

    Boxes that overlap by more than `iou` are one object, and so are two that no member saw both
    of when they overlap by more than `cross_member_iou` (1: never). A member that did not see the
    object lowers the score: it is multiplied by 1 - `missing_vote_penalty` x (the share of the
    members' weight that did not see it); 1 is the paper's rescaling. Fused scores under
    `min_score` are dropped.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "lone_iou": "cross_member_iou",
        "missing": "missing_vote_penalty",
    }

    iou: float = Field(0.5, gt=0, le=1)
    cross_member_iou: float = Field(0.3, gt=0, le=1)
    missing_vote_penalty: float = Field(0.5, ge=0, le=1)
    min_score: float = Field(0.1, ge=0, le=1)


class StepSpec(BaseModel):
    """One step of the chain: its name and its own parameters, checked by the step's model."""

    model_config = ConfigDict(extra="allow", frozen=True)
    step: str

    @property
    def params(self) -> dict[str, Any]:
        """The step's parameters, still unchecked."""
        return dict(self.model_extra or {})


class DetectorConfig(Strict):
    """A whole detector: sampling, bands, ensemble, fusion and chain.

    `closer` is a Res-UNet for the closer look alone: it has no say in what is found. Without it
    the members draw there. `panchromatic_detector` names the detector that scenes of a single
    band are handed to: networks that go by colour see little in them.
    """

    renamed: ClassVar[Mapping[str, str]] = {"one_band": "panchromatic_detector"}

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    release: str
    description: str
    classes: tuple[str, ...]
    output: Literal["objects", "raster"]
    gsd: float = Field(
        gt=0, allow_inf_nan=False, description="working ground sampling, metres a pixel"
    )
    gsd_range: tuple[float, float]
    bands: tuple[str, ...] = ("red", "green", "blue")
    tile: int = Field(512, ge=64, multiple_of=32)
    halo: int = Field(96, ge=0, multiple_of=32)
    normalise: Normalise = Normalise()
    members: tuple[Member, ...] = Field(min_length=1)
    closer: Member | None = None
    panchromatic_detector: str | None = None
    fusion: Fusion = Fusion()
    chain: tuple[StepSpec, ...]

    @field_validator("release", mode="before")
    @classmethod
    def _one_folder(cls, value: Any) -> Any:
        # 0.10 would be 0.1, and an empty name or .. the folder of every release.
        if isinstance(value, int | float):
            raise ValueError("is a number to YAML: put it in quotes, such as '0.2'")
        if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", value):
            raise ValueError("names a folder: use letters, digits, . _ + and -, such as 0.2.0")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DetectorConfig:
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be one or more, each named once, got {self.classes}")
        names = [m.name for m in self.networks]
        if len(set(names)) != len(names):
            raise ValueError(f"member names must differ, got {names}")
        if self.tile <= 2 * self.halo:
            raise ValueError(f"tile {self.tile} leaves no core inside two halos of {self.halo}")
        boxy = [m.name for m in self.members if m.kind != "resunet"]
        twice = [m.name for m in self.members if m.mirror and m.name in boxy]
        if twice:
            raise ValueError(f"mirror is for resunet members only, not {twice}")
        if self.output == "raster" and boxy:
            raise ValueError(f"output raster takes resunet members only, not {boxy}")
        overriding = [m.name for m in self.members if m.override_above is not None]
        if overriding and (self.output != "raster" or len(overriding) == len(self.members)):
            raise ValueError(
                f"override_above of {overriding} needs output raster, and others that vote"
            )
        if not 0 < self.gsd_range[0] <= self.gsd_range[1]:
            raise ValueError(f"gsd_range {self.gsd_range} must rise from above 0")
        if self.closer is not None and (self.closer.kind, self.output) != ("resunet", "objects"):
            raise ValueError("closer is a resunet of a detector of objects")
        if self.panchromatic_detector == self.name:
            raise ValueError("panchromatic_detector names another detector")
        return self

    @property
    def networks(self) -> tuple[Member, ...]:
        """All that have weights: the members, then `closer` where there is one."""
        return self.members if self.closer is None else (*self.members, self.closer)

    def takes(self, gsd: float) -> bool:
        """Whether pixels of so many metres on the ground are within `gsd_range`, rounded."""
        low, high = self.gsd_range
        return low * (1 - ROUNDED) <= gsd <= high * (1 + ROUNDED)

    @property
    def facts(self) -> dict[str, Any]:
        """All that results follow from, as plain data: what checksums are made of."""
        # `closer` and `override_above` came later: what has none keeps its checksum. What is handed
        # over has the other detector's.
        left_out = {"panchromatic_detector"} if self.closer else {"closer", "panchromatic_detector"}
        facts = self.model_dump(mode="json", exclude=left_out)
        for one in (*facts["members"], *([facts["closer"]] if self.closer else [])):
            if one["override_above"] is None:
                del one["override_above"]
        return facts


_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML whose every mistake is a `YAMLError` that says where it stands.

    A key that is there twice is one: YAML itself takes the last and drops the others silently.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping, as it stands in the text."""
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in keys:
                raise yaml.composer.ComposerError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
            keys.add((key.tag, key.value))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; what looks like a date need not be one."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"cannot be understood: {error}", node.start_mark
            ) from error


def read_yaml(text: str) -> Any:
    """What a YAML text says, as plain data.

    Raises:
        yaml.YAMLError: it is none, or gives a key twice.
    """
    return yaml.load(text, Loader=_Loader)


def load_config(path: Path) -> DetectorConfig:
    """Read and check one YAML file.

    Raises:
        ConfigError: unreadable, malformed, unknown key (with the nearest valid one).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            _FILE, path, f"cannot be read ({error.strerror})", "give an existing YAML file"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            _FILE,
            path,
            f"is no UTF-8 text (byte 0x{error.object[error.start]:02x} in line {line})",
            "save it as UTF-8",
        ) from error
    return _config_of(text, path)


@lru_cache(maxsize=64)
def _config_of(text: str, path: Path) -> DetectorConfig:
    """The configuration that a text says; each scene of a batch asks for the same few."""
    try:
        raw = read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            _FILE, path, f"is not valid YAML ({error})", "mend the line it names"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(_FILE, path, "holds no mapping of keys", "start from a file in configs/")
    version = raw.get("version", CURRENT_VERSION)
    if not isinstance(version, int):
        raise ConfigError("version", version, "is no whole number", f"write {CURRENT_VERSION}")
    if version > CURRENT_VERSION:
        raise ConfigError(
            "version",
            version,
            f"is newer than {CURRENT_VERSION}, the newest known",
            "upgrade Lanner",
        )
    try:
        return DetectorConfig.model_validate(raw)
    except ValidationError as error:
        raise _explain(path, error) from error


def config_sha256(config: DetectorConfig) -> str:
    """Checksum of what the configuration means, whatever its formatting."""
    text = json.dumps(config.facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _explain(path: Path, error: ValidationError) -> ConfigError:
    """The first complaint of pydantic, in our words."""
    # A misspelt key that must be there is also one that is missing: name what can be mended.
    whole = error.errors()
    first = next((one for one in whole if one["type"] == "extra_forbidden"), whole[0])
    where = ".".join(str(part) for part in first["loc"])
    complaint = first["msg"].removeprefix("Value error, ")
    if not where:  # what keys say together: the whole file is no value to show
        return ConfigError(_FILE, path, complaint, "correct it")
    if first["type"] == "extra_forbidden":
        known = keys_at(DetectorConfig, first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "remove it"
        return ConfigError(where, path.name, "is not a known key", remedy)
    if first["type"] == "missing":
        return ConfigError(where, path.name, "is missing", "add it")
    return ConfigError(where, first.get("input"), f"in {path.name}: {complaint}", "correct it")


def keys_at(model: type[BaseModel], where: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that may stand where a key does: those of its own section.

    Args:
        model: of the whole file.
        where: sections, numbers of items and names on the way to the key, and the key.
    """
    within = False
    for part in where[:-1]:
        if within:
            # A number in a list, or a name in a table: it is no key of the model.
            within = False
            continue
        if part not in model.model_fields:
            return ()
        found = model.model_fields[str(part)].annotation
        kinds = [one for one in (found, *get_args(found)) if isinstance(one, type)]
        inner = next((one for one in kinds if issubclass(one, BaseModel)), None)
        if inner is None:
            return ()
        # `closer` may be none, and is no list for that.
        model, within = inner, inner is not found and type(None) not in get_args(found)
    return tuple(model.model_fields)
