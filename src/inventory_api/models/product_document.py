"""The query model in MongoDB: one document a product, written by the metadata relay alone."""

from datetime import datetime
from typing import Any, ClassVar

from beanie import Document
from pymongo import IndexModel


class ProductDocument(Document):
    """`id` is the product's; `version` guards every write, so that an older state never wins.

    `spec_terms` holds `key=value` for each scalar specification: one multikey index answers every
    `spec=` filter, which a wildcard index would do only on MongoDB itself.
    """

    id: int  # type: ignore[assignment]
    product_id: int
    name: str | None = None
    version: int
    deleted: bool = False
    deleted_at: datetime | None = None
    tags: list[str] = []
    specifications: dict[str, Any] = {}
    spec_terms: list[str] = []
    care_instructions: str | None = None
    seo_title: str | None = None
    seo_description: str | None = None
    vendor_notes: str | None = None

    class Settings:
        name = "product_metadata"
        indexes: ClassVar[list[IndexModel]] = [
            # Walks go by product_id: the embedded server answers a range on _id with a full scan.
            IndexModel([("product_id", 1)], name="product_id"),
            IndexModel([("spec_terms", 1), ("product_id", 1)], name="spec_terms_product_id"),
        ]
