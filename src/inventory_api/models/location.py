"""Places where stock lies."""

from sqlalchemy import Boolean, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Audited, Base
from inventory_api.models.types import Id, Key

MAIN = "MAIN"
"""Code of the location that the first migration makes."""


class Location(Audited, Base):
    __tablename__ = "locations"
    __table_args__ = (UniqueConstraint("code_key"), TABLE_OPTIONS)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    code: Mapped[str] = mapped_column(String(32))
    code_key: Mapped[str] = mapped_column(Key)
    name: Mapped[str] = mapped_column(String(150))
    is_active: Mapped[bool] = mapped_column(Boolean)
