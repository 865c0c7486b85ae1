"""From the parameters of the product list to SQL conditions."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, exists, or_

from inventory_api.kit.text import canonical
from inventory_api.models import Product, ProductTag, StockTotal
from inventory_api.products.schemas import ProductInclude, ProductQuery, ProductSort

_STOCK_SORTS = {ProductSort.STOCK, ProductSort.STOCK_DOWN}


def needs_stock(query: ProductQuery) -> bool:
    """Whether the totals have to be joined."""
    return (
        ProductInclude.STOCK in query.include
        or query.sort in _STOCK_SORTS
        or query.stock_min is not None
        or query.stock_max is not None
    )


_COMPARISONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "category_id": lambda value: Product.category_id == value,
    "supplier_id": lambda value: Product.supplier_id == value,
    "status": lambda value: Product.status == value,
    "price_min": lambda value: Product.selling_price >= value,
    "price_max": lambda value: Product.selling_price <= value,
    "stock_min": lambda value: StockTotal.on_hand >= value,
    "stock_max": lambda value: StockTotal.on_hand <= value,
    "sku": lambda value: Product.sku_key == canonical(value),
    "barcode": lambda value: Product.barcode_key == canonical(value),
    "q": lambda value: or_(
        Product.name_key.contains(canonical(value), autoescape=True),
        Product.sku_key.contains(canonical(value), autoescape=True),
    ),
    "tag": lambda value: exists().where(
        ProductTag.product_id == Product.id, ProductTag.tag_key == canonical(value)
    ),
    "updated_since": lambda value: Product.updated_at >= value,
    "expires_before": lambda value: Product.expiry_date < value,
}


def conditions(query: ProductQuery) -> list[ColumnElement[bool]]:
    """What every row has to meet; `spec`, which is MongoDB's, apart."""
    return [
        comparison(value)
        for name, comparison in _COMPARISONS.items()
        if (value := getattr(query, name)) is not None
    ]
