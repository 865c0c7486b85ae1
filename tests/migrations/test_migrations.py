"""The revisions: each leads up and down, and the last one is what the models say."""

import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, inspect, select, text

from inventory_api.models import Base, Location
from inventory_api.settings import Settings
from inventory_api.stores import migrations
from inventory_api.stores.sql import Database, open_database, run_unit
from tests.conftest import create_mysql_database, worker_number
from tests.stores.servers import PROJECT

REVISIONS = [
    revision.revision
    for revision in reversed(
        list(ScriptDirectory.from_config(migrations.config()).walk_revisions())
    )
]


async def empty_database(settings: Settings, folder: Path, name: str) -> Database:
    """A database of the run's kind without any table."""
    if settings.mysql_uri is None:
        return open_database(settings.model_copy(update={"data_dir": folder / name}))
    url = await create_mysql_database(f"{name}_{worker_number()}")
    return open_database(settings.model_copy(update={"mysql_uri": SecretStr(url)}))


@pytest.fixture
async def empty(settings: Settings, tmp_path: Path) -> AsyncIterator[Database]:
    database = await empty_database(settings, tmp_path, "migrations")
    yield database
    await database.close()


@pytest.fixture
async def migrated(empty: Database) -> Database:
    await migrations.migrate(empty)
    return empty


@pytest.fixture
async def from_models(settings: Settings, tmp_path: Path) -> AsyncIterator[Database]:
    """Tables made from the models, without any revision."""
    database = await empty_database(settings, tmp_path, "models")
    async with database.write_engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield database
    await database.close()


async def schema_of(database: Database) -> dict[str, list[str]]:
    """Everything of the run's own dialect: a table's name → its definition, line by line."""

    def definition(connection: Connection, table: str) -> str:
        if connection.dialect.name == "sqlite":
            found = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL"),
                {"table": table},
            )
            return "\n".join(found.scalars())
        shown = connection.exec_driver_sql(f"SHOW CREATE TABLE `{table}`").one()[1]
        return re.sub(r" AUTO_INCREMENT=\d+", "", shown)  # the counter comes from the rows

    def read(connection: Connection) -> dict[str, list[str]]:
        return {
            table: sorted(line.strip(" \t,") for line in definition(connection, table).splitlines())
            for table in inspect(connection).get_table_names()
        }

    async with database.read_engine.connect() as connection:
        return await connection.run_sync(read)


def without_triggers(schema: dict[str, list[str]]) -> dict[str, list[str]]:
    """Triggers have no place in the models: on SQLite a revision makes them."""
    return {
        table: [line for line in lines if not line.startswith("CREATE TRIGGER")]
        for table, lines in schema.items()
        if table != "alembic_version"
    }


class TestStairway:
    async def test_every_revision_goes_up_down_and_up_again(self, empty: Database) -> None:
        assert REVISIONS
        steps = ["base", *REVISIONS]
        for below, revision in zip(steps, REVISIONS, strict=False):
            before = await schema_of(empty)
            await migrations.migrate(empty, revision)
            after = await schema_of(empty)
            assert after != before
            await migrations.downgrade(empty, below)
            left = await schema_of(empty)
            left.pop("alembic_version")
            before.pop("alembic_version", None)
            assert left == before
            await migrations.migrate(empty, revision)
            assert await schema_of(empty) == after
            assert await migrations.current(empty) == revision
        assert await migrations.current(empty) == migrations.head()

    async def test_going_down_and_up_again_works_on_a_used_database(
        self, migrated: Database
    ) -> None:
        async with migrated.write_engine.begin() as connection:
            await connection.execute(text("DELETE FROM locations"))
        await migrations.downgrade(migrated, "base")
        await migrations.migrate(migrated)
        assert await main_locations(migrated) == [("MAIN", "main", True, 1)]


class TestHead:
    async def test_autogenerate_finds_nothing_to_do(self, migrated: Database) -> None:
        def differences(connection: Connection) -> list[Any]:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, Base.metadata))

        async with migrated.read_engine.connect() as connection:
            assert await connection.run_sync(differences) == []

    async def test_is_what_the_models_make_to_the_letter(
        self, migrated: Database, from_models: Database
    ) -> None:
        """Autogenerate looks at no CHECK, no AUTOINCREMENT and no collation."""
        expected = without_triggers(await schema_of(from_models))
        assert set(expected) == set(Base.metadata.tables)
        assert without_triggers(await schema_of(migrated)) == expected

    async def test_there_is_one_head(self) -> None:
        assert ScriptDirectory.from_config(migrations.config()).get_heads() == [migrations.head()]

    async def test_every_text_is_compared_by_code_point(self, migrated: Database) -> None:
        async with migrated.read_engine.connect() as connection:
            if migrated.is_sqlite:
                collations = await connection.execute(
                    text("SELECT count(*) FROM sqlite_master WHERE sql LIKE '%COLLATE%'")
                )
                assert collations.scalar_one() == 0  # SQLite's default is BINARY
                return
            tables = await connection.execute(
                text(
                    "SELECT table_name, engine, table_collation FROM information_schema.tables"
                    " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
                )
            )
            columns = await connection.execute(
                text(
                    "SELECT character_set_name, collation_name FROM information_schema.columns"
                    " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
                    " AND collation_name IS NOT NULL"
                )
            )
        found = {name: (engine, collation) for name, engine, collation in tables}
        assert found == dict.fromkeys(Base.metadata.tables, ("InnoDB", "utf8mb4_bin"))
        assert set(columns) == {("utf8mb4", "utf8mb4_bin")}


async def main_locations(database: Database) -> list[tuple[Any, ...]]:
    statement = select(Location.code, Location.code_key, Location.is_active, Location.version)
    return [tuple(row) for row in await database.reads.all(statement)]


class TestMigrate:
    async def test_makes_the_main_location_once(self, migrated: Database) -> None:
        assert await main_locations(migrated) == [("MAIN", "main", True, 1)]

    async def test_a_second_time_changes_nothing(self, migrated: Database) -> None:
        before = await schema_of(migrated)
        await migrations.migrate(migrated)
        assert await schema_of(migrated) == before
        assert await main_locations(migrated) == [("MAIN", "main", True, 1)]

    async def test_an_empty_database_has_no_revision(self, empty: Database) -> None:
        assert await migrations.current(empty) is None

    async def test_goes_from_any_working_directory(
        self, empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        await migrations.migrate(empty)
        assert await migrations.current(empty) == migrations.head()

    async def test_keeps_the_rows_that_are_there(self, migrated: Database) -> None:
        await run_unit(migrated, rename_main)
        await migrations.migrate(migrated)
        renamed = await migrated.reads.first(select(Location.name, Location.version))
        assert renamed is not None
        assert tuple(renamed) == ("Hauptlager", 2)


async def rename_main(session: Any) -> None:
    location = (await session.execute(select(Location))).scalar_one()
    location.name = "Hauptlager"


class TestWheel:
    def test_brings_the_revisions_along(self, tmp_path: Path) -> None:
        build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "."]
        subprocess.run([sys.executable, *build], cwd=PROJECT, check=True, timeout=60)
        (wheel,) = tmp_path.glob("*.whl")
        installed = tmp_path / "site"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(installed)
        program = (
            "import asyncio, sys; from pathlib import Path\n"
            f"sys.path.insert(0, {str(installed)!r})\n"
            "from inventory_api.settings import Settings\n"
            "from inventory_api.stores import migrations, sql\n"
            "async def run():\n"
            f"    settings = Settings(_env_file=None, data_dir=Path({str(tmp_path)!r}))\n"
            "    database = sql.open_database(settings)\n"
            "    await migrations.migrate(database)\n"
            "    print(migrations.__file__, await migrations.current(database))\n"
            "    await database.close()\n"
            "asyncio.run(run())\n"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-c", program],
            cwd="/",
            env={},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        module, revision = done.stdout.split()
        assert Path(module).is_relative_to(installed)
        assert revision == migrations.head()
