"""Requests that are wrong in several ways are refused for the same reason everywhere."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

from inventory_api.app import MAX_BODY_BYTES
from tests.factories import create_category, create_product, product_body
from tests.http.operations import DOCUMENT, OPERATIONS, PROTECTED, WITH_BODY, WITH_ID, Operation

TOO_LARGE = b" " * (MAX_BODY_BYTES + 1)
PROTECTED_WITH_BODY = [operation for operation in WITH_BODY if operation.role != "public"]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "X")


async def chunks(body: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def wrong_only_in_its_body(operation: Operation, body: bytes = b"{") -> dict[str, Any]:
    return {
        "method": operation.method,
        "url": operation.url(),
        "content": body,
        "headers": {"Content-Type": operation.media_type},
    }


class TestOrder:
    """413 → 400 → 401 → 403 → 415 → 404 → 422 → 428 → 412 → 409."""

    @pytest.mark.parametrize("operation", WITH_BODY, ids=str)
    async def test_413_before_400_and_401(
        self, anonymous: AsyncClient, operation: Operation
    ) -> None:
        request = wrong_only_in_its_body(operation) | {"content": chunks(b"{" + TOO_LARGE)}
        answer = await anonymous.request(**request)
        assert answer.status_code == 413

    @pytest.mark.parametrize("operation", PROTECTED_WITH_BODY, ids=str)
    async def test_400_before_401_and_403(
        self, anonymous: AsyncClient, staff: AsyncClient, operation: Operation
    ) -> None:
        for client in (anonymous, staff):
            answer = await client.request(**wrong_only_in_its_body(operation))
            assert answer.status_code == 400

    @pytest.mark.parametrize("operation", PROTECTED, ids=str)
    async def test_401_before_403_415_404_422_and_428(
        self, anonymous: AsyncClient, operation: Operation
    ) -> None:
        headers = {"Content-Type": "text/plain"}
        for url in (operation.url(), operation.url("abc"), operation.url() + "?x=1"):
            answer = await anonymous.request(
                operation.method,
                url,
                content=b"{" if operation.media_type else b"",
                headers=headers,
            )
            assert answer.status_code == 401

    @pytest.mark.parametrize(
        "operation", [one for one in PROTECTED if one.role == "admin"], ids=str
    )
    async def test_403_before_415_404_422_and_428(
        self, staff: AsyncClient, operation: Operation
    ) -> None:
        headers = {"Content-Type": "text/plain"}
        for url in (operation.url(), operation.url("abc"), operation.url() + "?x=1"):
            answer = await staff.request(
                operation.method,
                url,
                content=b"{" if operation.media_type else b"",
                headers=headers,
            )
            assert answer.status_code == 403

    @pytest.mark.parametrize("operation", WITH_BODY, ids=str)
    @pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded"])
    async def test_415_before_404_422_and_428(
        self, admin: AsyncClient, operation: Operation, kind: str
    ) -> None:
        answer = await admin.request(
            operation.method, operation.url(), content=b"{", headers={"Content-Type": kind}
        )
        assert answer.status_code == 415
        assert operation.media_type is not None
        assert operation.media_type in answer.json()["detail"]

    @pytest.mark.parametrize("operation", [one for one in WITH_BODY if "{" in one.path], ids=str)
    async def test_404_before_422_and_428(self, admin: AsyncClient, operation: Operation) -> None:
        answer = await admin.request(**wrong_only_in_its_body(operation, b'{"no such": 1}'))
        assert answer.status_code == 404

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_422_before_428_before_412_before_409(
        self, admin: AsyncClient, method: str
    ) -> None:
        taken = await create_product(admin)
        category = await create_category(admin)
        await create_category(admin, name="Taken")
        product = await create_product(admin)
        invalid: dict[str, Any]
        for path, invalid, conflicting in (
            (f"/api/categories/{category['id']}", {"name": ""}, {"name": "Taken"}),
            (
                f"/api/products/{product['id']}",
                product_body(name=""),
                product_body(sku=taken["sku"]),
            ),
        ):
            for body, headers, status in (
                (invalid, {}, 422),
                (conflicting, {}, 428),
                (conflicting, {"If-Match": '"7"'}, 412),
                (conflicting, {"If-Match": '"1"'}, 409),
            ):
                answer = await admin.request(method, path, json=body, headers=headers)
                assert answer.status_code == status


class TestMethodNotAllowed:
    @pytest.mark.parametrize("path", DOCUMENT["paths"])
    async def test_405_names_every_method_of_the_path(
        self, anonymous: AsyncClient, path: str
    ) -> None:
        mine = [operation for operation in OPERATIONS if operation.path == path]
        allowed = {operation.method for operation in mine}
        refused = [method for method in METHODS if method not in allowed]
        assert refused
        for method in refused:
            answer = await anonymous.request(method, mine[0].url())
            assert answer.status_code == 405
            assert set(answer.headers["Allow"].split(", ")) == allowed
            if method != "HEAD":
                assert answer.json()["code"] == "method_not_allowed"


class TestContentTooLarge:
    @pytest.fixture(params=["declared", "chunked"])
    def too_large(self, request: pytest.FixtureRequest) -> Any:
        return (lambda: TOO_LARGE) if request.param == "declared" else (lambda: chunks(TOO_LARGE))

    @pytest.mark.parametrize("operation", WITH_BODY, ids=str)
    async def test_413(self, anonymous: AsyncClient, operation: Operation, too_large: Any) -> None:
        for kind in (operation.media_type, "text/plain"):
            answer = await anonymous.request(
                operation.method,
                operation.url(),
                content=too_large(),
                headers={"Content-Type": str(kind)},
            )
            assert answer.status_code == 413
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["code"] == "content_too_large"
            assert answer.headers["X-Request-ID"] == answer.json()["request_id"]

    async def test_a_mebibyte_is_read(self, anonymous: AsyncClient) -> None:
        for body in (TOO_LARGE[1:], chunks(TOO_LARGE[1:])):
            answer = await anonymous.post(
                "/signup", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400

    async def test_a_declared_length_is_not_believed_when_more_comes(
        self, anonymous: AsyncClient
    ) -> None:
        headers = {"Content-Type": "application/json", "Content-Length": "2"}
        answer = await anonymous.post("/signup", content=chunks(TOO_LARGE), headers=headers)
        assert answer.status_code == 413

    async def test_reading_ends_where_the_limit_is(self, anonymous: AsyncClient) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 300 * MAX_BODY_BYTES:
                sent += 65_536
                yield b" " * 65_536

        answer = await anonymous.post(
            "/signup", content=endless(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        assert sent <= 2 * MAX_BODY_BYTES


NO_IDS = [
    "0", "-1", "-0", str(2**53), str(2**63), str(2**64), "9" * 400,
    "1_000", "+7", "1.0", "1e3", "0x1", "abc", "null", "true", "NaN",
    "%201", "1%20", "1%0A", "%00", "1%00", "%D9%A1", "%EF%BC%91", "%ff", "1;2", "1,2",
    "1'--", "%27", "$ne", "*", "..%2f1", "%2e%2e", "1%2F2",
]  # fmt: skip


@pytest.mark.parametrize("entity_id", NO_IDS)
async def test_an_id_that_is_none_is_404_or_422(admin: AsyncClient, entity_id: str) -> None:
    for operation in WITH_ID:
        answer = await admin.request(
            operation.method,
            operation.url(entity_id),
            json=operation.body() if operation.media_type else None,
            headers={"If-Match": "*"},
        )
        assert answer.status_code in (404, 405, 422), answer.text
        if answer.status_code == 422:
            (flaw,) = answer.json()["errors"]
            assert flaw["pointer"].startswith("#/path/")
