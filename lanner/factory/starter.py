"""Files to begin with: a detector and its factory, every key explained in a comment."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import shutil
import string
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from lanner.core.errors import ConfigError, OutputError
from lanner.factory.starter_classes import class_table, wanted_classes
from lanner.factory.starter_labels import Labels, find_labels

_HINTS = {
    "coco": """\
    root: .
    splits: {train: train.json, valid: valid.json, test: test.json} # label files, from root
""",
    "dota": """\
    root: .                     # holds images/ and labelTxt/, in a folder a split
    splits: {train: train, valid: valid, test: test}
""",
    "yolo": """\
    root: .                     # holds data.yaml or classes.txt
    splits: {train: train, valid: valid, test: test} # folders
""",
    "voc": """\
    root: .                     # images with an XML file beside each
    splits: {train: train, valid: valid, test: test} # folders
""",
    "geo": """\
    root: .                     # GeoTIFFs, each with a vector file of the same name beside it
    # options: {labels: all.gpkg, field: class} # one vector file for the folder instead
""",
    "masks": """\
    root: .                     # holds images and their masks: 0 background, 1 the first class
    options: {images: images, masks: masks}
""",
    "images": """\
    root: .                     # images without labels
    role: negative              # nothing of ours is in them; or: unlabelled
""",
}

_DETECTOR = """\
# What the detector is. The factory trains its members and writes accept_at.
version: 1
name: {name}
release: 0.1.0          # the folder below weights/; raise it before a new release
description: {what} in colour imagery.
classes: [{classes}]
output: objects
gsd: {gsd:g}                # metres a pixel the network works at; images are resampled on reading
gsd_range: [{low:g}, {high:g}] # what it takes
bands: [red, green, blue]
tile: 512
halo: 96                # above the longest object, in pixels of gsd; a multiple of 32
members:
{member}fusion: {{iou: 0.5, min_score: 0.05}}
chain:
  - step: merge_seams   # one object a real object, across tiles
  - step: outline
  - step: triage
    accept_at: 0.8      # `release` sets it
{triage}"""

_MEMBERS = {
    "retinanet": """\
  - name: retinanet
    kind: retinanet     # boxes; of any number of classes
    weights: retinanet.safetensors
    threshold: 0.1
""",
    "resunet": """\
  - name: resunet
    kind: resunet       # outlines; of one class
    weights: resunet.safetensors
    threshold: 0.5
    arch: {decoder_channels: [128, 64, 48, 32]} # fewer and smaller: quicker, and learns less
""",
}

_TRIAGE = {
    "retinanet": "    review_box_only: false # there are no outlines without a resunet member\n",
    "resunet": "",
}

_AXES = {
    "retinanet": "    members.retinanet.threshold: [0.05, 0.5]\n",
    # A Res-UNet's threshold drew the outlines: another needs the network again.
    "resunet": "",
}

_POLYGONS = "  - op: masks_from_polygons     # a resunet learns from masks\n"
_BOXES = "  - op: masks_from_boxes        # a resunet learns from masks: these are guessed\n"
_MASKS = {"coco": _POLYGONS, "geo": _POLYGONS, "dota": _BOXES, "yolo": _BOXES, "voc": _BOXES}

_DROP = "    drop: [{}]   # classes of the labels that are left out\n"

_FACTORY = """\
# How {file} is made: lanner factory all {file}.factory.yaml
version: 1
factory: {name}
detector: {file}.yaml       # beside this file
data: {data}                # folder of the sources, from this file; $NAME: from the environment
seed: 1

sources:
  - name: first
    format: {form}
{hint}    classes: {{{table}}}   # theirs: ours; "*" takes every class
{drop}    licence: ""                 # goes on the card of the weights
    attribution: ""

explore:                        # over a limit the step fails; its report is written even so
  limits: {{duplicates_across_splits: 0, out_of_image: 0}}

process:                        # operations, in order
  - op: repair                  # clip, de-duplicate, drop what is no box
{masks}
dataset:
  split: {{by: {by}}}           # source: as they say; hash: by content; block: by place

train:
  members:
    {network}:
{steps}
evaluate:
  splits: [test]
  calibrate_on: valid

search:                         # operating points, on stored predictions
  space:
    fusion.min_score: [0.02, 0.4]
{axis}    chain.merge_seams.iou: [0.3, 0.7, 0.05]
  objectives: [f1, -review]
  points: 200

release:
  precision: 0.95               # of accepted objects
  gates: [f1, ap50]             # may not get worse than in the released version
  licence: ""
"""


_STEPS = {
    True: """\
      steps: 3000
      lr: 8.0e-4
""",
    # A step of the first costs a core some 14 s (retinanet; resunet 20 s), one of these 4 s.
    False: """\
      # This machine shows no GPU. These steps are for a first result within half an hour on two
      # cores; `train` says how long they take here. When that looks right, give it more: steps
      # 3000, without pixels, sizes, warmup and ema, is 12 hours here and minutes on a GPU.
      steps: 300
      lr: 8.0e-4
      pixels: 262144            # a batch
      sizes: [256]              # of the views, in pixels
      warmup: 30
      ema: 0.98
""",
}
"""By whether there is a GPU."""


def has_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU, without loading what would use it."""
    driver = Path("/proc/driver/nvidia/version").exists()
    return driver or shutil.which("nvidia-smi") is not None


def write_starter(  # noqa: PLR0913, PLR0917 - one for each word of `factory init`
    folder: Path,
    form: str,
    name: str,
    classes: tuple[str, ...],
    gsd: float,
    data: str,
    network: str = "retinanet",
    tell: Callable[[str], None] = lambda _: None,
    gpu: bool | None = None,
) -> tuple[Path, Path]:
    """Write `NAME.yaml` and `NAME.factory.yaml`.

    Labels that are in `data` already say which of their classes is which, and where splits lie.

    Args:
        folder: where to; made if need be.
        form: format of the first source.
        name: of detector and factory.
        classes: what it finds, `OURS` or `THEIRS=OURS` where the labels call it otherwise.
        gsd: metres a pixel the networks work at.
        data: folder of the sources, relative to `folder`.
        network: `retinanet` or `resunet`, the detector's only member.
        tell: told what was taken for what.
        gpu: whether it is trained on a GPU; None: whether this machine shows one. Without one the
            steps are fewer and smaller.

    Raises:
        ConfigError: unknown format or network, a name that cannot be one, a class named twice or
            more of them than the network can tell apart, classes of the labels that are not clear,
            or a sampling that is none.
        DatasetError: labels that are there are malformed.
        OutputError: one of the files is there already, or cannot be written.
    """
    _among("--format", form, "is no format that can be read", _HINTS)
    _among("--network", network, "is no network that can be trained", _MEMBERS)
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ConfigError("--name", name, "is no name", "use a-z, 0-9, - and _, a letter first")
    wanted = wanted_classes(classes)
    classes = tuple(dict.fromkeys(one.ours for one in wanted))
    if not 0 < gsd < math.inf:
        raise ConfigError("--gsd", gsd, "is no ground sampling", "give metres a pixel, such as 0.5")
    if network == "resunet" and len(classes) > 1:
        raise ConfigError(
            "--network", network, "cannot tell classes apart", "name one class, or use retinanet"
        )
    detector = _DETECTOR.format(
        name=_as_yaml(name),
        what=classes[0].capitalize(),
        classes=", ".join(map(_as_yaml, classes)),
        gsd=gsd,
        low=gsd / 4,
        high=gsd * 2,
        member=_MEMBERS[network],
        triage=_TRIAGE[network],
    )
    labels = find_labels(form, _folder(folder, data))
    table = class_table(form, wanted, None if labels is None else labels.theirs)
    hint = _hint(form, labels, table.column)
    factory = _FACTORY.format(
        file=name,
        name=_as_yaml(name),
        data=_as_yaml(data),
        form=form,
        hint=hint,
        table=", ".join(f"{_as_yaml(a)}: {_as_yaml(b)}" for a, b in table.classes.items()),
        drop=_DROP.format(", ".join(map(_as_yaml, table.drop))) if table.drop else "",
        masks=_MASKS.get(form, "") if network == "resunet" else "",
        network=network,
        steps=_STEPS[has_gpu() if gpu is None else gpu],
        axis=_AXES[network],
        by="source" if "splits:" in hint else "block" if form == "geo" else "hash",
    )
    files = (folder / f"{name}.yaml", folder / f"{name}.factory.yaml")
    for path in files:
        if path.exists():
            raise OutputError("DIR", path, "is there already", "choose another folder or --name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(files, (detector, factory), strict=True):
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "DIR", folder, f"cannot be written to ({error.strerror})", "choose another folder"
        ) from error
    for line in table.notes:
        tell(line)
    return files


def _folder(folder: Path, data: str) -> Path:
    """Where the images are, as far as that can be said now."""
    filled = string.Template(data).safe_substitute(os.environ)
    return (folder / os.path.expanduser(filled)).resolve()


def _hint(form: str, labels: Labels | None, column: str) -> str:
    """Where the source's labels lie: as they do, else as they usually do."""
    options = {"labels": labels.file if labels else "", "field": column}
    given = ", ".join(f"{key}: {_as_yaml(value)}" for key, value in options.items() if value)
    line = f"    options: {{{given}}}\n" if given else ""
    if labels is None or (form == "geo" and not given):
        return _HINTS[form] + line
    pairs = ", ".join(f"{ours}: {_as_yaml(theirs)}" for ours, theirs in labels.splits.items())
    splits = f"    splits: {{{pairs}}}\n" if pairs else ""
    return _HINTS[form].splitlines()[0] + "\n" + splits + line


def _as_yaml(text: str) -> str:
    """A text as YAML: in quotes where it would be read as another text or as no text (`no`)."""
    try:
        plain = yaml.safe_load(f"[{text} ]") == [text]
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def _among(argument: str, value: str, problem: str, known: Iterable[str]) -> None:
    """Refuse what is not known, naming the nearest that is."""
    names = list(known)
    if value not in names:
        near = difflib.get_close_matches(value, names, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}"
        raise ConfigError(argument, value, problem, remedy)


__all__ = ["write_starter"]
