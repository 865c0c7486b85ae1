"""The stock ledger: documents with their movements, and the levels and totals they add up to.

Movements are append-only: no code path changes or deletes one. They hold no foreign key to the
product, since the ledger outlives it.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Base
from inventory_api.models.types import Id, Money, UtcDateTime, Word

_KEYED_OPTIONS = {
    key: value for key, value in TABLE_OPTIONS.items() if key != "sqlite_autoincrement"
}


class DocumentKind(StrEnum):
    OPENING = "opening"
    ADJUSTMENT = "adjustment"


class StockLevel(Base):
    """What lies of a product at a location, in the product's unit."""

    __tablename__ = "stock_levels"
    __table_args__ = (
        CheckConstraint("reserved >= 0 AND reserved <= on_hand", name="reserved_within_on_hand"),
        Index(None, "location_id"),
        _KEYED_OPTIONS,
    )

    product_id: Mapped[int] = mapped_column(
        Id, ForeignKey("products.id"), primary_key=True, autoincrement=False
    )
    location_id: Mapped[int] = mapped_column(
        Id, ForeignKey("locations.id"), primary_key=True, autoincrement=False
    )
    on_hand: Mapped[int] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger)


class StockTotal(Base):
    """The sums over all locations; every product has its row. `version` is the stock's ETag."""

    __tablename__ = "stock_totals"
    __table_args__ = (
        CheckConstraint("reserved >= 0 AND reserved <= on_hand", name="reserved_within_on_hand"),
        Index(None, "on_hand", "product_id"),
        _KEYED_OPTIONS,
    )

    product_id: Mapped[int] = mapped_column(
        Id, ForeignKey("products.id"), primary_key=True, autoincrement=False
    )
    on_hand: Mapped[int] = mapped_column(BigInteger)
    reserved: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)


class StockDocument(Base):
    """Why stock changed: one business event with one or more movements."""

    __tablename__ = "stock_documents"
    __table_args__ = (UniqueConstraint("reverses"), Index(None, "kind", "id"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[DocumentKind] = mapped_column(Word(DocumentKind))
    reference: Mapped[str | None] = mapped_column(String(100))
    note: Mapped[str | None] = mapped_column(Text)
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reverses: Mapped[int | None] = mapped_column(ForeignKey("stock_documents.id"))


class StockMovement(Base):
    """One line of a document. `sku` is the product's as it was, `quantity` is signed."""

    __tablename__ = "stock_movements"
    __table_args__ = (
        Index(None, "product_id", "occurred_at"),
        Index(None, "product_id", "location_id", "id"),
        Index(None, "document_id"),
        TABLE_OPTIONS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("stock_documents.id"))
    product_id: Mapped[int] = mapped_column(Id)
    sku: Mapped[str] = mapped_column(String(64))
    location_id: Mapped[int] = mapped_column(ForeignKey("locations.id"))
    quantity: Mapped[int] = mapped_column(BigInteger)
    on_hand_after: Mapped[int] = mapped_column(BigInteger)
    unit_cost: Mapped[Decimal | None] = mapped_column(Money)
    reason: Mapped[str | None] = mapped_column(String(32))
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
