"""Bringing the schema to the head, from any folder: the revisions travel inside the wheel."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, exc

from inventory_api.stores.sql import Database, is_transient

WAIT_SECONDS = 60

_PACKAGED = Path(__file__).resolve().parents[1] / "alembic"
_IN_THE_CHECKOUT = Path(__file__).resolve().parents[3] / "alembic"


def config() -> Config:
    """Alembic's configuration, without a file."""
    settings = Config()
    folder = _PACKAGED if _PACKAGED.is_dir() else _IN_THE_CHECKOUT
    settings.set_main_option("script_location", str(folder).replace("%", "%%"))
    return settings


def head() -> str:
    """The newest revision of this version of the service."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


async def current(database: Database) -> str | None:
    """The revision of the database; None when it is empty."""
    async with database.read_engine.connect() as connection:
        return await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )


async def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade to a revision; nothing happens when the database has it."""
    await _run(database, command.upgrade, revision)


async def downgrade(database: Database, revision: str) -> None:
    await _run(database, command.downgrade, revision)


async def _run(database: Database, action: Any, revision: str) -> None:
    def run(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        action(settings, revision)

    async with _alone(database), database.write_engine.begin() as connection:
        await connection.run_sync(run)


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[None]:
    """Let one migration run at a time, whoever starts it, wherever.

    SQLite's one writer sees to it. On MySQL, whose DDL ends every transaction, a connection of its
    own holds an uncommitted row: the unique key makes the next one wait, and the server takes the
    row back when its owner dies.

    Raises:
        sqlalchemy.exc.OperationalError: the other one took longer than `WAIT_SECONDS`.
    """
    if database.is_sqlite:
        yield
        return
    async with database.write_engine.connect() as connection:
        await connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL,"
            " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                await connection.exec_driver_sql(
                    "INSERT INTO alembic_version (version_num) VALUES ('being changed')"
                )
                break
            except exc.OperationalError as error:
                await connection.rollback()
                if not is_transient(error) or time.monotonic() > deadline:
                    raise
        try:
            yield
        finally:
            await connection.rollback()
