"""Access and refresh tokens: JWTs signed with one algorithm and a key that has an id."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import jwt

from inventory_api.auth.errors import InvalidToken
from inventory_api.kit.clock import utc_now
from inventory_api.models import Role

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "inventory-api"
LEEWAY_SECONDS = 10
_CLAIMS = ["exp", "iat", "nbf", "jti", "sub", "sid", "aud", "iss", "typ"]


class TokenType(StrEnum):
    ACCESS = "access"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `role` is the user's when an access token was issued."""

    user_id: int
    sid: str
    jti: str
    issued_at: int
    expires_at: int
    role: Role | None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    text: str
    jti: str
    expires_at: datetime


class Tokens:
    """Issues and verifies. The key's id is derived from the key, so a rotation needs no table."""

    def __init__(self, secret: bytes) -> None:
        self._kid = hashlib.sha256(secret).hexdigest()[:12]
        self._keys = {self._kid: secret}

    def issue(
        self, type_: TokenType, *, user_id: int, sid: str, seconds: int, role: Role | None = None
    ) -> IssuedToken:
        """A token that is good for `seconds`."""
        now = utc_now()
        expires_at = now + timedelta(seconds=seconds)
        jti = uuid.uuid4().hex
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": sid,
            "jti": jti,
            "typ": type_,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        if role is not None:
            claims["role"] = role
        text = jwt.encode(
            claims, self._keys[self._kid], algorithm=ALGORITHM, headers={"kid": self._kid}
        )
        return IssuedToken(text, jti, expires_at)

    def verify(self, token: str, type_: TokenType, *, expired_too: bool = False) -> Claims:
        """What a genuine token says.

        Args:
            expired_too: take one past its time, for what it names and not for what it allows.

        Raises:
            InvalidToken: for whatever is wrong with it.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise InvalidToken
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": _CLAIMS, "verify_exp": not expired_too},
            )
            # PyJWT knows nothing of typ: without this a refresh token would do as an access token.
            if claims["typ"] != type_:
                raise InvalidToken
            return Claims(
                user_id=int(claims["sub"]),
                sid=str(claims["sid"]),
                jti=str(claims["jti"]),
                issued_at=int(claims["iat"]),
                expires_at=int(claims["exp"]),
                role=Role(claims["role"]) if "role" in claims else None,
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken from error


def digest(token_id: str) -> str:
    """What is stored of a token's id: SHA-256 in hex."""
    return hashlib.sha256(token_id.encode()).hexdigest()
