"""A believable demo catalogue as pure data: the same on every call, apart from `today`."""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from inventory_api.demo.words import CATEGORIES, SUPPLIERS, Category, Line, Size, SpecValue

_VENDOR_NOTES = (
    "Minimum order 24 units.",
    "Delivered in mixed cartons; count on arrival.",
    "Allow three weeks for delivery.",
    "Price held until the end of the season.",
    "Packaging changed this year; old stock may be mixed in.",
)


@dataclass(frozen=True, slots=True)
class DemoCategory:
    """A department of the shop; products refer to it by `name`."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class DemoSupplier:
    """An invented supplier; `contact_name` is a desk, never a person."""

    name: str
    contact_name: str
    email: str
    phone: str
    address: str


@dataclass(frozen=True, slots=True)
class DemoMetadata:
    """The loosely structured part of a product."""

    tags: list[str]
    specifications: dict[str, SpecValue]
    care_instructions: str | None
    seo_title: str
    seo_description: str
    vendor_notes: str | None


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """One article; `category` and `supplier` are names from the other two tables."""

    sku: str
    barcode: str | None
    name: str
    description: str
    category: str
    supplier: str | None
    cost_price: Decimal
    selling_price: Decimal
    unit: str
    reorder_level: int
    quantity_in_stock: int
    expiry_date: date | None
    status: Literal["active", "inactive"]
    metadata: DemoMetadata


def categories() -> list[DemoCategory]:
    """The 12 departments."""
    return [DemoCategory(c.name, c.description) for c in CATEGORIES]


def suppliers() -> list[DemoSupplier]:
    """The 20 suppliers."""
    return [
        DemoSupplier(s.name, s.desk, s.email, s.phone, f"{s.address}, {s.country}")
        for s in SUPPLIERS.values()
    ]


def products(today: date) -> list[DemoProduct]:
    """The 500 products; expiry dates lie ahead of `today`, some of them within a week."""
    return [
        _product(category, department, serial, line, size, option, today)
        for department, category in enumerate(CATEGORIES, start=1)
        for serial, (line, size, option) in enumerate(_variants(category), start=1)
    ]


def ean13(body: str) -> str:
    """Append the EAN-13 check digit to the twelve digits of `body`."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(body))
    return f"{body}{-total % 10}"


def _variants(category: Category) -> Iterator[tuple[Line, Size, str]]:
    """Every size of every line, in every option."""
    for line in category.lines:
        for size in line.sizes:
            for option in line.options:
                yield line, size, option


def _product(
    category: Category,
    department: int,
    serial: int,
    line: Line,
    size: Size,
    option: str,
    today: date,
) -> DemoProduct:
    sku = f"{category.prefix}-{serial:04d}"
    # Seeded by SKU: a change to one line leaves the other departments as they were.
    rng = random.Random(sku)  # noqa: S311 - demo data, no secret depends on it
    name = line.name.format(size=size.label, option=option)
    name = name[0].upper() + name[1:]
    has_barcode = line.unit != "kg" and rng.random() > 0.04  # loose goods are weighed at the till
    reorder_level, quantity = _stock(rng, size.cost)
    return DemoProduct(
        sku=sku,
        barcode=ean13(f"{200 + department}{serial:09d}") if has_barcode else None,
        name=name,
        description=f"{line.blurb} {category.closing}",
        category=category.name,
        supplier=SUPPLIERS[line.supplier].name if rng.random() > 0.03 else None,
        cost_price=_money(size.cost),
        selling_price=_money(_shelf_price(size.cost, category.markup)),
        unit=line.unit,
        reorder_level=reorder_level,
        quantity_in_stock=quantity,
        expiry_date=_expiry(rng, line.shelf_days, today),
        status="inactive" if rng.random() < 0.04 else "active",
        metadata=DemoMetadata(
            tags=_tags(rng, category, line),
            specifications=_specifications(line, size, option),
            care_instructions=line.care or category.care,
            seo_title=f"{name} | {category.name}",
            seo_description=f"{name}: {line.blurb} Wholesale for shops and cafés.",
            vendor_notes=rng.choice(_VENDOR_NOTES) if rng.random() < 0.25 else None,
        ),
    )


def _money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _shelf_price(cost: int, markup: int) -> int:
    """Cost times mark-up per cent, raised to the next price ending in 45 or 95 cents."""
    return -(-cost * markup // 5000) * 50 - 5


def _stock(rng: random.Random, cost: int) -> tuple[int, int]:
    """Reorder level and quantity: the cheaper the article, the more of it is kept."""
    if cost < 300:
        level = rng.choice((30, 40, 60))
    elif cost < 1500:
        level = rng.choice((12, 15, 20, 25))
    else:
        level = rng.choice((4, 6, 8))
    draw = rng.random()
    if draw < 0.02:
        return level, 0
    if draw < 0.09:
        return level, rng.randint(1, level)
    return level, rng.randint(level + 1, level * 6)


def _expiry(rng: random.Random, shelf_days: int | None, today: date) -> date | None:
    if shelf_days is None:
        return None
    if rng.random() < 0.05:
        return today + timedelta(days=rng.randint(1, 7))
    return today + timedelta(days=rng.randint(shelf_days // 5, shelf_days))


def _tags(rng: random.Random, category: Category, line: Line) -> list[str]:
    badge = rng.choices(("", "new", "bestseller", "clearance"), weights=(80, 8, 8, 4))[0]
    # A dict drops the doubles and keeps the order.
    return list(dict.fromkeys(tag for tag in (category.tag, *line.tags, badge) if tag))


def _specifications(line: Line, size: Size, option: str) -> dict[str, SpecValue]:
    specs: dict[str, SpecValue] = {}
    if line.material:
        specs["material"] = line.material
    if size.label:
        specs["size"] = size.label
    if option:
        specs[line.option_key] = option
    specs["dimensions_mm"] = {"width": size.width, "height": size.height, "depth": size.depth}
    specs["weight_g"] = size.weight
    specs["country_of_origin"] = SUPPLIERS[line.supplier].country
    # Last, so that a line can name another country of origin.
    # Copied, so that a caller who edits a list cannot change the tables.
    specs.update(copy.deepcopy(dict(line.specs)))
    return specs
