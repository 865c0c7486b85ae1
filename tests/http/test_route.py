"""Our APIRoute: a unit of work that the database asks for again is run again, whole or not at all.

A small application on the worker's database. What it books are stock documents, by Core statements:
after one of these fails, SQLAlchemy does not end the transaction, as it does after a failed flush.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from httpx import AsyncClient
from sqlalchemy import event, exc, insert, select, text

from inventory_api.http import problems, route
from inventory_api.http.conditional import IfMatch, etag, require_match
from inventory_api.http.route import Route, new_router
from inventory_api.kit.clock import utc_now
from inventory_api.models import Category, DocumentKind, StockDocument
from inventory_api.settings import Settings
from inventory_api.stores import sql
from inventory_api.stores.sql import (
    Database,
    WriteSession,
    WriteSessionDep,
    open_database,
    run_unit,
)
from tests.conftest import client_of

Handler = Callable[..., Awaitable[Any]]


@pytest.fixture
async def own(settings: Settings, clean: None) -> AsyncIterator[Database]:
    """Engines of this test alone: the faults that are put into them hit nobody else."""
    database = open_database(settings)
    yield database
    await database.close()


class Service:
    """An application with one operation, whose handler a test brings."""

    def __init__(self, database: Database, route_class: type[APIRoute] = Route) -> None:
        self.app = FastAPI()
        self.app.state.database = database
        problems.install(self.app)
        self._router = new_router() if route_class is Route else APIRouter(route_class=route_class)
        self.sessions: list[WriteSession] = []
        """One an attempt, in the order of the attempts."""

    @property
    def attempts(self) -> int:
        return len(self.sessions)

    def answer(self, handler: Handler, method: str = "POST", status: int = 201) -> AsyncClient:
        self._router.add_api_route("/", handler, methods=[method], status_code=status)
        self.app.include_router(self._router)
        return client_of(self.app)


@pytest.fixture
def service(own: Database) -> Service:
    return Service(own)


def category(name: str) -> Category:
    now = utc_now()
    return Category(name=name, name_key=name, created_at=now, updated_at=now)


async def book(session: WriteSession, reference: str) -> None:
    now = utc_now()
    await session.execute(
        insert(StockDocument).values(
            kind=DocumentKind.OPENING, reference=reference, occurred_at=now, recorded_at=now
        )
    )


async def booked(database: Database) -> list[str]:
    statement = select(StockDocument.reference).order_by(StockDocument.id)
    return [reference for (reference,) in await database.reads.all(statement)]


async def names(database: Database) -> list[str]:
    return [name for (name,) in await database.reads.all(select(Category.name).order_by("id"))]


def database_error(code: int) -> exc.OperationalError:
    return exc.OperationalError("statement", {}, Exception(code, "words of the database"))


def fail_commit(database: Database, code: int, times: int) -> None:
    """Let the first COMMITs fail, as a cluster's certification does."""
    left = iter(range(times))

    def fail(_connection: object) -> None:
        if next(left, None) is not None:
            raise database_error(code)

    event.listen(database.write_engine.sync_engine, "commit", fail)


def fail_insert(database: Database, reference: str, code: int, times: int = 1) -> None:
    """Let the first INSERTs of this document fail."""
    left = iter(range(times))

    def fail(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        hit = statement.startswith("INSERT") and reference in parameters
        if hit and next(left, None) is not None:
            raise database_error(code)

    event.listen(database.write_engine.sync_engine, "before_cursor_execute", fail)


def creating(service: Service, *wanted: str) -> Handler:
    """A handler that books these, each with a statement of its own."""

    async def create(session: WriteSessionDep) -> dict[str, int]:
        service.sessions.append(session)
        for name in wanted:
            await book(session, name)
        return {"attempt": service.attempts}

    return create


CODES = [1213, 1205, 1020]


class TestRerun:
    @pytest.mark.parametrize("code", CODES)
    async def test_a_commit_that_fails_once(
        self, service: Service, own: Database, code: int
    ) -> None:
        fail_commit(own, code, times=1)
        async with service.answer(creating(service, "a")) as client:
            answer = await client.post("/")
        assert answer.status_code == 201
        assert answer.json() == {"attempt": 2}
        assert service.attempts == 2
        assert await booked(own) == ["a"]

    @pytest.mark.parametrize("code", CODES)
    async def test_the_second_of_two_statements_fails_once(
        self, service: Service, own: Database, code: int
    ) -> None:
        """1205 rolls back no more than its statement, so the first one's row would stay."""
        fail_insert(own, "b", code)
        async with service.answer(creating(service, "a", "b")) as client:
            answer = await client.post("/")
        assert answer.status_code == 201
        assert service.attempts == 2
        assert await booked(own) == ["a", "b"]

    async def test_leaves_nothing_of_the_first_attempt(
        self, service: Service, own: Database
    ) -> None:
        fail_insert(own, "last", 1205)

        async def create(session: WriteSessionDep) -> None:
            service.sessions.append(session)
            for name in (f"attempt {service.attempts}", "last"):
                await book(session, name)

        async with service.answer(create) as client:
            assert (await client.post("/")).status_code == 201
        assert await booked(own) == ["attempt 2", "last"]

    @pytest.mark.parametrize("failures", [1, 2, 3])
    async def test_up_to_three_failures_in_a_row(
        self, service: Service, own: Database, failures: int
    ) -> None:
        fail_commit(own, 1213, times=failures)
        async with service.answer(creating(service, "a")) as client:
            answer = await client.post("/")
        assert answer.status_code == 201
        assert service.attempts == failures + 1
        assert await booked(own) == ["a"]

    async def test_503_after_four_failed_commits_and_nothing_is_stored(
        self, service: Service, own: Database
    ) -> None:
        fail_commit(own, 1213, times=4)
        await self.refused_and_empty(service, own)

    async def test_503_after_four_failed_statements_and_nothing_is_stored(
        self, service: Service, own: Database
    ) -> None:
        fail_insert(own, "b", 1205, times=4)
        await self.refused_and_empty(service, own)

    @staticmethod
    async def refused_and_empty(service: Service, own: Database) -> None:
        async with service.answer(creating(service, "a", "b")) as client:
            answer = await client.post("/")
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["Retry-After"]) >= 1
        assert service.attempts == 4
        assert await booked(own) == []

    async def test_none_starts_after_six_seconds(
        self, service: Service, own: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        monkeypatch.setattr(route, "time", SimpleNamespace(monotonic=lambda: now))
        fail_commit(own, 1213, times=4)

        async def create(session: WriteSessionDep) -> None:
            nonlocal now
            service.sessions.append(session)
            await book(session, "a")
            now += 3.5

        async with service.answer(create) as client:
            answer = await client.post("/")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert service.attempts == 2
        assert await booked(own) == []

    @pytest.mark.parametrize("code", [1062, 2013, 1146])
    async def test_any_other_error_is_not_tried_again(
        self, service: Service, own: Database, code: int
    ) -> None:
        """Above all a connection lost at COMMIT: nobody knows whether it was carried out."""
        fail_commit(own, code, times=1)
        async with service.answer(creating(service, "a")) as client:
            answer = await client.post("/")
        assert answer.status_code == (503 if code == 2013 else 500)
        assert service.attempts == 1
        assert await booked(own) == []

    async def test_each_attempt_has_its_own_session(self, service: Service, own: Database) -> None:
        fail_commit(own, 1213, times=2)
        async with service.answer(creating(service, "a")) as client:
            await client.post("/")
        assert len({id(session) for session in service.sessions}) == 3

    async def test_callbacks_run_for_the_attempt_that_was_committed(
        self, service: Service, own: Database
    ) -> None:
        ran: list[int] = []
        fail_commit(own, 1213, times=2)

        async def create(session: WriteSessionDep) -> None:
            service.sessions.append(session)
            attempt = service.attempts

            async def callback() -> None:
                ran.append(attempt)

            session.after_commit.append(callback)
            await book(session, "a")

        async with service.answer(create) as client:
            assert (await client.post("/")).status_code == 201
        assert ran == [3]

    async def test_reads_the_body_again(self, service: Service, own: Database) -> None:
        bodies: list[dict[str, Any]] = []
        fail_commit(own, 1213, times=2)

        async def create(session: WriteSessionDep, body: dict[str, Any]) -> None:
            bodies.append(dict(body))
            await book(session, body.pop("name"))

        async with service.answer(create) as client:
            assert (await client.post("/", json={"name": "a"})).status_code == 201
        assert bodies == [{"name": "a"}] * 3
        assert await booked(own) == ["a"]

    async def test_solves_the_dependencies_again(self, service: Service, own: Database) -> None:
        numbers = count(1)
        closed: list[int] = []

        async def numbered() -> AsyncIterator[int]:
            number = next(numbers)
            yield number
            closed.append(number)

        async def create(
            session: WriteSessionDep, number: Annotated[int, Depends(numbered, scope="function")]
        ) -> dict[str, int]:
            await book(session, "a")
            return {"number": number}

        fail_commit(own, 1213, times=1)
        async with service.answer(create) as client:
            assert (await client.post("/")).json() == {"number": 2}
        assert closed == [1, 2]

    async def test_a_streamed_answer_is_never_run_again(
        self, service: Service, own: Database
    ) -> None:
        started: list[int] = []

        async def stream(session: WriteSessionDep) -> Response:
            service.sessions.append(session)
            await book(session, "a")

            async def chunks() -> AsyncIterator[bytes]:
                started.append(1)
                yield b"1,"
                raise database_error(1213)

            return StreamingResponse(chunks())

        async with service.answer(stream) as client:
            answer = await client.post("/")
        assert answer.content == b"1,"
        assert (service.attempts, started) == (1, [1])
        assert await booked(own) == ["a"]


class Watching(Route):
    """Notes the framework's stack of function-scoped dependencies before and after our handler."""

    seen: list[tuple[object, object]]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            before = request.scope["fastapi_function_astack"]
            try:
                return await handler(request)
            finally:
                type(self).seen.append((before, request.scope["fastapi_function_astack"]))

        return handle


class Naive(APIRoute):
    """A rerun without a stack of its own, as one would write it first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            for _ in range(3):
                try:
                    return await handler(request)
                except exc.DBAPIError:
                    continue
            raise AssertionError("never well")

        return handle


class TestFunctionStack:
    @pytest.mark.parametrize("failures", [0, 1, 4])
    async def test_the_frameworks_own_is_put_back(self, own: Database, failures: int) -> None:
        Watching.seen = []
        service = Service(own, Watching)
        fail_commit(own, 1213, times=failures)
        async with service.answer(creating(service, "a")) as client:
            await client.post("/")
        [(before, after)] = Watching.seen
        assert before is not None
        assert after is before

    async def test_without_one_of_its_own_the_first_attempts_half_is_kept(
        self, own: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What `TestRerun` guards against does happen otherwise."""
        monkeypatch.setattr(sql, "POOL_SECONDS", 0.1)
        service = Service(own, Naive)
        fail_insert(own, "last", 1205)

        async def create(session: WriteSessionDep) -> None:
            service.sessions.append(session)
            for name in (f"attempt {service.attempts}", "last"):
                await book(session, name)

        async with service.answer(create) as client:
            answer = await client.post("/")
        if own.is_sqlite:  # the first attempt still holds the only writer's connection
            assert answer.status_code == 503
            assert await booked(own) == []
        else:
            assert answer.status_code == 201
            assert await booked(own) == ["attempt 1", "attempt 2", "last"]

    async def test_without_one_of_its_own_a_failed_commit_is_not_seen(self, own: Database) -> None:
        service = Service(own, Naive)
        fail_commit(own, 1213, times=1)
        async with service.answer(creating(service, "a")) as client:
            assert (await client.post("/")).status_code == 503
        assert service.attempts == 1


async def store(database: Database, *wanted: str) -> None:
    async def work(session: WriteSession) -> None:
        session.add_all([category(name) for name in wanted])

    await run_unit(database, work)


class TestChangedInTheMeantime:
    """A row that another one changes between our read and our write."""

    @pytest.fixture
    async def client(self, service: Service, own: Database) -> AsyncIterator[AsyncClient]:
        """An application whose first attempt to rename the only category comes too late."""
        theirs: list[asyncio.Task[None]] = []

        async def rename(session: WriteSession) -> None:
            (await session.execute(select(Category))).scalar_one().name = "theirs"

        async def change(
            session: WriteSessionDep, response: Response, if_match: IfMatch = None
        ) -> None:
            service.sessions.append(session)
            row = (await session.execute(select(Category))).scalar_one()
            require_match(if_match, row.version)
            if service.attempts == 1:
                theirs.append(asyncio.create_task(run_unit(own, rename)))
                if own.is_sqlite:
                    # They get the only writer's connection when this attempt gives it back, and
                    # before the next one. Until then the row has changed in this attempt only.
                    await session.execute(text("UPDATE categories SET version = version + 1"))
                else:
                    await theirs[0]
            row.name = "ours"
            await session.flush()
            response.headers["ETag"] = etag(row.version)

        await store(own, "first")
        async with service.answer(change, "PATCH", 200) as client:
            yield client
        await asyncio.gather(*theirs)

    async def test_412_with_the_current_etag(
        self, client: AsyncClient, service: Service, own: Database
    ) -> None:
        answer = await client.patch("/", headers={"If-Match": '"1"'})
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"2"'
        assert service.attempts == 2
        assert await names(own) == ["theirs"]

    async def test_any_version_is_overwritten_on_request(
        self, client: AsyncClient, service: Service, own: Database
    ) -> None:
        answer = await client.patch("/", headers={"If-Match": "*"})
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"3"'
        assert service.attempts == 2
        assert await names(own) == ["ours"]


class TestTwoAtOnce:
    """Two requests that lock the same two rows, each in the other's order."""

    async def test_both_succeed(self, service: Service, own: Database) -> None:
        await store(own, "a", "b")
        inside = most = 0
        both = asyncio.Event()

        async def touch(session: WriteSessionDep, first: str, second: str) -> None:
            nonlocal inside, most
            service.sessions.append(session)
            await rename(session, first)
            inside += 1
            most = max(most, inside)
            try:
                if inside == 2:
                    both.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(both.wait(), 0.3)
                await rename(session, second)
            finally:
                inside -= 1

        async def rename(session: WriteSession, key: str) -> None:
            found = await session.execute(
                select(Category).where(Category.name_key == key).with_for_update()
            )
            found.scalar_one().name += "!"
            await session.flush()

        async with service.answer(touch) as client:
            answers = await asyncio.gather(
                client.post("/", params={"first": "a", "second": "b"}),
                client.post("/", params={"first": "b", "second": "a"}),
            )
        assert [answer.status_code for answer in answers] == [201, 201]
        assert await names(own) == ["a!!", "b!!"]
        # SQLite has one writer: they come one after the other, and there is nothing to run again.
        assert (most, service.attempts) == ((1, 2) if own.is_sqlite else (2, 3))

    async def test_a_row_that_is_locked_for_too_long_at_first(
        self, service: Service, own: Database
    ) -> None:
        """The database itself ends the wait (1205); on SQLite the second one waits its turn."""
        await store(own, "a")
        held, released = asyncio.Event(), asyncio.Event()

        async def hold(session: WriteSession) -> None:
            await session.execute(select(Category).with_for_update())
            held.set()
            await released.wait()

        async def touch(session: WriteSessionDep) -> None:
            service.sessions.append(session)
            if service.attempts == 2:
                released.set()
            await book(session, f"attempt {service.attempts}")
            await session.execute(select(Category).with_for_update())

        holder = asyncio.create_task(run_unit(own, hold))
        await held.wait()
        if own.is_sqlite:
            asyncio.get_running_loop().call_later(0.2, released.set)
        async with service.answer(touch) as client:
            answer = await client.post("/")
        await holder
        assert answer.status_code == 201
        assert await booked(own) == ["attempt 1" if own.is_sqlite else "attempt 2"]

    async def test_a_snapshot_that_is_too_old(self, service: Service, own: Database) -> None:
        """1020 of MariaDB's innodb_snapshot_isolation, which is on by default from 11.6 on."""
        await store(own, "a")
        if not own.is_sqlite:
            repeatable = own.write_engine.execution_options(isolation_level="REPEATABLE READ")
            own.sessions.configure(bind=repeatable)
            event.listen(own.write_engine.sync_engine, "begin", check_snapshots)

        async def rename(session: WriteSession) -> None:
            (await session.execute(select(Category))).scalar_one().name = "theirs"

        async def touch(session: WriteSessionDep) -> None:
            service.sessions.append(session)
            row = (await session.execute(select(Category))).scalar_one()
            if service.attempts == 1 and not own.is_sqlite:
                await run_unit(own, rename)
            row.name += " and ours"

        if own.is_sqlite:  # a writer's snapshot is always the newest: others wait until it is done
            await run_unit(own, rename)
        async with service.answer(touch) as client:
            answer = await client.post("/")
        assert answer.status_code == 201
        assert await names(own) == ["theirs and ours"]
        assert service.attempts == (1 if own.is_sqlite else 2)


def check_snapshots(connection: Any) -> None:
    connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = 1")
