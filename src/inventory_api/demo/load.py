"""Fill a store with the demo catalogue, through the same services as the API."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import partial
from typing import Any

from sqlalchemy import select

from inventory_api.categories.repository import CategoryRepository
from inventory_api.demo import catalogue
from inventory_api.kit.text import canonical, search_key
from inventory_api.metadata.relay import Relay
from inventory_api.models import Category, Product, Supplier
from inventory_api.products.schemas import ProductCreate
from inventory_api.products.service import ProductService
from inventory_api.stores.sql import Database, WriteSession, run_unit
from inventory_api.suppliers.repository import SupplierRepository

BATCH = 50

Progress = Callable[[int, int], None]


async def load(
    database: Database, relay: Relay, today: date, progress: Progress = lambda done, total: None
) -> int:
    """Add what is not there yet; running it again, or after an interruption, completes it.

    Args:
        progress: called with (products looked at, products in all).

    Returns:
        How many products were added.
    """
    categories = await run_unit(database, _add_categories)
    suppliers = await run_unit(database, _add_suppliers)
    products = catalogue.products(today)
    added = 0
    for start in range(0, len(products), BATCH):
        bodies = [
            _body(product, categories, suppliers) for product in products[start : start + BATCH]
        ]
        added += await run_unit(database, partial(_add_products, relay=relay, bodies=bodies))
        progress(min(start + BATCH, len(products)), len(products))
    return added


async def _add_categories(session: WriteSession) -> dict[str, int]:
    repository = CategoryRepository(session)
    found = await session.execute(select(Category.name_key, Category.id))
    ids = {row.name_key: row.id for row in found}
    for category in catalogue.categories():
        key = canonical(category.name)
        if key not in ids:
            added = await repository.add(
                Category(name=category.name, name_key=key, description=category.description)
            )
            ids[key] = added.id
    return ids


async def _add_suppliers(session: WriteSession) -> dict[str, int]:
    repository = SupplierRepository(session)
    found = await session.execute(select(Supplier.name_key, Supplier.id))
    ids = {row.name_key: row.id for row in found}
    for supplier in catalogue.suppliers():
        key = search_key(supplier.name)
        if key not in ids:
            ids[key] = (await repository.add(Supplier(**asdict(supplier), name_key=key))).id
    return ids


def _body(
    product: catalogue.DemoProduct, categories: dict[str, int], suppliers: dict[str, int]
) -> ProductCreate:
    """The product as a client would send it."""
    values: dict[str, Any] = asdict(product)
    category, supplier = values.pop("category"), values.pop("supplier")
    values |= {
        "category_id": categories[canonical(category)],
        "supplier_id": None if supplier is None else suppliers[search_key(supplier)],
        "cost_price": str(product.cost_price),
        "selling_price": str(product.selling_price),
        "expiry_date": product.expiry_date and product.expiry_date.isoformat(),
    }
    return ProductCreate.model_validate(values)


async def _add_products(session: WriteSession, relay: Relay, bodies: list[ProductCreate]) -> int:
    service = ProductService(session, relay)
    keys = [canonical(body.sku) for body in bodies]
    there = set(await session.scalars(select(Product.sku_key).where(Product.sku_key.in_(keys))))
    new = [body for body, key in zip(bodies, keys, strict=True) if key not in there]
    for body in new:
        await service.create(body, actor_id=None)
    return len(new)
