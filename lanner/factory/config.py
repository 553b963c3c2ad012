"""The factory's YAML file: one section a step, unknown keys refused."""

from __future__ import annotations

import difflib
import os
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lanner.core.config import Fusion, Member, StepSpec, Strict, keys_at, read_yaml
from lanner.core.errors import ConfigError
from lanner.core.renamed import current_name

NAME = r"^[a-z][a-z0-9_-]*$"

Theirs = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A class of a source: YAML takes one that is a number for a number."""


class Source(Strict):
    """One folder of images, with labels in one format.

    `root` is relative to the file's `data`. `splits` maps our split to what the format calls it:
    a label file (coco: `{train: train.json}`) or a folder; without it nothing is split yet.
    `classes` maps the source's class to ours; `"*"` takes every class. A class that is neither
    there nor in `drop` is an error. `use` are the splits that may be used at all. `labels` is the
    folder of the label files where they are not with the images, relative to the factory file:
    labels that a team makes go into its repository, beside the file that uses them.
    """

    name: str = Field(pattern=NAME)
    format: Literal["coco", "dota", "yolo", "voc", "geo", "masks", "images"]
    root: str
    splits: dict[str, str] = Field(default_factory=dict)
    classes: dict[Theirs, str] = Field(default_factory=dict)
    drop: tuple[Theirs, ...] = ()
    labels: str | None = None
    role: Literal["labelled", "negative", "unlabelled"] = "labelled"
    use: tuple[str, ...] = ()
    gsd: float | None = Field(None, gt=0)
    weight: float = Field(1.0, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)
    licence: str = ""
    attribution: str = ""


class Explore(Strict):
    """Limits are counts (or shares below 1) of anomalies over which the step fails.

    `near` is the Hamming distance of 64-bit perceptual hashes up to which images are near
    duplicates. `model` is a detector (name or YAML) whose disagreement ranks suspicious labels;
    `worst` how many are listed.
    """

    limits: dict[str, float] = Field(default_factory=dict)
    near: int = Field(6, ge=0, le=32)
    near_m: float = Field(50.0, ge=0, description="georeferenced images nearer than this leak")
    model: str | None = None
    worst: int = Field(100, ge=0)


class OpSpec(BaseModel):
    """One operation of `process`: its name and its own parameters."""

    model_config = StepSpec.model_config
    renamed: ClassVar[Mapping[str, str]] = {
        "hand_over": "reassign_split",
        "unsure_lines": "ignore_unseen_lines",
    }
    op: str

    @field_validator("op")
    @classmethod
    def _accept_former_names(cls, name: str) -> str:
        return current_name(name, cls.renamed)

    @property
    def params(self) -> dict[str, Any]:
        """The operation's parameters, still unchecked."""
        return dict(self.model_extra or {})


class Split(Strict):
    """How samples without a split of their own get one.

    `block` puts whole squares of `block_m` metres into one split, so that neighbours never
    straddle; `hash` goes by the content of each image, that of the original where it was cut or
    scaled, and follows versions of it that have a split; `source` leaves what the sources say and
    refuses samples without.
    """

    by: Literal["source", "hash", "block"] = "source"
    fractions: dict[str, float] = Field({"train": 0.8, "valid": 0.1, "test": 0.1})
    block_m: float = Field(500.0, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if not all(0 <= share <= 1 for share in self.fractions.values()):
            raise ValueError(f"fractions must lie within 0 to 1, got {self.fractions}")
        if abs(sum(self.fractions.values()) - 1) > 1e-6:
            raise ValueError(f"fractions sum to {sum(self.fractions.values()):g}, not to 1")
        return self


class Dataset(Strict):
    """What is frozen: splits, formats to export, the least number of objects a class must have.

    With `least: 0` there may be nothing in train at all: a dataset to measure on.
    """

    split: Split = Split()
    export: tuple[Literal["coco", "yolo"], ...] = ()
    least: int = Field(1, ge=0)


class Mix(Strict):
    """How often a source is drawn, and at which scales (log-uniform)."""

    odds: float = Field(1.0, ge=0)
    scale: tuple[float, float] = (0.7, 1.6)


class Training(Strict):
    """How one member is trained; the keys of the mixing table are sources.

    `pixels` a batch stay about constant whatever the crop size. `start` is a weights file,
    `release` for the released ones, or `imagenet` for an encoder that was trained there.
    `encoder_rate` is the share of `lr` that the encoder learns at. `checkpoint_every` steps the
    run can be resumed from.
    """

    renamed: ClassVar[Mapping[str, str]] = {"one_band": "single_band"}

    steps: int = Field(3000, ge=1)
    lr: float = Field(8e-4, gt=0)
    encoder_rate: float = Field(1.0, gt=0, le=1)
    weight_decay: float = Field(0.05, ge=0)
    warmup: int = Field(100, ge=0)
    pixels: int = Field(1_000_000, ge=4096)
    sizes: tuple[int, ...] = (256, 320, 384, 512)
    mix: dict[str, Mix] = Field(default_factory=dict)
    colour: float = Field(1.0, ge=0, description="strength of colour and sensor changes")
    gentle: float = Field(0.0, ge=0, le=1, description="share of views changed little")
    sensor: float | None = Field(
        None, ge=0, le=1, description="share of the others that another sensor is made up for"
    )
    rotate: Literal["quarter", "free"] = "quarter"
    single_band: bool = Field(False, description="every view as a camera of a single band sees it")
    start: str | None = None
    encoder_from: str | None = None
    ema: float = Field(0.998, ge=0, lt=1)
    checkpoint_every: int = Field(200, ge=1)
    valid_every: int = Field(0, ge=0, description="steps between validations; 0 only at the end")
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int | None = Field(None, ge=1)
    workers: int = Field(1, ge=0)
    loss: dict[str, float] = Field(default_factory=dict)


class Train(Strict):
    """Members by name, in the order they are trained; `tracking` is an MLflow store's address.

    Members that `keep` names have the weights of the last release: a new calibration or operating
    point is released without training, and how the weights were made stays written.
    """

    members: dict[str, Training] = Field(default_factory=dict)
    keep: tuple[str, ...] = ()
    tracking: str | None = None
    devices: str = "auto"

    @property
    def trained(self) -> dict[str, Training]:
        """The members that are not kept."""
        return {name: one for name, one in self.members.items() if name not in self.keep}


class Evaluate(Strict):
    """What is measured, on which splits, in which slices; intervals by bootstrap over images."""

    splits: tuple[str, ...] = ("test",)
    calibrate_on: str = "valid"
    iou: float = Field(0.5, gt=0, lt=1)
    slices: tuple[Literal["size", "gsd", "source"], ...] = ("size", "gsd", "source")
    bootstrap: int = Field(500, ge=0)
    worst: int = Field(24, ge=0)
    chain_until: str | None = None
    relax_px: float = Field(3.0, gt=0)
    pretend_gsd: bool | dict[str, Annotated[float, Field(gt=0)]] = Field(
        True,
        description="images of unknown ground sampling are taken as the detector's own, "
        "or as a table of sources and metres says",
    )


class Search(Strict):
    """Operating points: dotted paths into the detector's YAML and what they may be.

    A path is `fusion.iou`, `members.NAME.weight` or `chain.STEP.PARAMETER`; its range is
    `[low, high]` (numbers), `{log: [low, high]}`, `{int: [low, high]}` or `{one_of: [...]}`.
    """

    space: dict[str, Any] = Field(default_factory=dict)
    objectives: tuple[str, ...] = ("f1", "-review")
    points: int = Field(200, ge=1)
    workers: int = Field(0, ge=0, description="processes; 0: one a core")
    backend: str = Field("processes", description="or an executor: ray, ray://HOST:10001")
    split: str = "valid"
    seed: int = 1

    @field_validator("space")
    @classmethod
    def _accept_former_paths(cls, space: dict[str, Any]) -> dict[str, Any]:
        renamed = {
            **{f"fusion.{old}": f"fusion.{new}" for old, new in Fusion.renamed.items()},
            **{
                path: f"{path.rpartition('.')[0]}.{Member.renamed[path.rpartition('.')[2]]}"
                for path in space
                if path.startswith("members.") and path.rpartition(".")[2] in Member.renamed
            },
        }
        return {current_name(path, renamed): value for path, value in space.items()}


class Release(Strict):
    """`precision` is what accepted objects must reach; `gates` are metrics that may not get worse.

    `review_precision` is the least share of what goes to review that is right: 0.5 are two looks a
    find. `golden` images are kept with their exact outputs.
    """

    precision: float = Field(0.95, gt=0, le=1)
    review_precision: float = Field(0.5, ge=0, le=1)
    gates: tuple[str, ...] = ("f1", "ap50")
    golden: int = Field(2, ge=0)
    licence: str = ""
    description: str = ""


class FactoryConfig(Strict):
    """A whole factory file. `detector` is the detector's YAML, relative to this file."""

    version: Literal[1] = 1
    factory: str = Field(pattern=NAME)
    detector: str
    data: str = "."
    workdir: str = ""
    seed: int = 1
    sources: tuple[Source, ...] = Field(min_length=1)
    explore: Explore = Explore()
    process: tuple[OpSpec, ...] = ()
    dataset: Dataset = Dataset()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    search: Search = Search()
    release: Release = Release()

    @model_validator(mode="after")
    def _named_once(self) -> FactoryConfig:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"source names must differ, got {names}")
        pretended = self.evaluate.pretend_gsd
        for name in pretended if isinstance(pretended, dict) else ():
            if name not in names:
                raise ValueError(f"evaluate.pretend_gsd: {name!r} is none of {', '.join(names)}")
        return self


def load_factory(path: Path) -> FactoryConfig:
    """Read and check one factory file; `$NAME` and `${NAME}` in `data` come from the environment.

    `~` at its beginning is the home folder.

    Raises:
        ConfigError: unreadable, malformed, or an unknown key, with line and nearest valid key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = read_yaml(text)
    except OSError as error:
        raise ConfigError(
            "CONFIG", path, f"cannot be read ({error.strerror})", "give an existing YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("CONFIG", path, "is not UTF-8 text", "give a YAML file") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            "CONFIG", path, f"is not valid YAML ({error})", "mend the line it names"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError("CONFIG", path, "holds no mapping of keys", "see docs/factory.md")
    try:
        config = FactoryConfig.model_validate(raw)
    except ValidationError as error:
        raise _explain(path, text, error) from error
    return config.model_copy(update={"data": _expanded(config.data, path)})


def _expanded(data: str, path: Path) -> str:
    """`data` as an absolute folder."""
    try:
        filled = string.Template(data).substitute(os.environ)
    except KeyError as error:
        name = error.args[0]
        raise ConfigError(
            "data", data, f"the environment has no {name}", f"set it: export {name}=/path/to/data"
        ) from error
    except ValueError as error:
        raise ConfigError(
            "data", data, "holds a $ that begins no name", "write $NAME, or $$ for the sign itself"
        ) from error
    return str((path.parent / os.path.expanduser(filled)).resolve())


def line_of(text: str, where: tuple[int | str, ...]) -> int | None:
    """The line, counted from 1, on which a key or item of a YAML text stands."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _explain(path: Path, text: str, error: ValidationError) -> ConfigError:
    """The first complaint, with the line it is about."""
    # A misspelt key that must be there is also one that is missing: name what can be mended.
    whole = error.errors()
    first = next((one for one in whole if one["type"] == "extra_forbidden"), whole[0])
    loc = tuple(first["loc"])
    where = ".".join(str(part) for part in loc) or "file"
    line = line_of(text, loc)
    at = path.name if line is None else f"{path.name} line {line}"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), keys_at(FactoryConfig, loc), n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "remove it, or see docs/factory.md"
        return ConfigError(where, at, "is not a known key", remedy)
    if first["type"] == "missing":
        return ConfigError(where, at, "is missing", "add it, see docs/factory.md")
    return ConfigError(where, first.get("input"), f"in {at}: {first['msg']}", "correct it")
