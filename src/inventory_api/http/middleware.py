"""Plain ASGI middleware: request id, security headers, access log."""

import logging
import re
import time
import uuid

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inventory_api import log
from inventory_api.http.problems import from_any_error, from_plain_text

logger = logging.getLogger("inventory_api.access")

_OWN_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")

_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NAMES = {name for name, _ in _SECURITY_HEADERS}
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def _is_plain_text(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/plain") for name, value in headers
    )


class RequestContextMiddleware:
    """Gives each request an id, each response its security headers, and the log one line of it.

    An exception that nothing below handles becomes a 500 with both; a refusal in plain text, which
    is how the framework's own middleware refuses a host or a body, becomes a problem document.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        request_id = given.decode() if _OWN_ID.fullmatch(given) else uuid.uuid4().hex
        token = log.request_id.set(request_id)
        started = time.perf_counter()
        status = 0
        refused = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, refused
            if refused:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                if status >= 400 and _is_plain_text(headers):
                    await from_plain_text(Request(scope), status)(scope, receive, send_with_headers)
                    refused = True
                    return
                # A page of our own (docs) brings a policy of its own.
                present = {name.lower() for name, _ in headers} & _NAMES
                headers.extend(pair for pair in _SECURITY_HEADERS if pair[0] not in present)
                if scope["scheme"] == "https":
                    headers.append(_HSTS)
                headers.append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            # Here and not in an exception handler: those for Exception run outside of this class,
            # where the answer would go without id and headers.
            if status:
                raise
            response = from_any_error(Request(scope), error)
            await response(scope, receive, send_with_headers)
        finally:
            log.event(
                logger,
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )
            log.request_id.reset(token)
