"""Suppliers in the contract."""

from enum import StrEnum
from typing import Annotated

from pydantic import MISSING, Field

from inventory_api.http.pagination import ListInclude, Page, PageQuery
from inventory_api.kit.schemas import (
    EMAIL_PATTERN,
    HasKey,
    Id,
    InputSchema,
    OutputSchema,
    UtcTime,
)

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=150,
        description="Need not be unique.",
        examples=["Nordic Kitchenware"],
    ),
    HasKey,
]
ContactName = Annotated[
    str | None,
    Field(max_length=150, description="Whom to ask for.", examples=["Order desk"]),
]
Email = Annotated[
    str | None,
    Field(
        max_length=254,
        pattern=EMAIL_PATTERN,
        description="Where orders go.",
        examples=["orders@nordic.example"],
    ),
]
Phone = Annotated[
    str | None, Field(max_length=50, description="Free text.", examples=["+44 1632 960001"])
]
Address = Annotated[
    str | None,
    Field(max_length=1_000, description="Free text.", examples=["1 Harbour Street, Malmö"]),
]


class SupplierCreate(InputSchema):
    """A supplier to make, or, in a PUT, as it shall be: absent members take their defaults."""

    name: Name
    contact_name: ContactName | MISSING = MISSING
    email: Email | MISSING = MISSING
    phone: Phone | MISSING = MISSING
    address: Address | MISSING = MISSING


class SupplierUpdate(InputSchema):
    """Changes to a supplier, as a merge patch (RFC 7396)."""

    name: Name | MISSING = MISSING
    contact_name: ContactName | MISSING = MISSING
    email: Email | MISSING = MISSING
    phone: Phone | MISSING = MISSING
    address: Address | MISSING = MISSING


class Supplier(OutputSchema):
    """Where products come from."""

    id: Annotated[Id, Field(examples=[1])]
    name: Annotated[str, Field(examples=["Nordic Kitchenware"])]
    contact_name: Annotated[str | None, Field(examples=["Order desk"])]
    email: Annotated[str | None, Field(examples=["orders@nordic.example"])]
    phone: Annotated[str | None, Field(examples=["+44 1632 960001"])]
    address: Annotated[str | None, Field(examples=["1 Harbour Street, Malmö"])]
    version: Annotated[int, Field(description="Rises with each change; the ETag.", examples=[1])]
    created_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]
    updated_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]


class SupplierPage(Page[Supplier]):
    """One page of suppliers."""


class SupplierSort(StrEnum):
    """How to sort suppliers; a minus sorts downward."""

    ID = "id"
    ID_DOWN = "-id"
    NAME = "name"
    NAME_DOWN = "-name"


class SupplierQuery(PageQuery):
    """Filters of the list of suppliers."""

    sort: Annotated[SupplierSort, Field(description="Order of the list.", examples=["name"])] = (
        SupplierSort.NAME
    )
    q: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="Part of the name.", examples=["nordic"]),
    ] = None
    include: Annotated[
        list[ListInclude], Field(description="What to add to the page.", examples=[["total"]])
    ] = []
