"""Conditional requests: ETag, If-Match, If-None-Match (RFC 9110 sections 8.8.3 and 13)."""

from typing import Annotated

from fastapi import Header, Response

from inventory_api.kit import json
from inventory_api.kit.errors import PreconditionFailed, PreconditionRequired

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description='The ETag that was read, such as `"3"`; `*` overwrites whatever is there.',
        examples=['"3"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="ETags that the client holds: when one is current, the answer is 304.",
        examples=['"3"'],
    ),
]


def etag(version: int, stock_version: int | None = None) -> str:
    """A strong ETag: the version in quotes, with the stock's behind a dot where it is embedded."""
    return f'"{version}"' if stock_version is None else f'"{version}.{stock_version}"'


def require_match(if_match: str | None, version: int) -> None:
    """Let a change pass only when it was made from the current state.

    What stands behind a dot is the stock's version and is not compared, so that a form which
    shows stock can save.

    Raises:
        PreconditionRequired: no If-Match was sent.
        PreconditionFailed: the resource has changed; the current ETag is in the answer.
    """
    if if_match is None:
        raise PreconditionRequired
    tags = [tag.strip() for tag in if_match.split(",")]
    if "*" in tags:
        return
    # A weak tag never matches here (RFC 9110 section 13.1.1), so W/ is not taken off.
    versions = {tag[1:-1].split(".")[0] for tag in tags if tag[:1] == tag[-1:] == '"'}
    if str(version) not in versions:
        raise PreconditionFailed(headers={"ETag": etag(version)})


def is_current(if_none_match: str | None, current: str) -> bool:
    """Whether the client holds the current state already: If-None-Match compares weakly."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or current in tags


def resource(
    document: object,
    current: str,
    *,
    if_none_match: str | None = None,
    status: int = 200,
    location: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A single resource with its ETag, or 304 when the client has it already."""
    all_headers = {"ETag": current, **(headers or {})}
    if is_current(if_none_match, current):
        return Response(status_code=304, headers=all_headers)
    if location is not None:
        all_headers["Location"] = location
    return Response(
        json.write(document),
        status_code=status,
        headers=all_headers,
        media_type="application/json",
    )
