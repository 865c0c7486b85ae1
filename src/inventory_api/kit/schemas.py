"""Base classes and shared field types of the contract's schemas."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from inventory_api.kit.text import CANONICAL_MAX, canonical

MAX_ID = 2**53 - 1
"""Largest id: what every JSON client, JavaScript included, holds exactly."""

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,19}")
EMAIL_PATTERN = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
MONEY_PATTERN = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,2})?$"
_MONEY = re.compile(MONEY_PATTERN)
_CENT = Decimal("0.01")


class InputSchema(BaseModel):
    """What clients send: unknown members are refused, so that a typing error loses nothing."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class OutputSchema(BaseModel):
    """What the service answers: no member has a default, so each one given is always present."""


def _decimal(value: object) -> Decimal:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", 'Money is a decimal string, such as "12.50"')
    if not _MONEY.fullmatch(value):
        raise PydanticCustomError(
            "money", "Money has at most ten digits before the point and two behind it"
        )
    return Decimal(value).quantize(_CENT)


def _as_decimal_text(schema: dict[str, Any]) -> None:
    """The same schema in both directions; Pydantic's own would take numbers, too."""
    schema.pop("anyOf", None)
    schema.update(type="string", format="decimal", pattern=MONEY_PATTERN)


def _whole_number(value: object) -> object:
    """JSON has one number type, so 5.0 is an integer; a string or a boolean is not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def digits(value: object) -> object:
    """Parameters are text: take plain digits, not all that `int` takes (`1_000`, ` +7`, `1.0`)."""
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be a whole number")
    return value


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or "T" not in value.upper():
        raise PydanticCustomError("datetime_type", "Input should be an RFC 3339 date and time")
    return value


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise PydanticCustomError("timezone_aware", "Input should have an offset, such as Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("datetime_range", "Input should be a time in UTC") from error


def _iso_date(value: object) -> object:
    # Digits alone would be taken for seconds since 1970.
    if not isinstance(value, str) or not _ISO_DATE.fullmatch(value):
        raise PydanticCustomError("date_type", "Input should be a date, such as 2026-12-31")
    return value


def _trimmed(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _has_key(value: str) -> str:
    if not canonical(value):
        raise PydanticCustomError("blank", "Input should have at least one visible character")
    return value


def _key_fits(value: str) -> str:
    """Unique texts are compared by their canonical form, which can be longer than the text."""
    if len(canonical(_has_key(value))) > CANONICAL_MAX:
        raise PydanticCustomError("string_too_long", "Input is too long in its canonical form")
    return value


Money = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    # Not WithJsonSchema, which would drop the descriptions of the fields that use this type.
    Field(json_schema_extra=_as_decimal_text),
]
"""An amount of at least zero, below ten thousand million; DECIMAL(12,2) in SQL."""

Id = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_whole_number)]
Count = Annotated[int, Field(ge=0, le=2_147_483_647), BeforeValidator(_whole_number)]
UtcTime = Annotated[datetime, WithJsonSchema({"type": "string", "format": "date-time"})]
Rfc3339Time = Annotated[
    datetime,
    BeforeValidator(_rfc3339),
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
IsoDate = Annotated[
    date, BeforeValidator(_iso_date), WithJsonSchema({"type": "string", "format": "date"})
]
# Constraints stand before the validator: outside of it they would not show in the contract.
ParameterId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(digits)]
"""An id in a path or a query."""
ParameterCount = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(digits)]
"""A number of things in a query."""
Trimmed = BeforeValidator(_trimmed)
HasKey = AfterValidator(_has_key)
"""More than blanks."""
UniqueText = AfterValidator(_key_fits)
"""More than blanks, and comparable with others by `kit.text.canonical`."""
