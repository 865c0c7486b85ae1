"""Accounts: /signup, /login, /token, /logout and /api/me."""

from typing import Any

from fastapi import Request, Response

from inventory_api.auth.dependencies import (
    AccountServiceDep,
    AuthContextDep,
    CookiesDep,
    Viewer,
    access_token,
)
from inventory_api.auth.errors import InvalidToken, SignupDisabled
from inventory_api.auth.schemas import LogIn, SignUp, TokenPair, User
from inventory_api.auth.tokens import TokenType
from inventory_api.http import openapi_components as components
from inventory_api.http.openapi import problems
from inventory_api.http.route import new_router
from inventory_api.kit import json

public = new_router(tags=["accounts"])
protected = new_router("/me", tags=["accounts"])

_NO_STORE = {"Cache-Control": "no-store"}


def _user_document(user: Any) -> dict[str, Any]:
    return {name: getattr(user, name) for name in User.model_fields}


def _json(document: object, status: int = 200) -> Response:
    return Response(
        json.write(document), status_code=status, headers=_NO_STORE, media_type="application/json"
    )


@public.post(
    "/signup",
    response_model=User,
    status_code=201,
    response_description="The account.",
    summary="Sign up",
    responses=problems(400, 403, 409, 413, 415, 503),
)
async def sign_up(body: SignUp, accounts: AccountServiceDep, context: AuthContextDep) -> Response:
    """Make an account with the role staff. It does not sign in."""
    if not context.settings.signup_enabled:
        raise SignupDisabled
    user = await accounts.sign_up(username=body.username, email=body.email, password=body.password)
    return _json(_user_document(user), 201)


@public.post(
    "/login",
    response_model=User,
    response_description="Who is signed in; the tokens are in the cookies.",
    summary="Log in with a browser",
    responses={
        200: {"headers": components.headers("SetCookie")},
        **problems(400, 401, 413, 415, 503),
    },
)
async def log_in(
    request: Request, body: LogIn, accounts: AccountServiceDep, cookies: CookiesDep
) -> Response:
    """Start a session. Its tokens travel in httpOnly cookies, never in a body."""
    signed_in = await accounts.log_in(
        body.email, body.password, user_agent=_user_agent(request), address=_address(request)
    )
    response = _json(_user_document(signed_in.user))
    cookies.set_tokens(response, signed_in.access, signed_in.refresh)
    return response


@public.post(
    "/token",
    response_model=TokenPair,
    response_description="The tokens.",
    summary="Log in with a program",
    responses=problems(400, 401, 413, 415, 503),
)
async def create_token(
    request: Request, body: LogIn, accounts: AccountServiceDep, context: AuthContextDep
) -> Response:
    """The same log-in for programs: tokens in the body, no cookies."""
    signed_in = await accounts.log_in(
        body.email, body.password, user_agent=_user_agent(request), address=_address(request)
    )
    return _json(
        {
            "access_token": signed_in.access.text,
            "token_type": "Bearer",
            "expires_in": context.settings.access_token_seconds,
            "refresh_token": signed_in.refresh.text,
        }
    )


@public.post(
    "/logout",
    status_code=204,
    response_class=Response,
    response_description="Nobody is signed in any more.",
    summary="Log out",
    responses={204: {"headers": components.headers("SetCookie")}, **problems(503)},
    openapi_extra={"security": [{"cookieAuth": []}, {"bearerAuth": []}, {}]},
)
async def log_out(
    request: Request, accounts: AccountServiceDep, context: AuthContextDep, cookies: CookiesDep
) -> Response:
    """End the session; its access token is refused from now on. Nothing to end is 204 too."""
    if (sid := _session_to_end(request, context, cookies)) is not None:
        await accounts.log_out(sid)
    response = Response(status_code=204, headers=_NO_STORE)
    cookies.clear(response)
    return response


def _session_to_end(request: Request, context: AuthContextDep, cookies: CookiesDep) -> str | None:
    """The session that a genuine token names, whether or not it has expired."""
    token = access_token(request, cookies)
    candidates = [(TokenType.ACCESS, token), (TokenType.REFRESH, token)]
    if "authorization" not in request.headers:
        candidates.append((TokenType.REFRESH, cookies.read(request, TokenType.REFRESH)))
    for type_, text in candidates:
        if text:
            try:
                return context.tokens.verify(text, type_, expired_too=True).sid
            except InvalidToken:
                continue
    return None


@protected.get(
    "",
    response_model=User,
    response_description="The account.",
    summary="Who am I?",
    responses=problems(401, 403, 503),
)
async def get_me(actor: Viewer, context: AuthContextDep) -> Response:
    """The account that is signed in."""
    user = await context.reads.user(actor.id)
    if user is None:
        raise InvalidToken
    return _json(_user_document(user))


def _user_agent(request: Request) -> str | None:
    return request.headers.get("user-agent")


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None
