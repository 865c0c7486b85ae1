"""Products in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Row, bindparam, select

from inventory_api.kit import json
from inventory_api.kit.repository import Repository
from inventory_api.kit.sorting import Listing, Sorting, SortKey
from inventory_api.models import Product, ProductSync, StockTotal
from inventory_api.products.errors import (
    BarcodeTaken,
    SkuTaken,
    UnknownCategory,
    UnknownSupplier,
)
from inventory_api.products.filters import conditions, needs_stock
from inventory_api.products.schemas import ProductQuery, ProductSort
from inventory_api.stores.sql import ReadSession

_COLUMNS = (
    Product.id,
    Product.sku,
    Product.sku_key,
    Product.barcode,
    Product.name,
    Product.name_key,
    Product.description,
    Product.category_id,
    Product.supplier_id,
    Product.cost_price,
    Product.selling_price,
    Product.unit,
    Product.reorder_level,
    Product.expiry_date,
    Product.status,
    Product.version,
    Product.created_at,
    Product.updated_at,
)
_STOCK = (
    StockTotal.on_hand,
    StockTotal.reserved,
    StockTotal.version.label("stock_version"),
)
_ONE = (
    select(*_COLUMNS, ProductSync.payload, ProductSync.pending)
    .join(ProductSync, ProductSync.product_id == Product.id)
    .where(Product.id == bindparam("product_id"))
)
_ONE_WITH_STOCK = _ONE.add_columns(*_STOCK).join(StockTotal, StockTotal.product_id == Product.id)

SORTING = Sorting(
    Product.id,
    {
        ProductSort.ID: SortKey(Product.id),
        ProductSort.ID_DOWN: SortKey(Product.id, descending=True),
        ProductSort.NAME: SortKey(Product.name_key),
        ProductSort.NAME_DOWN: SortKey(Product.name_key, descending=True),
        ProductSort.SKU: SortKey(Product.sku_key),
        ProductSort.SKU_DOWN: SortKey(Product.sku_key, descending=True),
        ProductSort.SELLING_PRICE: SortKey(Product.selling_price, parse=Decimal),
        ProductSort.SELLING_PRICE_DOWN: SortKey(
            Product.selling_price, descending=True, parse=Decimal
        ),
        ProductSort.STOCK: SortKey(StockTotal.on_hand),
        ProductSort.STOCK_DOWN: SortKey(StockTotal.on_hand, descending=True),
        ProductSort.CREATED_AT: SortKey(Product.created_at, parse=datetime.fromisoformat),
        ProductSort.CREATED_AT_DOWN: SortKey(
            Product.created_at, descending=True, parse=datetime.fromisoformat
        ),
        ProductSort.UPDATED_AT: SortKey(Product.updated_at, parse=datetime.fromisoformat),
        ProductSort.UPDATED_AT_DOWN: SortKey(
            Product.updated_at, descending=True, parse=datetime.fromisoformat
        ),
    },
)
_LISTING = Listing(_COLUMNS, SORTING)
_LISTING_WITH_STOCK = Listing((*_COLUMNS, *_STOCK), SORTING)


@dataclass(frozen=True, slots=True)
class StoredProduct:
    """A product that is about to be changed, with its metadata as it is."""

    row: Product
    metadata: dict[str, Any]
    pending: bool


class ProductRepository(Repository[Product]):
    model = Product
    errors: ClassVar = {
        "uq_products_sku_key": SkuTaken,
        "uq_products_barcode_key": BarcodeTaken,
        "fk_products_category_id_categories": UnknownCategory,
        "fk_products_supplier_id_suppliers": UnknownSupplier,
    }

    async def stored(self, product_id: int) -> StoredProduct | None:
        """The product, locked: changes to it queue here, where each then reads the one before.

        The version still decides, since another node of a cluster does not see the lock.
        """
        found = await self.session.execute(
            select(Product, ProductSync.payload, ProductSync.pending)
            .join(ProductSync, ProductSync.product_id == Product.id)
            .where(Product.id == product_id)
            .with_for_update()
        )
        row = found.one_or_none()
        if row is None:
            return None
        return StoredProduct(row[0], json.read(row.payload.encode()), row.pending)


class ProductReads:
    def __init__(self, reads: ReadSession) -> None:
        self._reads = reads

    async def one(self, product_id: int, *, stock: bool) -> Row[Any] | None:
        """The product with its metadata's durable copy; with its totals when asked."""
        statement = _ONE_WITH_STOCK if stock else _ONE
        return await self._reads.first(statement, {"product_id": product_id})

    async def page(
        self,
        query: ProductQuery,
        start: list[str | int] | None,
        limit: int,
        among: Sequence[int] | None = None,
    ) -> Sequence[Row[Any]]:
        """A page of the list. Args: among: only these products."""
        wanted = conditions(query)
        if among is not None:
            wanted.append(Product.id.in_(among))
        if needs_stock(query):
            statement = _LISTING_WITH_STOCK.page(wanted, query.sort, start, limit).join(
                StockTotal, StockTotal.product_id == Product.id
            )
        else:
            statement = _LISTING.page(wanted, query.sort, start, limit)
        return await self._reads.all(statement)

    async def count(self, query: ProductQuery) -> int:
        statement = _LISTING.count(conditions(query))
        if query.stock_min is not None or query.stock_max is not None:
            statement = statement.join(StockTotal, StockTotal.product_id == Product.id)
        return await self._reads.count(statement)
