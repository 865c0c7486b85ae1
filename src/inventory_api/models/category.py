"""Categories that group products."""

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Audited, Base
from inventory_api.models.types import Id, Key


class Category(Audited, Base):
    """`name_key` is the canonical form of `name`; it decides uniqueness."""

    __tablename__ = "categories"
    __table_args__ = (UniqueConstraint("name_key"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(150))
    name_key: Mapped[str] = mapped_column(Key)
    description: Mapped[str | None] = mapped_column(Text)
