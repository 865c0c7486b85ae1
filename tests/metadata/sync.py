"""A relay to drive by hand, and a look at both stores."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import Row, insert, select, update

from inventory_api.kit.clock import utc_now
from inventory_api.metadata.relay import Relay
from inventory_api.metadata.sync_repository import SyncRepository
from inventory_api.models import ProductSync
from inventory_api.stores.sql import run_unit
from tests.factories import MERGE_PATCH


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the stores have no event to wait for
            await asyncio.sleep(0.01)


class Sync:
    """Both stores, and the relay between them."""

    def __init__(self, app: FastAPI) -> None:
        self.database = app.state.database
        self.mongo = app.state.mongo
        self.relay = Relay(self.database, self.mongo)

    async def row(self, product_id: int) -> Row[Any]:
        found = await self.database.reads.first(
            select(*ProductSync.__table__.columns).where(ProductSync.product_id == product_id)
        )
        assert found is not None
        return found  # type: ignore[no-any-return]

    async def has_row(self, product_id: int) -> bool:
        found = await self.database.reads.first(
            select(ProductSync.version).where(ProductSync.product_id == product_id)
        )
        return found is not None

    async def change_row(self, product_id: int, **values: Any) -> None:
        async with self.database.write_engine.begin() as connection:
            await connection.execute(
                update(ProductSync).where(ProductSync.product_id == product_id).values(**values)
            )

    async def document(self, product_id: int) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.mongo.collection().find_one({"_id": product_id})
        return found

    async def is_synced(self, product_id: int) -> bool:
        return not (await self.row(product_id)).pending

    async def queue(self, product_id: int, name: str = "By hand", **metadata: Any) -> None:
        """A row past the API, and without waking a relay."""
        state = {"tags": [], "specifications": {}} | metadata
        await run_unit(
            self.database,
            lambda session: SyncRepository(session).queue_new(product_id, name, state),
        )

    async def queue_rows(self, product_ids: range, **values: Any) -> None:
        """Many rows at once, without products; pending unless `values` say otherwise."""
        now = utc_now()
        row = {
            "version": 1,
            "operation": "upsert",
            "name": "Many",
            "payload": '{"tags":[],"specifications":{}}',
            "applied_version": 0,
            "pending": True,
            "attempts": 0,
            "next_attempt_at": now,
            "dead": False,
            "first_pending_at": now,
        } | values
        async with self.database.write_engine.begin() as connection:
            await connection.execute(
                insert(ProductSync.__table__),  # type: ignore[arg-type]
                [{"product_id": product_id, **row} for product_id in product_ids],
            )

    async def usable(self) -> None:
        """Wait out the moment in which MongoDB is not asked after a failure."""

        async def available() -> bool:
            return bool(self.mongo.available)

        await eventually(available)

    async def drain(self) -> None:
        """Let the relay carry everything that is due."""
        while await self.relay.run_once():
            pass


@asynccontextmanager
async def at_rest(app: FastAPI) -> AsyncIterator[Sync]:
    """The stores with the application's own relay at rest."""
    await app.state.relay.close()
    sync = Sync(app)
    yield sync
    await sync.usable()
    app.state.relay.start()


@asynccontextmanager
async def at_work(app: FastAPI) -> AsyncIterator[Sync]:
    """The stores with the application's relay at work."""
    sync = Sync(app)
    yield sync
    await sync.usable()
    # Out of a wait that the test has made long.
    await app.state.relay.close()
    app.state.relay.start()


async def patch_metadata(client: AsyncClient, product_id: int, **members: Any) -> int:
    """Change the metadata. Returns: the product's new version."""
    answer = await client.patch(
        f"/api/products/{product_id}/metadata",
        json=members,
        headers={"If-Match": "*"} | MERGE_PATCH,
    )
    assert answer.status_code == 200, answer.text
    return int(answer.headers["ETag"].strip('"'))


async def delete_product(client: AsyncClient, product_id: int) -> None:
    answer = await client.delete(f"/api/products/{product_id}", headers={"If-Match": "*"})
    assert answer.status_code == 204, answer.text


def seconds_since(start: float) -> float:
    return time.monotonic() - start
