"""Run by Alembic: on the connection of `inventory-api migrate`, else on that of the settings."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from inventory_api.models import Base
from inventory_api.settings import load_settings
from inventory_api.stores.sql import LONG_READ_SECONDS, open_database


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_with_settings() -> None:
    database = open_database(load_settings(), read_seconds=LONG_READ_SECONDS)
    try:
        async with database.write_engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await database.close()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_with_settings())
