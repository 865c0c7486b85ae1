"""Which sessions have ended: Redis' deny-list while it is known to be whole, else the SQL row.

The marker key says that the list was rebuilt whole; where it is missing (FLUSHALL, eviction, a
fresh replica), or Redis has failed since this process last wrote the list, the row decides. MySQL
is written first, so a list write that is lost costs nothing but the next second's repair.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import exc

from inventory_api import log
from inventory_api.auth.repository import AccountReads
from inventory_api.auth.tokens import LEEWAY_SECONDS
from inventory_api.kit import tasks
from inventory_api.kit.clock import utc_now
from inventory_api.stores.redis import RedisStore, RedisUnavailableError

logger = logging.getLogger(__name__)

MARKER = "auth:denied:whole"
REPAIR_SECONDS = 1.0
LATELY_SECONDS = 10


def _key(sid: str) -> str:
    return f"auth:denied:session:{sid}"


class DenyList:
    """Asked on every request; kept whole by a task in every process."""

    def __init__(self, redis: RedisStore, reads: AccountReads, access_seconds: int) -> None:
        self._redis = redis
        self._reads = reads
        self._life = access_seconds + LEEWAY_SECONDS
        self._trusted_at_failures = -1
        self._server = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_whole(), name="deny-list")

    async def close(self) -> None:
        """Return once the task has ended."""
        await tasks.end(self._task)

    async def has(self, sid: str) -> bool | None:
        """Whether the session has ended; None when the list can't tell."""
        if self._trusted_at_failures != self._redis.failures:
            return None
        try:
            marker, denied = await self._redis.run(_mget(MARKER, _key(sid)))
        except RedisUnavailableError:
            return None
        if marker is None:
            self._trusted_at_failures = -1
            return None
        return denied is not None

    async def add(self, sid: str) -> None:
        """Deny a session whose end is committed. A failure is healed by the next repair."""
        try:
            await self._redis.run(lambda client: client.set(_key(sid), "1", ex=self._life))
        except RedisUnavailableError:
            log.event(logger, "deny_list_write_failed", logging.WARNING, sid=sid)

    async def repair(self) -> None:
        """Write the sessions that ended lately; all that still matter when trust was lost."""
        failures = self._redis.failures
        if (server := await self._redis.run(_server_id)) != self._server:
            # Another server, or the same one restarted: it may lack what its forerunner took.
            self._server, self._trusted_at_failures = server, -1
        trusted = self._trusted_at_failures == failures
        now = utc_now()
        since = now - timedelta(seconds=LATELY_SECONDS if trusted else self._life)
        ended = await self._reads.revoked_since(since)
        await self._redis.run(lambda client: self._write(client, ended, now, whole=not trusted))
        if not trusted:
            self._trusted_at_failures = failures

    async def _write(
        self, client: Redis, ended: list[tuple[str, datetime]], now: datetime, *, whole: bool
    ) -> None:
        async with client.pipeline(transaction=True) as pipe:
            for sid, revoked_at in ended:
                left = self._life - int((now - revoked_at).total_seconds())
                if left > 0:
                    pipe.set(_key(sid), "1", ex=left)
            if whole:
                pipe.set(MARKER, "1")
            if pipe.command_stack:
                await pipe.execute()
            else:
                await client.ping()

    async def _keep_whole(self) -> None:
        while True:
            try:
                await self.repair()
            except (RedisUnavailableError, exc.SQLAlchemyError, OSError) as error:
                log.event(
                    logger, "deny_list_repair_failed", logging.DEBUG, error=type(error).__name__
                )
            await asyncio.sleep(REPAIR_SECONDS)


async def _server_id(client: Redis) -> str:
    return str((await client.info("server"))["run_id"])


def _mget(*keys: str) -> Callable[[Redis], Awaitable[list[Any]]]:
    return lambda client: client.mget(keys)
