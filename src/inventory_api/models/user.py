"""People and programs that may sign in."""

from enum import StrEnum

from sqlalchemy import Boolean, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Audited, Base
from inventory_api.models.types import Id, Key, Word


class Role(StrEnum):
    """What a user may do, from least to most; `auth/roles.py` maps each to its permissions."""

    STAFF = "staff"
    CLERK = "clerk"
    ADMIN = "admin"


class User(Audited, Base):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("username_key"),
        UniqueConstraint("email_key"),
        TABLE_OPTIONS,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    username: Mapped[str] = mapped_column(String(64))
    username_key: Mapped[str] = mapped_column(Key)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(Key)
    role: Mapped[Role] = mapped_column(Word(Role))
    is_active: Mapped[bool] = mapped_column(Boolean)
    password_hash: Mapped[str] = mapped_column(String(255))
