"""Operations on categories."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response

from inventory_api.auth.dependencies import CatalogWriter, Viewer
from inventory_api.categories.dependencies import (
    CategoryById,
    CategoryId,
    CategoryReadsDep,
    CategoryRepositoryDep,
)
from inventory_api.categories.errors import CategoryNotFound
from inventory_api.categories.repository import SORTING
from inventory_api.categories.schemas import (
    Category,
    CategoryCreate,
    CategoryPage,
    CategoryQuery,
    CategoryUpdate,
)
from inventory_api.http.conditional import IfMatch, IfNoneMatch, etag, require_match, resource
from inventory_api.http.openapi import (
    CHANGE_RESPONSES,
    CREATE_RESPONSES,
    DELETE_RESPONSES,
    GET_RESPONSES,
    LIST_RESPONSES,
)
from inventory_api.http.pagination import page
from inventory_api.http.route import new_router
from inventory_api.kit.text import canonical
from inventory_api.models import Category as CategoryRow

router = new_router("/categories", tags=["categories"])

_DEFAULTS = {"description": None}


def _document(category: Any) -> dict[str, Any]:
    return {name: getattr(category, name) for name in Category.model_fields}


async def _documents(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [_document(row) for row in rows]


def _values(body: CategoryCreate | CategoryUpdate) -> dict[str, Any]:
    """The row's columns for what the body gives."""
    values = body.model_dump()
    if "name" in values:
        values["name_key"] = canonical(values["name"])
    return values


@router.get(
    "",
    response_model=CategoryPage,
    response_description="A page of categories.",
    summary="List categories",
    responses=LIST_RESPONSES,
)
async def list_categories(
    request: Request,
    actor: Viewer,
    query: Annotated[CategoryQuery, Query()],
    categories: CategoryReadsDep,
) -> Response:
    """Categories by name, page by page."""
    return await page(
        request,
        query,
        fetch=categories.page,
        count=categories.count,
        position_of=lambda row: SORTING.position_of(query.sort, row),
        present=_documents,
    )


@router.post(
    "",
    response_model=Category,
    status_code=201,
    response_description="The category.",
    summary="Create a category",
    responses=CREATE_RESPONSES,
)
async def create_category(
    actor: CatalogWriter, body: CategoryCreate, categories: CategoryRepositoryDep
) -> Response:
    """Names are unique without regard to case and surrounding space."""
    category = await categories.add(CategoryRow(**_DEFAULTS | _values(body)))
    return resource(
        _document(category),
        etag(category.version),
        status=201,
        location=f"/api/categories/{category.id}",
    )


@router.get(
    "/{category_id}",
    response_model=Category,
    response_description="The category.",
    summary="Get a category",
    responses=GET_RESPONSES,
)
async def get_category(
    actor: Viewer,
    category_id: CategoryId,
    categories: CategoryReadsDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One category."""
    row = await categories.one(category_id)
    if row is None:
        raise CategoryNotFound
    return resource(_document(row), etag(row.version), if_none_match=if_none_match)


@router.put(
    "/{category_id}",
    response_model=Category,
    response_description="The category as it is now.",
    summary="Replace a category",
    responses=CHANGE_RESPONSES,
)
async def replace_category(
    actor: CatalogWriter,
    category: CategoryById,
    body: CategoryCreate,
    categories: CategoryRepositoryDep,
    if_match: IfMatch = None,
) -> Response:
    """The whole category: an absent optional member takes its default."""
    require_match(if_match, category.version)
    await categories.change(category, _DEFAULTS | _values(body))
    return resource(_document(category), etag(category.version))


@router.patch(
    "/{category_id}",
    response_model=Category,
    response_description="The category as it is now.",
    summary="Update a category",
    responses=CHANGE_RESPONSES,
)
async def update_category(
    actor: CatalogWriter,
    category: CategoryById,
    body: CategoryUpdate,
    categories: CategoryRepositoryDep,
    if_match: IfMatch = None,
) -> Response:
    """Only the members given change (RFC 7396)."""
    require_match(if_match, category.version)
    await categories.change(category, _values(body))
    return resource(_document(category), etag(category.version))


@router.delete(
    "/{category_id}",
    status_code=204,
    response_class=Response,
    response_description="It is gone.",
    summary="Delete a category",
    responses=DELETE_RESPONSES,
)
async def delete_category(
    actor: CatalogWriter,
    category: CategoryById,
    categories: CategoryRepositoryDep,
    if_match: IfMatch = None,
) -> Response:
    """Only a category without products can go; 409 names how many it has."""
    require_match(if_match, category.version)
    await categories.remove(category)
    return Response(status_code=204)
