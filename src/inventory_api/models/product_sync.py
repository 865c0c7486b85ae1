"""The outbox from MySQL to MongoDB: one row a product, holding its latest metadata."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Boolean, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Base
from inventory_api.models.types import Id, LongText, UtcDateTime, Word


class SyncOperation(StrEnum):
    UPSERT = "upsert"
    DELETE = "delete"


class ProductSync(Base):
    """Not bound to `products` by a foreign key: the row of a deleted product carries its tombstone.

    `payload` is the metadata as the JSON text that the API answers, kept after it was applied: it
    is the durable copy, from which MongoDB is rebuilt. (Not the SQL type JSON: MySQL's reorders
    the members.)
    """

    __tablename__ = "product_sync"
    __table_args__ = (
        Index(None, "pending", "dead", "next_attempt_at"),
        {key: value for key, value in TABLE_OPTIONS.items() if key != "sqlite_autoincrement"},
    )

    product_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)
    operation: Mapped[SyncOperation] = mapped_column(Word(SyncOperation))
    name: Mapped[str] = mapped_column(String(150))
    payload: Mapped[str] = mapped_column(LongText)
    applied_version: Mapped[int] = mapped_column(BigInteger)
    pending: Mapped[bool] = mapped_column(Boolean)
    attempts: Mapped[int] = mapped_column(Integer)
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    dead: Mapped[bool] = mapped_column(Boolean)
    last_error: Mapped[str | None] = mapped_column(String(200))
    first_pending_at: Mapped[datetime] = mapped_column(UtcDateTime)
