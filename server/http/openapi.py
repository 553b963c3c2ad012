"""An OpenAPI 3.1 document of the HTTP twin, made from the descriptors of its messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from server.http.rules import Rule
from server.results import FORMATS

Json = dict[str, Any]

_INTEGERS_64 = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}
_KINDS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    # Up to 315,576,000,000 seconds are one, to the nanosecond.
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,11}(\.[0-9]{1,9})?s$"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
}
_BODY = "google.api.HttpBody"

ERROR = {"$ref": "#/components/responses/error"}
"""The answer of any call that failed."""


def document(rules: Sequence[Rule], version: str, others: Mapping[str, Json]) -> Json:
    """The document.

    Args:
        rules: the methods that are called.
        version: of the server.
        others: operations that are no methods, by path and verb.
    """
    schemas: Json = {}
    paths: Json = {path: dict(verbs) for path, verbs in others.items()}
    error = {
        "description": "It is not done: google.rpc.Status says why.",
        "content": {"application/json": {"schema": _status(schemas)}},
    }
    for rule in rules:
        path, parameters = _path(rule)
        paths.setdefault(path, {})[rule.verb.lower()] = _operation(rule, parameters, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lanner", "version": version},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {"error": error},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _path(rule: Rule) -> tuple[str, Sequence[str]]:
    """A path as OpenAPI writes it, each `*` a parameter named after what comes before it."""
    text = re.sub(r"\{[\w.]+=([^{}]+)\}", r"\1", rule.template.text)
    path = re.sub(
        r"([^/]+)/\*+", lambda found: f"{found[1]}/{{{found[1].removesuffix('s')}}}", text
    )
    return path, re.findall(r"\{([\w.]+)\}", path)


def _operation(rule: Rule, parameters: Sequence[str], schemas: Json) -> Json:
    method = rule.method
    found: Json = {
        "operationId": method.name,
        "tags": [method.containing_service.name],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parameters
        ],
        "responses": {
            "200": {"description": "It is done.", "content": _answer(rule, schemas)},
            "default": ERROR,
        },
    }
    if rule.body:
        of = method.input_type
        if rule.body == "*":
            schema = _without(of, _in_path(rule), schemas)
        else:
            schema = _field(of.fields_by_name[rule.body], schemas)
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    if rule.body != "*":
        for name, field in _query_fields(method.input_type, {*_in_path(rule), rule.body}):
            one = {"name": name, "in": "query", "schema": _field(field, schemas)}
            found["parameters"].append(one)
    return found


def _in_path(rule: Rule) -> set[str]:
    return {field for field, _ in rule.template.parts() if field}


def _query_fields(
    descriptor: Descriptor, without: set[str], before: str = ""
) -> Iterator[tuple[str, FieldDescriptor]]:
    for field in descriptor.fields:
        if not before and field.name in without:
            continue
        kind = field.message_type
        if kind is None or kind.full_name in _WELL_KNOWN:
            yield before + field.json_name, field
        elif not field.is_repeated:
            yield from _query_fields(kind, set(), f"{before}{field.json_name}.")


def _answer(rule: Rule, schemas: Json) -> Json:
    kind = rule.method.output_type
    if kind.full_name == _BODY:
        # Results are all that is sent so. Of bytes OpenAPI 3.1 gives the media type alone.
        return {media_type: {} for media_type in FORMATS.values()}
    schema = _reference(kind, schemas)
    if rule.method.server_streaming:
        return {"text/event-stream": {"schema": _event(schema)}}
    return {"application/json": {"schema": schema}}


def _event(message: Json) -> Json:
    """One server-sent event, as OpenAPI 3.2 writes them; 3.1 says nothing of such streams."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": message}
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": data},
        "required": ["data"],
    }


def _status(schemas: Json) -> Json:
    from google.rpc import status_pb2

    return _reference(status_pb2.Status.DESCRIPTOR, schemas)


def _reference(descriptor: Descriptor, schemas: Json) -> Json:
    """A message by reference; it and all that it holds are among `schemas` then."""
    if descriptor.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[descriptor.full_name]
    name = descriptor.full_name
    if name not in schemas:
        schemas[name] = {}  # it may hold itself
        schemas[name] = _message(descriptor, set(), schemas)
    return {"$ref": f"#/components/schemas/{name}"}


def _without(descriptor: Descriptor, names: set[str], schemas: Json) -> Json:
    return _message(descriptor, names, schemas) if names else _reference(descriptor, schemas)


def _message(descriptor: Descriptor, without: set[str], schemas: Json) -> Json:
    fields = [field for field in descriptor.fields if field.name not in without]
    found: Json = {
        "type": "object",
        "properties": {field.json_name: _field(field, schemas) for field in fields},
        "additionalProperties": False,
    }
    choices = [
        {
            "not": {
                "anyOf": [
                    {"required": [a.json_name, b.json_name]}
                    for n, a in enumerate(one.fields)
                    for b in one.fields[n + 1 :]
                ]
            }
        }
        for one in descriptor.oneofs
        if len(one.fields) > 1
    ]
    return {**found, "allOf": choices} if choices else found


def _field(field: FieldDescriptor, schemas: Json) -> Json:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        value = kind.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _one(value, schemas)}
    one = _one(field, schemas)
    return {"type": "array", "items": one} if field.is_repeated else one


def _one(field: FieldDescriptor, schemas: Json) -> Json:
    if field.message_type is not None:
        return _reference(field.message_type, schemas)
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "format": "byte"}
    if field.type in _INTEGERS_64:
        # Every number of so many digits fits; not every one of 19 does.
        return {"type": "string", "pattern": "^-?[0-9]{1,18}$"}
    return _KINDS[field.cpp_type]


def _enum(enum: EnumDescriptor) -> Json:
    return {"type": "string", "enum": [value.name for value in enum.values]}
