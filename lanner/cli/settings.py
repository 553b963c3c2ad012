"""Options of the command line for the keys of a server's settings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.settings import Key, keys

if TYPE_CHECKING:
    from server.settings_sources import Merged

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        show_default="none",
        help="YAML file of settings; docs/deploy lists its keys. The environment comes before it, "
        "options before both.",
    ),
]

_KEY = re.compile(r"`(\w+)`")


def with_settings(only: Collection[str] = ()) -> Callable[[Callable[..., None]], Any]:
    """Give a command an option for each key, and hand it those that were given as `given`.

    Args:
        only: names of the keys; none: all.
    """
    chosen = [key for key in keys() if not only or key.name in only]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**arguments: Any) -> None:
            values = {key.name: arguments.pop(key.name) for key in chosen}
            # typer may say an empty list where an option was not given.
            given = {name: one for name, one in values.items() if one not in (None, [])}
            command(given=given, **arguments)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [_parameter(key) for key in chosen]
        parameters += [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own if one.name != "given"
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def merged(given: dict[str, Any], config: Path | None) -> Merged:
    """What holds for a command.

    Raises:
        ConfigError: as of `server.settings_sources.merge`.
    """
    from server.settings_sources import merge

    return merge(given, file=config)


def _parameter(key: Key) -> inspect.Parameter:
    kind: Any = key.kind
    more: dict[str, Any] = {}
    if key.kind is bool:
        names = [f"{key.option}/--no-{key.option.removeprefix('--')}"]
    else:
        names = [key.option, *filter(None, [key.meaning.short])]
        more = {"metavar": key.meaning.metavar, "min": key.least, "max": key.most}
    text = key.meaning.text
    if key.is_list:
        kind = list[kind]
        text += " Give it again for more."
    option = typer.Option(
        *names, help=_options(text), show_default=_options(key.default_text), **more
    )
    return inspect.Parameter(
        key.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _options(text: str) -> str:
    """A text as the command line writes it: keys are options there."""
    known = {key.name: key.option for key in keys()}
    return _KEY.sub(lambda found: known.get(found[1], found[0]), text)
