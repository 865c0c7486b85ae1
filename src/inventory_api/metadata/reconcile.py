"""Compare MySQL with MongoDB, product by product, and mark what differs for the relay.

Reads only, unless asked to fix; a fix never writes MongoDB itself but makes rows pending, so it is
safe beside a running service and twice the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pymongo
from sqlalchemy import Row, exc, func, select

from inventory_api.metadata import documents
from inventory_api.metadata.documents import StoredVersion
from inventory_api.metadata.sync_repository import SyncRepository
from inventory_api.models import ProductSync, SyncOperation
from inventory_api.stores.mongo import Mongo
from inventory_api.stores.sql import Database, WriteSession, run_unit

STEP = 1_000
STEP_SECONDS = 30.0
"""How long reading the documents of one step may take."""

_ROWS = select(
    ProductSync.product_id,
    ProductSync.version,
    ProductSync.operation,
    ProductSync.pending,
    ProductSync.dead,
)


@dataclass(slots=True)
class Drift:
    """What a comparison found; each list holds product ids."""

    compared: int = 0
    pending: int = 0
    """Rows that the relay has yet to apply: late, not lost."""
    missing: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    newer: list[int] = field(default_factory=list)
    """Documents ahead of their row, as after restoring MySQL from a backup."""
    orphaned: list[int] = field(default_factory=list)
    """Documents without a row, or of a deleted product."""
    dead: list[int] = field(default_factory=list)
    fixed: int = 0

    @property
    def found(self) -> int:
        return sum(
            len(ids) for ids in (self.missing, self.stale, self.newer, self.orphaned, self.dead)
        )


Progress = Callable[[int, int], None]


async def reconcile(
    database: Database, mongo: Mongo, *, fix: bool, progress: Progress = lambda done, total: None
) -> Drift:
    """Walk both stores in key order.

    Args:
        fix: mark what differs as pending, so that the relay writes it again.
        progress: called with (compared, total).

    Raises:
        MongoUnavailableError, pymongo.errors.PyMongoError: the documents can't be read.
    """
    drift = Drift()
    total = await database.reads.count(select(func.count()).select_from(ProductSync))
    after = 0
    while True:
        rows = await database.reads.all(
            _ROWS.where(ProductSync.product_id > after).order_by(ProductSync.product_id).limit(STEP)
        )
        # Documents are scanned by themselves too, or one behind the last row would be missed.
        with pymongo.timeout(STEP_SECONDS):
            stored = await documents.scan(mongo.collection(), after, STEP)
        if not rows and not stored:
            break
        ends = [row.product_id for row in rows[-1:] if len(rows) == STEP]
        ends += [list(stored)[-1]] if len(stored) == STEP else []
        end = min(ends, default=None)
        known = {row.product_id: row for row in rows if end is None or row.product_id <= end}
        within = {key: value for key, value in stored.items() if end is None or key <= end}
        await _compare(database, mongo, known, within, drift, fix=fix)
        drift.compared += len(known)
        progress(drift.compared, total)
        if end is None:
            break
        after = end
    return drift


async def _compare(
    database: Database,
    mongo: Mongo,
    rows: Mapping[int, Row[Any]],
    stored: Mapping[int, StoredVersion],
    drift: Drift,
    *,
    fix: bool,
) -> None:
    suspects = [key for key, row in rows.items() if _verdict(row, stored.get(key)) is not None]
    suspects += [key for key in stored if key not in rows]
    if not suspects:
        return
    # The two stores were not read at one moment: look again at what seems to differ, and at the
    # rows on both sides of the documents. One that moved meanwhile is being carried.
    before = await _rows(database, suspects)
    with pymongo.timeout(STEP_SECONDS):
        documents_now = await documents.versions(mongo.collection(), suspects)
    after = await _rows(database, suspects)
    for product_id in suspects:
        row, document = after.get(product_id), documents_now.get(product_id)
        verdict = _verdict(row, document)
        if verdict is None:
            continue
        moved = row != before.get(product_id)
        if moved or verdict == "pending" or (fix and not await _fix(database, row, document)):
            drift.pending += 1
            continue
        getattr(drift, verdict).append(product_id)
        drift.fixed += fix


async def _rows(database: Database, product_ids: Sequence[int]) -> dict[int, Row[Any]]:
    rows = await database.reads.all(_ROWS.where(ProductSync.product_id.in_(product_ids)))
    return {row.product_id: row for row in rows}


def _verdict(row: Row[Any] | None, document: StoredVersion | None) -> str | None:
    """How a row and its document differ, as a member of `Drift`; None when they agree."""
    if row is None:
        return None if document is None else "orphaned"
    if row.dead:
        return "dead"
    if row.pending:
        return "pending"
    deleted = row.operation is SyncOperation.DELETE
    if document is None:
        return None if deleted else "missing"
    if document.version > row.version:
        return "newer"
    if deleted and not document.deleted:
        return "orphaned"
    if document.version < row.version:
        return "stale"
    return "missing" if document.deleted and not deleted else None


async def _fix(database: Database, row: Row[Any] | None, document: StoredVersion | None) -> bool:
    """Make the row's state pending again, above what the document holds.

    Returns:
        False when the row has changed since it was compared, so that the relay carries it anyway.
    """
    try:
        return bool(await run_unit(database, partial(_requeue, row=row, document=document)))
    except exc.IntegrityError:  # another reconciliation has adopted the orphan
        return False


async def _requeue(
    session: WriteSession, row: Row[Any] | None, document: StoredVersion | None
) -> int:
    sync = SyncRepository(session)
    if row is None:
        assert document is not None  # noqa: S101 - one of both was found
        await sync.adopt_orphan(document.product_id, document.version)
        return 1
    if document is not None and document.version >= row.version:
        return await sync.outbid(row.product_id, row.version, row.operation, document.version)
    return await sync.requeue({row.product_id: row.version})
