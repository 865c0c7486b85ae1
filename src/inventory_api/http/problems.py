"""Exceptions → RFC 9457 problem documents. The only place that does it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from pymongo.errors import PyMongoError
from sqlalchemy import exc
from starlette.exceptions import HTTPException
from starlette.routing import Match

from inventory_api import log
from inventory_api.kit import json
from inventory_api.kit.errors import AppError, Flaw, Unavailable
from inventory_api.stores import sql

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
FLAWS_MAX = 100
"""Most members that one answer names: each costs more bytes than it takes to send it."""

# RFC 3986: what a path, and a fragment, may hold unescaped (sub-delims, ":", "@" and unreserved).
_PATH_SAFE = "/!$&'()*+,;=:@-._~"


class Problem(BaseModel):
    """What went wrong, in the form of RFC 9457."""

    type: Annotated[
        str, Field(description="`code` tells problems apart.", examples=["about:blank"])
    ]
    title: Annotated[str, Field(description="The sort of problem.", examples=["Not found"])]
    status: Annotated[int, Field(description="The status of the answer.", examples=[404])]
    detail: Annotated[
        str,
        Field(description="A sentence for people.", examples=["There is nothing at this address."]),
    ]
    instance: Annotated[
        str, Field(description="The path that was asked.", examples=["/api/products/1"])
    ]
    code: Annotated[
        str, Field(description="Stable name of the problem, for programs.", examples=["not_found"])
    ]
    request_id: Annotated[
        str | None,
        Field(
            description="Under which the service's log has it.",
            examples=["4d1c3f0a9b7e4c7d8a52f7e1b2c3d4e5"],
        ),
    ]


class ValidationFlaw(BaseModel):
    """What is wrong with one member of the request."""

    pointer: Annotated[
        str,
        Field(
            description=(
                "RFC 6901 pointer into the body as a URI fragment; other places begin with"
                " `#/query/`, `#/path/` or `#/header/`."
            ),
            examples=["#/name"],
        ),
    ]
    detail: Annotated[str, Field(description="A sentence for people.", examples=["Field required"])]
    code: Annotated[
        str, Field(description="Stable name of the flaw, for programs.", examples=["missing"])
    ]


class ValidationProblem(Problem):
    """A request whose content can't be accepted, with each member at fault."""

    errors: Annotated[
        list[ValidationFlaw], Field(description=f"The first {FLAWS_MAX} members at fault.")
    ]


_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "content_too_large",
    415: "unsupported_media_type",
    500: "internal_error",
}
_TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "Content too large",
    500: "Internal error",
}


def problem_response(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    flaws: Sequence[Flaw] = (),
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Response:
    """One problem document. `instance` is the request's path, percent-encoded."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": quote(request.scope["path"], safe=_PATH_SAFE),
        "code": code,
        "request_id": log.request_id.get(),
    }
    if flaws or status == 422:
        document["errors"] = [
            {"pointer": flaw.pointer, "detail": flaw.detail, "code": flaw.code} for flaw in flaws
        ]
    document.update(extensions or {})
    return Response(
        json.write(document),
        status_code=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def from_app_error(request: Request, error: AppError) -> Response:
    return problem_response(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        flaws=error.flaws,
        headers=error.headers,
        extensions=error.extensions,
    )


def _pointer(location: Sequence[int | str]) -> str:
    """RFC 6901, as a URI fragment: members of the body stand alone, other places by their name."""
    head, *rest = location or ("body",)
    parts = list(rest) if head == "body" else [head, *rest]
    tokens = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "#" + quote("".join(f"/{token}" for token in tokens), safe=_PATH_SAFE)


def flaws_of(error: RequestValidationError) -> list[Flaw]:
    """The first of what Pydantic found, without the input: it may hold a password."""
    return [
        Flaw(pointer=_pointer(flaw["loc"]), detail=flaw["msg"], code=flaw["type"])
        for flaw in error.errors()[:FLAWS_MAX]
    ]


async def _on_app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101 - registered for this class only
    return from_app_error(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    return problem_response(
        request,
        status=422,
        code="invalid",
        title="Invalid input",
        detail="The request has members that can't be accepted.",
        flaws=flaws_of(error),
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    detail = error.detail if error.status_code == 400 else None
    code = getattr(error, "code", None)
    return _from_status(request, error.status_code, code=code, detail=detail, headers=headers)


def from_plain_text(request: Request, status: int) -> Response:
    """In place of a refusal that the framework wrote itself."""
    return _from_status(request, status)


def _from_status(
    request: Request,
    status: int,
    *,
    code: str | None = None,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = _TITLES.get(status, "Error")
    return problem_response(
        request,
        status=status,
        code=code or _CODES.get(status, "error"),
        title=title,
        detail=detail or f"{title}.",
        headers=headers,
    )


def _allowed_methods(request: Request) -> list[str]:
    """Every method of the path: the framework names only those of the first route that matches."""
    methods: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        match, _ = context.matches(request.scope)
        if match is not Match.NONE:
            methods |= set(context.methods or ())
    return sorted(methods)


async def _on_database_error(request: Request, error: Exception) -> Response:
    log.event(
        logger,
        "database_unavailable",
        logging.ERROR,
        error=f"{type(error).__name__}: {error}"[:300],
    )
    return from_app_error(request, Unavailable())


async def _on_dbapi_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, exc.DBAPIError)  # noqa: S101 - registered for this class only
    if sql.is_unavailable(error):
        return await _on_database_error(request, error)
    raise error


def from_any_error(request: Request, error: Exception) -> Response:
    """What nobody foresaw: the log gets it whole, the client gets the id to find it by."""
    logger.error("internal_error", exc_info=error)
    return problem_response(
        request,
        status=500,
        code="internal_error",
        title="Internal error",
        detail="Something went wrong on our side; the log has it under this request_id.",
    )


def install(app: FastAPI) -> None:
    """Register every handler but the last resort, which `http/middleware.py` calls."""
    app.add_exception_handler(AppError, _on_app_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(exc.TimeoutError, _on_database_error)
    app.add_exception_handler(exc.DBAPIError, _on_dbapi_error)
    app.add_exception_handler(PyMongoError, _on_database_error)
