"""The session's cookies: httpOnly, and on https bound to the host by their prefix."""

from dataclasses import dataclass
from typing import Literal

from fastapi import Request, Response

from inventory_api.auth.tokens import IssuedToken, TokenType


@dataclass(frozen=True, slots=True)
class Cookies:
    """Sets, reads and clears. Clearing needs the same attributes, or browsers keep the cookie."""

    secure: bool

    def set_tokens(self, response: Response, access: IssuedToken, refresh: IssuedToken) -> None:
        self._set(response, TokenType.ACCESS, access.text, expires=access)
        self._set(response, TokenType.REFRESH, refresh.text, expires=refresh)

    def clear(self, response: Response) -> None:
        for type_ in TokenType:
            self._set(response, type_, "", expires=None)

    def read(self, request: Request, type_: TokenType) -> str | None:
        return request.cookies.get(self._name(type_))

    def _set(
        self, response: Response, type_: TokenType, value: str, *, expires: IssuedToken | None
    ) -> None:
        same_site: Literal["lax", "strict"] = "lax" if type_ is TokenType.ACCESS else "strict"
        response.set_cookie(
            self._name(type_),
            value,
            max_age=None if expires else 0,
            expires=expires.expires_at if expires else None,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite=same_site,
        )

    def _name(self, type_: TokenType) -> str:
        # Browsers take the prefix only over https, where it fixes host, path and Secure.
        prefix = "__Host-" if self.secure else ""
        return f"{prefix}{type_}_token"
