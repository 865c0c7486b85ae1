"""Tags as rows, so that `tag` filters like any other column."""

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Base
from inventory_api.models.types import Id, Key


class ProductTag(Base):
    """`tag_key` is the canonical form of a tag in the product's metadata."""

    __tablename__ = "product_tags"
    __table_args__ = (
        Index(None, "product_id"),
        {key: value for key, value in TABLE_OPTIONS.items() if key != "sqlite_autoincrement"},
    )

    tag_key: Mapped[str] = mapped_column(Key, primary_key=True)
    product_id: Mapped[int] = mapped_column(
        Id, ForeignKey("products.id", ondelete="CASCADE"), primary_key=True
    )
