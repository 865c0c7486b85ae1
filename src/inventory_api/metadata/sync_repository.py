"""The table `product_sync`: queueing in the writer's transaction, claiming and acknowledging."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, false, func, insert, or_, select, true, tuple_, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.kit import json
from inventory_api.kit.clock import utc_now
from inventory_api.kit.text import canonical
from inventory_api.models import Product, ProductSync, ProductTag, SyncOperation
from inventory_api.stores.sql import ReadSession

LEASE_SECONDS = 30
BATCH = 50
RETENTION_DAYS = 7


@dataclass(frozen=True, slots=True)
class Claim:
    """One product's latest state, leased to this relay."""

    product_id: int
    version: int
    operation: SyncOperation
    name: str
    payload: str
    attempts: int


class SyncRepository:
    """Changes rows in the caller's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def queue_new(self, product_id: int, name: str, metadata: Mapping[str, Any]) -> None:
        """The first state of a new product, with its tags."""
        now = utc_now()
        await self._session.execute(
            insert(ProductSync).values(
                product_id=product_id,
                version=1,
                operation=SyncOperation.UPSERT,
                name=name,
                payload=json.write_text(metadata),
                applied_version=0,
                pending=True,
                attempts=0,
                next_attempt_at=now,
                dead=False,
                first_pending_at=now,
            )
        )
        await self._set_tags(product_id, set(), metadata["tags"])

    async def queue(
        self,
        product_id: int,
        version: int,
        name: str,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
    ) -> None:
        """A later state; it replaces one that has not been applied yet."""
        await self._mark(
            product_id, version, SyncOperation.UPSERT, name=name, payload=json.write_text(new)
        )
        await self._set_tags(product_id, _keys(old["tags"]), new["tags"])

    async def queue_delete(self, product_id: int, version: int) -> None:
        """The tombstone of a deleted product; its tags go with the row they hang on."""
        await self._mark(product_id, version, SyncOperation.DELETE, payload="{}")

    async def _mark(
        self, product_id: int, version: int, operation: SyncOperation, **values: Any
    ) -> None:
        now = utc_now()
        await self._session.execute(
            update(ProductSync)
            .where(ProductSync.product_id == product_id)
            # In this order: MySQL's later assignments see what the earlier ones have set.
            .ordered_values(
                (
                    ProductSync.first_pending_at,
                    case((ProductSync.pending, ProductSync.first_pending_at), else_=now),
                ),
                (ProductSync.version, version),
                (ProductSync.operation, operation),
                (ProductSync.pending, True),
                (ProductSync.attempts, 0),
                (ProductSync.dead, False),
                (ProductSync.last_error, None),
                (ProductSync.next_attempt_at, now),
                *((getattr(ProductSync, name), value) for name, value in values.items()),
            )
            .execution_options(synchronize_session=False)
        )

    async def _set_tags(self, product_id: int, old: set[str], tags: Sequence[str]) -> None:
        new = _keys(tags)
        if gone := old - new:
            await self._session.execute(
                delete_rows(ProductTag)
                .where(ProductTag.product_id == product_id, ProductTag.tag_key.in_(gone))
                .execution_options(synchronize_session=False)
            )
        if added := sorted(new - old):
            await self._session.execute(
                insert(ProductTag).values(
                    [{"tag_key": key, "product_id": product_id} for key in added]
                )
            )

    async def claim(self) -> list[Claim]:
        """Lease due rows to the caller, who commits before it calls MongoDB.

        The lease is a changed column and not a row lock alone, which another node of a cluster
        would not see.
        """
        now = utc_now()
        rows = (
            await self._session.execute(
                select(
                    ProductSync.product_id,
                    ProductSync.version,
                    ProductSync.operation,
                    ProductSync.name,
                    ProductSync.payload,
                    ProductSync.attempts,
                )
                .where(
                    # Not `is_`: MySQL has no use of an index for `pending IS true`.
                    ProductSync.pending == true(),
                    ProductSync.dead == false(),
                    ProductSync.next_attempt_at <= now,
                )
                .order_by(ProductSync.next_attempt_at)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
        ).all()
        if rows:
            await self._session.execute(
                update(ProductSync)
                .where(ProductSync.product_id.in_([row.product_id for row in rows]))
                .values(
                    next_attempt_at=now + timedelta(seconds=LEASE_SECONDS),
                    attempts=ProductSync.attempts + 1,
                )
                .execution_options(synchronize_session=False)
            )
        return [Claim(*row) for row in rows]

    async def acknowledge(self, claims: Sequence[Claim]) -> None:
        """Note what was applied; a row that has moved on meanwhile stays pending."""
        states = [(claim.product_id, claim.version) for claim in claims]
        done = await self._session.execute(
            update(ProductSync)
            .where(tuple_(ProductSync.product_id, ProductSync.version).in_(states))
            .values(
                applied_version=ProductSync.version,
                pending=False,
                dead=False,
                attempts=0,
                last_error=None,
            )
            .execution_options(synchronize_session=False)
        )
        if done.rowcount == len(states):  # type: ignore[attr-defined]
            return
        for product_id, version in states:
            await self._session.execute(
                update(ProductSync)
                .where(ProductSync.product_id == product_id, ProductSync.applied_version < version)
                .values(applied_version=version)
                .execution_options(synchronize_session=False)
            )

    async def postpone(self, claim: Claim, seconds: float, error: str) -> None:
        """Try this state again later. A newer state has its own time and is left alone."""
        await self._fail(claim, error, next_attempt_at=utc_now() + timedelta(seconds=seconds))

    async def bury(self, claim: Claim, error: str) -> None:
        """Give this state up: no retry can help it. `sync retry` raises it again."""
        await self._fail(claim, error, dead=True)

    async def _fail(self, claim: Claim, error: str, **values: Any) -> None:
        await self._session.execute(
            update(ProductSync)
            .where(ProductSync.product_id == claim.product_id, ProductSync.version == claim.version)
            .values(last_error=error[:200], **values)
            .execution_options(synchronize_session=False)
        )

    async def raise_dead(self) -> int:
        """Make dead rows due again. Returns: how many."""
        raised = await self._session.execute(
            update(ProductSync)
            .where(ProductSync.pending == true(), ProductSync.dead == true())
            .values(dead=False, attempts=0, next_attempt_at=utc_now())
            .execution_options(synchronize_session=False)
        )
        return int(raised.rowcount)  # type: ignore[attr-defined]

    async def clear_leases(self) -> None:
        """Make every pending row due: for a store with one relay, which has just started."""
        await self._session.execute(
            update(ProductSync)
            .where(ProductSync.pending == true(), ProductSync.dead == false())
            .values(next_attempt_at=utc_now())
            .execution_options(synchronize_session=False)
        )

    async def requeue(self, states: Mapping[int, int]) -> int:
        """Mark rows as pending whose applied state is not in MongoDB.

        Args:
            states: product id → the version that was compared; a row that has moved on since is
                pending by itself.
        """
        now = utc_now()
        marked = await self._session.execute(
            update(ProductSync)
            .where(
                tuple_(ProductSync.product_id, ProductSync.version).in_(list(states.items())),
                or_(ProductSync.pending.is_(False), ProductSync.dead.is_(True)),
            )
            .values(
                pending=True,
                dead=False,
                attempts=0,
                last_error=None,
                next_attempt_at=now,
                first_pending_at=now,
            )
            .execution_options(synchronize_session=False)
        )
        return int(marked.rowcount)  # type: ignore[attr-defined]

    async def outbid(
        self, product_id: int, version: int, operation: SyncOperation, document_version: int
    ) -> int:
        """Lift a product over the version of a document that is ahead of it.

        Such a document comes from before MySQL was restored from a backup; the guard would refuse
        everything up to its version.

        Returns:
            1, or 0 when the product has changed since it was compared.
        """
        lifted = document_version + 1
        if operation is SyncOperation.UPSERT:
            # Past the ORM, which can raise a version by one only; the row's content stays.
            connection = await self._session.connection()
            changed = await connection.execute(
                update(Product)
                .where(Product.id == product_id, Product.version == version)
                .values(version=lifted, updated_at=utc_now())
            )
            if changed.rowcount != 1:
                return 0
        await self._mark(product_id, lifted, operation)
        return 1

    async def adopt_orphan(self, product_id: int, document_version: int) -> None:
        """Queue a tombstone for a document that no row speaks of."""
        now = utc_now()
        await self._session.execute(
            insert(ProductSync).values(
                product_id=product_id,
                version=document_version + 1,
                operation=SyncOperation.DELETE,
                name="",
                payload="{}",
                applied_version=0,
                pending=True,
                attempts=0,
                next_attempt_at=now,
                dead=False,
                first_pending_at=now,
            )
        )

    async def expired_tombstones(self, limit: int = 500) -> list[int]:
        """Products whose deletion was applied longer ago than a late write can take."""
        before = utc_now() - timedelta(days=RETENTION_DAYS)
        rows = await self._session.scalars(
            select(ProductSync.product_id)
            .where(
                ProductSync.operation == SyncOperation.DELETE,
                ProductSync.pending.is_(False),
                ProductSync.first_pending_at < before,
            )
            .limit(limit)
        )
        return list(rows)

    async def purge(self, product_ids: Sequence[int]) -> None:
        await self._session.execute(
            delete_rows(ProductSync)
            .where(
                ProductSync.product_id.in_(product_ids),
                ProductSync.operation == SyncOperation.DELETE,
                ProductSync.pending.is_(False),
            )
            .execution_options(synchronize_session=False)
        )


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """How far MongoDB is behind."""

    pending: int
    dead: int
    oldest_pending_at: datetime | None


class SyncReads:
    def __init__(self, reads: ReadSession) -> None:
        self._reads = reads

    async def status(self) -> SyncStatus:
        waiting = ProductSync.dead == false()
        row = await self._reads.first(
            select(
                func.count(case((waiting, 1))).label("pending"),
                func.count(case((ProductSync.dead == true(), 1))).label("dead"),
                func.min(case((waiting, ProductSync.first_pending_at))).label("oldest_pending_at"),
            ).where(ProductSync.pending == true())
        )
        if row is None:
            return SyncStatus(0, 0, None)
        return SyncStatus(row.pending, row.dead, row.oldest_pending_at)

    async def dead(self, limit: int = 100) -> Sequence[Row[Any]]:
        return await self._reads.all(
            select(ProductSync.product_id, ProductSync.version, ProductSync.last_error)
            .where(ProductSync.pending == true(), ProductSync.dead == true())
            .order_by(ProductSync.product_id)
            .limit(limit)
        )

    async def payloads(self, product_ids: Sequence[int]) -> dict[int, str]:
        rows = await self._reads.all(
            select(ProductSync.product_id, ProductSync.payload).where(
                ProductSync.product_id.in_(product_ids),
                # Deleted since its row was read: its tombstone holds no metadata.
                ProductSync.operation == SyncOperation.UPSERT,
            )
        )
        return {row.product_id: row.payload for row in rows}


def _keys(tags: Sequence[str]) -> set[str]:
    return {canonical(tag) for tag in tags}
