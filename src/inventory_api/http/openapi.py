"""The contract: FastAPI's description of the code, cleaned up for generators and people."""

from collections.abc import Iterator
from typing import Any, cast

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.json_schema import models_json_schema

from inventory_api.http import openapi_components as components
from inventory_api.http.problems import Problem, ValidationProblem
from inventory_api.http.route import PUBLIC, media_types, required_role

_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}

Schema = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]


def operation_id(route: APIRoute) -> str:
    """`list_products` → `listProducts`."""
    head, *rest = route.name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def problems(*statuses: int) -> Responses:
    """For `responses=`: the errors that an operation can give, as references.

    422 always stands here, so that FastAPI adds none of its own; the clean-up takes it away again
    where an operation has no input.
    """
    return {
        status: {"$ref": f"#/components/responses/{components.NAMES[status]}"}
        for status in sorted({*statuses, 422})
    }


_ETAG = {"headers": components.headers("ETag")}

# What the operations on every resource answer; a feature adds what is its own.
LIST_RESPONSES: Responses = {
    200: {"headers": components.headers("Link")},
    **problems(400, 401, 403, 503),
}
CREATE_RESPONSES: Responses = {
    201: {"headers": components.headers("ETag", "Location")},
    **problems(400, 401, 403, 409, 413, 415, 503),
}
GET_RESPONSES: Responses = {
    200: _ETAG,
    304: {"description": "The client has the current state.", **_ETAG},
    **problems(401, 403, 404, 503),
}
CHANGE_RESPONSES: Responses = {
    200: _ETAG,
    **problems(400, 401, 403, 404, 409, 412, 413, 415, 428, 503),
}
DELETE_RESPONSES: Responses = problems(401, 403, 404, 409, 412, 428, 503)


def build(app: FastAPI) -> Schema:
    """The whole document, the same bytes for the same code."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        contact=cast(dict[str, Any], app.contact),
        license_info=cast(dict[str, Any], app.license_info),
        servers=[{"url": "/", "description": "This server"}],
        tags=components.TAGS,
        routes=app.routes,
    )
    _, problem_schemas = models_json_schema(
        [(Problem, "serialization"), (ValidationProblem, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    parts = document["components"]
    schemas = parts["schemas"]
    schemas |= problem_schemas["$defs"]
    parts["schemas"] = dict(sorted(schemas.items()))
    parts["responses"] = components.shared_responses()
    parts["headers"] = dict(components.HEADERS)
    parts["securitySchemes"] = dict(components.SECURITY_SCHEMES)

    roles = {
        (context.path_format, method.lower()): required_role(context.dependant)
        for context in iter_route_contexts(app.routes)
        if context.include_in_schema and isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _clean_operation(operation, method, roles[path, method])
    for schema in parts["schemas"].values():
        _clean_schema(schema)
    _drop_unused(document)
    return document


def to_yaml(document: Schema) -> str:
    return yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _clean_operation(operation: Schema, method: str, role: str) -> None:
    operation["x-required-role"] = role
    operation.setdefault(
        "security", [] if role == PUBLIC else [{"cookieAuth": []}, {"bearerAuth": []}]
    )
    for parameter in operation.get("parameters", ()):
        _clean_parameter(parameter)
    if body := operation.get("requestBody"):
        (media,) = body["content"].values()
        body["content"] = {media_types(method.upper())[0]: media}
        body.setdefault("description", "The resource as it should be.")
        _clean_schema(media["schema"])
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    if "requestBody" not in operation and places <= {"header"}:
        operation["responses"].pop("422", None)  # any text will do as an If-None-Match
    for response in operation["responses"].values():
        if "$ref" in response:
            response.pop("description", None)
            response.pop("content", None)
        for media in response.get("content", {}).values():
            _clean_schema(media.get("schema", {}))
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _clean_parameter(parameter: Schema) -> None:
    """A parameter is absent, never null; what describes it stands once."""
    schema = parameter["schema"]
    present = [branch for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
    if len(present) == 1 and len(schema["anyOf"]) == 2:
        del schema["anyOf"]
        schema.update(present[0])
    parameter.setdefault("description", schema.get("description", ""))
    schema.pop("description", None)
    if parameter["name"] == "If-Match":
        # Optional in the code, which answers 428; a typed client has to pass it.
        parameter["required"] = True
    _clean_schema(schema)


def _clean_schema(schema: Schema) -> None:
    for part in _subschemas(schema):
        _fold_null(part)
        part.pop("title", None)
        for bound in _BOUNDS & part.keys():
            # FastAPI's own model of the document makes every bound a float.
            part[bound] = int(part[bound]) if part[bound] == int(part[bound]) else part[bound]
        if "$ref" in part:
            part.pop("description", None)
            part.pop("examples", None)


def _fold_null(schema: Schema) -> None:
    """`anyOf: [{type: string}, {type: null}]` → `type: [string, null]`."""
    branches = schema.get("anyOf", [])
    if len(branches) != 2 or {"type": "null"} not in branches:
        return
    (other,) = [branch for branch in branches if branch != {"type": "null"}]
    if isinstance(other.get("type"), str) and "enum" not in other and "const" not in other:
        del schema["anyOf"]
        own = dict(schema)
        schema.clear()
        schema.update({**other, **own, "type": [other["type"], "null"]})


def _subschemas(schema: Schema) -> Iterator[Schema]:
    """The schema and every schema in it; a property that is named `title` is no title."""
    yield schema
    for keyword in ("items", "additionalProperties", "contains", "not"):
        if isinstance(schema.get(keyword), dict):
            yield from _subschemas(schema[keyword])
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in schema.get(keyword, ()):
            yield from _subschemas(part)
    for keyword in ("properties", "$defs", "patternProperties"):
        for part in schema.get(keyword, {}).values():
            yield from _subschemas(part)


def _drop_unused(document: Schema) -> None:
    """Components that nothing refers to are noise; removing one may free others."""
    parts = document["components"]
    while True:
        used = set(_references(document))
        unused = [
            (kind, name)
            for kind in ("schemas", "responses", "headers")
            for name in parts[kind]
            if f"#/components/{kind}/{name}" not in used
        ]
        if not unused:
            return
        for kind, name in unused:
            del parts[kind][name]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
