"""Operations on suppliers."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response

from inventory_api.auth.dependencies import CatalogWriter, Viewer
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
from inventory_api.kit.text import search_key
from inventory_api.models import Supplier as SupplierRow
from inventory_api.suppliers.dependencies import (
    SupplierById,
    SupplierId,
    SupplierReadsDep,
    SupplierRepositoryDep,
)
from inventory_api.suppliers.errors import SupplierNotFound
from inventory_api.suppliers.repository import SORTING
from inventory_api.suppliers.schemas import (
    Supplier,
    SupplierCreate,
    SupplierPage,
    SupplierQuery,
    SupplierUpdate,
)

router = new_router("/suppliers", tags=["suppliers"])

_DEFAULTS = dict.fromkeys(("contact_name", "email", "phone", "address"))


def _without_conflict(responses: Responses) -> Responses:
    """Two suppliers may have the same name, so nothing that is written contradicts another."""
    return {status: response for status, response in responses.items() if status != 409}


def _document(supplier: Any) -> dict[str, Any]:
    return {name: getattr(supplier, name) for name in Supplier.model_fields}


async def _documents(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [_document(row) for row in rows]


def _values(body: SupplierCreate | SupplierUpdate) -> dict[str, Any]:
    """The row's columns for what the body gives."""
    values = body.model_dump()
    if "name" in values:
        values["name_key"] = search_key(values["name"])
    return values


@router.get(
    "",
    response_model=SupplierPage,
    response_description="A page of suppliers.",
    summary="List suppliers",
    responses=LIST_RESPONSES,
)
async def list_suppliers(
    request: Request,
    actor: Viewer,
    query: Annotated[SupplierQuery, Query()],
    suppliers: SupplierReadsDep,
) -> Response:
    """Suppliers by name, page by page."""
    return await page(
        request,
        query,
        fetch=suppliers.page,
        count=suppliers.count,
        position_of=lambda row: SORTING.position_of(query.sort, row),
        present=_documents,
    )


@router.post(
    "",
    response_model=Supplier,
    status_code=201,
    response_description="The supplier.",
    summary="Create a supplier",
    responses=_without_conflict(CREATE_RESPONSES),
)
async def create_supplier(
    actor: CatalogWriter, body: SupplierCreate, suppliers: SupplierRepositoryDep
) -> Response:
    """Only the name has to be given."""
    supplier = await suppliers.add(SupplierRow(**_DEFAULTS | _values(body)))
    return resource(
        _document(supplier),
        etag(supplier.version),
        status=201,
        location=f"/api/suppliers/{supplier.id}",
    )


@router.get(
    "/{supplier_id}",
    response_model=Supplier,
    response_description="The supplier.",
    summary="Get a supplier",
    responses=GET_RESPONSES,
)
async def get_supplier(
    actor: Viewer,
    supplier_id: SupplierId,
    suppliers: SupplierReadsDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One supplier."""
    row = await suppliers.one(supplier_id)
    if row is None:
        raise SupplierNotFound
    return resource(_document(row), etag(row.version), if_none_match=if_none_match)


@router.put(
    "/{supplier_id}",
    response_model=Supplier,
    response_description="The supplier as it is now.",
    summary="Replace a supplier",
    responses=_without_conflict(CHANGE_RESPONSES),
)
async def replace_supplier(
    actor: CatalogWriter,
    supplier: SupplierById,
    body: SupplierCreate,
    suppliers: SupplierRepositoryDep,
    if_match: IfMatch = None,
) -> Response:
    """The whole supplier: an absent optional member takes its default."""
    require_match(if_match, supplier.version)
    await suppliers.change(supplier, _DEFAULTS | _values(body))
    return resource(_document(supplier), etag(supplier.version))


@router.patch(
    "/{supplier_id}",
    response_model=Supplier,
    response_description="The supplier as it is now.",
    summary="Update a supplier",
    responses=_without_conflict(CHANGE_RESPONSES),
)
async def update_supplier(
    actor: CatalogWriter,
    supplier: SupplierById,
    body: SupplierUpdate,
    suppliers: SupplierRepositoryDep,
    if_match: IfMatch = None,
) -> Response:
    """Only the members given change (RFC 7396)."""
    require_match(if_match, supplier.version)
    await suppliers.change(supplier, _values(body))
    return resource(_document(supplier), etag(supplier.version))


@router.delete(
    "/{supplier_id}",
    status_code=204,
    response_class=Response,
    response_description="It is gone.",
    summary="Delete a supplier",
    responses=DELETE_RESPONSES,
)
async def delete_supplier(
    actor: CatalogWriter,
    supplier: SupplierById,
    suppliers: SupplierRepositoryDep,
    if_match: IfMatch = None,
) -> Response:
    """Only a supplier without products can go; 409 names how many it has."""
    require_match(if_match, supplier.version)
    await suppliers.remove(supplier)
    return Response(status_code=204)
