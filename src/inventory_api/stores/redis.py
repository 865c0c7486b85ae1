"""Redis: short time-outs and a breaker, since every request asks it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from inventory_api import log

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.2
CALL_SECONDS = 0.4
"""For a whole call: connecting anew has a retry of its own within the call's."""
OPEN_SECONDS = 1.0
MAX_CONNECTIONS = 50

T = TypeVar("T")


class RedisUnavailableError(Exception):
    """Redis can't be asked at the moment; the caller decides without it."""


class RedisStore:
    """A pool behind a breaker: after a failure nobody asks for `OPEN_SECONDS`.

    Then one call tries; the others do without Redis until it has come back with an answer.
    """

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
            decode_responses=True,
        )
        self._client: Redis = Redis(connection_pool=pool)
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._open_until = 0.0
        self.failures = 0
        """Counts every failed call: who trusts what Redis holds looks whether it has changed."""

    async def close(self) -> None:
        await self._client.aclose(close_connection_pool=True)

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """Run one command or pipeline.

        Raises:
            RedisUnavailableError: it failed, or the last one failed less than a second ago.
        """
        # Waiting for a connection is no fault of Redis': it stands before the time-out.
        async with self._places:
            return await self._run(command)

    async def _run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        now = time.monotonic()
        if now < self._open_until:
            raise RedisUnavailableError("Redis failed a moment ago")
        if self._open_until:
            self._open_until = now + OPEN_SECONDS
        try:
            async with asyncio.timeout(CALL_SECONDS):
                result = await command(self._client)
        except (RedisError, OSError, TimeoutError) as error:
            self.failures += 1
            self._open_until = time.monotonic() + OPEN_SECONDS
            log.event(logger, "redis_failed", logging.WARNING, error=type(error).__name__)
            raise RedisUnavailableError(str(error)) from error
        self._open_until = 0.0
        return result

    async def ping(self) -> bool:
        try:
            return bool(await self.run(lambda client: client.ping()))
        except RedisUnavailableError:
            return False
