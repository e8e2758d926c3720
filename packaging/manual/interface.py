"""Facts of the HTTP API, read from the OpenAPI description that the proxy itself serves and checks by."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DESCRIPTION = Path(__file__).parents[2] / "proxy/web/admin/openapi.json"


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is sent or returned: its path in the JSON, its type, what it means."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    method: str
    path: str
    summary: str
    parameters: tuple[Value, ...]
    body: tuple[Value, ...]
    replies: tuple[tuple[str, str], ...]
    """Status, and what it means."""


class Interface:
    """All operations and replies."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = json.loads(DESCRIPTION.read_text(encoding="utf-8"))

    @property
    def summary(self) -> str:
        """What it is."""
        return str(self._root["info"]["description"])

    def operations(self) -> Iterator[Operation]:
        """Yield all operations in the order of the description."""
        base = self._root["servers"][0]["url"]
        for path, methods in self._root["paths"].items():
            for method, operation in methods.items():
                content = self._resolved(operation.get("requestBody", {})).get("content", {})
                schema: Mapping[str, Any] = next((one.get("schema", {}) for one in content.values()), {})
                yield Operation(
                    method=method.upper(),
                    path=base + path,
                    summary=operation.get("summary", ""),
                    parameters=tuple(map(self._parameter, operation.get("parameters", []))),
                    body=tuple(self._values(schema, "")),
                    replies=tuple(
                        (status, str(self._resolved(reply).get("description", "")))
                        for status, reply in operation.get("responses", {}).items()
                    ),
                )

    def replies(self) -> Iterator[tuple[str, tuple[Value, ...]]]:
        """Yield the name and the values of each kind of reply."""
        for name, schema in self._root["components"]["schemas"].items():
            yield name, tuple(self._values(schema, ""))

    def _parameter(self, given: Mapping[str, Any]) -> Value:
        parameter = self._resolved(given)
        kind = f"{parameter['in']}, {_kind(self._resolved(parameter.get('schema', {})))}"
        return Value(parameter["name"], kind, parameter.get("description", ""))

    def _values(self, given: Mapping[str, Any], at: str) -> Iterator[Value]:
        schema = self._resolved(given)
        for name, part in schema.get("properties", {}).items():
            yield from self._value(part, f"{at}.{name}" if at else name)
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            yield from self._values(more, f"{at}.NAME" if at else "NAME")
        if "items" in schema:
            yield from self._values(schema["items"], f"{at}[]")

    def _value(self, given: Mapping[str, Any], name: str) -> Iterator[Value]:
        part = self._resolved(given)
        yield Value(name, _kind(part), part.get("description", ""))
        yield from self._values(part, name)

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in part:
            return part
        found: Any = self._root
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return self._resolved(found)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a type in words."""
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(json.dumps(one) for one in schema["enum"])
    kind = schema.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    if kinds == ["array"]:
        return f"list of {_kind(schema.get('items', {}))}"
    return " or ".join(str(one) for one in kinds)
