"""Which method answers which HTTP request: `google.api.http` of the .proto files.

Paths are written and matched as https://google.aip.dev/127 and google/api/http.proto say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

_VARIABLE = re.compile(r"\{(?P<field>[\w.]+)(?:=(?P<pattern>[^{}]+))?\}")
_RESERVED = re.compile(r"%(?!2[fF])")


@dataclass(frozen=True)
class Template:
    """A path with variables, such as `/v1/{name=operations/*}:cancel`."""

    text: str

    def parts(self) -> Iterator[tuple[str, str]]:
        """Stretches of the path in order: the field that each is for (none: ""), its pattern."""
        last = 0
        for found in _VARIABLE.finditer(self.text):
            if found.start() > last:
                yield "", self.text[last : found.start()]
            yield found["field"], found["pattern"] or "*"
            last = found.end()
        if last < len(self.text):
            yield "", self.text[last:]

    def match(self, path: str) -> Mapping[str, str] | None:
        """Values of the fields in a path that is still percent-encoded; None: it is another."""
        fields, pattern = [], ""
        for field, text in self.parts():
            one = _expression(text)
            pattern += f"({one})" if field else one
            fields += [field] if field else []
        found = re.fullmatch(pattern, path)
        if found is None:
            return None
        return {
            # A slash within one segment is told from one between two.
            field: unquote(value if "/" not in value else _RESERVED.sub("%", value))
            for field, value in zip(fields, found.groups(), strict=True)
        }

    @property
    def rank(self) -> tuple[int, int, int]:
        """The smaller, the more particular: of two that match, the smallest answers."""
        verb = ":" in self.text.rpartition("}")[2]
        return self.text.count("**"), 0 if verb else 1, -self.text.count("/")


@dataclass(frozen=True)
class Rule:
    """One way to call a method.

    Attributes:
        verb: GET, POST, PATCH, DELETE or PUT.
        template: of the path.
        body: field that the body is; "*": the whole message; "": there is none.
        method: what is called.
    """

    verb: str
    template: Template
    body: str
    method: MethodDescriptor


EXTRA = {
    # Google's own file gives it no path.
    "google.longrunning.Operations.WaitOperation": http_pb2.HttpRule(
        post="/v1/{name=operations/*}:wait", body="*"
    ),
}
"""Rules of methods that bring none."""


def rules_of(services: Iterable[ServiceDescriptor]) -> Sequence[Rule]:
    """All ways to call the methods of services, the most particular first."""
    found = []
    for service in services:
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            if not rule.WhichOneof("pattern") and method.full_name in EXTRA:
                rule = EXTRA[method.full_name]
            for one in (rule, *rule.additional_bindings):
                kind = one.WhichOneof("pattern")
                if kind is not None:
                    template = Template(getattr(one, kind))
                    found.append(Rule(kind.upper(), template, one.body, method))
    return sorted(found, key=lambda rule: rule.template.rank)


def _expression(pattern: str) -> str:
    """Of a stretch of a path: `*` is one segment, `**` any number."""
    return "".join(
        {"**": ".+", "*": "[^/]+"}.get(part, re.escape(part))
        for part in re.split(r"(\*\*|\*)", pattern)
    )
