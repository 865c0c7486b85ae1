"""Products: the catalogue's rows. Quantities live in `models/stock.py`, never here."""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Audited, Base
from inventory_api.models.types import Id, Key, Money, Word


class ProductStatus(StrEnum):
    """Whether a product is offered. Inactive ones keep their stock and history."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class Product(Audited, Base):
    """`version` rises by one with each change of the row or of its metadata; it is the ETag."""

    __tablename__ = "products"
    __table_args__ = (
        UniqueConstraint("sku_key"),
        UniqueConstraint("barcode_key"),
        CheckConstraint("cost_price >= 0", name="cost_price_not_negative"),
        CheckConstraint("selling_price >= 0", name="selling_price_not_negative"),
        CheckConstraint("reorder_level >= 0", name="reorder_level_not_negative"),
        Index(None, "name_key", "id"),
        Index(None, "category_id", "id"),
        Index(None, "supplier_id", "id"),
        Index(None, "status", "id"),
        Index(None, "selling_price", "id"),
        Index(None, "updated_at", "id"),
        Index(None, "created_at", "id"),
        TABLE_OPTIONS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sku: Mapped[str] = mapped_column(String(64))
    sku_key: Mapped[str] = mapped_column(Key)
    barcode: Mapped[str | None] = mapped_column(String(64))
    barcode_key: Mapped[str | None] = mapped_column(Key)
    name: Mapped[str] = mapped_column(String(150))
    name_key: Mapped[str] = mapped_column(Key)
    description: Mapped[str | None] = mapped_column(Text)
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))
    supplier_id: Mapped[int | None] = mapped_column(ForeignKey("suppliers.id"))
    cost_price: Mapped[Decimal] = mapped_column(Money)
    selling_price: Mapped[Decimal] = mapped_column(Money)
    unit: Mapped[str] = mapped_column(String(16))
    reorder_level: Mapped[int] = mapped_column(Integer)
    expiry_date: Mapped[date | None] = mapped_column(Date)
    status: Mapped[ProductStatus] = mapped_column(Word(ProductStatus))
