"""MySQL, MariaDB or SQLite: engines, sessions, and the one place that commits."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy import Delete, Executable, Insert, Row, Update, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

from inventory_api.models.base import Audited, Base
from inventory_api.settings import Settings

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 2
READ_SECONDS = 2
LONG_READ_SECONDS = 60
POOL_SECONDS = 2.0
LOCK_SECONDS = 1
"""Below `READ_SECONDS`: else the client cuts the connection before it is told 1205."""
SQLITE_LOCK_SECONDS = 5
DEAD_AT_ONCE = 0.5
"""A connection that died in the pool says so within this many seconds."""
RERUNS = 3

Parameters = Mapping[str, Any]
T = TypeVar("T")


class FifoPool(AsyncAdaptedQueuePool):
    """A connection pool that serves in order of arrival, or not at all after `POOL_SECONDS`.

    SQLAlchemy's queue lets newcomers overtake those who wait, so a few requests wait very long
    (p99 of 1.7 s was measured at five connections; 31 ms behind a fair gate).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = asyncio.Semaphore(self.size())

    def _do_get(self) -> Any:
        try:
            await_only(self._enter())
        except TimeoutError as error:
            raise exc.TimeoutError("no database connection came free in time") from error
        try:
            return super()._do_get()
        except BaseException:
            self._gate.release()
            raise

    async def _enter(self) -> None:
        # Not `wait_for`, which on Python 3.11 can swallow a cancellation.
        async with asyncio.timeout(POOL_SECONDS):
            await self._gate.acquire()

    def _do_return_conn(self, record: Any) -> None:
        try:
            super()._do_return_conn(record)
        finally:
            self._gate.release()


class WriteSession(AsyncSession):
    """One transaction of one request. Only `unit_of_work` below commits it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.after_commit: list[Callable[[], Awaitable[None]]] = []
        """Run once the commit has returned; dropped on rollback. They must not raise."""


class ReadSession:
    """Reads without a transaction: each statement is one round trip on its own connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def all(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Sequence[Row[Any]]:
        """All rows. A connection that died in the pool is replaced once; reads may be repeated."""
        started = time.monotonic()
        try:
            return await self._all(statement, parameters)
        except exc.DBAPIError as error:
            # A read that timed out would only hold its place in the pool for as long again.
            if not error.connection_invalidated or time.monotonic() - started > DEAD_AT_ONCE:
                raise
            return await self._all(statement, parameters)

    async def first(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None

    async def count(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """The number that a `SELECT count(*)` gives."""
        row = await self.first(statement, parameters)
        return int(row[0]) if row is not None else 0

    async def _all(
        self, statement: Executable, parameters: Parameters | None
    ) -> Sequence[Row[Any]]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, parameters)).all()


class Database:
    """The engines of one SQL database: one for reads without transactions, one for writes."""

    def __init__(self, url: URL, *, pool_size: int, read_seconds: int = READ_SECONDS) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        # Parameters hold what users wrote, password hashes included: they stay out of errors.
        options: dict[str, Any] = {
            "poolclass": FifoPool,
            "max_overflow": 0,
            "hide_parameters": True,
        }
        if self.is_sqlite:
            # One writer at a time is all that SQLite has: queueing here is fair, its lock is not.
            self.write_engine = create_async_engine(url, pool_size=1, **options)
            self.read_engine = create_async_engine(
                url, pool_size=4, isolation_level="AUTOCOMMIT", **options
            )
            for engine in (self.write_engine, self.read_engine):
                event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.write_engine.sync_engine, "begin", _begin_immediate)
        else:
            options |= {
                "pool_size": pool_size,
                "pool_recycle": 1_800,
                "pool_pre_ping": True,
                "connect_args": {
                    "connect_timeout": CONNECT_SECONDS,
                    "read_timeout": read_seconds,
                    "init_command": (
                        f"SET SESSION innodb_lock_wait_timeout={LOCK_SECONDS},"
                        " SESSION sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
                        "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',"
                        " SESSION time_zone='+00:00'"
                    ),
                },
            }
            self.write_engine = create_async_engine(
                url, isolation_level="READ COMMITTED", **options
            )
            options |= {"pool_pre_ping": False}  # `ReadSession` replaces a dead connection itself
            # Three round trips a query become one: no BEGIN, and no ROLLBACK at check-in.
            self.read_engine = create_async_engine(
                url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options
            )
        self.sessions = async_sessionmaker(
            self.write_engine,
            class_=WriteSession,
            sync_session_class=_GuardedSession,
            expire_on_commit=False,
        )
        self.reads = ReadSession(self.read_engine)

    async def close(self) -> None:
        await self.write_engine.dispose()
        await self.read_engine.dispose()


class _GuardedSession(Session):
    """The synchronous half of `WriteSession`; its listener is below."""


class CoreWriteOnAuditedTableError(RuntimeError):
    """A programming error: an audited table was to be changed past its version and history."""


@event.listens_for(_GuardedSession, "do_orm_execute")
def _refuse_core_writes(state: ORMExecuteState) -> None:
    if isinstance(state.statement, Insert | Update | Delete):
        table = state.statement.table
        if table.name in AUDITED_TABLES:  # type: ignore[union-attr]
            raise CoreWriteOnAuditedTableError(f"{table} is changed by ORM flushes only")


AUDITED_TABLES = frozenset(
    str(mapper.local_table.description)
    for mapper in Base.registry.mappers
    if issubclass(mapper.class_, Audited)
)


def database_url(settings: Settings) -> URL:
    """The address of the SQL database; a SQLite file in the data folder when none is set."""
    if settings.mysql_uri is None:
        path = settings.data_dir / "inventory.sqlite3"
        return URL.create("sqlite+aiosqlite", database=os.fspath(path.absolute()))
    url = make_url(settings.mysql_uri.get_secret_value())
    return url.set(drivername="mysql+asyncmy").update_query_dict({"charset": "utf8mb4"})


def open_database(settings: Settings, *, read_seconds: int = READ_SECONDS) -> Database:
    """Make the engines; nothing connects yet.

    Args:
        read_seconds: how long one statement may take on MySQL, in seconds.
    """
    url = database_url(settings)
    if url.database and url.get_backend_name() == "sqlite":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Database(url, pool_size=settings.sql_pool_size, read_seconds=read_seconds)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling begins too late; `_begin_immediate` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_LOCK_SECONDS * 1000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    # A deferred transaction that turns into a writer fails at once when another one wrote.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@asynccontextmanager
async def unit_of_work(database: Database) -> AsyncIterator[WriteSession]:
    """One transaction: committed as a whole when the block ends well, else rolled back."""
    async with database.sessions() as session:
        yield session
        await session.flush()
        try:
            await session.commit()
        except BaseException:
            # SQLAlchemy takes a failed COMMIT for the end of the transaction and sends no ROLLBACK:
            # the connection's next user would commit this half as well.
            await session.invalidate()
            raise
    for callback in session.after_commit:
        await callback()


def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def read_session(request: Request) -> ReadSession:
    return get_database(request).reads


async def write_session(request: Request) -> AsyncIterator[WriteSession]:
    async with unit_of_work(get_database(request)) as session:
        yield session


ReadSessionDep = Annotated[ReadSession, Depends(read_session)]
# "function": commits before the response is sent; the default would answer 200, then commit.
WriteSessionDep = Annotated[WriteSession, Depends(write_session, scope="function")]

_TRANSIENT = {1213, 1205, 1020}
"""Deadlock, lock wait time-out, and MariaDB's "record has changed since last read"."""


def is_transient(error: BaseException) -> bool:
    """Whether the same unit of work may succeed when it is run again from its start."""
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return False
    arguments = error.orig.args
    if arguments and arguments[0] in _TRANSIENT:
        return True
    return str(error.orig).startswith(("database is locked", "database table is locked"))


async def run_unit(database: Database, work: Callable[[WriteSession], Awaitable[T]]) -> T:
    """Run `work` in one transaction outside a request, again when the database asks for it."""
    for attempt in range(RERUNS + 1):
        try:
            async with unit_of_work(database) as session:
                return await work(session)
        except exc.DBAPIError as error:
            if attempt == RERUNS or not is_transient(error):
                raise
    raise AssertionError("unreachable")


_UNAVAILABLE = {
    1040,  # too many connections
    1053,  # server is shutting down
    1290,  # read-only by option
    1836,  # read-only mode
    1969,  # MariaDB: max_statement_time exceeded
    2003,  # can't connect
    2006,  # server has gone away
    2013,  # connection lost during the query
    3024,  # MySQL: max_execution_time exceeded
}


def is_unavailable(error: exc.DBAPIError) -> bool:
    """Whether the database could not be asked, as against a statement that it refused."""
    if error.connection_invalidated or is_transient(error):
        return True
    arguments = error.orig.args if error.orig is not None else ()
    if arguments and arguments[0] in _UNAVAILABLE:
        return True
    return str(error.orig).startswith(("unable to open", "disk I/O", "attempt to write a readonly"))
