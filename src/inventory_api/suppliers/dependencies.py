"""What the operations on suppliers require."""

from typing import Annotated

from fastapi import Depends, Path

from inventory_api.kit.schemas import ParameterId
from inventory_api.models import Supplier
from inventory_api.stores.sql import ReadSessionDep, WriteSessionDep
from inventory_api.suppliers.errors import SupplierNotFound
from inventory_api.suppliers.repository import SupplierReads, SupplierRepository

SupplierId = Annotated[ParameterId, Path(description="Id of the supplier.", examples=[1])]


async def supplier_repository(session: WriteSessionDep) -> SupplierRepository:
    return SupplierRepository(session)


async def supplier_reads(reads: ReadSessionDep) -> SupplierReads:
    return SupplierReads(reads)


SupplierRepositoryDep = Annotated[SupplierRepository, Depends(supplier_repository)]
SupplierReadsDep = Annotated[SupplierReads, Depends(supplier_reads)]


async def supplier_by_id(supplier_id: SupplierId, suppliers: SupplierRepositoryDep) -> Supplier:
    """Raises: SupplierNotFound."""
    supplier = await suppliers.get(supplier_id)
    if supplier is None:
        raise SupplierNotFound
    return supplier


SupplierById = Annotated[Supplier, Depends(supplier_by_id)]
"""A supplier that is about to be changed."""
