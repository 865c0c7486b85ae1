"""Writes products until it is killed: `python -m tests.faults.writer outbox|naive`.

Each line on its standard output is one acknowledged write: product id, version, operation.
`naive` is what this service does not do: it commits and then writes the document by itself.
"""

import asyncio
import random
import sys
import uuid
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError
from sqlalchemy import exc, select
from sqlalchemy.orm.exc import StaleDataError

from inventory_api.kit import json
from inventory_api.metadata import documents
from inventory_api.metadata.relay import Relay
from inventory_api.metadata.schemas import ProductMetadataUpdate
from inventory_api.metadata.sync_repository import Claim
from inventory_api.models import Product, SyncOperation
from inventory_api.products.schemas import ProductCreate
from inventory_api.products.service import ProductService, ProductState
from inventory_api.settings import load_settings
from inventory_api.stores.mongo import Mongo
from inventory_api.stores.sql import Database, WriteSession, open_database, run_unit

TASKS = {"outbox": 4, "naive": 8}
PRODUCTS = 60
NAIVE_COLLECTION = "naive"

Write = tuple[int, int, str, str, Any]
"""Product id, version, operation, name, metadata."""


def _metadata() -> dict[str, Any]:
    number = random.randrange(10**9)
    return {
        "tags": [f"tag {number % 50}"],
        "specifications": {"number": number, "text": f"text {number} ✓"},
        "seo_title": f"title {number}",
    }


class Writer:
    def __init__(self, database: Database, direct: AsyncCollection[dict[str, Any]] | None) -> None:
        self._database = database
        self._relay = Relay(database, Mongo("mongodb://not-asked"))  # never started
        self._direct = direct
        self.known: list[int] = []

    async def run(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(0, 0.02))
            try:
                write = await run_unit(self._database, self._pick())
            except (StaleDataError, exc.OperationalError, exc.TimeoutError):
                continue
            if write is None:
                continue
            if self._direct is not None:
                await self._write_directly(self._direct, write)
            print(*write[:3], flush=True)

    def _pick(self) -> Any:
        dice = random.random()
        if len(self.known) < PRODUCTS or dice < 0.15:
            return self._create
        product_id = random.choice(self.known)
        action = self._delete if dice < 0.3 else self._update
        return lambda session: action(session, product_id)

    async def _create(self, session: WriteSession) -> Write:
        body = ProductCreate.model_validate(
            {
                "sku": uuid.uuid4().hex,
                "name": f"Product {random.randrange(10**6)}",
                "cost_price": "1.00",
                "selling_price": "2.00",
                "metadata": _metadata(),
            }
        )
        state = await ProductService(session, self._relay).create(body, actor_id=None)
        self.known.append(state.row.id)
        return self._written(state, "upsert")

    async def _update(self, session: WriteSession, product_id: int) -> Write | None:
        products = ProductService(session, self._relay)
        stored = await products.stored(product_id)
        if stored is None:
            self._forget(product_id)
            return None
        patch = ProductMetadataUpdate.model_validate(_metadata())
        return self._written(await products.update_metadata(stored, patch), "upsert")

    async def _delete(self, session: WriteSession, product_id: int) -> Write | None:
        products = ProductService(session, self._relay)
        stored = await products.stored(product_id)
        self._forget(product_id)
        if stored is None:
            return None
        version = stored.row.version + 1
        await products.delete(stored, actor_id=None)  # type: ignore[arg-type]
        return product_id, version, "delete", "", {}

    def _written(self, state: ProductState, operation: str) -> Write:
        return state.row.id, state.row.version, operation, state.row.name, state.metadata

    def _forget(self, product_id: int) -> None:
        if product_id in self.known:
            self.known.remove(product_id)

    async def _write_directly(
        self, collection: AsyncCollection[dict[str, Any]], write: Write
    ) -> None:
        product_id, version, operation, name, metadata = write
        try:
            if operation == "delete":
                await collection.delete_one({"_id": product_id})
                return
            claim = Claim(
                product_id, version, SyncOperation.UPSERT, name, json.write_text(metadata), 0
            )
            await collection.replace_one(
                {"_id": product_id}, documents.document_of(claim), upsert=True
            )
        except PyMongoError:
            return  # all that such code can do is log it


async def main(kind: str) -> None:
    settings = load_settings()
    database = open_database(settings)
    direct = None
    if kind == "naive":
        assert settings.mongodb_uri is not None
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            settings.mongodb_uri.get_secret_value(), timeoutMS=1_000
        )
        direct = client.get_default_database()[NAIVE_COLLECTION]
    writer = Writer(database, direct)
    rows = await database.reads.all(select(Product.id).order_by(Product.id.desc()).limit(PRODUCTS))
    writer.known = [row.id for row in rows]
    await asyncio.gather(*(writer.run() for _ in range(TASKS[kind])))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
