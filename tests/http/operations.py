"""Every operation of the contract, for tests that hold for all of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inventory_api.app import create_app
from inventory_api.settings import Settings

DOCUMENT: dict[str, Any] = create_app(Settings.model_construct()).openapi()
NOBODY = 2**53 - 1
"""An id that nothing has."""


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    role: str
    media_type: str | None
    """Of its body; None without one."""
    spec: dict[str, Any]

    def __str__(self) -> str:
        return self.id

    @property
    def under_api(self) -> bool:
        return self.path.startswith("/api/")

    def url(self, entity_id: int | str = NOBODY) -> str:
        return re.sub(r"\{\w+\}", str(entity_id), self.path)

    def body(self) -> Any:
        """A body that is accepted, made of the contract's examples; None without one."""
        if self.media_type is None:
            return None
        return example(self.spec["requestBody"]["content"][self.media_type]["schema"])


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        target: Any = DOCUMENT
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema


def example(schema: dict[str, Any]) -> Any:
    """The schema's own example, or one composed of its members' examples."""
    if schema.get("examples"):
        return schema["examples"][0]
    schema = resolve(schema)
    if schema.get("examples"):
        return schema["examples"][0]
    if "properties" in schema:
        return {name: example(part) for name, part in schema["properties"].items()}
    if schema.get("enum"):
        return schema["enum"][0]
    if "items" in schema:
        return [example(schema["items"])]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return example(schema[keyword][0])
    raise AssertionError(f"no example in {schema}")


def _operations() -> Iterator[Operation]:
    for path, item in DOCUMENT["paths"].items():
        for method, spec in item.items():
            content = spec.get("requestBody", {}).get("content", {})
            yield Operation(
                id=spec["operationId"],
                method=method.upper(),
                path=path,
                role=spec["x-required-role"],
                media_type=next(iter(content), None),
                spec=spec,
            )


OPERATIONS = list(_operations())
WITH_BODY = [operation for operation in OPERATIONS if operation.media_type]
PROTECTED = [operation for operation in OPERATIONS if operation.role != "public"]
WITH_ID = [operation for operation in OPERATIONS if "{" in operation.path]

assert len(OPERATIONS) >= 30
assert WITH_BODY
assert PROTECTED
assert WITH_ID
