"""Suppliers that products are bought from."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Audited, Base
from inventory_api.models.types import Id, Key


class Supplier(Audited, Base):
    """Names need not be unique: two branches of one company may share theirs."""

    __tablename__ = "suppliers"
    __table_args__ = (Index(None, "name_key", "id"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(150))
    name_key: Mapped[str] = mapped_column(Key)
    contact_name: Mapped[str | None] = mapped_column(String(150))
    email: Mapped[str | None] = mapped_column(String(254))
    phone: Mapped[str | None] = mapped_column(String(50))
    address: Mapped[str | None] = mapped_column(Text)
