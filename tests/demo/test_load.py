"""Loading the demo catalogue into the stores."""

from datetime import date
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import select

from inventory_api.demo import catalogue, load
from inventory_api.models import Category, Product, Supplier
from tests.factories import create_category, create_product
from tests.metadata.sync import eventually

TODAY = date(2026, 11, 1)
COUNT = len(catalogue.products(TODAY))


async def load_into(app: FastAPI, **options: Any) -> int:
    return await load.load(app.state.database, app.state.relay, TODAY, **options)


async def names(app: FastAPI, model: Any) -> list[str]:
    rows = await app.state.database.reads.all(select(model.name))
    return [row.name for row in rows]


class TestLoad:
    async def test_adds_the_whole_catalogue_as_a_client_would(
        self, app: FastAPI, admin: AsyncClient
    ) -> None:
        seen: list[tuple[int, int]] = []
        assert await load_into(app, progress=lambda *now: seen.append(now)) == COUNT
        assert seen[-1] == (COUNT, COUNT)
        assert sorted(await names(app, Category)) == sorted(
            category.name for category in catalogue.categories()
        )
        assert len(await names(app, Supplier)) == len(catalogue.suppliers())
        for expected in catalogue.products(TODAY)[:: COUNT // 10]:
            params = {"sku": expected.sku, "include": ["metadata", "stock"]}
            (found,) = (await admin.get("/api/products", params=params)).json()["items"]
            assert found["name"] == expected.name
            assert found["selling_price"] == str(expected.selling_price)
            assert found["stock"]["on_hand"] == expected.quantity_in_stock
            assert found["metadata"]["tags"] == expected.metadata.tags

    async def test_again_adds_nothing(self, app: FastAPI, clean: None) -> None:
        await load_into(app)
        assert await load_into(app) == 0
        assert len(await names(app, Product)) == COUNT

    async def test_completes_what_an_interruption_left(
        self, app: FastAPI, clean: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(done: int, _total: int) -> None:
            if done >= 100:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await load_into(app, progress=interrupt)
        left = COUNT - len(await names(app, Product))
        assert 0 < left < COUNT
        assert await load_into(app) == left
        assert len(await names(app, Product)) == COUNT

    async def test_uses_what_is_there_without_regard_to_case(
        self, app: FastAPI, admin: AsyncClient
    ) -> None:
        category = catalogue.categories()[0]
        expected = next(
            product for product in catalogue.products(TODAY) if product.category == category.name
        )
        mine = await create_category(admin, name=category.name.upper())
        kept = await create_product(admin, sku=expected.sku.lower(), name="Mine")
        assert await load_into(app) == COUNT - 1
        assert (await admin.get(f"/api/products/{kept['id']}")).json()["name"] == "Mine"
        params = {"category_id": mine["id"], "limit": "1"}
        assert (await admin.get("/api/products", params=params)).json()["items"]

    async def test_the_running_relay_carries_all_of_it(
        self, app: FastAPI, admin: AsyncClient
    ) -> None:
        await load_into(app)

        async def all_carried() -> bool:
            documents = app.state.mongo.collection()
            return bool(await documents.count_documents({"deleted": False}) == COUNT)

        await eventually(all_carried, seconds=30)
