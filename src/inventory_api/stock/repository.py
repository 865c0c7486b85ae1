"""The stock ledger in SQL: booking documents, and what they add up to."""

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.kit.clock import utc_now
from inventory_api.models import (
    DocumentKind,
    Location,
    Product,
    StockDocument,
    StockLevel,
    StockMovement,
    StockTotal,
)
from inventory_api.models.location import MAIN

PRODUCT_DELETED = "product_deleted"
"""The reason of the adjustment that writes off what a deleted product had."""


class StockRepository:
    """Books in the caller's transaction. Movements are added, never changed or removed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def open_product(self, product: Product, quantity: int, actor_id: int | None) -> None:
        """Give a new product its totals and book its opening stock at the default location."""
        self._session.add(
            StockTotal(product_id=product.id, on_hand=quantity, reserved=0, version=1)
        )
        if quantity > 0:
            location_id = await self._default_location()
            self._session.add(
                StockLevel(
                    product_id=product.id, location_id=location_id, on_hand=quantity, reserved=0
                )
            )
            now = utc_now()
            document_id = await self._add_document(DocumentKind.OPENING, actor_id, now)
            await self._add_movements(
                document_id, product, now, {location_id: (quantity, quantity)}
            )
        await self._session.flush()

    async def close_product(self, product: Product, actor_id: int | None) -> None:
        """Write off what a product that is being deleted has left; the ledger stays."""
        levels = (
            await self._session.execute(
                select(StockLevel.location_id, StockLevel.on_hand)
                .where(StockLevel.product_id == product.id)
                .order_by(StockLevel.location_id)
                .with_for_update()
            )
        ).all()
        remaining = {level.location_id: (-level.on_hand, 0) for level in levels if level.on_hand}
        if remaining:
            now = utc_now()
            document_id = await self._add_document(DocumentKind.ADJUSTMENT, actor_id, now)
            await self._add_movements(document_id, product, now, remaining, reason=PRODUCT_DELETED)
        for table in (StockLevel, StockTotal):
            await self._session.execute(
                delete(table)
                .where(table.product_id == product.id)
                .execution_options(synchronize_session=False)
            )

    async def _default_location(self) -> int:
        """The location that the first migration makes."""
        found = await self._session.execute(select(Location.id).where(Location.code == MAIN))
        return found.scalar_one()

    async def _add_document(
        self, kind: DocumentKind, actor_id: int | None, occurred_at: datetime
    ) -> int:
        document = StockDocument(
            kind=kind, actor_id=actor_id, occurred_at=occurred_at, recorded_at=utc_now()
        )
        self._session.add(document)
        await self._session.flush()
        return document.id

    async def _add_movements(
        self,
        document_id: int,
        product: Product,
        occurred_at: datetime,
        changes: dict[int, tuple[int, int]],
        *,
        reason: str | None = None,
    ) -> None:
        """Args: changes: location → (signed quantity, what lies there afterwards)."""
        await self._session.execute(
            insert(StockMovement),
            [
                {
                    "document_id": document_id,
                    "product_id": product.id,
                    "sku": product.sku,
                    "location_id": location_id,
                    "quantity": quantity,
                    "on_hand_after": on_hand_after,
                    "unit_cost": None,
                    "reason": reason,
                    "occurred_at": occurred_at,
                }
                for location_id, (quantity, on_hand_after) in changes.items()
            ],
        )
