"""The declarative base: naming convention, table defaults, audited tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from inventory_api.models.types import UtcDateTime

TABLE_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    # Code point by code point: the general collations hold all emoji equal, and "José" and "jose".
    "mysql_collate": "utf8mb4_bin",
    # A reused id would meet the tombstone of the product that had it before.
    "sqlite_autoincrement": True,
}


class Base(DeclarativeBase):
    """Every constraint has a name, since names decide which error a client sees."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __table_args__: Any = TABLE_OPTIONS


class Audited:
    """Marks a table that changes only through ORM flushes, where its version and history live.

    `stores/sql.py` refuses Core INSERT, UPDATE and DELETE statements on it.
    """

    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}
