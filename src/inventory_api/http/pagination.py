"""Pages of lists: parameters, the answer, and the cursor between them."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Request, Response
from pydantic import MISSING, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from inventory_api.kit import json
from inventory_api.kit.cursor import CURSOR_MAX, CursorCodec, InvalidCursorError
from inventory_api.kit.errors import BadRequest
from inventory_api.kit.schemas import OutputSchema, digits

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

ItemT = TypeVar("ItemT")


class InvalidCursor(BadRequest):
    code = "invalid_cursor"
    title = "Invalid cursor"
    default_detail = "This cursor was not made for this list: start again without one."


class ListInclude(StrEnum):
    """What a list can add to its page. Counting reads every match: on request only."""

    TOTAL = "total"


class PageQuery(BaseModel):
    """The parameters of every list. Subclasses add filters and a `sort`; others are refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    limit: Annotated[
        int,
        Field(ge=1, le=MAX_LIMIT, description="Items on the page.", examples=[50]),
        BeforeValidator(digits),
    ] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        Field(
            max_length=CURSOR_MAX,
            description="Where the last page ended: its `next_cursor`. Opaque.",
            examples=["Zm9v"],
        ),
    ] = None

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: object) -> object:
        """No stored text has one, and SQLite's LIKE would take it for the end of the pattern."""
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\x00" in text for text in texts):
            raise PydanticCustomError("nul", "Input should not contain the character NUL")
        return value

    @property
    def question(self) -> str:
        """What the list is asked, without the page: a cursor is good for this alone."""
        asked = self.model_dump(mode="json", exclude={"limit", "cursor", "include"})
        return type(self).__name__ + json.write_text(asked)


class Page(OutputSchema, Generic[ItemT]):
    """One page of a list."""

    items: list[ItemT]
    next_cursor: Annotated[
        str | None,
        Field(description="Cursor of the next page; null on the last one.", examples=["Zm9v"]),
    ]
    total: Annotated[
        int | MISSING,
        Field(description="How many items match, when `include=total` asks.", examples=[120]),
    ] = MISSING


QueryT = TypeVar("QueryT", bound=PageQuery)


def start_of(query: PageQuery, cursors: CursorCodec) -> list[str | int] | None:
    """Where the asked page starts.

    Raises:
        InvalidCursor: foreign, altered, or made for other filters.
    """
    if query.cursor is None:
        return None
    try:
        return cursors.decode(query.question, query.cursor)
    except InvalidCursorError as error:
        raise InvalidCursor from error


async def page(
    request: Request,
    query: QueryT,
    fetch: Callable[[QueryT, list[str | int] | None, int], Awaitable[Sequence[Any]]],
    count: Callable[[QueryT], Awaitable[int]],
    position_of: Callable[[Any], list[str | int]],
    present: Callable[[Sequence[Any]], Awaitable[list[dict[str, Any]]]],
) -> Response:
    """Answer one page.

    Args:
        fetch: (query, start, number of rows) → rows; asked for one more row than the page holds,
            which tells whether there is a next page.
        count: query → number of all matches; asked only for `include=total`.
        position_of: a row → its place in the sort order.
        present: rows → the documents of the page.
    """
    cursors: CursorCodec = request.app.state.cursors
    rows = await fetch(query, start_of(query, cursors), query.limit + 1)
    rows, more = rows[: query.limit], len(rows) > query.limit
    next_cursor = cursors.encode(query.question, position_of(rows[-1])) if more else None
    headers = {}
    if next_cursor is not None:
        url = request.url.include_query_params(cursor=next_cursor)
        headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    document: dict[str, Any] = {"items": await present(rows), "next_cursor": next_cursor}
    if ListInclude.TOTAL in getattr(query, "include", ()):
        document["total"] = await count(query)
    return Response(
        json.write(document),
        headers=headers,
        media_type="application/json",
    )
