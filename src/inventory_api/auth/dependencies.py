"""Who is asking, and may they: the requirements that signatures name."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import exc

from inventory_api.auth.cookies import Cookies
from inventory_api.auth.errors import AuthenticationDown, InvalidToken, RoleForbids
from inventory_api.auth.roles import Permission, least_role, may
from inventory_api.auth.service import AccountService, AuthContext
from inventory_api.auth.tokens import Claims, TokenType
from inventory_api.http.route import refuse_unsupported_media_type
from inventory_api.kit.clock import utc_now
from inventory_api.models import Role
from inventory_api.stores.sql import WriteSessionDep


@dataclass(frozen=True, slots=True)
class Actor:
    """The user on whose behalf a request acts."""

    id: int
    role: Role
    sid: str


async def auth_context(request: Request) -> AuthContext:
    context: AuthContext = request.app.state.auth
    return context


async def cookies(request: Request) -> Cookies:
    settings = request.app.state.settings
    return Cookies(secure=settings.secure_cookies)


AuthContextDep = Annotated[AuthContext, Depends(auth_context)]
CookiesDep = Annotated[Cookies, Depends(cookies)]


async def account_service(session: WriteSessionDep, context: AuthContextDep) -> AccountService:
    return AccountService(session, context)


AccountServiceDep = Annotated[AccountService, Depends(account_service)]


def access_token(request: Request, cookies: Cookies) -> str | None:
    """The bearer token, or else the cookie; a request with the header never uses its cookies."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return cookies.read(request, TokenType.ACCESS)
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def current_user(request: Request, context: AuthContextDep, cookies: CookiesDep) -> Actor:
    """Token → session still alive → actor. The protected router depends on it, so a route
    without a permission is still never open to everybody.

    Raises:
        InvalidToken: none, forged, expired, or its session has ended.
        AuthenticationDown: no store can tell.
    """
    token = access_token(request, cookies)
    if not token:
        raise InvalidToken
    claims = context.tokens.verify(token, TokenType.ACCESS)
    denied = await context.deny_list.has(claims.sid)
    if denied:
        raise InvalidToken
    role = claims.role if denied is False else await _role_from_row(context, claims)
    if role is None:
        raise InvalidToken
    return Actor(claims.user_id, role, claims.sid)


async def _role_from_row(context: AuthContext, claims: Claims) -> Role | None:
    try:
        row = await context.reads.live_session(claims.sid, claims.user_id)
    except (exc.SQLAlchemyError, OSError) as error:
        raise AuthenticationDown from error
    alive = row is not None and row.revoked_at is None and row.expires_at > utc_now()
    return row.role if row is not None and alive and row.is_active else None


CurrentUser = Annotated[Actor, Depends(current_user)]


class RequirePermission:
    """A dependency that lets only those pass whose role has the permission."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission
        self.required_role = str(least_role(permission))
        """Read by `http/openapi.py`; it stands in the contract as `x-required-role`."""

    async def __call__(self, request: Request, actor: CurrentUser) -> Actor:
        """Raises: RoleForbids, UnsupportedMediaType (in this order, and both before any 404)."""
        if not may(actor.role, self.permission):
            raise RoleForbids
        refuse_unsupported_media_type(request)
        return actor


Viewer = Annotated[Actor, Depends(RequirePermission(Permission.READ))]
StockWriter = Annotated[Actor, Depends(RequirePermission(Permission.WRITE_STOCK))]
CatalogWriter = Annotated[Actor, Depends(RequirePermission(Permission.WRITE_CATALOG))]
Admin = Annotated[Actor, Depends(RequirePermission(Permission.ADMINISTER))]
