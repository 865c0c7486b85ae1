"""Allow-listed sorting with a keyset: ORDER BY and "after this row" from one place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select


@dataclass(frozen=True, slots=True)
class SortKey:
    """One way to sort a list: a column that is never NULL, then the primary key."""

    column: Any
    descending: bool = False
    parse: Callable[[Any], Any] | None = None
    """Turns the cursor's JSON value back into the column's Python value, where they differ."""


class Sorting:
    """The sorts of one list: an enum's member → a `SortKey`; the primary key always comes last."""

    def __init__(self, primary_key: Any, keys: Mapping[StrEnum, SortKey]) -> None:
        self._primary_key = primary_key
        self._keys = dict(keys)

    def order_by(self, sort: StrEnum) -> list[ColumnElement[Any]]:
        key = self._keys[sort]
        columns = [key.column]
        if key.column is not self._primary_key:
            columns.append(self._primary_key)
        return [column.desc() if key.descending else column.asc() for column in columns]

    def after(self, sort: StrEnum, position: list[Any]) -> ColumnElement[bool]:
        """Rows that come strictly after `position` (as `position_of` gave it)."""
        key = self._keys[sort]
        *values, row_id = position
        past_id = self._primary_key < row_id if key.descending else self._primary_key > row_id
        if not values:
            return past_id  # type: ignore[no-any-return]
        value = key.parse(values[0]) if key.parse else values[0]
        # "At or past the value" stands alone so that an index on the column bounds the scan.
        if key.descending:
            return and_(key.column <= value, or_(key.column < value, past_id))
        return and_(key.column >= value, or_(key.column > value, past_id))

    def position_of(self, sort: StrEnum, row: Any) -> list[str | int]:
        """Where `row` stands: what a cursor after it must hold."""
        key = self._keys[sort]
        row_id = getattr(row, self._primary_key.key)
        if key.column is self._primary_key:
            return [row_id]
        value = getattr(row, key.column.key)
        return [value if isinstance(value, int) else str(value), row_id]


class Listing:
    """The statements of one list: its columns, its sorts, and any conditions."""

    def __init__(self, columns: Sequence[Any], sorting: Sorting) -> None:
        self._rows = select(*columns)
        self.sorting = sorting

    def page(
        self,
        conditions: Sequence[ColumnElement[bool]],
        sort: StrEnum,
        start: list[Any] | None,
        limit: int,
    ) -> Select[Any]:
        """At most `limit` rows that come after `start`."""
        statement = self._rows.where(*conditions)
        if start is not None:
            statement = statement.where(self.sorting.after(sort, start))
        return statement.order_by(*self.sorting.order_by(sort)).limit(limit)

    def count(self, conditions: Sequence[ColumnElement[bool]]) -> Select[int]:
        """The number of all rows that match."""
        # The columns go, their table stays: without it a list with no filter would count to 1.
        return self._rows.where(*conditions).with_only_columns(
            func.count(), maintain_column_froms=True
        )
