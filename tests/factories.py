"""Makes what tests need, with keyword overrides for what a test is about."""

import itertools
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from inventory_api.auth.repository import UserRepository
from inventory_api.kit.text import canonical
from inventory_api.models import Role, User
from inventory_api.stores.sql import run_unit

PASSWORD = "correct horse battery staple"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

_numbers = itertools.count(1)


class Factory:
    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def user(self, role: str = "staff", **overrides: Any) -> User:
        """An account whose password is `PASSWORD`."""
        number = next(_numbers)
        values = {
            "username": f"{role}-{number}",
            "email": f"{role}-{number}@shop.example",
            "role": Role(role),
            "is_active": True,
            "password_hash": await self._app.state.auth.passwords.hash(PASSWORD),
        } | overrides
        values["username_key"] = canonical(str(values["username"]))
        values["email_key"] = canonical(str(values["email"]))
        return await run_unit(
            self._app.state.database, lambda session: UserRepository(session).add(User(**values))
        )

    async def bearer(self, role: str = "staff") -> dict[str, str]:
        """The header of somebody with this role who has just signed in."""
        user = await self.user(role)
        transport = ASGITransport(self._app)
        async with AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/token", json={"email": user.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def product_body(**overrides: Any) -> dict[str, Any]:
    """What creates a product; only what has to be given, and the overrides."""
    number = next(_numbers)
    return {
        "sku": f"SKU-{number}",
        "name": f"Product {number}",
        "cost_price": "7.10",
        "selling_price": "12.50",
    } | overrides


async def create(client: AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    """POST, expected to succeed. Returns: the resource."""
    answer: Response = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def create_product(client: AsyncClient, **overrides: Any) -> dict[str, Any]:
    return await create(client, "/api/products", **product_body(**overrides))


async def create_category(client: AsyncClient, **overrides: Any) -> dict[str, Any]:
    return await create(
        client, "/api/categories", **{"name": f"Category {next(_numbers)}"} | overrides
    )


async def create_supplier(client: AsyncClient, **overrides: Any) -> dict[str, Any]:
    return await create(
        client, "/api/suppliers", **{"name": f"Supplier {next(_numbers)}"} | overrides
    )
