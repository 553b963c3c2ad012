"""Changes values in a YAML file and leaves everything else, comments included, as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import yaml

from lanner.core.config import DetectorConfig, Fusion, Member
from lanner.core.errors import ConfigError

_FORMER = {
    today: former
    for model in (DetectorConfig, Fusion, Member)
    for former, today in model.renamed.items()
}

# What names an item of these lists in a dotted path.
_NAMED_BY = {"members": "name", "chain": "step"}


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The text of a detector's YAML with some values changed.

    Args:
        text: a whole detector file.
        changes: dotted path (`fusion.iou`, `members.NAME.weight`, `chain.STEP.PARAMETER`,
            `release`) to its new value. A key that is not there yet is added.

    Raises:
        ConfigError: a path leads to no member or step of the file, or its value cannot be changed
            by itself.
    """
    for path, value in changes.items():
        text = _under_current_name(text, path)
        changed = _one(text, path, value)
        if not _says(changed, text, path, value):
            raise ConfigError(
                path,
                value,
                "cannot be put into the file without changing what else it says",
                "write that part of it plainly, without anchors, aliases and keys twice",
            )
        text = changed
    return text


def _under_current_name(text: str, path: str) -> str:
    """The text with the last key of a path under today's name, where it has the former one."""
    *parents, last = path.split(".")
    former = _FORMER.get(last)
    if former is None:
        return text
    node, left = node_at(text, ".".join(parents))
    if left or not isinstance(node, yaml.MappingNode):
        return text
    key = next((key for key, _ in node.value if key.value == former), None)
    if key is None:
        return text
    return text[: key.start_mark.index] + last + text[key.end_mark.index :]


def _says(changed: str, text: str, path: str, value: Any) -> bool:
    """Whether the changed text says what the text did, but for the value."""
    wanted = yaml.safe_load(text)
    place, (*parts, last) = wanted, path.split(".")
    before = ""
    for part in parts:
        if isinstance(place, list):
            key = _NAMED_BY.get(before, "name")
            place = next(item for item in place if item.get(key) == part)
        else:
            place[part] = place = copy(place.get(part)) or {}
        before = part
    place[last] = value
    try:
        return bool(yaml.safe_load(changed) == wanted)
    except yaml.YAMLError:
        return False


def node_at(text: str, path: str) -> tuple[yaml.Node, list[str]]:
    """The deepest node of the text on the way along a path, and the parts that are left."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        raise ConfigError("YAML", "", "is empty", "start from a file in configs/")
    parts, before = path.split(".") if path else [], ""
    while parts:
        found = _below(node, parts[0], before)
        if found is None:
            break
        before, node = parts.pop(0), found
    return node, parts


def _below(node: yaml.Node, part: str, before: str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode):
        key = _NAMED_BY.get(before, "name")
        named = ((item, _below(item, key, "")) for item in node.value)
        return next((i for i, name in named if name is not None and name.value == part), None)
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _one(text: str, path: str, value: Any) -> str:
    node, left = node_at(text, path)
    if not left:
        begin, end = node.start_mark.index, _end(node, text)
        # Where there was no value yet, it begins right after the colon.
        space = " " if text[:begin].endswith(":") else ""
        return text[:begin] + space + _flow(value) + text[end:]
    if isinstance(node, yaml.SequenceNode):
        raise ConfigError(path, left[0], "is not in the file", "name a member or a step of it")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(path, node.value, "holds no keys", "mend the file")
    for part in reversed(left[1:]):
        value = {part: value}
    entry = f"{left[0]}: {_flow(value)}"
    if node.flow_style:
        if node.value:  # not before the brace: a comment or a comma may stand there
            at = _end(node.value[-1][1], text)
            return f"{text[:at]}, {entry}{text[at:]}"
        at = len(text[: node.end_mark.index - 1].rstrip())
        return text[:at] + entry + text[at:]
    # A block mapping ends only where the next token begins, beyond comments: go by its last value.
    indent = " " * node.start_mark.column
    line_end = text.find("\n", _end(node, text))
    at = len(text) if line_end < 0 else line_end
    return f"{text[:at]}\n{indent}{entry}{text[at:]}"


def _end(node: yaml.Node, text: str) -> int:
    """Where the last character of a node's own text ends."""
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        # A text of several lines takes the empty ones after it along.
        return len(text[: node.end_mark.index].rstrip())
    flow = getattr(node, "flow_style", True)
    if isinstance(node, yaml.ScalarNode) or flow or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(node, yaml.MappingNode) else last, text)


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


__all__ = ["edited", "node_at"]
