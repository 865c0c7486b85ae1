"""The SQL layer: who may commit, when, on which connection, and what its errors mean."""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from itertools import count
from typing import Any

import asyncmy
import pytest
from fastapi import FastAPI
from sqlalchemy import (
    AsyncAdaptedQueuePool,
    Executable,
    bindparam,
    delete,
    event,
    exc,
    func,
    insert,
    literal,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from starlette.types import Message

from inventory_api.http import problems
from inventory_api.http.route import new_router
from inventory_api.kit.clock import utc_now
from inventory_api.kit.constraints import violated_constraint
from inventory_api.kit.errors import Conflict
from inventory_api.models import (
    AuthSession,
    Base,
    Category,
    Location,
    Product,
    StockDocument,
    StockLevel,
    StockMovement,
    StockTotal,
    Supplier,
    User,
)
from inventory_api.models.types import Money, UtcDateTime, Word
from inventory_api.settings import Settings
from inventory_api.stores import sql
from inventory_api.stores.sql import (
    AUDITED_TABLES,
    CoreWriteOnAuditedTableError,
    Database,
    FifoPool,
    WriteSession,
    WriteSessionDep,
    database_url,
    is_transient,
    is_unavailable,
    open_database,
    run_unit,
    unit_of_work,
)
from tests.conftest import client_of
from tests.stores.proxy import FaultProxy

_numbers = count(1)


@pytest.fixture
async def own(settings: Settings, clean: None) -> AsyncIterator[Database]:
    """Engines of this test alone on the worker's database: what listens on them hears no other."""
    database = open_database(settings.model_copy(update={"sql_pool_size": 1}))
    yield database
    await database.close()


def row(model: type[Any], **overrides: Any) -> dict[str, Any]:
    """Values of a valid row."""
    number = str(next(_numbers))
    now = utc_now()
    stamps = {"version": 1, "created_at": now, "updated_at": now}
    values: dict[type[Any], dict[str, Any]] = {
        Category: {"name": number, "name_key": number, "description": None},
        Supplier: {"name": number, "name_key": number},
        Location: {"code": number, "code_key": number, "name": number, "is_active": True},
        User: {
            "username": number,
            "username_key": number,
            "email": number,
            "email_key": number,
            "role": "staff",
            "is_active": True,
            "password_hash": "x",
        },
        Product: {
            "sku": number,
            "sku_key": number,
            "name": number,
            "name_key": number,
            "cost_price": Decimal("1.00"),
            "selling_price": Decimal("2.00"),
            "unit": "piece",
            "reorder_level": 0,
            "status": "active",
        },
    }
    return values[model] | stamps | overrides


async def add(database: Database, model: type[Any], **overrides: Any) -> int:
    """Insert a row. Returns: its id."""
    entity = model(**{**row(model, **overrides), "version": None})
    await run_unit(database, lambda session: _add(session, entity))
    return int(entity.id)


async def _add(session: WriteSession, entity: object) -> None:
    session.add(entity)


async def names(database: Database) -> list[str]:
    return [name for (name,) in await database.reads.all(select(Category.name).order_by("id"))]


def category(name: str) -> Category:
    return Category(**{**row(Category, name=name), "version": None})


# --- The unit of work ---------------------------------------------------------------------------


class TestUnitOfWork:
    async def test_commits_at_the_end_of_the_block(self, own: Database) -> None:
        async with unit_of_work(own) as session:
            session.add(category("a"))
            await session.flush()
            assert await names(own) == []
        assert await names(own) == ["a"]

    async def test_an_app_error_rolls_back(self, own: Database) -> None:
        async def work() -> None:
            async with unit_of_work(own) as session:
                session.add(category("a"))
                await session.flush()
                raise Conflict

        with pytest.raises(Conflict):
            await work()
        assert await names(own) == []

    async def test_a_cancelled_block_rolls_back(self, own: Database) -> None:
        flushed = asyncio.Event()

        async def work() -> None:
            async with unit_of_work(own) as session:
                session.add(category("a"))
                await session.flush()
                flushed.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await flushed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await names(own) == []
        assert await add(own, Category) > 0

    async def test_callbacks_run_after_the_commit(self, own: Database) -> None:
        seen: list[list[str]] = []

        async def callback() -> None:
            seen.append(await names(own))

        async with unit_of_work(own) as session:
            session.after_commit.append(callback)
            session.add(category("a"))
            await session.flush()
            assert seen == []
        assert seen == [["a"]]

    async def test_callbacks_are_dropped_on_rollback(self, own: Database) -> None:
        ran: list[str] = []
        with pytest.raises(Conflict):
            await self.work_with_callback(own, ran, Conflict())
        assert ran == []

    async def test_callbacks_are_dropped_when_the_commit_fails(self, own: Database) -> None:
        ran: list[str] = []
        allow = fail_commits(own, database_error(2013, "Lost connection"))
        with pytest.raises(exc.OperationalError):
            await self.work_with_callback(own, ran)
        allow()
        assert ran == []
        assert await names(own) == []

    async def test_a_failed_commit_leaves_nothing_for_the_next_one(self, own: Database) -> None:
        allow = fail_commits(own, database_error(1290, "The server is read-only"))
        for name in ("a", "b"):
            with pytest.raises(exc.OperationalError):
                await add(own, Category, name=name)
        allow()
        await add(own, Category, name="c")
        assert await names(own) == ["c"]

    @staticmethod
    async def work_with_callback(
        own: Database, ran: list[str], error: Exception | None = None
    ) -> None:
        async def callback() -> None:
            ran.append("callback")

        async with unit_of_work(own) as session:
            session.after_commit.append(callback)
            session.add(category("a"))
            if error is not None:
                raise error


class TestRunUnit:
    async def test_runs_again_after_a_transient_error(self, own: Database) -> None:
        attempts: list[WriteSession] = []

        async def work(session: WriteSession) -> int:
            attempts.append(session)
            session.add(category(f"attempt {len(attempts)}"))
            await session.flush()
            if len(attempts) < 3:
                raise database_error(1213, "Deadlock found")
            return len(attempts)

        assert await run_unit(own, work) == 3
        assert await names(own) == ["attempt 3"]
        assert len({id(session) for session in attempts}) == 3

    async def test_gives_up_after_three_reruns(self, own: Database) -> None:
        attempts: list[int] = []

        async def work(_session: WriteSession) -> None:
            attempts.append(1)
            raise database_error(1205, "Lock wait timeout exceeded")

        with pytest.raises(exc.OperationalError):
            await run_unit(own, work)
        assert len(attempts) == 4

    async def test_raises_any_other_error_at_once(self, own: Database) -> None:
        attempts: list[int] = []

        async def work(_session: WriteSession) -> None:
            attempts.append(1)
            raise database_error(1062, "Duplicate entry")

        with pytest.raises(exc.OperationalError):
            await run_unit(own, work)
        assert len(attempts) == 1


def database_error(code: int, message: str, **options: Any) -> exc.OperationalError:
    return exc.OperationalError("statement", {}, Exception(code, message), **options)


def fail_commits(database: Database, error: Exception) -> Callable[[], None]:
    """Let every COMMIT of these engines fail. Returns: what ends that."""

    def fail(_connection: object) -> None:
        raise error

    event.listen(database.write_engine.sync_engine, "commit", fail)
    return lambda: event.remove(database.write_engine.sync_engine, "commit", fail)


class TestWriteSessionDep:
    """COMMIT has returned before the first byte of the answer goes out."""

    @pytest.fixture
    def small(self, own: Database) -> FastAPI:
        app = FastAPI()
        app.state.database = own
        problems.install(app)
        router = new_router()

        @router.post("/things", status_code=201)
        async def create(session: WriteSessionDep) -> dict[str, str]:
            async def committed() -> None:
                app.state.events.append(f"committed {await names(own)}")

            app.state.events = ["handler"]
            session.after_commit.append(committed)
            session.add(category("a"))
            return {"name": "a"}

        app.include_router(router)
        return app

    async def test_commits_before_the_answer_starts(self, small: FastAPI) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            small.state.events.append(message["type"])

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/things",
            "raw_path": b"/things",
            "query_string": b"",
            "headers": [],
            "scheme": "http",
        }
        await small(scope, receive, send)
        assert small.state.events == [
            "handler",
            "committed ['a']",
            "http.response.start",
            "http.response.body",
        ]

    async def test_a_failed_commit_is_no_success(self, small: FastAPI, own: Database) -> None:
        fail_commits(own, database_error(2013, "Lost connection"))
        async with client_of(small) as client:
            answer = await client.post("/things")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert small.state.events == ["handler"]
        assert await names(own) == []


# --- Connections --------------------------------------------------------------------------------


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "POOL_SECONDS", 0.1)


def engine_of_two(settings: Settings, pool: type[AsyncAdaptedQueuePool]) -> AsyncEngine:
    return create_async_engine(database_url(settings), poolclass=pool, pool_size=2, max_overflow=0)


@pytest.fixture
async def engine(settings: Settings, database: Database) -> AsyncIterator[AsyncEngine]:
    engine = engine_of_two(settings, FifoPool)
    await warm_up(engine)
    yield engine
    await engine.dispose()


async def warm_up(engine: AsyncEngine) -> None:
    async with engine.connect(), engine.connect():
        pass


async def places(engine: AsyncEngine) -> int:
    """How many connections can be had at once; each of them works."""
    held: list[AsyncConnection] = []
    try:
        while len(held) < 10:
            held.append(await engine.connect())
            assert await held[-1].scalar(text("SELECT 1")) == 1
    except exc.TimeoutError:
        pass
    for connection in held:
        await connection.close()
    return len(held)


async def order_of_service(engine: AsyncEngine) -> list[int]:
    """Thirty clients wait; at each moment when a connection is given back, another one arrives."""
    served: list[int] = []
    clients: list[asyncio.Task[None]] = []

    async def client(number: int) -> None:
        async with engine.connect():
            served.append(number)

    def arrive(*_event: object) -> None:
        if len(clients) < 60:
            clients.append(asyncio.create_task(client(len(clients))))

    async with engine.connect(), engine.connect():
        for _ in range(30):
            arrive()
        await asyncio.wait(clients, timeout=0.01)
        event.listen(engine.sync_engine, "checkin", arrive)
    while len(served) < len(clients):
        await asyncio.gather(*clients)
    assert len(clients) == 60
    return served


class TestFifoPool:
    async def test_serves_in_order_of_arrival(self, engine: AsyncEngine) -> None:
        assert await order_of_service(engine) == list(range(60))

    async def test_sqlalchemys_own_pool_lets_newcomers_overtake(
        self, settings: Settings, database: Database
    ) -> None:
        engine = engine_of_two(settings, AsyncAdaptedQueuePool)
        await warm_up(engine)
        served = await order_of_service(engine)
        await engine.dispose()
        assert served != sorted(served)

    async def test_raises_when_none_comes_free_in_time(
        self, engine: AsyncEngine, short_wait: None
    ) -> None:
        async with engine.connect(), engine.connect():
            started = time.monotonic()
            with pytest.raises(exc.TimeoutError):
                await engine.connect()
            assert 0.1 <= time.monotonic() - started < 1
        assert await places(engine) == 2

    async def test_is_what_both_engines_have(self, own: Database, short_wait: None) -> None:
        for engine in (own.read_engine, own.write_engine):
            assert isinstance(engine.pool, FifoPool)
            assert await places(engine) == engine.pool.size()

    async def test_waits_two_seconds(self) -> None:
        assert sql.POOL_SECONDS == 2

    async def test_cancelled_waiters_take_no_place(
        self, engine: AsyncEngine, short_wait: None
    ) -> None:
        async with engine.connect(), engine.connect():
            waiters = [asyncio.create_task(_hold(engine)) for _ in range(10)]
            await asyncio.sleep(0.01)
            for waiter in waiters:
                waiter.cancel()
            assert {
                type(result) for result in await asyncio.gather(*waiters, return_exceptions=True)
            } == {asyncio.CancelledError}
        assert await places(engine) == 2

    async def test_cancelling_at_any_moment_loses_no_place(
        self, engine: AsyncEngine, short_wait: None
    ) -> None:
        chance = random.Random(1)
        tasks = [asyncio.create_task(_hold(engine, chance.random() / 500)) for _ in range(150)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(chance.random() / 300)
            for task in chance.sample(tasks, 10):
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await places(engine) == 2

    @pytest.mark.parametrize("error", [database_error(2003, "Refused"), asyncio.CancelledError()])
    async def test_failed_connects_take_no_place(
        self, engine: AsyncEngine, short_wait: None, error: BaseException
    ) -> None:
        def refuse(*_arguments: object) -> None:
            raise error

        await engine.dispose()
        event.listen(engine.sync_engine, "do_connect", refuse)
        for _ in range(5):
            with pytest.raises(type(error)):
                await engine.connect()
        event.remove(engine.sync_engine, "do_connect", refuse)
        assert await places(engine) == 2

    async def test_invalidated_connections_take_no_place(
        self, engine: AsyncEngine, short_wait: None
    ) -> None:
        for _ in range(5):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                await connection.invalidate()
        assert await places(engine) == 2

    async def test_is_whole_again_after_dispose(
        self, engine: AsyncEngine, short_wait: None
    ) -> None:
        await engine.dispose()
        assert await places(engine) == 2


async def _hold(engine: AsyncEngine, seconds: float = 0) -> None:
    async with engine.connect():
        await asyncio.sleep(seconds)


async def kill_pooled_connection(own: Database, engine: AsyncEngine) -> None:
    """Let the only connection of a pool die while nobody uses it."""
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        if own.is_sqlite:
            await driver.close()
            return
        number = await connection.scalar(text("SELECT CONNECTION_ID()"))
    other = own.write_engine if engine is own.read_engine else own.read_engine
    async with other.connect() as killer:
        await killer.execute(text(f"KILL {number}"))


class TestReadSession:
    async def test_replaces_a_connection_that_died_in_the_pool(self, own: Database) -> None:
        for _ in range(3):
            await kill_pooled_connection(own, own.read_engine)
            assert await own.reads.count(text("SELECT 7")) == 7

    async def test_tries_a_dead_connection_once_more_and_not_twice(self, own: Database) -> None:
        tries = fail_statements(own.read_engine, lambda: lost_connection())
        with pytest.raises(exc.OperationalError):
            await own.reads.all(text("SELECT 7"))
        assert len(tries) == 2

    async def test_raises_what_the_database_refuses_at_once(self, own: Database) -> None:
        tries = fail_statements(own.read_engine, lambda: database_error(1146, "No such table"))
        with pytest.raises(exc.OperationalError):
            await own.reads.all(text("SELECT 7"))
        assert len(tries) == 1

    async def test_a_read_is_one_statement_and_no_transaction(self, own: Database) -> None:
        if own.is_sqlite:
            statements: list[str] = []
            async with own.read_engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None
                await driver.set_trace_callback(statements.append)
            for _ in range(8):
                await own.reads.all(text("SELECT 7"))
            assert set(statements) == {"SELECT 7"}
            return
        before = await self.status(own)
        for _ in range(3):
            await own.reads.all(text("SELECT 7"))
        after = await self.status(own)
        assert after["Questions"] - before["Questions"] == 3 + 1  # and the look itself
        ended = [after[f"Com_{name}"] - before[f"Com_{name}"] for name in ("commit", "rollback")]
        assert ended == [0, 0]
        assert after["Com_begin"] == 0

    @staticmethod
    async def status(own: Database) -> dict[str, int]:
        rows = await own.reads.all(
            text(
                "SHOW SESSION STATUS WHERE variable_name IN"
                " ('Questions', 'Com_begin', 'Com_commit', 'Com_rollback')"
            )
        )
        return {row.Variable_name: int(row.Value) for row in rows}

    async def test_first_and_count_of_nothing(self, own: Database) -> None:
        nothing = text("SELECT 7 WHERE 1 = 0")
        assert await own.reads.first(nothing) is None
        assert await own.reads.count(nothing) == 0


def lost_connection() -> exc.OperationalError:
    return database_error(2013, "Lost connection", connection_invalidated=True)


def fail_statements(engine: AsyncEngine, error: Callable[[], Exception]) -> list[str]:
    """Let every statement fail. Returns: the statements, as they come."""
    statements: list[str] = []

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)
        raise error()

    event.listen(engine.sync_engine, "before_cursor_execute", fail)
    return statements


MYSQL_SESSION = {
    "innodb_lock_wait_timeout": "1",
    "sql_mode": (
        "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
        "NO_ENGINE_SUBSTITUTION"
    ),
    "time_zone": "+00:00",
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "utf8mb4",
}
SQLITE_SESSION = {
    "journal_mode": "wal",
    "foreign_keys": 1,
    "synchronous": 2,  # FULL
    "busy_timeout": 5_000,
}


class TestConnectionSettings:
    @pytest.mark.parametrize("engine_name", ["write_engine", "read_engine"])
    async def test_every_connection_is_set_up(self, own: Database, engine_name: str) -> None:
        engine: AsyncEngine = getattr(own, engine_name)
        async with engine.connect() as connection:
            if own.is_sqlite:
                found = {
                    name: await connection.scalar(text(f"PRAGMA {name}")) for name in SQLITE_SESSION
                }
                assert found == SQLITE_SESSION
            else:
                rows = await connection.execute(text("SHOW VARIABLES"))
                variables = {row[0]: row[1] for row in rows}
                assert {name: variables[name] for name in MYSQL_SESSION} == MYSQL_SESSION

    async def test_a_write_is_a_transaction_of_the_right_kind(self, own: Database) -> None:
        """SQLite: the write lock is taken at the start. MySQL: READ COMMITTED."""
        async with unit_of_work(own) as session:
            if own.is_sqlite:
                await session.execute(select(Category.id))
                other = sqlite3.connect(str(own.url.database), timeout=0, isolation_level=None)
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute("BEGIN IMMEDIATE")
                other.close()
                return
            assert await session.scalar(select(func.count(Category.id))) == 0
            async with own.read_engine.connect() as connection:
                await connection.execute(insert(Category).values(row(Category)))
            assert await session.scalar(select(func.count(Category.id))) == 1

    async def test_a_write_replaces_a_connection_that_died_in_the_pool(self, own: Database) -> None:
        if own.is_sqlite:  # no server that could have gone: the file is opened once
            assert own.write_engine.pool.size() == 1  # type: ignore[attr-defined]
            return
        for number in range(1, 4):
            await kill_pooled_connection(own, own.write_engine)
            await add(own, Category, name=str(number))
        assert await names(own) == ["1", "2", "3"]

    async def test_a_held_row_is_waited_for_and_the_wait_is_worth_a_rerun(
        self, own: Database, settings: Settings
    ) -> None:
        """The server says 1205 before the client's read time-out would cut the connection."""
        if own.is_sqlite:  # the one writer's place in the pool is what is waited for
            assert own.write_engine.pool.size() == 1  # type: ignore[attr-defined]
            return
        category_id = await add(own, Category)
        other = open_database(settings)
        async with unit_of_work(own) as holder:
            await holder.get(Category, category_id, with_for_update=True)
            with pytest.raises(exc.OperationalError) as caught:
                await self.lock(other, category_id)
            assert caught.value.orig is not None
            assert caught.value.orig.args[0] == 1205
        await other.close()

    @staticmethod
    async def lock(database: Database, category_id: int) -> None:
        async with unit_of_work(database) as session:
            await session.get(Category, category_id, with_for_update=True)

    async def test_strict_mode_refuses_what_does_not_fit(self, own: Database) -> None:
        if own.is_sqlite:  # its columns have no length; the input schemas bound what is stored
            return
        for values in ({"name": "x" * 151}, {"version": 2**64}, {"created_at": None}):
            with pytest.raises(exc.DBAPIError) as caught:
                await insert_row(own, Category, **values)
            assert caught.value.orig is not None
            assert caught.value.orig.args[0] in {1406, 1264, 1048}

    async def test_stores_any_text_as_it_is(self, own: Database) -> None:
        wanted = [
            "Jos\u00e9",
            "Jose\u0301",
            "jose",
            "😀",
            "😁",
            "\x00",
            "a\\'\"%s:x",
            "\u202e",
            "日本" * 75,
        ]
        for name in wanted:
            await add(own, Category, name=name, name_key=name)
        assert await names(own) == wanted


class TestFaultyServer:
    """With a proxy in front of the server; SQLite has no server, so its file goes away instead."""

    @pytest.mark.parametrize("fault", ["freeze", "refuse"])
    async def test_reads_and_writes_fail_within_five_seconds_and_heal(
        self, settings: Settings, database: Database, fault: str, tmp_path: Any
    ) -> None:
        if settings.mysql_uri is None:
            gone = open_database(settings.model_copy(update={"data_dir": tmp_path / "gone"}))
            (tmp_path / "gone").rmdir()
            await self.fails_soon(gone)
            (tmp_path / "gone").mkdir()
            await self.works(gone)
            await gone.close()
            return
        with FaultProxy(database.url.port or 0) as proxy:
            cut = Database(database.url.set(port=proxy.port), pool_size=1)
            await self.works(cut)
            getattr(proxy, fault)()
            await self.fails_soon(cut)
            proxy.pass_through()
            await self.works(cut)
            await cut.close()

    @staticmethod
    async def works(database: Database) -> None:
        assert await database.reads.count(text("SELECT 7")) == 7
        async with unit_of_work(database) as session:
            assert await session.scalar(text("SELECT 7")) == 7

    @staticmethod
    async def fails_soon(database: Database) -> None:
        async def write() -> None:
            async with unit_of_work(database) as session:
                await session.scalar(text("SELECT 7"))

        for work in (database.reads.count(text("SELECT 7")), write()):
            started = time.monotonic()
            with pytest.raises(exc.DBAPIError) as caught:
                await work
            assert time.monotonic() - started < 5
            assert is_unavailable(caught.value)


# --- Writes past the ORM ------------------------------------------------------------------------

CORE_WRITES: dict[str, tuple[Executable, Any]] = {
    "insert": (insert(Product).values(sku="x"), None),
    "insert of the table": (Product.__table__.insert().values(sku="x"), None),  # type: ignore[attr-defined]
    "bulk insert": (insert(Category), [{"name": "x"}]),
    "insert from select": (insert(Supplier).from_select(["name"], select(Category.name)), None),
    "update": (update(User).values(role="admin"), None),
    "update of the table": (update(Product.__table__).values(sku="x"), None),  # type: ignore[arg-type]
    "bulk update": (update(Product), [{"id": 1, "sku": "x"}]),
    "update returning": (update(Location).values(name="x").returning(Location.id), None),
    "delete": (delete(Supplier), None),
    "delete of the table": (delete(Location.__table__), None),  # type: ignore[arg-type]
}


class TestCoreWritesOnAuditedTables:
    def test_these_are_audited(self) -> None:
        assert {"categories", "locations", "products", "suppliers", "users"} == AUDITED_TABLES

    @pytest.mark.parametrize("name", CORE_WRITES)
    async def test_are_refused(self, own: Database, name: str) -> None:
        statement, parameters = CORE_WRITES[name]
        statements: list[str] = []
        event.listen(
            own.write_engine.sync_engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: statements.append(statement),
        )
        async with unit_of_work(own) as session:
            with pytest.raises(CoreWriteOnAuditedTableError):
                await session.execute(statement, parameters)
        assert statements == []

    async def test_flushes_pass(self, own: Database) -> None:
        async with unit_of_work(own) as session:
            kept, gone = category("a"), category("b")
            session.add_all([kept, gone])
            await session.flush()
            kept.name = "c"
            await session.delete(gone)
        assert await names(own) == ["c"]

    async def test_other_tables_may_be_written(self, own: Database) -> None:
        async with unit_of_work(own) as session:
            await session.execute(update(AuthSession).values(revoked_at=utc_now()))
            await session.execute(delete(StockTotal))


# --- Constraints --------------------------------------------------------------------------------


async def insert_row(database: Database, model: type[Any], **overrides: Any) -> int:
    """Insert past the session, as values that no schema has seen. Returns: the row's id."""
    async with database.write_engine.begin() as connection:
        done = await connection.execute(insert(model.__table__).values(row(model, **overrides)))
        key = done.inserted_primary_key
        assert key is not None
        return int(key[0])


async def violated(database: Database, statement: Executable) -> str | None:
    with pytest.raises(exc.DBAPIError) as caught:
        async with database.write_engine.begin() as connection:
            await connection.execute(statement)
    return violated_constraint(caught.value, Base.metadata)


UNIQUE: dict[str, tuple[type[Any], str]] = {
    "uq_products_sku_key": (Product, "sku_key"),
    "uq_products_barcode_key": (Product, "barcode_key"),
    "uq_categories_name_key": (Category, "name_key"),
    "uq_users_username_key": (User, "username_key"),
    "uq_users_email_key": (User, "email_key"),
    "uq_locations_code_key": (Location, "code_key"),
}
HOSTILE = [
    "plain",
    "x' for key 'uq_products_barcode_key",
    "x' for key 'uq_products_barcode_key'",
    "x' for key 'products.uq_users_email_key'\n",
    "for key 'uq_x",
    "CONSTRAINT `fk_products_category_id_categories` failed",
    "UNIQUE constraint failed: users.email_key",
    "CHECK constraint failed: ck_x",
    "' . ' `\"%s%(x)s:x\\",
    "\n",
    "😀" * 300,
]


class TestViolatedConstraint:
    def test_the_table_has_every_unique_constraint(self) -> None:
        found = {
            str(constraint.name)
            for table in Base.metadata.tables.values()
            for constraint in table.constraints
            if str(constraint.name).startswith("uq_")
        }
        assert found == set(UNIQUE) | {"uq_stock_documents_reverses"}

    @pytest.mark.parametrize("name", UNIQUE)
    @pytest.mark.parametrize("value", HOSTILE)
    async def test_unique(self, own: Database, name: str, value: str) -> None:
        model, column = UNIQUE[name]
        await insert_row(own, model, **{column: value})
        again = row(model, **{column: value})
        assert await violated(own, insert(model.__table__).values(again)) == name
        other = await insert_row(own, model)
        change = update(model.__table__).where(model.id == other).values({column: value})
        assert await violated(own, change) == name

    async def test_a_document_is_reversed_once(self, own: Database) -> None:
        now = utc_now()
        document = {"kind": "opening", "occurred_at": now, "recorded_at": now}
        async with own.write_engine.begin() as connection:
            done = await connection.execute(insert(StockDocument).values(document))
            assert done.inserted_primary_key is not None
            reversal = document | {"reverses": done.inserted_primary_key[0]}
            await connection.execute(insert(StockDocument).values(reversal))
        taken = await violated(own, insert(StockDocument).values(reversal))
        assert taken == "uq_stock_documents_reverses"
        async with own.write_engine.begin() as connection:
            await connection.execute(update(StockDocument).values(reverses=None))

    @pytest.mark.parametrize(
        ("name", "column", "parent"),
        [
            ("fk_products_category_id_categories", "category_id", Category),
            ("fk_products_supplier_id_suppliers", "supplier_id", Supplier),
        ],
    )
    async def test_foreign_keys(
        self, own: Database, name: str, column: str, parent: type[Any]
    ) -> None:
        unknown = {column: 2**40}
        assert await violated(own, insert(Product).values(row(Product, **unknown))) == name
        parent_id = await insert_row(own, parent)
        product_id = await insert_row(own, Product, **{column: parent_id})
        change = update(Product).where(Product.id == product_id).values(unknown)
        assert await violated(own, change) == name
        assert await violated(own, delete(parent).where(parent.id == parent_id)) == name

    @pytest.mark.parametrize("column", ["cost_price", "selling_price", "reorder_level"])
    async def test_checks_of_products(self, own: Database, column: str) -> None:
        value = -1 if column == "reorder_level" else Decimal("-0.01")
        name = f"ck_products_{column}_not_negative"
        hostile = {"sku_key": "CONSTRAINT `ck_x` failed", column: value}
        assert await violated(own, insert(Product).values(row(Product, **hostile))) == name
        await insert_row(own, Product)
        assert await violated(own, update(Product).values({column: value})) == name

    @pytest.mark.parametrize(("on_hand", "reserved"), [(-1, 0), (0, 1), (5, -1), (5, 6)])
    async def test_checks_of_stock(self, own: Database, on_hand: int, reserved: int) -> None:
        product_id = await insert_row(own, Product)
        location = select(Location.id).where(Location.code == "MAIN").scalar_subquery()
        amounts = {"product_id": product_id, "on_hand": on_hand, "reserved": reserved}
        level = insert(StockLevel).values(amounts | {"location_id": location})
        assert await violated(own, level) == "ck_stock_levels_reserved_within_on_hand"
        total = insert(StockTotal).values(amounts | {"version": 1})
        assert await violated(own, total) == "ck_stock_totals_reserved_within_on_hand"

    async def test_any_other_error_has_no_name(self, own: Database) -> None:
        null = insert(Category).values(row(Category, name=None))
        assert await violated(own, null) is None
        assert await violated(own, text("SELECT nonsense FROM nowhere")) is None

    @pytest.mark.parametrize(
        ("code", "message", "name"),
        [
            # MySQL 8.0.19 and later put the table before the key's name.
            (
                1062,
                "Duplicate entry 'x' for key 'products.uq_products_sku_key'",
                "uq_products_sku_key",
            ),
            (1062, "Duplicate entry 'a' for key 'b.c' for key 'products.uq_x'", "uq_x"),
            (3819, "Check constraint 'ck_x' is violated.", "ck_x"),
            (4025, "CONSTRAINT `ck_x` failed for `shop`.`products`", "ck_x"),
            (
                1451,
                "Cannot delete or update a parent row: a foreign key constraint fails"
                " (`shop`.`products`, CONSTRAINT `fk_x` FOREIGN KEY (`category_id`)"
                " REFERENCES `categories` (`id`))",
                "fk_x",
            ),
            (1213, "Deadlock found when trying to get lock", None),
        ],
    )
    def test_what_mysql_and_mariadb_say(self, code: int, message: str, name: str | None) -> None:
        assert violated_constraint(database_error(code, message), Base.metadata) == name

    def test_an_error_without_a_cause_has_no_name(self) -> None:
        silent = exc.OperationalError("statement", {}, Exception())
        assert violated_constraint(silent, Base.metadata) is None


# --- Column types -------------------------------------------------------------------------------


class TestMoney:
    PRICES = ("0.00", "0.01", "0.10", "9.99", "10.00", "99.90", "100.00", "9999999999.99")

    @pytest.fixture
    async def prices(self, own: Database) -> list[Decimal]:
        prices = [Decimal(price) for price in self.PRICES]
        shuffled = random.Random(1).sample(prices, len(prices))
        for price in shuffled:
            await add(own, Product, selling_price=price)
        return prices

    async def test_comes_back_to_the_cent(self, own: Database, prices: list[Decimal]) -> None:
        rows = await own.reads.all(select(Product.selling_price))
        assert sorted(str(price) for (price,) in rows) == sorted(self.PRICES)

    async def test_sorts_as_a_number(self, own: Database, prices: list[Decimal]) -> None:
        ordered = select(Product.selling_price).order_by(Product.selling_price)
        assert [price for (price,) in await own.reads.all(ordered)] == prices
        downward = select(Product.selling_price).order_by(Product.selling_price.desc())
        assert [price for (price,) in await own.reads.all(downward)] == prices[::-1]

    @pytest.mark.parametrize("limit", PRICES)
    async def test_compares_as_a_number(
        self, own: Database, prices: list[Decimal], limit: str
    ) -> None:
        bound = Decimal(limit)
        above = select(func.count(Product.id)).where(Product.selling_price >= bound)
        assert await own.reads.count(above) == len([price for price in prices if price >= bound])
        equal = select(func.count(Product.id)).where(Product.selling_price == bound)
        assert await own.reads.count(equal) == 1

    async def test_adds_up_exactly(self, own: Database, prices: list[Decimal]) -> None:
        found = await own.reads.first(select(func.sum(Product.selling_price)))
        assert found is not None
        assert str(found[0]) == str(sum(prices))

    async def test_may_be_null(self, own: Database) -> None:
        empty = await own.reads.first(select(literal(None, Money())))
        assert empty is not None
        assert empty[0] is None

    @pytest.mark.parametrize("value", ["7.105", "0.001", "-0.009"])
    async def test_refuses_parts_of_a_cent(self, own: Database, value: str) -> None:
        """One database would round them and the other cut them off."""
        with pytest.raises(exc.StatementError, match="cent"):
            await own.reads.first(select(literal(Decimal(value), Money())))


MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 3, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2024, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


class TestUtcDateTime:
    async def test_comes_back_to_the_microsecond_in_utc(self, own: Database) -> None:
        for moment in MOMENTS:
            await insert_row(own, Category, created_at=moment)
        rows = await own.reads.all(select(Category.created_at).order_by(Category.created_at))
        assert [moment for (moment,) in rows] == MOMENTS
        assert {moment.tzinfo for (moment,) in rows} == {UTC}

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_compares_as_a_moment(self, own: Database, moment: datetime) -> None:
        for each in MOMENTS:
            await insert_row(own, Category, created_at=each)
        since = select(func.count(Category.id)).where(Category.created_at >= moment)
        assert await own.reads.count(since) == len([each for each in MOMENTS if each >= moment])

    async def test_refuses_a_moment_without_its_offset(self, own: Database) -> None:
        naive = datetime(2024, 1, 1)  # noqa: DTZ001 - what is refused
        with pytest.raises(exc.StatementError, match="offset"):
            await own.reads.first(select(literal(naive, UtcDateTime())))


class Colour(StrEnum):
    RED = "red"


class TestWord:
    async def test_is_stored_as_its_text_and_comes_back_as_the_member(self, own: Database) -> None:
        found = await own.reads.first(select(literal(Colour.RED, Word(Colour))))
        assert found is not None
        assert found[0] is Colour.RED
        plain = text("SELECT :colour").bindparams(bindparam("colour", Colour.RED, Word(Colour)))
        stored = await own.reads.first(plain)
        assert stored is not None
        assert type(stored[0]) is str
        assert stored[0] == "red"

    async def test_refuses_a_text_that_is_no_member(self, own: Database) -> None:
        blue = select(type_coerce(literal("blue"), Word(Colour)))
        with pytest.raises(ValueError, match="blue"):
            await own.reads.first(blue)


# --- Ids ----------------------------------------------------------------------------------------


class TestIds:
    @pytest.mark.parametrize("model", [Category, Supplier, Product, User, Location])
    async def test_the_newest_ones_is_not_given_again(
        self, own: Database, settings: Settings, model: type[Any]
    ) -> None:
        newest = await add(own, model)
        await self.remove(own, model, newest)
        following = await add(own, model)
        assert following > newest
        await self.remove(own, model, following)
        await own.close()
        reopened = open_database(settings)
        assert await add(reopened, model) > following
        await reopened.close()

    @staticmethod
    async def remove(database: Database, model: type[Any], entity_id: int) -> None:
        async with unit_of_work(database) as session:
            await session.delete(await session.get_one(model, entity_id))

    async def test_holds_for_every_numbered_table(self, own: Database) -> None:
        numbered = {
            table.name
            for table in Base.metadata.tables.values()
            if table.autoincrement_column is not None
        }
        assert numbered >= {StockDocument.__tablename__, StockMovement.__tablename__}
        statement = (
            "SELECT name FROM sqlite_master WHERE sql LIKE '%PRIMARY KEY AUTOINCREMENT%'"
            if own.is_sqlite
            else "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND extra LIKE '%auto_increment%'"
        )
        assert {name for (name,) in await own.reads.all(text(statement))} == numbered


# --- What an error means ------------------------------------------------------------------------

TRANSIENT = [1213, 1205, 1020]
UNAVAILABLE = [1040, 1053, 1290, 1836, 1969, 2003, 2006, 2013, 3024]
REFUSED = [1062, 1451, 1452, 4025, 3819, 1264, 1406, 1048, 1146, 1064, 1045]


class TestErrorCodes:
    @pytest.mark.parametrize("code", TRANSIENT)
    def test_transient(self, code: int) -> None:
        assert is_transient(mysql_error(code))
        assert is_unavailable(mysql_error(code))

    @pytest.mark.parametrize("code", UNAVAILABLE)
    def test_unavailable(self, code: int) -> None:
        assert not is_transient(mysql_error(code))
        assert is_unavailable(mysql_error(code))

    @pytest.mark.parametrize("code", REFUSED)
    def test_refused(self, code: int) -> None:
        assert not is_transient(mysql_error(code))
        assert not is_unavailable(mysql_error(code))

    @pytest.mark.parametrize(
        ("message", "transient", "unavailable"),
        [
            ("database is locked", True, True),
            ("database table is locked", True, True),
            ("database table is locked: products", True, True),
            ("unable to open database file", False, True),
            ("disk I/O error", False, True),
            ("attempt to write a readonly database", False, True),
            ("UNIQUE constraint failed: products.sku_key", False, False),
            ("no such table: products", False, False),
        ],
    )
    def test_of_sqlite(self, message: str, transient: bool, unavailable: bool) -> None:
        error = exc.OperationalError("statement", {}, sqlite3.OperationalError(message))
        assert is_transient(error) is transient
        assert is_unavailable(error) is unavailable

    def test_a_connection_that_was_lost(self) -> None:
        lost = exc.DBAPIError("statement", {}, Exception("gone"), connection_invalidated=True)
        assert not is_transient(lost)
        assert is_unavailable(lost)

    def test_errors_of_another_sort(self) -> None:
        assert not is_transient(ValueError(1213))
        assert not is_transient(exc.OperationalError("statement", {}, Exception()))
        assert not is_unavailable(exc.OperationalError("statement", {}, Exception()))


def mysql_error(code: int) -> exc.OperationalError:
    return exc.OperationalError("statement", {}, asyncmy.errors.OperationalError(code, "words"))
