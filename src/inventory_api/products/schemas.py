"""Products in the contract."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import MISSING, Field

from inventory_api.http.pagination import Page, PageQuery
from inventory_api.kit.schemas import (
    Count,
    HasKey,
    Id,
    InputSchema,
    IsoDate,
    Money,
    OutputSchema,
    ParameterCount,
    ParameterId,
    Rfc3339Time,
    Trimmed,
    UniqueText,
    UtcTime,
)
from inventory_api.metadata.documents import spec_term
from inventory_api.metadata.schemas import (
    ProductMetadata,
    ProductMetadataInput,
    ProductMetadataUpdate,
)
from inventory_api.models import ProductStatus

Sku = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="Unique without regard to case and surrounding space.",
        examples=["KIT-0042"],
    ),
    Trimmed,
    UniqueText,
]
Barcode = Annotated[
    Annotated[str, Field(min_length=1, max_length=64), Trimmed, UniqueText] | None,
    Field(description="Unique where there is one.", examples=["2010000000427"]),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=150, description="Any text.", examples=["Oak board, 42 cm"]),
    HasKey,
]
Description = Annotated[
    str | None, Field(max_length=10_000, description="Free text.", examples=["Solid oak."])
]
CategoryRef = Annotated[Id | None, Field(description="Id of its category.", examples=[1])]
SupplierRef = Annotated[Id | None, Field(description="Id of its supplier.", examples=[1])]
CostPrice = Annotated[Money, Field(description="What one unit costs.", examples=["7.10"])]
SellingPrice = Annotated[Money, Field(description="What one unit sells for.", examples=["12.50"])]
Unit = Annotated[
    str,
    Field(min_length=1, max_length=16, description="What one counts.", examples=["piece"]),
    HasKey,
]
ReorderLevel = Annotated[
    Count,
    Field(description="At or below this many it is low; 0 for never.", examples=[5]),
]
ExpiryDate = Annotated[
    IsoDate | None,
    Field(description="Last day of use.", examples=["2027-12-31"]),
]
Status = Annotated[ProductStatus, Field(description="Whether it is offered.", examples=["active"])]


class ProductReplace(InputSchema):
    """A product as it shall be: absent members take their defaults, the metadata's included."""

    sku: Sku
    name: Name
    cost_price: CostPrice
    selling_price: SellingPrice
    barcode: Barcode | MISSING = MISSING
    description: Description | MISSING = MISSING
    category_id: CategoryRef | MISSING = MISSING
    supplier_id: SupplierRef | MISSING = MISSING
    unit: Unit | MISSING = MISSING
    reorder_level: ReorderLevel | MISSING = MISSING
    expiry_date: ExpiryDate | MISSING = MISSING
    status: Status | MISSING = MISSING
    metadata: ProductMetadataInput | MISSING = MISSING


class ProductCreate(ProductReplace):
    """A product to make."""

    quantity_in_stock: Annotated[
        Count | MISSING,
        Field(description="Opening stock at the default location; 0 by default.", examples=[24]),
    ] = MISSING


class ProductUpdate(InputSchema):
    """Changes to a product, as a merge patch (RFC 7396); `metadata: null` empties the metadata."""

    sku: Sku | MISSING = MISSING
    name: Name | MISSING = MISSING
    cost_price: CostPrice | MISSING = MISSING
    selling_price: SellingPrice | MISSING = MISSING
    barcode: Barcode | MISSING = MISSING
    description: Description | MISSING = MISSING
    category_id: CategoryRef | MISSING = MISSING
    supplier_id: SupplierRef | MISSING = MISSING
    unit: Unit | MISSING = MISSING
    reorder_level: ReorderLevel | MISSING = MISSING
    expiry_date: ExpiryDate | MISSING = MISSING
    status: Status | MISSING = MISSING
    metadata: ProductMetadataUpdate | MISSING | None = MISSING


class ProductStock(OutputSchema):
    """How many there are, in the product's unit, over all locations."""

    on_hand: Annotated[int, Field(description="What lies on the shelves.", examples=[24])]
    reserved: Annotated[int, Field(description="What of it is promised.", examples=[0])]
    available: Annotated[int, Field(description="What is left to sell.", examples=[24])]
    is_low: Annotated[
        bool,
        Field(
            description="Active, and available is at or below a reorder level above 0.",
            examples=[False],
        ),
    ]


class ProductSummary(OutputSchema):
    """A product on a list; metadata and stock are there when `include` asks for them."""

    id: Annotated[Id, Field(examples=[1])]
    sku: Annotated[str, Field(examples=["KIT-0042"])]
    barcode: Annotated[str | None, Field(examples=["2010000000427"])]
    name: Annotated[str, Field(examples=["Oak board, 42 cm"])]
    description: Annotated[str | None, Field(examples=["Solid oak."])]
    category_id: CategoryRef
    supplier_id: SupplierRef
    cost_price: CostPrice
    selling_price: SellingPrice
    currency: Annotated[str, Field(description="ISO 4217 code of both prices.", examples=["USD"])]
    unit: Annotated[str, Field(examples=["piece"])]
    reorder_level: Annotated[int, Field(examples=[5])]
    expiry_date: Annotated[date | None, Field(examples=["2027-12-31"])]
    status: Status
    version: Annotated[
        int,
        Field(description="Rises with each change of product or metadata; the ETag.", examples=[1]),
    ]
    created_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]
    updated_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]
    metadata: ProductMetadata | MISSING = MISSING
    stock: ProductStock | MISSING = MISSING


class Product(ProductSummary):
    """A product with its metadata; its stock when `include=stock` asks."""

    metadata: ProductMetadata


class ProductPage(Page[ProductSummary]):
    """One page of products."""


class ProductSort(StrEnum):
    """How to sort products; a minus sorts downward."""

    ID = "id"
    ID_DOWN = "-id"
    NAME = "name"
    NAME_DOWN = "-name"
    SKU = "sku"
    SKU_DOWN = "-sku"
    SELLING_PRICE = "selling_price"
    SELLING_PRICE_DOWN = "-selling_price"
    STOCK = "stock"
    STOCK_DOWN = "-stock"
    CREATED_AT = "created_at"
    CREATED_AT_DOWN = "-created_at"
    UPDATED_AT = "updated_at"
    UPDATED_AT_DOWN = "-updated_at"


class ProductInclude(StrEnum):
    """What to add to each product on a list, or to the page."""

    METADATA = "metadata"
    STOCK = "stock"
    TOTAL = "total"


class ProductExtra(StrEnum):
    """What to add to a single product, which always carries its metadata."""

    METADATA = "metadata"
    STOCK = "stock"


class ProductView(InputSchema):
    """The parameters of a single product."""

    include: Annotated[
        list[ProductExtra], Field(description="What to add; repeats.", examples=[["stock"]])
    ] = []


def _filter(description: str, example: Any, **limits: Any) -> Any:
    return Field(description=description, examples=[example], **limits)


class ProductQuery(PageQuery):
    """Filters of the list of products; all that are given must hold."""

    sort: Annotated[ProductSort, _filter("Order of the list.", "name")] = ProductSort.ID
    include: Annotated[
        list[ProductInclude], _filter("What to add; repeats.", ["metadata", "stock"])
    ] = []
    category_id: Annotated[ParameterId | None, _filter("In this category.", 1)] = None
    supplier_id: Annotated[ParameterId | None, _filter("From this supplier.", 1)] = None
    status: Annotated[ProductStatus | None, _filter("With this status.", "active")] = None
    price_min: Annotated[Money | None, _filter("Sells for at least this.", "5.00")] = None
    price_max: Annotated[Money | None, _filter("Sells for at most this.", "20.00")] = None
    stock_min: Annotated[ParameterCount | None, _filter("At least so many on hand.", 1)] = None
    stock_max: Annotated[ParameterCount | None, _filter("At most so many on hand.", 10)] = None
    sku: Annotated[
        str | None, _filter("With this SKU, in any letter case.", "KIT-0042", max_length=64)
    ] = None
    barcode: Annotated[
        str | None, _filter("With this barcode.", "2010000000427", max_length=64)
    ] = None
    q: Annotated[
        str | None, _filter("Part of name or SKU.", "oak", min_length=1, max_length=100)
    ] = None
    tag: Annotated[
        str | None, _filter("With this tag, in any letter case.", "handmade", max_length=50)
    ] = None
    updated_since: Annotated[
        Rfc3339Time | None,
        _filter(
            "Changed at or after this time. Not a change feed: a later commit may carry an earlier"
            " time, so pollers should overlap by a minute.",
            "2026-01-31T09:30:00Z",
        ),
    ] = None
    expires_before: Annotated[IsoDate | None, _filter("Expires before this day.", "2027-01-01")] = (
        None
    )
    spec: Annotated[
        str | None,
        _filter(
            "A top-level specification, as `key:value`; sorted by id only. It asks the search"
            " store, which may be some milliseconds behind.",
            "material:oak",
            min_length=3,
            max_length=200,
            pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}:[^\u0000]+$",
        ),
    ] = None

    @property
    def spec_term(self) -> str | None:
        """The specification as it is indexed."""
        if self.spec is None:
            return None
        key, _, value = self.spec.partition(":")
        return spec_term(key, value)
