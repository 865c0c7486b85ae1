"""Bringing the schema to the head, from any folder: the revisions travel inside the wheel."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from inventory_api.stores.sql import Database

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

    async with database.write_engine.begin() as connection:
        await connection.run_sync(run)
