"""Who decides whether a session is alive: the deny-list while it is whole, else the SQL row."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import delete, event, exc, update

from inventory_api.auth.revocation import LATELY_SECONDS, MARKER, DenyList
from inventory_api.auth.tokens import TokenType
from inventory_api.kit.clock import utc_now
from inventory_api.models import AuthSession, Role, User
from inventory_api.stores.redis import RedisStore, RedisUnavailableError
from tests.conftest import client_of
from tests.factories import PASSWORD, Factory
from tests.stores.servers import free_port


@pytest.fixture
async def deny_list(app: FastAPI) -> AsyncIterator[DenyList]:
    """The list, whole, which nothing repairs but the test itself."""
    deny_list: DenyList = app.state.auth.deny_list
    await deny_list.close()
    await deny_list.repair()
    yield deny_list
    app.state.redis._open_until = 0.0
    deny_list._trusted_at_failures = -1
    deny_list.start()
    await until(lambda: deny_list._trusted_at_failures == app.state.redis.failures)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Program:
    """Somebody who has signed in."""

    def __init__(self, app: FastAPI, client: AsyncClient, token: str) -> None:
        self.app = app
        self.client = client
        claims = app.state.auth.tokens.verify(token, TokenType.ACCESS)
        self.sid, self.user_id = claims.sid, claims.user_id

    async def status(self) -> int:
        return (await self.client.get("/api/categories")).status_code

    async def log_out(self) -> None:
        assert (await self.client.post("/logout")).status_code == 204

    async def change(self, table: type[Any], **values: object) -> None:
        """Change the row itself, of the session or its user."""
        mine = AuthSession.sid == self.sid if table is AuthSession else User.id == self.user_id
        async with self.app.state.database.write_engine.begin() as connection:
            await connection.execute(update(table).where(mine).values(**values))


@pytest.fixture
async def sign_in(app: FastAPI, factory: Factory) -> AsyncIterator[Any]:
    clients = []

    async def sign_in(role: str = "staff") -> Program:
        user = await factory.user(role)
        client = client_of(app)
        clients.append(client)
        body = {"email": user.email, "password": PASSWORD}
        token = (await client.post("/token", json=body)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        return Program(app, client, token)

    yield sign_in
    for client in clients:
        await client.aclose()


@contextmanager
def sql_of(app: FastAPI) -> Iterator[list[str]]:
    """The statements that reach the database meanwhile."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engines = (app.state.database.read_engine, app.state.database.write_engine)
    for engine in engines:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield statements
    for engine in engines:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def flush(app: FastAPI) -> None:
    await app.state.redis.run(lambda client: client.flushdb())


async def denied(app: FastAPI, sid: str) -> bool:
    return bool(await app.state.redis.run(lambda client: client.exists(_key(sid))))


def _key(sid: str) -> str:
    return f"auth:denied:session:{sid}"


async def list_is_whole(app: FastAPI) -> bool:
    return bool(await app.state.redis.run(lambda client: client.exists(MARKER)))


@asynccontextmanager
async def redis_down(app: FastAPI) -> AsyncIterator[None]:
    """Redis answers nobody: its address is that of a port where nothing listens."""
    store: RedisStore = app.state.redis
    client, store._client = store._client, Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    try:
        yield
    finally:
        await store._client.aclose()
        store._client = client
        store._open_until = 0.0


@pytest.fixture
async def no_redis(app: FastAPI, deny_list: DenyList) -> AsyncIterator[None]:
    async with redis_down(app):
        yield


def cut_sql(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise exc.OperationalError("SELECT", {}, OSError("connection refused"))

    monkeypatch.setattr(app.state.database.reads, "_all", refuse)


class TestWholeList:
    async def test_a_request_asks_no_sql_for_its_session(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        program = await sign_in()
        with sql_of(app) as statements:
            assert await program.status() == 200
        assert len(statements) == 1
        assert "FROM categories" in statements[0]

    async def test_a_revoked_session_is_refused_without_sql(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        program = await sign_in()
        await program.log_out()
        with sql_of(app) as statements:
            assert await program.status() == 401
        assert statements == []

    async def test_an_entry_outlives_the_access_token(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        program = await sign_in()
        await program.log_out()
        left = await app.state.redis.run(lambda client: client.ttl(_key(program.sid)))
        assert left >= app.state.settings.access_token_seconds

    async def test_sql_down_does_not_matter_to_who_may_pass(
        self,
        app: FastAPI,
        deny_list: DenyList,
        sign_in: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        alive, ended = await sign_in(), await sign_in()
        await ended.log_out()
        cut_sql(app, monkeypatch)
        assert await ended.status() == 401
        assert (await alive.client.get("/api/products?x=1")).status_code == 422


@pytest.fixture(params=["flushed", "marker evicted", "Redis down", "breaker open"])
async def without_list(
    request: pytest.FixtureRequest, app: FastAPI, deny_list: DenyList, sign_in: Any
) -> AsyncIterator[Any]:
    """Signs two in and one of them out, then takes the list away."""
    alive, ended = await sign_in(), await sign_in()
    await ended.log_out()
    async with AsyncExitStack() as stack:
        if request.param == "flushed":
            await flush(app)
        elif request.param == "marker evicted":
            await app.state.redis.run(lambda client: client.delete(MARKER, _key(ended.sid)))
        else:
            await stack.enter_async_context(redis_down(app))
            if request.param == "breaker open":
                with pytest.raises(RedisUnavailableError):
                    await app.state.redis.run(lambda client: client.ping())
        yield alive, ended


class TestWithoutList:
    async def test_the_row_decides(self, without_list: Any) -> None:
        alive, ended = without_list
        for _ in range(2):
            assert await ended.status() == 401
            assert await alive.status() == 200

    async def test_the_row_tells_of_a_disabled_user(self, without_list: Any) -> None:
        alive, _ = without_list
        await alive.change(User, is_active=False)
        assert await alive.status() == 401

    async def test_the_row_tells_the_present_role(self, without_list: Any) -> None:
        alive, _ = without_list
        body = {"name": "Kitchen"}
        assert (await alive.client.post("/api/categories", json=body)).status_code == 403
        await alive.change(User, role=Role.ADMIN)
        assert (await alive.client.post("/api/categories", json=body)).status_code == 201

    async def test_the_row_tells_of_the_sessions_end(self, without_list: Any) -> None:
        alive, _ = without_list
        await alive.change(AuthSession, expires_at=utc_now() - timedelta(seconds=1))
        assert await alive.status() == 401

    async def test_a_session_without_a_row_is_none(self, app: FastAPI, without_list: Any) -> None:
        alive, _ = without_list
        async with app.state.database.write_engine.begin() as connection:
            await connection.execute(delete(AuthSession).where(AuthSession.sid == alive.sid))
        assert await alive.status() == 401

    async def test_503_when_sql_is_down_too(
        self, app: FastAPI, without_list: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cut_sql(app, monkeypatch)
        for program in without_list:
            answer = await program.client.get("/api/categories")
            assert answer.status_code == 503
            assert answer.json()["code"] == "unavailable"
            assert int(answer.headers["Retry-After"]) >= 1

    async def test_a_forged_token_is_refused_all_the_same(
        self,
        app: FastAPI,
        without_list: Any,
        anonymous: AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cut_sql(app, monkeypatch)
        header = {"Authorization": "Bearer nonsense"}
        assert (await anonymous.get("/api/categories", headers=header)).status_code == 401


class TestLogOutWithoutRedis:
    async def test_counts_at_once(self, no_redis: None, sign_in: Any) -> None:
        program = await sign_in()
        assert await program.status() == 200
        await program.log_out()
        assert await program.status() == 401


class TestRepair:
    async def test_does_not_trust_what_another_server_has_with_the_same_marker(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fail-over, or a restart from an old snapshot, loses acknowledged writes."""
        ended = await sign_in()
        await ended.log_out()
        revoked_at = utc_now() - timedelta(seconds=LATELY_SECONDS + 5)
        await ended.change(AuthSession, revoked_at=revoked_at)
        await app.state.redis.run(lambda client: client.delete(_key(ended.sid)))
        assert await list_is_whole(app)

        async def other_server(_client: Redis) -> str:
            return "another run"

        monkeypatch.setattr("inventory_api.auth.revocation._server_id", other_server)
        await deny_list.repair()
        assert await denied(app, ended.sid)
        assert await ended.status() == 401

    async def test_rebuilds_a_list_without_its_marker(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        alive, ended = await sign_in(), await sign_in()
        await ended.log_out()
        await flush(app)
        assert await alive.status() == 200
        assert not await list_is_whole(app)
        await deny_list.repair()
        assert await list_is_whole(app)
        assert await denied(app, ended.sid)
        with sql_of(app) as statements:
            assert await ended.status() == 401
            assert await alive.status() == 200
        assert len(statements) == 1

    async def test_rebuilds_with_every_session_whose_token_may_still_be_good(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        ended, long_ended = await sign_in(), await sign_in()
        life = app.state.settings.access_token_seconds
        now = utc_now()
        await ended.change(AuthSession, revoked_at=now - timedelta(seconds=life - 5))
        await long_ended.change(AuthSession, revoked_at=now - timedelta(seconds=life + 60))
        await flush(app)
        assert await ended.status() == 401
        await deny_list.repair()
        assert await denied(app, ended.sid)
        assert not await denied(app, long_ended.sid)
        assert await ended.status() == 401

    async def test_heals_a_write_that_was_lost(
        self,
        app: FastAPI,
        deny_list: DenyList,
        sign_in: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        program = await sign_in()

        async def lose(_sid: str) -> None: ...

        monkeypatch.setattr(deny_list, "add", lose)
        await program.log_out()
        assert not await denied(app, program.sid)
        await deny_list.repair()
        assert await program.status() == 401

    async def test_heals_a_write_that_redis_lost_in_a_fail_over(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        program = await sign_in()
        await program.log_out()
        await app.state.redis.run(lambda client: client.delete(_key(program.sid)))
        await deny_list.repair()
        assert await program.status() == 401

    async def test_reads_little_while_the_list_is_whole(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        program = await sign_in()
        lately = utc_now() - timedelta(seconds=LATELY_SECONDS * 2)
        await program.change(AuthSession, revoked_at=lately)
        await deny_list.repair()
        assert not await denied(app, program.sid)

    async def test_after_an_error_the_list_is_not_trusted_until_repaired(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        program = await sign_in()
        await program.log_out()
        store = app.state.redis

        async def fail(_client: object) -> None:
            raise RedisError("the connection was lost")

        with pytest.raises(RedisUnavailableError):
            await store.run(fail)
        store._open_until = 0.0
        # What answers now has the marker, yet not the last writes.
        await store.run(lambda client: client.delete(_key(program.sid)))
        assert await program.status() == 401
        await deny_list.repair()
        assert await denied(app, program.sid)
        with sql_of(app) as statements:
            assert await program.status() == 401
        assert statements == []

    async def test_does_not_vouch_for_a_list_that_was_lost_meanwhile(
        self,
        app: FastAPI,
        deny_list: DenyList,
        sign_in: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        alive, ended = await sign_in(), await sign_in()
        earlier = utc_now() - timedelta(seconds=LATELY_SECONDS * 2)
        await ended.change(AuthSession, revoked_at=earlier)
        reads = app.state.auth.reads
        read = reads.revoked_since

        async def read_while_the_list_goes(since: Any) -> Any:
            rows = await read(since)
            await flush(app)
            assert await alive.status() == 200
            return rows

        monkeypatch.setattr(reads, "revoked_since", read_while_the_list_goes)
        await deny_list.repair()
        monkeypatch.undo()
        assert not await list_is_whole(app)
        assert await ended.status() == 401
        await deny_list.repair()
        assert await list_is_whole(app)
        assert await ended.status() == 401

    async def test_fails_without_redis_and_vouches_for_nothing(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any, no_redis: None
    ) -> None:
        program = await sign_in()
        with pytest.raises(RedisUnavailableError):
            await deny_list.repair()
        with sql_of(app) as statements:
            assert await program.status() == 200
        assert any("auth_sessions" in statement for statement in statements)

    async def test_two_processes_share_one_list(
        self, app: FastAPI, deny_list: DenyList, sign_in: Any
    ) -> None:
        other = DenyList(
            app.state.redis, app.state.auth.reads, app.state.settings.access_token_seconds
        )
        program = await sign_in()
        assert await other.has(program.sid) is None
        await other.repair()
        assert await other.has(program.sid) is False
        await program.log_out()
        assert await other.has(program.sid) is True

    async def test_the_service_repairs_by_itself(
        self,
        app: FastAPI,
        deny_list: DenyList,
        sign_in: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lost, flushed = await sign_in(), await sign_in()

        async def lose(_sid: str) -> None: ...

        with monkeypatch.context() as patch:
            patch.setattr(deny_list, "add", lose)
            await lost.log_out()
        deny_list.start()
        try:
            deadline = time.monotonic() + 5
            while await lost.status() != 401:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            await flush(app)
            assert await flushed.status() == 200
            while not await list_is_whole(app):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        finally:
            await deny_list.close()


class TestClose:
    @pytest.mark.parametrize("ticks", range(40))
    async def test_ends_the_task_wherever_it_is(self, deny_list: DenyList, ticks: int) -> None:
        deny_list.start()
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await deny_list.close()
        assert deny_list._task is not None
        assert deny_list._task.done()
