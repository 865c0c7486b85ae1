"""Many at once: one wins, the others are told, nothing breaks."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import func, select

from inventory_api.models import Product, ProductSync, StockDocument, StockTotal, SyncOperation
from tests.factories import MERGE_PATCH, create_product, product_body
from tests.products.support import ANY, movements, path_of, until_synced

PRODUCTS = "/api/products"


def statuses(answers: Sequence[Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def patches(
    client: AsyncClient, product: dict[str, Any], number: int, if_match: str
) -> list[Response]:
    """As many changes at once, each to a name of its own."""
    return await asyncio.gather(
        *(
            client.patch(
                path_of(product),
                json={"name": f"Name {index}", "metadata": {"tags": [f"tag {index}"]}},
                headers=MERGE_PATCH | {"If-Match": if_match},
            )
            for index in range(number)
        )
    )


class TestCreate:
    async def test_one_of_fifty_gets_the_sku(self, admin: AsyncClient, app: FastAPI) -> None:
        bodies = [
            product_body(
                sku="KIT-1" if index % 2 else " kit-1 ",
                quantity_in_stock=5,
                metadata={"tags": ["a", "b"]},
            )
            for index in range(50)
        ]
        answers = await asyncio.gather(*(admin.post(PRODUCTS, json=body) for body in bodies))
        assert statuses(answers) == {201: 1, 409: 49}
        refused = [answer for answer in answers if answer.status_code == 409]
        assert {answer.json()["code"] for answer in refused} == {"sku_taken"}
        for table in (Product, ProductSync, StockTotal, StockDocument):
            count = await app.state.database.reads.count(select(func.count()).select_from(table))
            assert count == 1, table

    async def test_fifty_with_skus_of_their_own_are_all_made(self, admin: AsyncClient) -> None:
        answers = await asyncio.gather(
            *(admin.post(PRODUCTS, json=product_body(quantity_in_stock=1)) for _ in range(50))
        )
        assert statuses(answers) == {201: 50}
        page = (await admin.get(PRODUCTS, params={"include": "total"})).json()
        assert page["total"] == 50


class TestUpdate:
    async def test_one_of_twenty_with_one_etag_wins(self, admin: AsyncClient) -> None:
        product = await create_product(admin)
        answers = await patches(admin, product, 20, '"1"')
        assert statuses(answers) == {200: 1, 412: 19}
        assert {answer.headers["ETag"] for answer in answers} == {'"2"'}
        (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert (await admin.get(path_of(product))).json() == winner

    async def test_twenty_that_overwrite_do_so_one_after_the_other(
        self, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        answers = await patches(admin, product, 20, "*")
        assert statuses(answers) == {200: 20}
        states = sorted((answer.json() for answer in answers), key=lambda state: state["version"])
        assert [state["version"] for state in states] == list(range(2, 22))
        assert (await admin.get(path_of(product))).json() == states[-1]
        for state in states:
            found = await admin.get(PRODUCTS, params={"tag": state["metadata"]["tags"][0]})
            assert len(found.json()["items"]) == (state is states[-1])
        await until_synced(admin, product)
        (item,) = (await admin.get(PRODUCTS, params={"include": "metadata"})).json()["items"]
        assert item == states[-1]

    async def test_product_and_metadata_are_one_resource(self, admin: AsyncClient) -> None:
        product = await create_product(admin)
        held = MERGE_PATCH | {"If-Match": '"1"'}
        answers = await asyncio.gather(
            admin.patch(path_of(product), json={"name": "New"}, headers=held),
            admin.patch(f"{path_of(product)}/metadata", json={"seo_title": "x"}, headers=held),
        )
        assert statuses(answers) == {200: 1, 412: 1}


class TestDelete:
    async def test_one_of_ten_deletes(self, admin: AsyncClient, app: FastAPI) -> None:
        product = await create_product(admin, quantity_in_stock=5)
        answers = await asyncio.gather(
            *(admin.delete(path_of(product), headers=ANY) for _ in range(10))
        )
        assert statuses(answers) == {204: 1, 404: 9}
        assert [line.quantity for line in await movements(app, product["id"])] == [5, -5]

    async def test_among_changes_it_ends_them(self, admin: AsyncClient, app: FastAPI) -> None:
        for _ in range(5):
            product = await create_product(admin, quantity_in_stock=5)
            before, deleted, after = await asyncio.gather(
                patches(admin, product, 8, "*"),
                admin.delete(path_of(product), headers=ANY),
                patches(admin, product, 8, "*"),
            )
            assert deleted.status_code == 204
            changed = statuses(before + after)
            assert changed.keys() <= {200, 404}
            assert (await admin.get(path_of(product))).status_code == 404
            assert sum(line.quantity for line in await movements(app, product["id"])) == 0
            row = await app.state.database.reads.first(
                select(ProductSync.operation, ProductSync.version).where(
                    ProductSync.product_id == product["id"]
                )
            )
            assert (row.operation, row.version) == (SyncOperation.DELETE, 2 + changed[200])

    async def test_with_one_etag_the_change_or_the_deletion_wins(self, admin: AsyncClient) -> None:
        product = await create_product(admin)
        changed, deleted = await asyncio.gather(
            patches(admin, product, 1, '"1"'),
            admin.delete(path_of(product), headers={"If-Match": '"1"'}),
        )
        assert (changed[0].status_code, deleted.status_code) in {(200, 412), (404, 204)}
