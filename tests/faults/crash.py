"""Does one write, or one batch of the relay, and dies at the step that it is given.

Dying is `os._exit`, which like a SIGKILL runs no handler and flushes nothing.
"""

import asyncio
import os
import sys
from typing import Any

from pymongo import ReplaceOne

from inventory_api.metadata import documents
from inventory_api.metadata.relay import Relay
from inventory_api.metadata.sync_repository import SyncRepository
from inventory_api.products.schemas import ProductCreate
from inventory_api.products.service import ProductService
from inventory_api.settings import load_settings
from inventory_api.stores.embedded import embedded_documents
from inventory_api.stores.mongo import Mongo
from inventory_api.stores.sql import Database, WriteSession, open_database, run_unit

DIED = 77
SKU = "MADE-BY-CRASH"


async def die(*_: object, **__: object) -> Any:
    os._exit(DIED)


async def write(database: Database) -> None:
    async def create(session: WriteSession) -> None:
        body = ProductCreate.model_validate(
            {
                "sku": SKU,
                "name": "Made",
                "cost_price": "1.00",
                "selling_price": "2.00",
                "metadata": {"tags": ["made"]},
            }
        )
        relay = Relay(database, Mongo("mongodb://not-asked"))
        await ProductService(session, relay).create(body, actor_id=None)

    await run_unit(database, create)


async def carry(database: Database, uri: str) -> None:
    mongo = Mongo(uri)
    mongo.start()
    await mongo.wait_connected()
    await Relay(database, mongo).run_once()


def set_the_trap(step: str) -> None:
    if step == "before commit":
        WriteSession.commit = die  # type: ignore[method-assign]
    elif step == "after commit, before notify":
        Relay.wake = die  # type: ignore[method-assign]
    elif step == "after claim, before apply":
        documents.apply = die
    elif step == "after placeholder, before replacement":
        real = documents._write

        async def die_at_the_second(collection: Any, requests: Any) -> Any:
            return await (
                die() if isinstance(requests[0], ReplaceOne) else real(collection, requests)
            )

        documents._write = die_at_the_second
    elif step == "after apply, before acknowledge":
        SyncRepository.acknowledge = die  # type: ignore[method-assign]
    else:
        sys.exit(f"there is no step {step!r}")


async def main(step: str) -> None:
    settings = load_settings()
    database = open_database(settings)
    if "commit" in step:
        set_the_trap(step)
        await write(database)
    elif settings.mongodb_uri is not None:
        set_the_trap(step)
        await carry(database, settings.mongodb_uri.get_secret_value())
    else:
        async with embedded_documents(settings.data_dir) as uri:
            set_the_trap(step)
            await carry(database, uri)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
