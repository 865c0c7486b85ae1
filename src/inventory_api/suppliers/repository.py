"""Suppliers in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, exc, func, select

from inventory_api.kit.constraints import violated_constraint
from inventory_api.kit.repository import Repository
from inventory_api.kit.sorting import Listing, Sorting, SortKey
from inventory_api.kit.text import canonical
from inventory_api.models import Product, Supplier
from inventory_api.stores.sql import ReadSession
from inventory_api.suppliers.errors import SupplierInUse
from inventory_api.suppliers.schemas import SupplierQuery, SupplierSort

_COLUMNS = (
    Supplier.id,
    Supplier.name,
    Supplier.name_key,
    Supplier.contact_name,
    Supplier.email,
    Supplier.phone,
    Supplier.address,
    Supplier.version,
    Supplier.created_at,
    Supplier.updated_at,
)
_BY_ID = select(*_COLUMNS).where(Supplier.id == bindparam("supplier_id"))

SORTING = Sorting(
    Supplier.id,
    {
        SupplierSort.ID: SortKey(Supplier.id),
        SupplierSort.ID_DOWN: SortKey(Supplier.id, descending=True),
        SupplierSort.NAME: SortKey(Supplier.name_key),
        SupplierSort.NAME_DOWN: SortKey(Supplier.name_key, descending=True),
    },
)
_LISTING = Listing(_COLUMNS, SORTING)


class SupplierRepository(Repository[Supplier]):
    model = Supplier

    async def remove(self, supplier: Supplier) -> None:
        """Raises: SupplierInUse: the foreign key holds it; the answer says for how many."""
        supplier_id = supplier.id
        try:
            await super().remove(supplier)
        except exc.DBAPIError as error:
            if violated_constraint(error, Product.metadata) != "fk_products_supplier_id_suppliers":
                raise
            await self.session.rollback()
            counted = select(func.count()).where(Product.supplier_id == supplier_id)
            raise SupplierInUse(await self.session.scalar(counted) or 0) from error


class SupplierReads:
    def __init__(self, reads: ReadSession) -> None:
        self._reads = reads

    async def one(self, supplier_id: int) -> Row[Any] | None:
        return await self._reads.first(_BY_ID, {"supplier_id": supplier_id})

    async def page(
        self, query: SupplierQuery, start: list[str | int] | None, limit: int
    ) -> Sequence[Row[Any]]:
        return await self._reads.all(_LISTING.page(_conditions(query), query.sort, start, limit))

    async def count(self, query: SupplierQuery) -> int:
        return await self._reads.count(_LISTING.count(_conditions(query)))


def _conditions(query: SupplierQuery) -> list[ColumnElement[bool]]:
    if query.q is None:
        return []
    return [Supplier.name_key.contains(canonical(query.q), autoescape=True)]
