"""Any text that is accepted comes back byte for byte, from every answer and from both stores."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from inventory_api.metadata.sync_repository import SyncReads
from tests.factories import create_category, create_product, create_supplier, product_body
from tests.properties.strategies import metadata, optional, over_http, texts

DEADLINE_SECONDS = 10.0


def written(document: Any) -> str:
    """Tells apart what `==` does not: 5 from 5.0, 1 from True."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True)


@contextmanager
def mongodb_away(app: FastAPI) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.state.mongo, "_connected", False)
        yield


@over_http
@given(
    name=texts(150, visible=True),
    unit=texts(16, visible=True),
    description=optional(texts(1_000)),
    metadata=metadata,
)
async def test_products_and_their_metadata(
    app: FastAPI,
    admin: AsyncClient,
    name: str,
    unit: str,
    description: str | None,
    metadata: dict[str, Any],
) -> None:
    given = product_body(name=name, unit=unit, description=description, metadata=metadata)

    def shown(document: dict[str, Any]) -> str:
        return written({member: document[member] for member in given})

    parameters = {"sku": given["sku"], "include": "metadata"}
    with mongodb_away(app):
        product = await create_product(admin, **given)
        assert shown(product) == written(given)
        path = f"/api/products/{product['id']}"
        assert shown((await admin.get(path)).json()) == written(given)
        assert written((await admin.get(f"{path}/metadata")).json()) == written(metadata)
        (waiting,) = (await admin.get("/api/products", params=parameters)).json()["items"]
        assert shown(waiting) == written(given)
    await app.state.relay.wake()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (await admin.get(path)).headers["Metadata-Sync"] != "synced":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SyncReads, "payloads", None)  # from the document alone
        (synced,) = (await admin.get("/api/products", params=parameters)).json()["items"]
    assert shown(synced) == written(given)


@over_http
@given(sku=texts(64, visible=True), barcode=texts(64, visible=True))
async def test_skus_and_barcodes_but_for_the_space_around(
    admin: AsyncClient, sku: str, barcode: str
) -> None:
    product = await create_product(admin, sku=sku, barcode=barcode)
    path = f"/api/products/{product['id']}"
    assert (product["sku"], product["barcode"]) == (sku.strip(), barcode.strip())
    assert (await admin.get(path)).json() == product
    for filters in ({"sku": sku}, {"barcode": barcode}, {"sku": product["sku"].casefold()[:64]}):
        found = (await admin.get("/api/products", params=filters)).json()["items"]
        assert [item["id"] for item in found] == [product["id"]]
    assert (await admin.delete(path, headers={"If-Match": "*"})).status_code == 204


@over_http
@given(name=texts(150, visible=True), description=optional(texts(1_000)))
async def test_categories(admin: AsyncClient, name: str, description: str | None) -> None:
    category = await create_category(admin, name=name, description=description)
    path = f"/api/categories/{category['id']}"
    assert (category["name"], category["description"]) == (name, description)
    assert (await admin.get(path)).json() == category
    assert (await admin.delete(path, headers={"If-Match": "*"})).status_code == 204


@over_http
@given(
    given=st.fixed_dictionaries(
        {
            "name": texts(150, visible=True),
            "contact_name": optional(texts(150)),
            "phone": optional(texts(50)),
            "address": optional(texts(1_000)),
        }
    )
)
async def test_suppliers(admin: AsyncClient, given: dict[str, str | None]) -> None:
    supplier = await create_supplier(admin, **given)
    assert {member: supplier[member] for member in given} == given
    assert (await admin.get(f"/api/suppliers/{supplier['id']}")).json() == supplier
