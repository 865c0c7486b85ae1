"""Our APIRoute: strict JSON in, and the handler run again when the database asks for it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from inventory_api.kit import json
from inventory_api.kit.errors import Unavailable, UnsupportedMediaType
from inventory_api.stores.sql import RERUNS, is_transient

RERUN_SECONDS = 6.0
"""No rerun starts later than this after the request's first attempt."""

PUBLIC = "public"

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_UNREADABLE = "inventory_api.unsupported_media_type"


class MalformedJson(HTTPException):
    """The body is not JSON that this service takes (an HTTPException: FastAPI lets it through)."""

    code = "malformed_json"


class _StrictRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = json.read(await self.body())
            except json.MalformedJsonError as error:
                raise MalformedJson(400, str(error)) from error
        return self._json


def media_types(method: str) -> tuple[str, ...]:
    """What a body may be sent as; the first is what the contract names."""
    return (_MERGE_PATCH, _JSON) if method == "PATCH" else (_JSON,)


def required_role(dependant: Dependant) -> str:
    """The least role that may call an operation, read off its permission dependency."""
    for dependency in dependant.dependencies:
        role = getattr(dependency.call, "required_role", None) or required_role(dependency)
        if role != PUBLIC:
            return cast(str, role)
    return PUBLIC


def refuse_unsupported_media_type(request: Request) -> None:
    """Called behind the permission check, so that 401 and 403 come before 415.

    Raises:
        UnsupportedMediaType: the request has a body that is not declared as JSON.
    """
    if request.scope.get(_UNREADABLE):
        accepted = media_types(request.method)
        headers = {"Accept-Patch": ", ".join(accepted)} if request.method == "PATCH" else {}
        raise UnsupportedMediaType(f"Send the body as {accepted[0]}.", headers=headers)


class Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        has_body = self.body_field is not None
        is_public = required_role(self.dependant) == PUBLIC

        async def handle(request: Request) -> Response:
            request = _StrictRequest(request.scope, request.receive)
            if has_body:
                declared = request.headers.get("content-type", "").split(";")[0].strip().lower()
                if declared not in media_types(request.method) and await _has_body(request):
                    request.scope[_UNREADABLE] = True
                    if is_public:
                        refuse_unsupported_media_type(request)
            return await _run_until_committed(handler, request)

        return handle


async def _has_body(request: Request) -> bool:
    try:
        return bool(await request.body())
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended early.") from error


def _wants_rerun(error: BaseException) -> bool:
    # A row that changed between our read and our write: read again, and If-Match decides anew.
    return isinstance(error, StaleDataError) or is_transient(error)


async def _run_until_committed(
    handler: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    """Run the handler with its transaction; a deadlock, also one raised by COMMIT, reruns it.

    Each attempt gets an exit stack of its own in place of FastAPI's. FastAPI closes its stack
    outside of the route handler, where COMMIT's error could not be caught, and a second attempt
    on the same stack would commit the first one's half as well.
    """
    started = time.monotonic()
    frameworks_stack = request.scope["fastapi_function_astack"]
    try:
        for attempt in range(RERUNS + 1):
            try:
                async with AsyncExitStack() as stack:
                    request.scope["fastapi_function_astack"] = stack
                    return await handler(request)
            except (exc.DBAPIError, StaleDataError) as error:
                out_of_time = time.monotonic() - started > RERUN_SECONDS
                if not _wants_rerun(error):
                    raise
                if attempt == RERUNS or out_of_time:
                    raise Unavailable from error
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
    finally:
        request.scope["fastapi_function_astack"] = frameworks_stack
    raise AssertionError("unreachable")


def new_router(prefix: str = "", **options: Any) -> APIRouter:
    """The one way to make a router, so that every operation reads JSON strictly and can rerun."""
    return APIRouter(prefix=prefix, route_class=Route, redirect_slashes=False, **options)
