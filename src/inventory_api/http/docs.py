"""The contract and its explorer, served by ourselves: no CDN, no inline script."""

import hashlib
from functools import cache, lru_cache
from pathlib import Path

from fastapi import FastAPI, Request, Response

from inventory_api.http import openapi
from inventory_api.http.conditional import IfNoneMatch, is_current
from inventory_api.http.openapi import Responses, problems
from inventory_api.http.route import new_router
from inventory_api.kit import json
from inventory_api.kit.errors import NotFound

router = new_router()

_FOLDER = Path(__file__).parent / "swagger_ui"
_TYPES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "init.js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
_NOT_MODIFIED: Responses = {304: {"description": "The client has the current contract."}}


@cache
def _asset(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


@lru_cache(maxsize=1)
def _contracts(app: FastAPI) -> dict[str, bytes]:
    """Media type → the contract in it; writing the YAML holds the event loop for 60 ms."""
    document = app.openapi()
    return {
        "application/json": json.write(document),
        "application/yaml": openapi.to_yaml(document).encode(),
    }


def _contract(request: Request, media_type: str, if_none_match: str | None) -> Response:
    body = _contracts(request.app)[media_type]
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if is_current(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


@router.get(
    "/openapi.json",
    tags=["contract"],
    summary="The contract as JSON",
    response_description="The OpenAPI document.",
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **_NOT_MODIFIED,
        **problems(),
    },
)
async def get_contract_json(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """This description, for tools that read JSON."""
    return _contract(request, "application/json", if_none_match)


@router.get(
    "/openapi.yaml",
    tags=["contract"],
    summary="The contract as YAML",
    response_class=Response,
    response_description="The OpenAPI document.",
    responses={
        200: {"content": {"application/yaml": {"schema": {"type": "string"}}}},
        **_NOT_MODIFIED,
        **problems(),
    },
)
async def get_contract_yaml(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """This description, as it is committed."""
    return _contract(request, "application/yaml", if_none_match)


@router.get("/docs", include_in_schema=False)
async def explore() -> Response:
    """Swagger UI: log in with "Try it out" and work."""
    return Response(
        _asset("index.html"),
        headers={"Content-Security-Policy": _POLICY},
        media_type="text/html; charset=utf-8",
    )


@router.get("/docs/{name}", include_in_schema=False)
async def get_docs_asset(name: str) -> Response:
    """Raises: NotFound: only the files of the page are served."""
    if name not in _TYPES:
        raise NotFound
    return Response(
        _asset(name), headers={"Cache-Control": "public, max-age=3600"}, media_type=_TYPES[name]
    )
