"""What creating and deleting a product books."""

from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import Row, Table, select

from inventory_api.models import (
    Base,
    DocumentKind,
    Location,
    StockDocument,
    StockLevel,
    StockMovement,
    StockTotal,
)
from inventory_api.models.location import MAIN
from tests.factories import create_product

ANY = {"If-Match": "*"}


async def rows(app: FastAPI, model: type[Base]) -> list[Row[Any]]:
    table = model.__table__
    assert isinstance(table, Table)
    return list(await app.state.database.reads.all(select(table).order_by(*table.primary_key)))


async def main_location(app: FastAPI) -> int:
    row = await app.state.database.reads.first(select(Location.id).where(Location.code == MAIN))
    return int(row.id)


class TestOpenProduct:
    async def test_books_an_opening_document_at_the_default_location(
        self, app: FastAPI, admin: AsyncClient
    ) -> None:
        product = await create_product(admin, quantity_in_stock=24)
        location = await main_location(app)
        (document,) = await rows(app, StockDocument)
        assert document.kind is DocumentKind.OPENING
        assert document.reverses is None
        assert document.occurred_at <= document.recorded_at
        (movement,) = await rows(app, StockMovement)
        assert (movement.document_id, movement.product_id) == (document.id, product["id"])
        assert (movement.sku, movement.location_id) == (product["sku"], location)
        assert (movement.quantity, movement.on_hand_after) == (24, 24)
        assert (movement.unit_cost, movement.reason) == (None, None)
        assert movement.occurred_at == document.occurred_at
        (level,) = await rows(app, StockLevel)
        assert tuple(level) == (product["id"], location, 24, 0)
        (total,) = await rows(app, StockTotal)
        assert tuple(total) == (product["id"], 24, 0, 1)

    async def test_names_who_did_it(self, app: FastAPI, admin: AsyncClient) -> None:
        me = (await admin.get("/api/me")).json()
        product = await create_product(admin, quantity_in_stock=1)
        await admin.delete(f"/api/products/{product['id']}", headers=ANY)
        assert [row.actor_id for row in await rows(app, StockDocument)] == [me["id"], me["id"]]

    async def test_without_stock_there_are_totals_alone(
        self, app: FastAPI, admin: AsyncClient
    ) -> None:
        product = await create_product(admin, quantity_in_stock=0)
        (total,) = await rows(app, StockTotal)
        assert tuple(total) == (product["id"], 0, 0, 1)
        for model in (StockDocument, StockMovement, StockLevel):
            assert await rows(app, model) == []


class TestCloseProduct:
    async def test_the_ledger_outlives_the_product_and_adds_up(
        self, app: FastAPI, admin: AsyncClient
    ) -> None:
        kept = await create_product(admin, quantity_in_stock=5)
        gone = await create_product(admin, quantity_in_stock=7)
        before = await rows(app, StockMovement)
        assert (await admin.delete(f"/api/products/{gone['id']}", headers=ANY)).status_code == 204
        *earlier, write_off = await rows(app, StockMovement)
        assert earlier == before
        assert (write_off.product_id, write_off.sku) == (gone["id"], gone["sku"])
        assert (write_off.quantity, write_off.on_hand_after) == (-7, 0)
        assert write_off.reason == "product_deleted"
        document = (await rows(app, StockDocument))[-1]
        assert (document.id, document.kind) == (write_off.document_id, DocumentKind.ADJUSTMENT)
        assert [row.product_id for row in await rows(app, StockLevel)] == [kept["id"]]
        assert [row.product_id for row in await rows(app, StockTotal)] == [kept["id"]]

    async def test_a_refused_deletion_books_nothing(self, app: FastAPI, admin: AsyncClient) -> None:
        product = await create_product(admin, quantity_in_stock=7)
        answer = await admin.delete(f"/api/products/{product['id']}", headers={"If-Match": '"2"'})
        assert answer.status_code == 412
        assert len(await rows(app, StockMovement)) == 1
        (total,) = await rows(app, StockTotal)
        assert total.on_hand == 7
