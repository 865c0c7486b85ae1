"""The contract: as committed, as served, and as it should look."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from openapi_spec_validator import OpenAPIV31SpecValidator

from inventory_api.http import openapi
from tests.factories import (
    PASSWORD,
    Factory,
    create_category,
    create_product,
    create_supplier,
    product_body,
)
from tests.http.operations import DOCUMENT, OPERATIONS, WITH_BODY, Operation, example, resolve

COMMITTED = Path(__file__).parents[2] / "openapi.yaml"
BAD_NAME = re.compile(r"-Input|-Output|^Body_|__|\[|HTTPValidationError|^Page_")
SCHEMA_MAPS = ("properties", "$defs", "patternProperties", "schemas")


def nodes(node: Any, where: str = "#") -> Iterator[tuple[str, Any]]:
    """Every object of the document with its place."""
    if isinstance(node, dict):
        yield where, node
        for name, value in node.items():
            yield from nodes(value, f"{where}/{str(name).replace('/', '~1')}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{where}/{index}")


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of the document; a property called `title` is none itself."""

    def inside(where: str, schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if not isinstance(schema, dict):
            return
        yield where, schema
        for keyword in ("items", "additionalProperties", "contains", "not"):
            yield from inside(f"{where}/{keyword}", schema.get(keyword))
        for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for index, part in enumerate(schema.get(keyword, ())):
                yield from inside(f"{where}/{keyword}/{index}", part)
        for keyword in SCHEMA_MAPS:
            for name, part in schema.get(keyword, {}).items():
                yield from inside(f"{where}/{keyword}/{name}", part)

    for name, schema in DOCUMENT["components"]["schemas"].items():
        yield from inside(name, schema)
    for where, node in nodes(DOCUMENT["paths"]):
        if "schema" in node and isinstance(node["schema"], dict):
            yield from inside(where, node["schema"])
    for where, node in nodes(DOCUMENT["components"]["headers"]):
        if "schema" in node:
            yield from inside(where, node["schema"])


class TestDocument:
    def test_the_committed_file_is_what_the_code_says(self) -> None:
        assert COMMITTED.read_text() == openapi.to_yaml(DOCUMENT)

    async def test_the_served_file_is_the_committed_one(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.get("/openapi.yaml")).content == COMMITTED.read_bytes()

    def test_another_process_writes_the_same_bytes(self, tmp_path: Path) -> None:
        file = tmp_path / "openapi.yaml"
        subprocess.run(
            [sys.executable, "-m", "inventory_api", "openapi", str(file)],
            check=True,
            capture_output=True,
            cwd=tmp_path,
            env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path), "COLUMNS": "200"},
        )
        assert file.read_text() == openapi.to_yaml(DOCUMENT)

    def test_is_valid_openapi_3_1(self) -> None:
        assert DOCUMENT["openapi"].startswith("3.1.")
        OpenAPIV31SpecValidator(DOCUMENT).validate()

    def test_every_reference_leads_somewhere(self) -> None:
        references = [node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node]
        assert references
        for reference in references:
            assert resolve({"$ref": reference})

    def test_nothing_is_defined_that_nothing_uses(self) -> None:
        used = {node["$ref"] for _, node in nodes(DOCUMENT) if "$ref" in node}
        for kind in ("schemas", "responses", "headers"):
            assert DOCUMENT["components"][kind]
            for name in DOCUMENT["components"][kind]:
                assert f"#/components/{kind}/{name}" in used

    def test_tags_are_described_alphabetical_and_used(self) -> None:
        names = [tag["name"] for tag in DOCUMENT["tags"]]
        assert names == sorted(names)
        assert all(tag["description"] for tag in DOCUMENT["tags"])
        used = {tag for operation in OPERATIONS for tag in operation.spec["tags"]}
        assert used == set(names)

    def test_paths_have_no_trailing_slash_and_one_shape(self) -> None:
        for path in DOCUMENT["paths"]:
            assert re.fullmatch(r"(/[a-z]+(-[a-z]+)*(\.json|\.yaml)?|/\{[a-z_]+\})+", path)


class TestOperations:
    def test_ids_are_camel_case_and_unique(self) -> None:
        ids = [operation.id for operation in OPERATIONS]
        assert len(ids) == len(set(ids))
        for operation_id in ids:
            assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", operation_id)

    @pytest.mark.parametrize("operation", OPERATIONS, ids=str)
    def test_each_is_described(self, operation: Operation) -> None:
        assert operation.spec["summary"]
        assert operation.spec["description"]
        assert len(operation.spec["tags"]) == 1
        assert operation.role in ("public", "staff", "clerk", "admin")
        assert "security" in operation.spec
        for response in operation.spec["responses"].values():
            assert "$ref" in response or response["description"]

    @pytest.mark.parametrize(
        "operation", [operation for operation in OPERATIONS if operation.under_api], ids=str
    )
    def test_each_under_api_answers_401_and_403_and_503(self, operation: Operation) -> None:
        assert {"401", "403", "503"} <= operation.spec["responses"].keys()
        assert operation.role != "public"

    @pytest.mark.parametrize("operation", OPERATIONS, ids=str)
    def test_errors_are_shared_problem_responses(self, operation: Operation) -> None:
        for status, response in operation.spec["responses"].items():
            if int(status) < 400 or operation.path == "/health/ready":
                continue
            assert response.keys() == {"$ref"}
            content = resolve(response)["content"]
            assert content.keys() == {"application/problem+json"}
            (shown,) = content["application/problem+json"]["examples"].values()
            assert shown["value"]["status"] == int(status)

    @pytest.mark.parametrize("operation", WITH_BODY, ids=str)
    def test_one_media_type_and_the_errors_of_a_body(self, operation: Operation) -> None:
        content = operation.spec["requestBody"]["content"]
        expected = (
            "application/merge-patch+json" if operation.method == "PATCH" else "application/json"
        )
        assert content.keys() == {expected}
        assert operation.spec["requestBody"]["required"] is True
        assert {"400", "413", "415", "422"} <= operation.spec["responses"].keys()

    def test_changes_need_if_match_and_document_its_refusals(self) -> None:
        changes = [one for one in OPERATIONS if one.method in ("PUT", "PATCH", "DELETE")]
        assert changes
        for operation in changes:
            headers = {one["name"]: one for one in operation.spec["parameters"]}
            assert headers["If-Match"]["required"] is True
            assert {"404", "412", "428"} <= operation.spec["responses"].keys()

    def test_single_resources_have_an_etag_and_304(self) -> None:
        for operation in OPERATIONS:
            if operation.method == "GET" and "{" in operation.path:
                assert "ETag" in operation.spec["responses"]["200"]["headers"]
                assert "304" in operation.spec["responses"]

    def test_parameters_are_absent_never_null(self) -> None:
        parameters = [
            one for operation in OPERATIONS for one in operation.spec.get("parameters", ())
        ]
        assert parameters
        for parameter in parameters:
            text = repr(parameter["schema"])
            assert "'null'" not in text
            assert "anyOf" not in text
            assert parameter["description"]

    def test_ids_are_numbers_that_javascript_holds(self) -> None:
        ids = [
            one["schema"]
            for operation in OPERATIONS
            for one in operation.spec.get("parameters", ())
            if one["in"] == "path"
        ]
        assert ids
        for schema in ids:
            assert (schema["type"], schema["minimum"], schema["maximum"]) == (
                "integer",
                1,
                2**53 - 1,
            )


class TestComponents:
    def test_names_are_what_a_person_would_write(self) -> None:
        names = list(DOCUMENT["components"]["schemas"])
        assert names == sorted(names)
        for name in names:
            assert not BAD_NAME.search(name)
            assert re.fullmatch(r"[A-Z][A-Za-z]+", name)

    def test_no_schema_has_a_title_or_a_streams_items(self) -> None:
        found = list(schemas())
        assert len(found) > 100
        for where, schema in found:
            assert "title" not in schema, where
            assert "itemSchema" not in schema, where

    def test_members_are_snake_case(self) -> None:
        for where, schema in schemas():
            for name in schema.get("properties", {}):
                assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name), where

    def test_no_default_in_what_is_sent(self) -> None:
        pending = [
            operation.spec["requestBody"]["content"][operation.media_type]["schema"]
            for operation in WITH_BODY
        ]
        seen: set[str] = set()
        while pending:
            for where, node in nodes(pending.pop()):
                assert "default" not in node, where
                if node.get("$ref", "") not in seen | {""}:
                    seen.add(node["$ref"])
                    pending.append(resolve(node))
        assert len(seen) >= 10

    def test_what_is_sent_takes_no_unknown_member(self) -> None:
        for operation in WITH_BODY:
            schema = operation.spec["requestBody"]["content"][operation.media_type]["schema"]
            assert resolve(schema)["additionalProperties"] is False

    def test_patches_require_nothing_and_answers_everything(self) -> None:
        for name, schema in DOCUMENT["components"]["schemas"].items():
            if name.endswith("Update"):
                assert "required" not in schema
        for name in ("Category", "Supplier", "User", "TokenPair", "Problem"):
            schema = DOCUMENT["components"]["schemas"][name]
            assert set(schema["required"]) == schema["properties"].keys()

    def test_nullable_members_are_folded(self) -> None:
        category = DOCUMENT["components"]["schemas"]["Category"]["properties"]
        assert category["description"]["type"] == ["string", "null"]

    def test_patterns_are_ecmascript(self) -> None:
        patterns = {schema["pattern"] for _, schema in schemas() if "pattern" in schema}
        assert patterns
        for pattern in patterns:
            jsonschema_rs.validator_for({"type": "string", "pattern": pattern})

    @pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
    def test_examples_fit_their_schema(self, name: str) -> None:
        schema = {"$ref": f"#/components/schemas/{name}"}
        validator = validator_of(schema)
        target = DOCUMENT["components"]["schemas"][name]
        for shown in [*target.get("examples", []), example(schema)]:
            assert [error.message for error in validator.iter_errors(shown)] == []
        for member, part in target.get("properties", {}).items():
            checked = validator_of(part)
            for shown in part.get("examples", []):
                assert (member, [e.message for e in checked.iter_errors(shown)]) == (member, [])

    @pytest.mark.parametrize("name", DOCUMENT["components"]["responses"])
    def test_examples_of_problems_fit_their_schema(self, name: str) -> None:
        content = DOCUMENT["components"]["responses"][name]["content"]["application/problem+json"]
        validator = validator_of(content["schema"])
        for shown in content["examples"].values():
            assert validator.is_valid(shown["value"])


def validator_of(schema: dict[str, Any]) -> Any:
    """Validates strictly: formats count, and a member that the schema doesn't name is a fault."""
    document = schema | {"components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(document, validate_formats=True)


def closed(schema: Any) -> Any:
    """The same schemas, where every object that names members takes no others."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


CLOSED = closed(DOCUMENT["components"]["schemas"])


def assert_as_documented(operation: Operation, answer: Response) -> None:
    """Status, media type, headers and body are what the contract says."""
    responses = operation.spec["responses"]
    assert str(answer.status_code) in responses, answer.text
    response = resolve(responses[str(answer.status_code)])
    for name, header in response.get("headers", {}).items():
        header = resolve(header)
        if header.get("required"):
            assert name in answer.headers
        if name in answer.headers:
            value: Any = answer.headers[name]
            value = int(value) if header["schema"].get("type") == "integer" else value
            assert validator_of(header["schema"]).is_valid(value), (name, value)
    if "content" not in response:
        assert answer.content == b""
        return
    ((media_type, content),) = response["content"].items()
    assert answer.headers["Content-Type"] == media_type
    if media_type == "application/yaml":
        return
    document = content["schema"] | {"components": {"schemas": CLOSED}}
    validator = jsonschema_rs.Draft202012Validator(document, validate_formats=True)
    assert [error.message for error in validator.iter_errors(answer.json())] == []


async def call(
    client: AsyncClient, operation: Operation, entity_id: int, body: Any = None
) -> Response:
    headers = {"If-Match": "*"}
    if operation.media_type:
        headers["Content-Type"] = operation.media_type
        return await client.request(
            operation.method, operation.url(entity_id), json=body, headers=headers
        )
    return await client.request(operation.method, operation.url(entity_id), headers=headers)


class TestAnswers:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=str)
    async def test_success_is_as_documented(
        self, admin: AsyncClient, factory: Factory, operation: Operation
    ) -> None:
        user = await factory.user(email="kim@shop.example")
        category = await create_category(admin, description="Text")
        supplier = await create_supplier(admin, email="orders@nordic.example")
        filled = await create_product(
            admin,
            category_id=category["id"],
            supplier_id=supplier["id"],
            metadata={"tags": ["a"], "specifications": {"power": {"watts": 5, "dim": [1.5, None]}}},
        )
        bare = [
            (await create_category(admin))["id"],
            (await create_supplier(admin))["id"],
            (await create_product(admin))["id"],
        ]
        entity_id = {"categories": bare[0], "suppliers": bare[1], "products": bare[2]}.get(
            [*operation.path.split("/"), "", ""][2], 0
        )
        body = operation.body()
        if operation.id in ("logIn", "createToken"):
            body = {"email": user.email, "password": PASSWORD}
        elif operation.id == "signUp":
            body |= {"email": "new@shop.example"}
        elif operation.id in ("createProduct", "replaceProduct", "updateProduct"):
            body = product_body(category_id=category["id"], supplier_id=supplier["id"])
            body |= {"metadata": {"tags": ["b"]}}
        answer = await call(admin, operation, entity_id, body)
        assert answer.status_code < 300, answer.text
        assert_as_documented(operation, answer)
        if operation.id == "getProduct":
            for query in ("", "?include=stock", "?include=category", "?include=supplier"):
                shown = await admin.get(operation.url(filled["id"]) + query)
                if shown.status_code == 200:
                    assert_as_documented(operation, shown)
        if operation.id.startswith("list"):
            page = await admin.get(operation.url() + "?limit=1&include=total")
            assert page.json()["total"] >= 2
            assert_as_documented(operation, page)
        if "304" in operation.spec["responses"]:
            unchanged = await admin.get(
                operation.url(entity_id), headers={"If-None-Match": answer.headers["ETag"]}
            )
            assert unchanged.status_code == 304
            assert_as_documented(operation, unchanged)

    @pytest.mark.parametrize("operation", OPERATIONS, ids=str)
    async def test_refusals_are_as_documented(
        self,
        app: FastAPI,
        admin: AsyncClient,
        staff: AsyncClient,
        anonymous: AsyncClient,
        operation: Operation,
    ) -> None:
        answers = [
            await call(anonymous, operation, 4711, operation.body()),
            await call(staff, operation, 4711, operation.body()),
            await call(admin, operation, 4711, operation.body()),
        ]
        if operation.path.startswith("/api/") and "parameters" in operation.spec:
            answers.append(await admin.request(operation.method, operation.url("abc")))
            answers.append(await admin.get(operation.url() + "?limit=0&cursor=x&unknown=1"))
        if operation.id.startswith("list"):
            answers.append(await admin.get(operation.url() + "?cursor=x"))
        if operation.media_type:
            kind = {"Content-Type": operation.media_type}
            for body in (b"{", b"[]", b" " * 2**21):
                answers.append(
                    await admin.request(
                        operation.method, operation.url(), content=body, headers=kind
                    )
                )
            answers.append(await admin.request(operation.method, operation.url(), content=b"x"))
        for answer in answers:
            if answer.request.method == operation.method:
                assert answer.status_code < 500
                assert_as_documented(operation, answer)
