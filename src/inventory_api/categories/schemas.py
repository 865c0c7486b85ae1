"""Categories in the contract."""

from enum import StrEnum
from typing import Annotated

from pydantic import MISSING, Field

from inventory_api.http.pagination import ListInclude, Page, PageQuery
from inventory_api.kit.schemas import Id, InputSchema, OutputSchema, UniqueText, UtcTime

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=150,
        description="Unique without regard to case and surrounding space.",
        examples=["Kitchen"],
    ),
    UniqueText,
]
Description = Annotated[
    str | None,
    Field(max_length=10_000, description="Free text.", examples=["Everything for cooking."]),
]


class CategoryCreate(InputSchema):
    """A category to make, or, in a PUT, as it shall be: absent members take their defaults."""

    name: Name
    description: Description | MISSING = MISSING


class CategoryUpdate(InputSchema):
    """Changes to a category, as a merge patch (RFC 7396)."""

    name: Name | MISSING = MISSING
    description: Description | MISSING = MISSING


class Category(OutputSchema):
    """A group of products."""

    id: Annotated[Id, Field(examples=[1])]
    name: Annotated[str, Field(examples=["Kitchen"])]
    description: Annotated[str | None, Field(examples=["Everything for cooking."])]
    version: Annotated[int, Field(description="Rises with each change; the ETag.", examples=[1])]
    created_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]
    updated_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]


class CategoryPage(Page[Category]):
    """One page of categories."""


class CategorySort(StrEnum):
    """How to sort categories; a minus sorts downward."""

    ID = "id"
    ID_DOWN = "-id"
    NAME = "name"
    NAME_DOWN = "-name"


class CategoryQuery(PageQuery):
    """Filters of the list of categories."""

    sort: Annotated[CategorySort, Field(description="Order of the list.", examples=["name"])] = (
        CategorySort.NAME
    )
    q: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="Part of the name.", examples=["kit"]),
    ] = None
    include: Annotated[
        list[ListInclude], Field(description="What to add to the page.", examples=[["total"]])
    ] = []
