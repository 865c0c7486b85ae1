"""What the operations on products require."""

from typing import Annotated

from fastapi import Depends, Path, Request

from inventory_api.kit.schemas import ParameterId
from inventory_api.metadata.sync_repository import SyncReads
from inventory_api.products.errors import ProductNotFound
from inventory_api.products.repository import ProductReads, StoredProduct
from inventory_api.products.service import ProductCatalog, ProductService
from inventory_api.stores.sql import ReadSessionDep, WriteSessionDep

ProductId = Annotated[ParameterId, Path(description="Id of the product.", examples=[1])]


async def product_service(request: Request, session: WriteSessionDep) -> ProductService:
    return ProductService(session, request.app.state.relay)


async def product_catalog(request: Request, reads: ReadSessionDep) -> ProductCatalog:
    state = request.app.state
    return ProductCatalog(
        ProductReads(reads), SyncReads(reads), state.mongo, state.settings.currency
    )


ProductServiceDep = Annotated[ProductService, Depends(product_service)]
ProductCatalogDep = Annotated[ProductCatalog, Depends(product_catalog)]


async def product_by_id(product_id: ProductId, products: ProductServiceDep) -> StoredProduct:
    """Raises: ProductNotFound."""
    stored = await products.stored(product_id)
    if stored is None:
        raise ProductNotFound
    return stored


ProductById = Annotated[StoredProduct, Depends(product_by_id)]
"""A product that is about to be changed, with its metadata."""
