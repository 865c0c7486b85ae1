"""Carries queued metadata from MySQL to MongoDB, in the background of every API process."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from datetime import timedelta

import pymongo
from pymongo.errors import PyMongoError, WriteError

from inventory_api import log
from inventory_api.kit.clock import utc_now
from inventory_api.metadata import documents
from inventory_api.metadata.sync_repository import BATCH, RETENTION_DAYS, Claim, SyncRepository
from inventory_api.stores.mongo import RELAY_SECONDS, Mongo, MongoDocument, MongoUnavailableError
from inventory_api.stores.sql import Database, WriteSession, run_unit

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
PURGE_SECONDS = 3_600.0
BACKOFF_MAX_SECONDS = 30.0
REFUSALS_MAX = 10


class Relay:
    """Claims due rows, applies them, acknowledges them: at least once, guarded by the version.

    Whatever step it dies in, the row stays pending and its lease runs out; applying a state twice
    changes nothing, and an older state never replaces a newer one.
    """

    def __init__(self, database: Database, mongo: Mongo) -> None:
        self._database = database
        self._mongo = mongo
        self._refused = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def wake(self) -> None:
        """Something was queued and committed: look now, not at the next poll."""
        self._wake.set()

    def start(self) -> None:
        self._stopping = False
        self._task = asyncio.create_task(self.run(), name="metadata-relay")
        self._task.add_done_callback(_report_death)

    def stop(self) -> None:
        """Let `run` return after the batch under way."""
        self._stopping = True
        self._wake.set()

    async def close(self) -> None:
        """Stop, and wait until it has."""
        self.stop()
        if self._task is not None:
            await self._task

    async def run(self) -> None:
        """Work until `stop`. No error ends it: what fails is tried again."""
        cleared = False
        purge_at = 0.0
        while not self._stopping:
            self._wake.clear()
            try:
                if not cleared and self._database.is_sqlite:
                    # One relay there is, and it has just started: leases are a dead one's.
                    await run_unit(self._database, lambda s: SyncRepository(s).clear_leases())
                cleared = True
                if await self.run_once() == BATCH and not self._refused:
                    continue
                if time.monotonic() >= purge_at:
                    purge_at = time.monotonic() + PURGE_SECONDS
                    await self._purge()
            except Exception as error:
                # Whatever it is: a relay that ended would be missed only when documents are.
                log.event(logger, "relay_failed", logging.WARNING, error=repr(error)[:200])
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    async def run_once(self) -> int:
        """One batch. Returns: how many rows were claimed."""
        self._refused = False
        if not self._mongo.connected:
            return 0
        claims = await run_unit(self._database, lambda session: SyncRepository(session).claim())
        if not claims:
            return 0
        encodable: list[Claim] = []
        batch: list[MongoDocument] = []
        for claim in claims:
            try:
                batch.append(documents.document_of(claim))
            except Exception as error:
                await self._bury(claim, error)
            else:
                encodable.append(claim)
        if batch:
            await self._apply(encodable, batch)
        return len(claims)

    async def _apply(self, claims: list[Claim], batch: Sequence[MongoDocument]) -> None:
        try:
            with pymongo.timeout(RELAY_SECONDS):
                refused = await documents.apply(self._mongo.collection(), batch)
        except (PyMongoError, MongoUnavailableError) as error:
            self._refused = True
            await self._postpone(claims, error)
            return
        for index, reason in refused.items():
            # What a server keeps refusing is at fault itself.
            if claims[index].attempts >= REFUSALS_MAX:
                await self._bury(claims[index], WriteError(reason))
            else:
                await self._postpone([claims[index]], WriteError(reason))
        stored = [claim for index, claim in enumerate(claims) if index not in refused]
        if stored:
            await run_unit(self._database, lambda s: SyncRepository(s).acknowledge(stored))

    async def _postpone(self, claims: Sequence[Claim], error: Exception) -> None:
        """For ever, if need be: what a store refuses now it may take later."""
        reason = f"{type(error).__name__}: {error}"
        log.event(
            logger,
            "metadata_postponed",
            logging.WARNING,
            product_ids=[claim.product_id for claim in claims],
            attempts=max(claim.attempts for claim in claims) + 1,
            error=reason[:200],
        )

        async def postpone(session: WriteSession) -> None:
            for claim in claims:
                await SyncRepository(session).postpone(claim, _delay(claim.attempts), reason)

        await run_unit(self._database, postpone)

    async def _bury(self, claim: Claim, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        log.event(
            logger,
            "metadata_dead",
            logging.ERROR,
            product_id=claim.product_id,
            version=claim.version,
            error=reason[:200],
        )
        await run_unit(self._database, lambda s: SyncRepository(s).bury(claim, reason))

    async def _purge(self) -> None:
        expired = await run_unit(
            self._database, lambda session: SyncRepository(session).expired_tombstones()
        )
        if not expired or not self._mongo.connected:
            return
        before = utc_now() - timedelta(days=RETENTION_DAYS)
        collection = self._mongo.collection()
        await documents.purge(collection, expired, before)
        # A deletion that waited long for MongoDB has an old row and a young tombstone.
        young = await documents.versions(collection, expired)
        gone = [product_id for product_id in expired if product_id not in young]
        await run_unit(self._database, lambda session: SyncRepository(session).purge(gone))
        log.event(logger, "tombstones_purged", count=len(gone))


def _delay(attempts: int) -> float:
    """Seconds until the next attempt: doubling, and spread so that not all come at once."""
    longest: float = min(0.5 * 2 ** min(attempts, 16), BACKOFF_MAX_SECONDS)
    return longest * random.uniform(0.75, 1.0)  # noqa: S311 - spreads retries, keeps no secret


def _report_death(task: asyncio.Task[None]) -> None:
    """A programming error must not end the relay in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("relay_died", exc_info=error)
