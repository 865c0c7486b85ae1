"""The field types that every feature shares."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from inventory_api.kit.schemas import (
    MAX_ID,
    Count,
    Id,
    IsoDate,
    Money,
    ParameterCount,
    ParameterId,
    Rfc3339Time,
)


@pytest.mark.parametrize(
    ("annotation", "given", "value"),
    [
        (Money, "7.1", Decimal("7.10")),
        (Money, "0", Decimal("0.00")),
        (Id, 5.0, 5),
        (Id, MAX_ID, MAX_ID),
        (Count, 0, 0),
        (ParameterId, "7", 7),
        (ParameterId, "007", 7),
        (ParameterCount, "0", 0),
        (IsoDate, "2028-02-29", date(2028, 2, 29)),
        (Rfc3339Time, "2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (Rfc3339Time, "2026-01-31t09:30:00+05:45", datetime(2026, 1, 31, 3, 45, tzinfo=UTC)),
    ],
)
def test_takes(annotation: Any, given: Any, value: Any) -> None:
    taken = TypeAdapter(annotation).validate_python(given)
    assert (taken, type(taken)) == (value, type(value))
    assert str(taken) == str(value)


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (Money, 7),
        (Money, "7.100"),
        (Money, "١"),
        (Money, "7\n"),
        (Id, "5"),
        (Id, True),
        (Id, 0),
        (Id, MAX_ID + 1),
        (Id, float(2**60)),
        (Id, float("inf")),
        (Count, False),
        (Count, 2**31),
        (ParameterId, "1_000"),
        (ParameterId, " 7"),
        (ParameterId, "+7"),
        (ParameterId, "7.0"),
        (ParameterId, "٧"),
        (ParameterId, "9" * 20),
        (ParameterId, str(MAX_ID + 1)),
        (ParameterCount, "-1"),
        (IsoDate, "2027-02-29"),
        (IsoDate, "1599955200"),
        (IsoDate, "٢٠٢٧-٠١-٠١"),
        (IsoDate, "2027-01-01\n"),
        (IsoDate, date(2027, 1, 1)),
        (Rfc3339Time, "2026-01-31"),
        (Rfc3339Time, "1700000000"),
        (Rfc3339Time, "2026-01-31T09:30:00"),
        (Rfc3339Time, "0001-01-01T00:00:00+00:01"),
        (Rfc3339Time, "9999-12-31T23:59:59-00:01"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses(annotation: Any, given: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(annotation).validate_python(given)
