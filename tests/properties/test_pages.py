"""Walking all pages while rows come and go repeats nothing, and skips nothing that was there."""

from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_api.products.schemas import ProductSort
from tests.factories import create_product
from tests.properties.strategies import over_http

PRODUCTS = "/api/products"
NAMES = ["a", "B", "ä", "z", "😀"]
PRICES = ["0", "5", "5.00", "9.99", "10"]
STOCKS = [0, 3, 3, 10]

rows = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "selling_price": st.sampled_from(PRICES),
        "quantity_in_stock": st.sampled_from(STOCKS),
    }
)
# What happens between two pages: rows to make, and which of those made so far to delete.
turns = st.lists(
    st.tuples(st.lists(rows, max_size=2), st.lists(st.integers(0, 20), max_size=1)), max_size=6
)


@pytest.fixture
async def standing(admin: AsyncClient) -> set[int]:
    """Rows that are there throughout, with ties among them."""
    made = [
        await create_product(
            admin,
            name=NAMES[number % 3],
            selling_price=PRICES[number % 4],
            quantity_in_stock=STOCKS[number % 4],
        )
        for number in range(8)
    ]
    return {product["id"] for product in made}


@pytest.mark.parametrize("sort", list(ProductSort), ids=str)
@settings(over_http, max_examples=7)
@given(limit=st.integers(1, 3), turns=turns)
async def test_every_sort(
    admin: AsyncClient,
    standing: set[int],
    sort: ProductSort,
    limit: int,
    turns: list[tuple[list[dict[str, Any]], list[int]]],
) -> None:
    passing: list[int] = []
    seen: list[int] = []
    left = iter(turns)
    parameters: dict[str, Any] = {"sort": sort, "limit": limit}
    while True:
        answer = await admin.get(PRODUCTS, params=parameters)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        assert len(seen) == len(set(seen))
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
        made, deleted = next(left, ([], []))
        passing += [(await create_product(admin, **row))["id"] for row in made]
        for index in deleted:
            if index < len(passing):
                await _delete(admin, passing.pop(index))
    assert standing <= set(seen)
    for product_id in passing:
        await _delete(admin, product_id)


async def _delete(client: AsyncClient, product_id: int) -> None:
    answer = await client.delete(f"{PRODUCTS}/{product_id}", headers={"If-Match": "*"})
    assert answer.status_code == 204
