"""Operations on products and their metadata."""

from typing import Annotated

from fastapi import Query, Request, Response

from inventory_api.auth.dependencies import CatalogWriter, Viewer
from inventory_api.http import openapi_components as components
from inventory_api.http.conditional import IfMatch, IfNoneMatch, etag, require_match, resource
from inventory_api.http.openapi import (
    CHANGE_RESPONSES,
    CREATE_RESPONSES,
    DELETE_RESPONSES,
    GET_RESPONSES,
    LIST_RESPONSES,
    Responses,
)
from inventory_api.http.pagination import page
from inventory_api.http.route import new_router
from inventory_api.metadata.schemas import (
    ProductMetadata,
    ProductMetadataInput,
    ProductMetadataUpdate,
    replaced,
)
from inventory_api.products.dependencies import (
    ProductById,
    ProductCatalogDep,
    ProductId,
    ProductServiceDep,
)
from inventory_api.products.errors import ProductNotFound
from inventory_api.products.repository import SORTING
from inventory_api.products.schemas import (
    Product,
    ProductCreate,
    ProductExtra,
    ProductPage,
    ProductQuery,
    ProductReplace,
    ProductUpdate,
    ProductView,
)
from inventory_api.products.service import ProductState, raw_json

router = new_router("/products", tags=["products"])


def _with_sync(responses: Responses, status: int = 200) -> Responses:
    """The same responses, the success one with the header Metadata-Sync."""
    named = responses[status]["headers"] | components.headers("MetadataSync")
    return responses | {status: {"headers": named}}


def _sync_header(pending: bool) -> dict[str, str]:
    # A header and not a member: it changes without a new version, under the same strong ETag.
    return {"Metadata-Sync": "pending" if pending else "synced"}


def _changed(state: ProductState, catalog: ProductCatalogDep) -> Response:
    return resource(
        catalog.document(state), etag(state.row.version), headers=_sync_header(state.pending)
    )


def _metadata(state: ProductState, if_none_match: str | None = None) -> Response:
    return resource(
        state.metadata,
        etag(state.row.version),
        if_none_match=if_none_match,
        headers=_sync_header(state.pending),
    )


@router.get(
    "/{product_id}",
    response_model=Product,
    response_description="The product.",
    summary="Get a product",
    responses=_with_sync(GET_RESPONSES),
)
async def get_product(
    actor: Viewer,
    product_id: ProductId,
    view: Annotated[ProductView, Query()],
    catalog: ProductCatalogDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One product with its metadata; it never depends on MongoDB's health."""
    stock = ProductExtra.STOCK in view.include
    row = await catalog.one(product_id, stock=stock)
    if row is None:
        raise ProductNotFound
    state = ProductState(row, raw_json(row.payload), row.pending)
    return resource(
        catalog.document(state, stock=stock),
        etag(row.version, row.stock_version if stock else None),
        if_none_match=if_none_match,
        headers=_sync_header(state.pending),
    )


@router.get(
    "",
    response_model=ProductPage,
    response_description="A page of products.",
    summary="List products",
    responses=LIST_RESPONSES,
)
async def list_products(
    request: Request,
    actor: Viewer,
    query: Annotated[ProductQuery, Query()],
    catalog: ProductCatalogDep,
) -> Response:
    """Products page by page; all filters that are given must hold."""
    return await page(
        request,
        query,
        fetch=catalog.page,
        count=catalog.count,
        position_of=lambda row: SORTING.position_of(query.sort, row),
        present=lambda rows: catalog.present(query, rows),
    )


@router.post(
    "",
    response_model=Product,
    status_code=201,
    response_description="The product.",
    summary="Create a product",
    responses=_with_sync(CREATE_RESPONSES, 201),
)
async def create_product(
    actor: CatalogWriter,
    body: ProductCreate,
    products: ProductServiceDep,
    catalog: ProductCatalogDep,
) -> Response:
    """A product with its metadata; `quantity_in_stock` is booked as its opening stock."""
    state = await products.create(body, actor.id)
    return resource(
        catalog.document(state),
        etag(state.row.version),
        status=201,
        location=f"/api/products/{state.row.id}",
        headers=_sync_header(state.pending),
    )


@router.put(
    "/{product_id}",
    response_model=Product,
    response_description="The product as it is now.",
    summary="Replace a product",
    responses=_with_sync(CHANGE_RESPONSES),
)
async def replace_product(
    actor: CatalogWriter,
    product: ProductById,
    body: ProductReplace,
    products: ProductServiceDep,
    catalog: ProductCatalogDep,
    if_match: IfMatch = None,
) -> Response:
    """The whole product: an absent optional member, metadata included, takes its default."""
    require_match(if_match, product.row.version)
    return _changed(await products.replace(product, body), catalog)


@router.patch(
    "/{product_id}",
    response_model=Product,
    response_description="The product as it is now.",
    summary="Update a product",
    responses=_with_sync(CHANGE_RESPONSES),
)
async def update_product(
    actor: CatalogWriter,
    product: ProductById,
    body: ProductUpdate,
    products: ProductServiceDep,
    catalog: ProductCatalogDep,
    if_match: IfMatch = None,
) -> Response:
    """Only the members given change (RFC 7396); `metadata` merges too, null empties it."""
    require_match(if_match, product.row.version)
    return _changed(await products.update(product, body), catalog)


@router.delete(
    "/{product_id}",
    status_code=204,
    response_class=Response,
    response_description="It is gone.",
    summary="Delete a product",
    responses={key: value for key, value in DELETE_RESPONSES.items() if key != 409},
)
async def delete_product(
    actor: CatalogWriter,
    product: ProductById,
    products: ProductServiceDep,
    if_match: IfMatch = None,
) -> Response:
    """Its remaining stock is written off; the stock ledger keeps its movements."""
    require_match(if_match, product.row.version)
    await products.delete(product, actor.id)
    return Response(status_code=204)


@router.get(
    "/{product_id}/metadata",
    response_model=ProductMetadata,
    response_description="The metadata.",
    summary="Get a product's metadata",
    responses=_with_sync(GET_RESPONSES),
)
async def get_product_metadata(
    actor: Viewer,
    product_id: ProductId,
    catalog: ProductCatalogDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The metadata alone; its ETag is the product's."""
    row = await catalog.one(product_id, stock=False)
    if row is None:
        raise ProductNotFound
    return _metadata(ProductState(row, raw_json(row.payload), row.pending), if_none_match)


@router.put(
    "/{product_id}/metadata",
    response_model=ProductMetadata,
    response_description="The metadata as it is now.",
    summary="Replace a product's metadata",
    responses=_with_sync({key: v for key, v in CHANGE_RESPONSES.items() if key != 409}),
)
async def replace_product_metadata(
    actor: CatalogWriter,
    product: ProductById,
    body: ProductMetadataInput,
    products: ProductServiceDep,
    if_match: IfMatch = None,
) -> Response:
    """The whole metadata: absent members are empty."""
    require_match(if_match, product.row.version)
    return _metadata(await products.replace_metadata(product, replaced(body)))


@router.patch(
    "/{product_id}/metadata",
    response_model=ProductMetadata,
    response_description="The metadata as it is now.",
    summary="Update a product's metadata",
    responses=_with_sync({key: v for key, v in CHANGE_RESPONSES.items() if key != 409}),
)
async def update_product_metadata(
    actor: CatalogWriter,
    product: ProductById,
    body: ProductMetadataUpdate,
    products: ProductServiceDep,
    if_match: IfMatch = None,
) -> Response:
    """Only the members given change (RFC 7396), down into `specifications`."""
    require_match(if_match, product.row.version)
    return _metadata(await products.update_metadata(product, body))
