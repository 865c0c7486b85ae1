"""Redis that is away costs little time, and is found again when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from redis.asyncio import Redis

from inventory_api.settings import Settings
from inventory_api.stores import redis as module
from inventory_api.stores.embedded import embedded_keyvalue
from inventory_api.stores.redis import OPEN_SECONDS, RedisStore, RedisUnavailableError
from tests.stores.proxy import FaultProxy
from tests.stores.unix_proxy import UnixProxy


class Line:
    """The way to the run's store, with a fault on it when a test wants one."""

    def __init__(self, url: str, proxy: FaultProxy | UnixProxy) -> None:
        self.url = url
        self._proxy = proxy

    async def set(self, mode: str) -> None:
        """Args: mode: `pass_through`, `freeze`, `reset` or `refuse`."""
        done = getattr(self._proxy, mode)()
        if done is not None:
            await done


@asynccontextmanager
async def line_to_redis(settings: Settings, folder: Path) -> AsyncIterator[Line]:
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        port = urlsplit(url).port
        assert port is not None
        with FaultProxy(port) as tcp:
            yield Line(tcp.through(url), tcp)
        return
    async with embedded_keyvalue(folder) as url:
        target = Path(unquote(urlsplit(url).path))
        async with UnixProxy(target, target.with_name("proxy.sock")) as unix:
            yield Line(f"unix://{unix.path}", unix)


@pytest.fixture
async def line(settings: Settings, tmp_path: Path) -> AsyncIterator[Line]:
    async with line_to_redis(settings, tmp_path) as line:
        yield line


@pytest.fixture
async def store(line: Line) -> AsyncIterator[RedisStore]:
    store = RedisStore(line.url)
    yield store
    await store.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def later(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The breaker's own time; time-outs go by the real one."""
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Calls:
    """Counts the calls that were let through to Redis."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self.let_through = 0

    async def __call__(self) -> bool:
        """Returns: whether Redis answered."""
        try:
            await self._store.run(self._ping)
        except RedisUnavailableError:
            return False
        return True

    async def _ping(self, client: Redis) -> Any:
        self.let_through += 1
        return await client.ping()


@pytest.fixture
def call(store: RedisStore) -> Calls:
    return Calls(store)


async def seconds(work: Callable[[], Awaitable[Any]]) -> float:
    started = time.monotonic()
    await work()
    return time.monotonic() - started


class TestWorking:
    async def test_runs_commands(self, store: RedisStore) -> None:
        await store.run(lambda client: client.set("test:colour", "grün", ex=5))
        assert await store.run(lambda client: client.get("test:colour")) == "grün"
        assert store.failures == 0

    async def test_answers_pings(self, store: RedisStore) -> None:
        assert await store.ping() is True

    async def test_an_error_of_our_own_is_not_redis_fault(self, store: RedisStore) -> None:
        async def broken(_client: Redis) -> None:
            raise KeyError("ours")

        with pytest.raises(KeyError):
            await store.run(broken)
        assert store.failures == 0
        assert await store.ping() is True

    async def test_a_connection_that_was_cut_is_replaced_unseen(
        self, store: RedisStore, line: Line
    ) -> None:
        for _ in range(3):
            assert await store.ping() is True
            await line.set("reset")
        assert await store.ping() is True
        assert store.failures == 0

    async def test_callers_wait_for_a_connection_rather_than_fail(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
        store = RedisStore(line.url)
        assert await asyncio.gather(*(store.ping() for _ in range(6))) == [True] * 6
        assert store.failures == 0
        await store.close()


class TestOutage:
    @pytest.mark.parametrize("mode", ["refuse", "freeze"])
    @pytest.mark.parametrize("connected", [True, False])
    async def test_is_noticed_within_half_a_second(
        self, line: Line, mode: str, connected: bool
    ) -> None:
        took: list[float] = []
        for _ in range(3):  # the quickest counts: the machine may be busy with something else
            await line.set("pass_through")
            store = RedisStore(line.url)
            if connected:
                assert await store.ping() is True
            await line.set(mode)
            took.append(await seconds(store.ping))
            assert await store.ping() is False
            with pytest.raises(RedisUnavailableError):
                await store.run(lambda client: client.get("x"))
            await store.close()
        assert min(took) < 0.5

    async def test_is_noticed_as_soon_when_all_connections_are_stuck(
        self, call: Calls, line: Line
    ) -> None:
        await line.set("freeze")
        callers = [call() for _ in range(module.MAX_CONNECTIONS * 2)]
        started = time.monotonic()
        assert not any(await asyncio.gather(*callers))
        assert time.monotonic() - started < 1.5

    async def test_nobody_asks_for_a_second_after_a_failure(
        self, call: Calls, line: Line, clock: Clock
    ) -> None:
        await line.set("refuse")
        assert await call() is False
        clock.later(OPEN_SECONDS - 0.01)
        for _ in range(10):
            assert await call() is False
        assert call.let_through == 1
        clock.later(0.01)
        assert await call() is False
        assert call.let_through == 2

    async def test_a_call_that_is_not_let_through_costs_nothing(
        self, call: Calls, line: Line, clock: Clock
    ) -> None:
        await line.set("freeze")
        await call()
        assert await seconds(call) < 0.2

    async def test_only_one_call_a_second_waits(
        self, call: Calls, line: Line, clock: Clock
    ) -> None:
        await line.set("freeze")
        await call()
        for trial in range(2, 4):
            clock.later(OPEN_SECONDS)
            first = asyncio.create_task(call())
            await asyncio.sleep(0)
            assert not any(await asyncio.gather(*(call() for _ in range(50))))
            assert not first.done()
            assert await first is False
            assert call.let_through == trial

    async def test_each_failed_call_is_counted_and_no_other(
        self, store: RedisStore, call: Calls, line: Line, clock: Clock
    ) -> None:
        await call()
        assert store.failures == 0
        await line.set("refuse")
        for failures in range(1, 4):
            for _ in range(3):
                await call()
            assert store.failures == failures
            clock.later(OPEN_SECONDS)


class TestRecovery:
    @pytest.mark.parametrize("mode", ["refuse", "freeze"])
    async def test_is_found_again_after_a_second(
        self, call: Calls, line: Line, clock: Clock, mode: str
    ) -> None:
        await line.set(mode)
        assert await call() is False
        await line.set("pass_through")
        assert await call() is False
        clock.later(OPEN_SECONDS)
        assert await call() is True
        assert await asyncio.gather(*(call() for _ in range(20))) == [True] * 20

    async def test_the_failures_stay_counted(
        self, store: RedisStore, call: Calls, line: Line, clock: Clock
    ) -> None:
        await line.set("refuse")
        await call()
        await line.set("pass_through")
        clock.later(OPEN_SECONDS)
        await call()
        assert store.failures == 1

    async def test_a_trial_that_is_cancelled_leaves_the_next_one_its_chance(
        self, call: Calls, line: Line, clock: Clock
    ) -> None:
        await line.set("freeze")
        await call()
        clock.later(OPEN_SECONDS)
        trial = asyncio.create_task(call())
        await asyncio.sleep(0.01)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        await line.set("pass_through")
        clock.later(OPEN_SECONDS)
        assert await call() is True
