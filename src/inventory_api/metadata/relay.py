"""Carries queued metadata from MySQL to MongoDB, in the background of every API process."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from datetime import timedelta

import pymongo
from bson import encode
from bson.errors import InvalidDocument
from pymongo.errors import BulkWriteError, DocumentTooLarge, PyMongoError, WriteError
from sqlalchemy import exc

from inventory_api import log
from inventory_api.kit.clock import utc_now
from inventory_api.metadata import documents
from inventory_api.metadata.sync_repository import BATCH, RETENTION_DAYS, Claim, SyncRepository
from inventory_api.stores.mongo import RELAY_SECONDS, Mongo, MongoDocument, MongoUnavailableError
from inventory_api.stores.sql import Database, run_unit

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
PURGE_SECONDS = 3_600.0
BACKOFF_MAX_SECONDS = 30.0
REFUSALS_MAX = 10

_UNENCODABLE = (
    InvalidDocument,
    DocumentTooLarge,
    OverflowError,
    UnicodeEncodeError,
    RecursionError,
    ValueError,
    KeyError,
    TypeError,
)


class Relay:
    """Claims due rows, applies them, acknowledges them: at least once, guarded by the version.

    Whatever step it dies in, the row stays pending and its lease runs out; applying a state twice
    changes nothing, and an older state never replaces a newer one.
    """

    def __init__(self, database: Database, mongo: Mongo) -> None:
        self._database = database
        self._mongo = mongo
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def wake(self) -> None:
        """Something was queued and committed: look now, not at the next poll."""
        self._wake.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self.run(), name="metadata-relay")
        self._task.add_done_callback(_report_death)

    async def close(self) -> None:
        """Stop after the batch under way."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def run(self) -> None:
        """Work until `close`. No error ends it: what fails is tried again."""
        cleared = False
        purge_at = 0.0
        while not self._stopping:
            self._wake.clear()
            try:
                if not cleared and self._database.is_sqlite:
                    # One relay there is, and it has just started: leases are a dead one's.
                    await run_unit(self._database, lambda s: SyncRepository(s).clear_leases())
                cleared = True
                if await self.run_once() == BATCH:
                    continue
                if time.monotonic() >= purge_at:
                    await self._purge()
                    purge_at = time.monotonic() + PURGE_SECONDS
            except (exc.SQLAlchemyError, PyMongoError, MongoUnavailableError, OSError) as error:
                log.event(logger, "relay_failed", logging.WARNING, error=repr(error)[:200])
            try:
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    async def run_once(self) -> int:
        """One batch. Returns: how many rows were claimed."""
        if not self._mongo.available:
            return 0
        claims = await run_unit(self._database, lambda session: SyncRepository(session).claim())
        if not claims:
            return 0
        encodable: list[Claim] = []
        batch: list[MongoDocument] = []
        for claim in claims:
            try:
                document = documents.document_of(claim)
                encode(document)
            except _UNENCODABLE as error:
                await self._bury(claim, error)
            else:
                encodable.append(claim)
                batch.append(document)
        if batch:
            await self._apply(encodable, batch)
        return len(claims)

    async def _apply(self, claims: list[Claim], batch: Sequence[MongoDocument]) -> None:
        try:
            with pymongo.timeout(RELAY_SECONDS):
                await documents.apply(self._mongo.collection(), batch)
        except BulkWriteError as error:
            # The server took the others (unordered). What it keeps refusing is at fault itself.
            flaws = error.details["writeErrors"]
            if error.details.get("writeConcernErrors"):
                flaws = [{"index": i, "errmsg": str(error)} for i in range(len(claims))]
            refused = {flaw["index"]: WriteError(flaw["errmsg"]) for flaw in flaws}
            for index, flaw in refused.items():
                give_up = claims[index].attempts >= REFUSALS_MAX
                await (self._bury if give_up else self._postpone)(claims[index], flaw)
            claims = [claim for index, claim in enumerate(claims) if index not in refused]
        except (PyMongoError, MongoUnavailableError) as error:
            self._mongo.failed(error)
            for claim in claims:
                await self._postpone(claim, error)
            return
        if claims:
            await run_unit(self._database, lambda s: SyncRepository(s).acknowledge(claims))

    async def _postpone(self, claim: Claim, error: Exception) -> None:
        """For ever, if need be: what a store refuses now it may take later."""
        exponent = min(claim.attempts, 6)
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, keeps no secret
        seconds = min(0.5 * 2**exponent, BACKOFF_MAX_SECONDS) * jitter
        reason = f"{type(error).__name__}: {error}"
        log.event(
            logger,
            "metadata_postponed",
            logging.WARNING,
            product_id=claim.product_id,
            attempts=claim.attempts + 1,
            error=reason[:200],
        )
        await run_unit(self._database, lambda s: SyncRepository(s).postpone(claim, seconds, reason))

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
        if not expired or not self._mongo.available:
            return
        before = utc_now() - timedelta(days=RETENTION_DAYS)
        await documents.purge(self._mongo.collection(), expired, before)
        await run_unit(self._database, lambda session: SyncRepository(session).purge(expired))
        log.event(logger, "tombstones_purged", count=len(expired))


def _report_death(task: asyncio.Task[None]) -> None:
    """A programming error must not end the relay in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("relay_died", exc_info=error)
