"""create_app: the only place that assembles the service from its parts."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from inventory_api import api
from inventory_api.auth.passwords import Passwords
from inventory_api.auth.repository import AccountReads
from inventory_api.auth.revocation import DenyList
from inventory_api.auth.service import AuthContext
from inventory_api.auth.tokens import Tokens
from inventory_api.http import openapi, problems
from inventory_api.http.middleware import RequestContextMiddleware
from inventory_api.kit.cursor import CursorCodec
from inventory_api.metadata.relay import Relay
from inventory_api.settings import Settings, jwt_secret
from inventory_api.stores.embedded import (
    embedded_documents,
    embedded_keyvalue,
    lock_data_folder,
)
from inventory_api.stores.mongo import Mongo
from inventory_api.stores.redis import RedisStore
from inventory_api.stores.sql import open_database

MAX_BODY_BYTES = 1024 * 1024

_DESCRIPTION = """\
Products, categories, suppliers and stock of a warehouse or a shop.

Browsers sign in with `POST /login` (httpOnly cookies), programs with `POST /token` (bearer tokens).
Errors are RFC 9457 problem documents with a stable `code`. Every single resource has a strong ETag;
changes need `If-Match`. Lists are pages with an opaque cursor.
"""


def create_app(settings: Settings) -> FastAPI:
    """The service, not yet connected to anything: its lifespan opens the stores and closes them."""
    app = FastAPI(
        title="Inventory API",
        version=version("inventory-api"),
        summary="Products, categories, suppliers and stock behind one contract.",
        description=_DESCRIPTION,
        contact={"name": "The Inventory API authors"},
        license_info={"name": "MIT", "url": "https://spdx.org/licenses/MIT.html"},
        generate_unique_id_function=openapi.operation_id,
        separate_input_output_schemas=True,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        middleware=[
            Middleware(RequestContextMiddleware),
            # Inside of the context: FastAPI would put its own outside, without id and headers.
            Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES),
            Middleware(TrustedHostMiddleware, allowed_hosts=settings.allowed_hosts),
        ],
    )
    app.state.settings = settings
    app.state.startup_error = None
    problems.install(app)
    api.mount(app)
    app.openapi = _built_once(app)  # type: ignore[method-assign]
    return app


def _built_once(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.build(app)
        return app.openapi_schema

    return document


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    async with AsyncExitStack() as stack:
        try:
            await _open(app, settings, stack)
        except Exception as error:
            app.state.startup_error = error
            raise
        yield


async def _open(app: FastAPI, settings: Settings, stack: AsyncExitStack) -> None:
    """Open everything in order; the stack closes it in the reverse one."""
    state = app.state
    secret = jwt_secret(settings)
    mongodb_uri, redis_url = settings.mongodb_uri, settings.redis_url
    if not (settings.mysql_uri and mongodb_uri and redis_url):
        stack.enter_context(lock_data_folder(settings.data_dir))

    state.database = open_database(settings)
    stack.push_async_callback(state.database.close)

    state.mongo = Mongo(
        mongodb_uri.get_secret_value()
        if mongodb_uri
        else await stack.enter_async_context(embedded_documents(settings.data_dir))
    )
    stack.push_async_callback(state.mongo.close)
    state.mongo.start()

    state.redis = RedisStore(
        redis_url.get_secret_value()
        if redis_url
        else await stack.enter_async_context(embedded_keyvalue(settings.data_dir))
    )
    stack.push_async_callback(state.redis.close)

    passwords = Passwords(settings.password_hash_rounds)
    stack.callback(passwords.close)
    reads = AccountReads(state.database.reads)
    deny_list = DenyList(state.redis, reads, settings.access_token_seconds)
    state.auth = AuthContext(settings, passwords, Tokens(secret), deny_list, reads)
    stack.push_async_callback(deny_list.close)
    deny_list.start()

    state.cursors = CursorCodec(secret)
    state.relay = Relay(state.database, state.mongo)
    if settings.relay_enabled:
        stack.push_async_callback(state.relay.close)
        state.relay.start()
