"""Every refusal is a problem document (RFC 9457), and every answer carries the same headers."""

import json
import re
import urllib.parse
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import exc

from inventory_api.categories.repository import CategoryReads, CategoryRepository
from inventory_api.http.problems import FLAWS_MAX
from inventory_api.stores.sql import FifoPool
from tests.conftest import client_of
from tests.factories import create_category
from tests.http.operations import OPERATIONS, WITH_BODY, Operation

SECRET = "s3cr3t-0f-the-cl1ent"
JSON = {"Content-Type": "application/json"}
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError(f"nobody foresaw this: {SECRET}")


def refuse(*_: Any, **__: Any) -> Any:
    raise exc.TimeoutError(SECRET)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Getting a category, and making one, is a programming error."""
    monkeypatch.setattr(CategoryReads, "one", fail)
    monkeypatch.setattr(CategoryRepository, "add", fail)


REQUESTS: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "400": (400, "POST", "/login", {"content": b"{", "headers": JSON}),
    "400 host": (400, "GET", "/health/live", {"headers": {"Host": "evil.example"}}),
    "400 cursor": (400, "GET", "/api/categories?cursor=x", {}),
    "401": (401, "GET", "/api/me", {"headers": {"Authorization": "Bearer x"}}),
    "404": (404, "GET", "/nowhere", {}),
    "404 by id": (404, "GET", "/api/categories/4711", {}),
    "404 slash": (404, "GET", "/api/categories/", {}),
    "405": (405, "DELETE", "/api/categories", {}),
    "413": (413, "POST", "/login", {"content": b" " * 2**21}),
    "415": (415, "POST", "/login", {"content": b"x"}),
    "422": (422, "POST", "/login", {"json": {}}),
    "422 query": (422, "GET", "/api/categories?limit=0", {}),
    "428": (428, "DELETE", "/api/categories/{id}", {}),
    "412": (412, "DELETE", "/api/categories/{id}", {"headers": {"If-Match": '"7"'}}),
    "500": (500, "GET", "/api/categories/1", {}),
    "500 in a transaction": (500, "POST", "/api/categories", {"json": {"name": "x"}}),
}  # fmt: skip


async def send(admin: AsyncClient, case: str, category_id: int = 0) -> Response:
    _, method, url, options = REQUESTS[case]
    return await admin.request(method, url.replace("{id}", str(category_id)), **options)


def assert_headers(answer: Response) -> None:
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", headers["X-Request-ID"])
    for name in ("Content-Security-Policy", "X-Request-ID", "X-Content-Type-Options"):
        assert len(headers.get_list(name)) == 1
    assert "Server" not in headers


class TestProblem:
    @pytest.mark.parametrize("case", REQUESTS)
    async def test_has_every_member_and_header(
        self, admin: AsyncClient, case: str, request: pytest.FixtureRequest
    ) -> None:
        category = await create_category(admin)
        if case.startswith("500"):
            request.getfixturevalue("broken")
        status = REQUESTS[case][0]
        answer = await send(admin, case, category["id"])
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        problem = answer.json()
        assert problem.keys() == MEMBERS | ({"errors"} if status == 422 else set())
        assert problem["type"] == "about:blank"
        assert problem["status"] == status
        assert problem["instance"] == answer.request.url.path
        assert problem["request_id"] == answer.headers["X-Request-ID"]
        assert problem["title"]
        assert problem["detail"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", problem["code"])
        assert_headers(answer)

    @pytest.mark.parametrize(
        "path",
        [
            "/nö/wo",
            '/a"b<c>',
            "/a%20b",
            "/%25",
            "/%00",
            "/%ff",
            "/\u202e",
            "/a%3Fb%23c",
            "/[x]^|`{}",
        ],
    )
    async def test_instance_is_percent_encoded(self, anonymous: AsyncClient, path: str) -> None:
        answer = await anonymous.get(path)
        assert answer.status_code == 404
        instance = answer.json()["instance"]
        assert re.fullmatch(r"(/([A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})*)+", instance)
        assert urllib.parse.unquote(instance) == urllib.parse.unquote(path)

    async def test_500_tells_nothing_and_logs_everything(
        self, admin: AsyncClient, broken: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await send(admin, "500")
        assert SECRET not in answer.text
        assert "Traceback" not in answer.text
        assert answer.json()["code"] == "internal_error"
        (record,) = [one for one in caplog.records if one.getMessage() == "internal_error"]
        assert record.exc_info is not None
        assert SECRET in str(record.exc_info[1])

    async def test_500_writes_nothing(
        self, app: FastAPI, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("inventory_api.categories.router.resource", fail)
            assert (await send(admin, "500 in a transaction")).status_code == 500
        assert (await admin.get("/api/categories")).json()["items"] == []

    @pytest.mark.parametrize(
        "operation", [one for one in OPERATIONS if "503" in one.spec["responses"]], ids=str
    )
    async def test_503_when_the_database_is_away(
        self, admin: AsyncClient, operation: Operation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(FifoPool, "_do_get", refuse)
        answer = await admin.request(
            operation.method,
            operation.url(1),
            json=operation.body() if operation.media_type else None,
            headers={"If-Match": '"1"'},
        )
        assert answer.status_code == 503
        if operation.path == "/health/ready":
            assert answer.json()["status"] == "unavailable"
        else:
            assert answer.json()["code"] == "unavailable"
            assert int(answer.headers["Retry-After"]) >= 1
        assert SECRET not in answer.text
        assert_headers(answer)


class TestEveryAnswer:
    @pytest.mark.parametrize(
        "path", ["/health/live", "/health/ready", "/openapi.json", "/openapi.yaml", "/api/products"]
    )
    async def test_success_carries_the_headers(self, admin: AsyncClient, path: str) -> None:
        answer = await admin.get(path)
        assert answer.status_code == 200
        assert_headers(answer)

    async def test_204_and_304_carry_the_headers(self, admin: AsyncClient) -> None:
        category = await create_category(admin)
        path = f"/api/categories/{category['id']}"
        unchanged = await admin.get(path, headers={"If-None-Match": "*"})
        assert unchanged.status_code == 304
        assert_headers(unchanged)
        gone = await admin.delete(path, headers={"If-Match": "*"})
        assert gone.status_code == 204
        assert_headers(gone)

    async def test_https_only_is_demanded_over_https(self, app: FastAPI) -> None:
        async with client_of(app) as client:
            answer = await client.get("https://localhost/health/live")
            assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
            answer = await client.get("http://localhost/health/live")
            assert "Strict-Transport-Security" not in answer.headers

    @pytest.mark.parametrize("given", ["abcd-EF_1", "a" * 64])
    async def test_a_request_may_bring_its_id(self, anonymous: AsyncClient, given: str) -> None:
        answer = await anonymous.get("/nowhere", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given
        assert answer.json()["request_id"] == given

    @pytest.mark.parametrize("given", ["short", "a" * 65, "with blank", 'quo"te1', "ünïcödé1", ""])
    async def test_an_id_that_is_none_is_replaced(self, anonymous: AsyncClient, given: str) -> None:
        answer = await anonymous.get(
            "/nowhere", headers=[(b"X-Request-ID", given.encode("latin-1"))]
        )
        assert answer.headers["X-Request-ID"] != given
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])

    async def test_each_request_has_an_id_of_its_own(self, anonymous: AsyncClient) -> None:
        ids = {(await anonymous.get("/health/live")).headers["X-Request-ID"] for _ in range(10)}
        assert len(ids) == 10


class TestValidation:
    @pytest.mark.parametrize("operation", WITH_BODY, ids=str)
    async def test_422_never_echoes_input(self, admin: AsyncClient, operation: Operation) -> None:
        category = await create_category(admin)
        product = await admin.post(
            "/api/products",
            json={"sku": "A", "name": "A", "cost_price": "1", "selling_price": "1"},
        )
        supplier = await admin.post("/api/suppliers", json={"name": "A"})
        entity = {
            "categories": category["id"],
            "products": product.json()["id"],
            "suppliers": supplier.json()["id"],
        }.get(operation.path.strip("/").split("/")[min(1, operation.path.count("/") - 1)], 0)
        members = operation.body().keys()
        assert members
        for value in (SECRET * 50_0, {SECRET: SECRET}, [SECRET], [[SECRET]], -1e300, True):
            for body in ([value], {name: value for name in members} | {"unknown": value}):
                answer = await admin.request(
                    operation.method,
                    operation.url(entity),
                    json=body,
                    headers={"If-Match": "*"},
                )
                assert answer.status_code == 422, answer.text
                details = [flaw["detail"] + flaw["code"] for flaw in answer.json()["errors"]]
                assert SECRET not in "".join(details) + answer.json()["detail"]
                pointers = {flaw["pointer"] for flaw in answer.json()["errors"]}
                if isinstance(body, dict):
                    assert "#/unknown" in pointers
                else:
                    assert pointers == {"#"}

    async def test_422_never_echoes_the_query(self, staff: AsyncClient) -> None:
        for path in ("/api/categories", "/api/suppliers", "/api/products"):
            for name in ("limit", "sort", "include", "unknown"):
                answer = await staff.get(path, params={name: SECRET})
                assert answer.status_code == 422
                assert SECRET not in answer.text

    @pytest.mark.parametrize(
        ("member", "pointer"),
        [
            ("a", "#/a"),
            ("a/b", "#/a~1b"),
            ("a~b", "#/a~0b"),
            ("~1", "#/~01"),
            ("", "#/"),
            ("0", "#/0"),
            ("a b", "#/a%20b"),
            ("100%", "#/100%25"),
            ("ä", "#/%C3%A4"),
            ('"\\', "#/%22%5C"),
            ("a#b?c", "#/a%23b%3Fc"),
        ],
    )
    async def test_pointers_are_rfc_6901_in_a_fragment(
        self, admin: AsyncClient, member: str, pointer: str
    ) -> None:
        body = {"name": "x", member: 1}
        answer = await admin.post("/api/categories", json=body)
        assert answer.status_code == 422
        assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]
        assert _at(body, pointer) == 1

    async def test_a_pointer_leads_into_lists_and_objects(self, admin: AsyncClient) -> None:
        answer = await admin.post(
            "/api/products",
            json={
                "sku": "A",
                "name": "A",
                "cost_price": "1",
                "selling_price": "1",
                "metadata": {"tags": ["fine", 5], "specifications": {"a/b": 1}},
            },
        )
        assert answer.status_code == 422
        pointers = [flaw["pointer"] for flaw in answer.json()["errors"]]
        assert "#/metadata/tags/1" in pointers
        assert all(pointer.startswith("#/metadata/") for pointer in pointers)

    async def test_header_and_path_are_named_by_their_place(self, admin: AsyncClient) -> None:
        answer = await admin.get("/api/categories/abc")
        assert answer.json()["errors"][0]["pointer"] == "#/path/category_id"

    async def test_the_flaws_of_one_answer_are_limited(self, admin: AsyncClient) -> None:
        body = {f"unknown{number}": 1 for number in range(20_000)}
        answer = await admin.post("/api/categories", json=body)
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) == FLAWS_MAX


def _at(document: Any, pointer: str) -> Any:
    """RFC 6901 section 6, as a client would read it."""
    for token in urllib.parse.unquote(pointer.removeprefix("#/")).split("/"):
        document = document[token.replace("~1", "/").replace("~0", "~")]
    return document


async def test_the_access_log_has_one_line_a_request_without_secrets(
    anonymous: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="inventory_api")
    await anonymous.post(
        f"/login?token={SECRET}",
        json={"email": f"{SECRET}@shop.example", "password": SECRET},
        headers={"Authorization": f"Bearer {SECRET}", "Cookie": f"access_token={SECRET}"},
    )
    lines = [one for one in caplog.records if one.name == "inventory_api.access"]
    assert len(lines) == 1
    fields = lines[0].__dict__["fields"]
    assert (fields["method"], fields["path"], fields["status"]) == ("POST", "/login", 401)
    ours = [one.__dict__ for one in caplog.records if one.name.startswith("inventory_api")]
    assert SECRET not in json.dumps(ours, default=str)
