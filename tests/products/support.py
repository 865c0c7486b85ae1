"""What tests of products ask again and again."""

import asyncio
import time
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import Row, select

from inventory_api.models import StockMovement

DEADLINE_SECONDS = 10.0
ANY = {"If-Match": "*"}
STALE = {"If-Match": '"99"'}
NOBODYS = 9_007_199_254_740_991
"""An id that nothing has."""

EMPTY_METADATA: dict[str, Any] = {
    "tags": [],
    "specifications": {},
    "care_instructions": None,
    "seo_title": None,
    "seo_description": None,
    "vendor_notes": None,
}


def path_of(product: dict[str, Any]) -> str:
    return f"/api/products/{product['id']}"


def pointers(answer: Response) -> list[str]:
    return [flaw["pointer"] for flaw in answer.json()["errors"]]


async def until_synced(client: AsyncClient, *products: dict[str, Any]) -> None:
    """Returns once MongoDB holds these products as they are."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    for product in products:
        while (await client.get(path_of(product))).headers["Metadata-Sync"] != "synced":
            assert time.monotonic() < deadline, f"product {product['id']} stays pending"
            await asyncio.sleep(0.01)


async def movements(app: FastAPI, product_id: int) -> list[Row[Any]]:
    """The ledger of one product, in its own order."""
    table = StockMovement.__table__
    return list(
        await app.state.database.reads.all(
            select(table).where(table.c.product_id == product_id).order_by(table.c.id)
        )
    )
