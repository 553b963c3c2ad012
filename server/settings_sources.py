"""`Settings` from where an operator says them: command line, environment, file, defaults."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from lanner.core.config import read_yaml
from lanner.core.errors import Argument, ConfigError
from server.settings import VARIABLE, Key, Settings, keys

CONFIG_VARIABLE = f"{VARIABLE}CONFIG"
"""Names the file where the command line names none."""

HIDDEN = "(hidden)"
"""Shown for a secret."""

_FILE = Argument("config")
_DEFAULT = "default"

_Form = Literal["file", "text", "value"]


@dataclass(frozen=True)
class Merged:
    """What holds, and why.

    Attributes:
        settings: the values.
        sources: of each key, by name: an option, a variable, a file, or `default`.
    """

    settings: Settings
    sources: Mapping[str, str]


def merge(
    given: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Merged:
    """Settings of all sources: `given` comes before the environment, that before the file.

    A list is taken from one source whole. An empty variable counts as none.

    Args:
        given: on the command line, by key; None is not given.
        environment: variables; None: of this process.
        file: YAML; None: the one that a variable names, if any. Its paths are relative to its
            folder, others to the current one.

    Raises:
        ConfigError: the file cannot be read, a key or variable is unknown, or a value is none.
    """
    variables = {
        name: text
        for name, text in (os.environ if environment is None else environment).items()
        if name.startswith(VARIABLE) and text
    }
    named = variables.pop(CONFIG_VARIABLE, None)
    if file is None and named is not None:
        file = Path(named)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {key.name: _DEFAULT for key in keys()}
    layers = (
        ({} if file is None else _from_file(file), lambda key: str(file)),
        (_from_environment(variables), lambda key: key.variable),
        (_from_command(given), lambda key: key.option),
    )
    for found, source in layers:
        values.update(found)
        sources.update({key.name: source(key) for key in keys() if key.name in found})
    return Merged(Settings(**values), sources)


def as_yaml(merged: Merged) -> str:
    """All keys as YAML, each with its source as a comment; secrets hidden.

    What is printed may be given as a file again, once secrets are put in.
    """
    lines = []
    for key in keys():
        value = getattr(merged.settings, key.name)
        if key.meaning.is_secret and value is not None:
            value = HIDDEN
        elif key.is_list:
            value = [str(one) if key.kind is Path else one for one in value]
        elif isinstance(value, Path):
            value = str(value)
        text = yaml.safe_dump(
            {key.name: value},
            default_flow_style=None if key.is_list else False,
            sort_keys=False,
            width=float("inf"),
            allow_unicode=True,
        )
        lines.append(f"{text.rstrip()}  # {_one_line(merged.sources[key.name])}\n")
    return "".join(lines)


def _from_file(path: Path) -> dict[str, Any]:
    document = _document(path)
    known = {key.name: key for key in keys()}
    found = {}
    for name, value in document.items():
        key = known.get(name) if isinstance(name, str) else None
        if key is None:
            near = _near(str(name), known)
            raise ConfigError(str(name), path, "is not a known key", near or "remove it")
        items = [value] if key.is_list and isinstance(value, str) else value
        checked = _checked(key, name, items, "file", f"in {path}: ")
        found[name] = _beside(path, checked) if key.kind is Path else checked
    return found


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    known = {key.variable: key for key in keys()}
    found = {}
    for name, text in variables.items():
        if name not in known:
            near = _near(name, (*known, CONFIG_VARIABLE))
            raise ConfigError(
                name, "the environment", "is no variable that is known", near or "unset it"
            )
        found[known[name].name] = _of_text(known[name], text)
    return found


def _of_text(key: Key, text: str) -> Any:
    """The value of a variable; items of a list are between commas."""
    if not key.is_list:
        return _checked(key, key.variable, text, "text")
    items = [one.strip() for one in text.split(",")]
    if "" in items:
        raise ConfigError(
            key.variable, text, "has an empty item", "give one comma between two items"
        )
    return _checked(key, key.variable, items, "value")


def _from_command(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key.name: _checked(key, key.option, given[key.name], "value")
        for key in keys()
        if given.get(key.name) is not None
    }


def _checked(key: Key, name: str, value: Any, form: _Form, where: str = "") -> Any:
    """A value that a key may have.

    Raises:
        ConfigError: it may not; the value is shown unless it is a secret.
    """
    try:
        return _parsed(key, value, form)
    except ValueError as error:
        problem = str(error)
        if isinstance(error, ValidationError):
            problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        shown = HIDDEN if key.meaning.is_secret else value
        problem = f"{where}{problem[:1].lower()}{problem[1:]}"
        # Not the cause: it holds the value, and a traceback would show it.
        raise ConfigError(name, shown, problem, f"give {key.form}") from None


def _parsed(key: Key, value: Any, form: _Form) -> Any:
    adapter = _adapter(key)
    if form == "text":
        return adapter.validate_strings(value)
    if form == "value":
        return adapter.validate_python(value)
    # As JSON, a list is a tuple and a text a path, while yes is no number and 8080 no text.
    return adapter.validate_json(json.dumps(value, default=str, skipkeys=True), strict=True)


def _adapter(key: Key) -> TypeAdapter[Any]:
    hint = get_type_hints(Settings, include_extras=True)[key.name]
    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))


def _document(path: Path) -> dict[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            _FILE, path, f"cannot be read ({error.strerror})", "give an existing YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(_FILE, path, "is no UTF-8 text", "save it as UTF-8") from error
    try:
        found = read_yaml(text)
    except yaml.YAMLError as error:
        # The whole message of YAML quotes the line, which may hold a password.
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" in line {mark.line + 1}"
        problem = getattr(error, "problem", None) or "it is malformed"
        raise ConfigError(
            _FILE, path, f"is not valid YAML{line} ({problem})", "mend that"
        ) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(_FILE, path, "holds no mapping of keys", "write lines such as port: 8080")
    return found


def _beside(path: Path, value: Any) -> Any:
    """Paths of a file, which are relative to its folder."""
    if isinstance(value, tuple):
        return tuple(path.parent / one for one in value)
    return None if value is None else path.parent / value


def _near(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
