"""How many SQL statements a request costs, permission included."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from tests.factories import MERGE_PATCH, create_product, product_body
from tests.products.conftest import Recorder
from tests.products.support import ANY, path_of, until_synced

PRODUCTS = "/api/products"
Made = list[dict[str, Any]]


@pytest.fixture
async def made(app: FastAPI, admin: AsyncClient) -> Made:
    """Products in both stores, and a deny-list that is whole: permission costs no statement."""
    products = [
        await create_product(
            admin,
            quantity_in_stock=3,
            metadata={"tags": ["a", "b"], "specifications": {"material": "oak"}},
        )
        for _ in range(5)
    ]
    await until_synced(admin, *products)
    await app.state.auth.deny_list.repair()
    return products


class TestReads:
    async def test_a_product_is_one(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        for path in (path_of(made[0]), f"{path_of(made[0])}/metadata"):
            with recorder() as statements:
                assert (await admin.get(path)).status_code == 200
            assert len(statements) == 1, statements

    async def test_a_product_with_stock_is_one(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        with recorder() as statements:
            await admin.get(path_of(made[0]), params={"include": "stock"})
        assert len(statements) == 1, statements

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"include": "stock"},
            {"include": "metadata"},
            {"include": ["stock", "metadata"]},
            {"q": "product", "tag": "a", "stock_min": 1, "sort": "-stock"},
            {"spec": "material:oak"},
            {"limit": 2, "sort": "name"},
        ],
        ids=str,
    )
    async def test_a_page_is_one_whatever_it_includes(
        self, admin: AsyncClient, made: Made, recorder: Recorder, parameters: dict[str, Any]
    ) -> None:
        with recorder() as statements:
            answer = await admin.get(PRODUCTS, params=parameters)
        assert len(answer.json()["items"]) >= 2
        assert len(statements) == 1, statements
        assert "count(" not in statements[0].lower()

    async def test_durable_copies_are_one_more(
        self, admin: AsyncClient, made: Made, recorder: Recorder, mongo_away: None
    ) -> None:
        with recorder() as statements:
            await admin.get(PRODUCTS, params={"include": "metadata"})
        assert len(statements) == 2, statements

    async def test_a_total_is_one_more(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        with recorder() as statements:
            await admin.get(PRODUCTS, params={"include": "total", "limit": 2})
        assert len(statements) == 2, statements
        assert "count(" in statements[1].lower()


class TestWrites:
    async def test_creating_with_tags_and_stock_is_eight(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        body = product_body(quantity_in_stock=7, metadata={"tags": ["a", "b", "c"]})
        with recorder() as statements:
            assert (await admin.post(PRODUCTS, json=body)).status_code == 201
        assert len(statements) == 8, statements

    async def test_creating_without_is_three(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        with recorder() as statements:
            assert (await admin.post(PRODUCTS, json=product_body())).status_code == 201
        assert len(statements) == 3, statements

    @pytest.mark.parametrize(
        ("patch", "number"),
        [
            ({}, 1),
            ({"name": "New"}, 3),
            ({"metadata": {"seo_title": "New"}}, 3),
            ({"name": "New", "metadata": {"tags": ["b", "c", "d"]}}, 5),
        ],
        ids=str,
    )
    async def test_a_change_is_five_at_most(
        self,
        admin: AsyncClient,
        made: Made,
        recorder: Recorder,
        patch: dict[str, Any],
        number: int,
    ) -> None:
        with recorder() as statements:
            answer = await admin.patch(path_of(made[0]), json=patch, headers=MERGE_PATCH | ANY)
        assert answer.status_code == 200
        assert len(statements) == number, statements

    async def test_replacing_is_five_at_most(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        body = product_body(metadata={"tags": ["c"]})
        with recorder() as statements:
            answer = await admin.put(path_of(made[0]), json=body, headers=ANY)
        assert answer.status_code == 200
        assert len(statements) == 5, statements

    async def test_deleting_is_eight(
        self, admin: AsyncClient, made: Made, recorder: Recorder
    ) -> None:
        with recorder() as statements:
            assert (await admin.delete(path_of(made[0]), headers=ANY)).status_code == 204
        assert len(statements) == 8, statements
