"""A product's metadata in the contract, and its limits."""

import re
from typing import Annotated, Any

from pydantic import MISSING, AfterValidator, Field
from pydantic_core import PydanticCustomError

from inventory_api.kit import json
from inventory_api.kit.merge_patch import merge
from inventory_api.kit.schemas import InputSchema, OutputSchema, UniqueText

MAX_KEYS = 200
MAX_DEPTH = 16
MAX_BYTES = 64 * 1024
KEY_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
_KEY = re.compile(KEY_PATTERN)


def _flaw(code: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError(code, sentence)


def _storable(specifications: dict[str, Any]) -> dict[str, Any]:
    """Refuse here what a store would refuse after the commit: a poison row must not come to be."""
    keys = 0
    pending: list[tuple[Any, int]] = [(specifications, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, dict):
            keys += len(value)
            if not all(isinstance(key, str) and _KEY.fullmatch(key) for key in value):
                raise _flaw("specification_key", f"Keys should match {KEY_PATTERN}")
            members = list(value.values())
        elif isinstance(value, list):
            members = value
        else:
            continue
        if depth > MAX_DEPTH:
            raise _flaw("specifications_depth", f"Nested deeper than {MAX_DEPTH} levels")
        pending.extend((member, depth + 1) for member in members)
    if keys > MAX_KEYS:
        raise _flaw("specifications_keys", f"More than {MAX_KEYS} keys")
    if len(json.write(specifications)) > MAX_BYTES:
        raise _flaw("specifications_size", f"Larger than {MAX_BYTES} bytes")
    return specifications


def _unique(tags: list[str]) -> list[str]:
    if len(set(tags)) != len(tags):
        raise _flaw("tags_unique", "Tags should be unique")
    return tags


Tag = Annotated[str, Field(min_length=1, max_length=50), UniqueText]
Tags = Annotated[
    list[Tag],
    Field(
        max_length=50,
        description="Found by the list's `tag` filter, without regard to case.",
        examples=[["oak", "handmade"]],
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(_unique),
]
_SPECIFICATIONS = Field(
    description=(
        f"Any JSON object: keys match `{KEY_PATTERN}`, at most {MAX_KEYS} keys, depth {MAX_DEPTH},"
        f" {MAX_BYTES} bytes."
    ),
    examples=[{"material": "oak", "width_mm": 420}],
    json_schema_extra={"propertyNames": {"pattern": KEY_PATTERN}},
)
Specifications = Annotated[dict[str, Any], _SPECIFICATIONS, AfterValidator(_storable)]
SpecificationsPatch = Annotated[dict[str, Any], _SPECIFICATIONS]
"""Checked after merging: a null in it removes, so the patch itself may be over the limits."""

CareInstructions = Annotated[
    str | None,
    Field(max_length=10_000, description="Free text.", examples=["Wipe with a damp cloth."]),
]
SeoTitle = Annotated[
    str | None,
    Field(max_length=150, description="Title for search engines.", examples=["Oak board, 42 cm"]),
]
SeoDescription = Annotated[
    str | None,
    Field(max_length=300, description="Text for search engines.", examples=["A solid oak board."]),
]
VendorNotes = Annotated[
    str | None,
    Field(max_length=10_000, description="Notes for buyers.", examples=["Ships in boxes of 6."]),
]


class ProductMetadataInput(InputSchema):
    """Metadata as it shall be: absent members are empty."""

    tags: Tags | MISSING = MISSING
    specifications: Specifications | MISSING = MISSING
    care_instructions: CareInstructions | MISSING = MISSING
    seo_title: SeoTitle | MISSING = MISSING
    seo_description: SeoDescription | MISSING = MISSING
    vendor_notes: VendorNotes | MISSING = MISSING


class ProductMetadataUpdate(InputSchema):
    """Changes to metadata, as a merge patch (RFC 7396); it merges into `specifications` too."""

    tags: Tags | MISSING = MISSING
    specifications: SpecificationsPatch | MISSING = MISSING
    care_instructions: CareInstructions | MISSING = MISSING
    seo_title: SeoTitle | MISSING = MISSING
    seo_description: SeoDescription | MISSING = MISSING
    vendor_notes: VendorNotes | MISSING = MISSING


class ProductMetadata(OutputSchema):
    """What else is known of a product, for shops and search."""

    tags: Annotated[list[str], Field(examples=[["oak", "handmade"]])]
    specifications: Annotated[dict[str, Any], Field(examples=[{"material": "oak"}])]
    care_instructions: CareInstructions
    seo_title: SeoTitle
    seo_description: SeoDescription
    vendor_notes: VendorNotes


EMPTY: dict[str, Any] = {
    "tags": [],
    "specifications": {},
    "care_instructions": None,
    "seo_title": None,
    "seo_description": None,
    "vendor_notes": None,
}
"""Every member with its default; the order in which they are answered and stored."""


def replaced(given: ProductMetadataInput | None) -> dict[str, Any]:
    """The whole metadata that `given` stands for."""
    return EMPTY if given is None else EMPTY | given.model_dump()


def merged(current: dict[str, Any], patch: ProductMetadataUpdate) -> dict[str, Any]:
    """The whole metadata after a merge patch.

    Raises:
        pydantic.ValidationError: the result is beyond a limit.
    """
    result = merge(current, patch.model_dump())
    return replaced(ProductMetadataInput.model_validate(result))
