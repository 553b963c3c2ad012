"""Messages from HTTP requests, and JSON of messages (the proto3 JSON mapping)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from lanner.core.errors import Argument, ConfigError
from server.http.rules import Rule


def request_message(
    rule: Rule, fields: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes
) -> Message:
    """The request that a method is called with.

    Args:
        rule: the one that matched.
        fields: values of the path's variables.
        query: names and values after the question mark, decoded.
        body: JSON; empty where there is none.

    Raises:
        ConfigError: something in it is no part of the message, or no value for its field.
    """
    message = GetMessageClass(rule.method.input_type)()
    if rule.body:
        _parse(_document(body), message if rule.body == "*" else _sub(message, rule.body), "body")
    if rule.body != "*":
        values: dict[str, Any] = {}
        for name, value in query:
            _put(values, rule.method.input_type, name, value)
        _parse(values, message, "query")
    for name, value in fields.items():
        values = {}
        _put(values, rule.method.input_type, name, value)
        _parse(values, message, name)
    return message


def to_json(message: Message) -> bytes:
    """A message as JSON, fields that are not set left out."""
    found = json_format.MessageToDict(message)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def _document(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(
            Argument("body"), "request", f"is no JSON ({error})", "send a JSON object"
        ) from error


def _parse(values: Any, message: Message, where: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(Argument(where), "request", "is no JSON object", "send one")
    try:
        json_format.ParseDict(values, message)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(
            Argument(where),
            "request",
            f"does not fit {message.DESCRIPTOR.name} ({error})",
            "see /openapi.json for its fields",
        ) from error


def _sub(message: Message, field: str) -> Message:
    found = getattr(message, field)
    assert isinstance(found, Message)
    return found


def _put(values: dict[str, Any], descriptor: Descriptor, path: str, value: str) -> None:
    """Put a text where a dotted path says, as JSON has the type of that field."""
    *parents, last = path.split(".")
    for name in parents:
        field = _field(descriptor, name)
        if field is None or field.message_type is None or _is_list(field):
            raise _no_field(path)
        values, descriptor = values.setdefault(field.name, {}), field.message_type
    field = _field(descriptor, last)
    if field is None:
        raise _no_field(path)
    one: Any = value
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        one = {"true": True, "false": False}.get(value, value)
    if _is_list(field):
        values.setdefault(field.name, []).append(one)
    else:
        values[field.name] = one


def _field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    """A field by its name in the file or in JSON."""
    found = descriptor.fields_by_name.get(name)
    return found or next((one for one in descriptor.fields if one.json_name == name), None)


def _is_list(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _no_field(path: str) -> ConfigError:
    return ConfigError(
        Argument("query"), path, "is no field of the request", "see /openapi.json for its fields"
    )
