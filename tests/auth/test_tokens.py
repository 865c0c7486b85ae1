"""Forged, altered and foreign tokens are refused, calmly."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from inventory_api.auth.tokens import LEEWAY_SECONDS
from inventory_api.kit import json
from tests.conftest import client_of
from tests.factories import PASSWORD, Factory

SECRET = "a secret for tests, of more than 32 bytes"
KID = hashlib.sha256(SECRET.encode()).hexdigest()[:12]
Claims = Any
Forger = Callable[[Claims, str], str]


def raw(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def part(value: object) -> str:
    return raw(json.write(value))


def signed(header: object, claims: Claims, *, key: str = SECRET, digest: str = "sha256") -> str:
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{raw(hmac.digest(key.encode(), text.encode(), digest))}"


def encode(claims: Claims, *, key: str = SECRET, digest: str = "sha256", **header: Any) -> str:
    """Signed as the service signs, but for what is said otherwise."""
    return signed(
        {"alg": "HS256", "typ": "JWT", "kid": KID} | header, claims, key=key, digest=digest
    )


def header_of(document: object) -> Forger:
    """The right claims, rightly signed, under another header."""
    return lambda claims, _token: signed(document, claims)


def unreadable_header(header: bytes) -> Forger:
    return lambda _claims, token: f"{raw(header)}.{token.split('.', 1)[1]}"


def altered_claims(claims: Claims, token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part(claims | {'role': 'admin'})}.{signature}"


def of(**changes: Any) -> Forger:
    return lambda claims, _token: encode(claims | changes)


def lacking(name: str) -> Forger:
    return lambda claims, _token: encode({k: v for k, v in claims.items() if k != name})


NOW = int(time.time())
FORGERIES: dict[str, Forger] = {
    "alg none": lambda claims, _: encode(claims, alg="none").rsplit(".", 1)[0] + ".",
    "alg none, signed": lambda claims, _: encode(claims, alg="none"),
    "alg HS512": lambda claims, _: encode(claims, digest="sha512", alg="HS512"),
    "alg RS256": lambda claims, _: encode(claims, alg="RS256"),
    "alg is a list": lambda claims, _: encode(claims, alg=["HS256"]),
    "other key": lambda claims, _: encode(claims, key="another secret of more than 32 bytes"),
    "empty key": lambda claims, _: encode(claims, key=""),
    "wrong kid": lambda claims, _: encode(claims, kid="0" * 12),
    "empty kid": lambda claims, _: encode(claims, kid=""),
    "kid is a path": lambda claims, _: encode(claims, kid="../../dev/null"),
    "no kid": header_of({"alg": "HS256", "typ": "JWT"}),
    "kid is a list": lambda claims, _: encode(claims, kid=[KID]),
    "kid is an object": lambda claims, _: encode(claims, kid={"kid": KID}),
    "kid is null": lambda claims, _: encode(claims, kid=None),
    "header is a list": header_of(["HS256"]),
    "header is not JSON": unreadable_header(b"{{{"),
    "header is not UTF-8": unreadable_header(b"\xff\xfe"),
    "header is deep": unreadable_header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "header has a huge number": unreadable_header(b'{"alg":' + b"9" * 10_000 + b"}"),
    "crit": lambda claims, _: encode(claims, crit=["exp"]),
    "claims are a list": lambda _, __: signed({"alg": "HS256", "typ": "JWT", "kid": KID}, []),
    **{
        f"no {name}": lacking(name)
        for name in ("exp", "iat", "nbf", "jti", "sub", "sid", "aud", "iss", "typ", "role")
    },
    "wrong aud": of(aud="another service"),
    "wrong iss": of(iss="another service"),
    "aud is a list of others": of(aud=["a", "b"]),
    "refresh token": of(typ="refresh"),
    "typ of another sort": of(typ="id"),
    "expired": of(exp=NOW - LEEWAY_SECONDS - 2),
    "not valid yet": of(nbf=NOW + 3_600),
    "issued in the future": of(iat=NOW + 3_600),
    "exp is text": of(exp="tomorrow"),
    "exp is null": of(exp=None),
    "sub is no number": of(sub="admin"),
    "unknown role": of(role="root"),
    "altered claims": altered_claims,
    "signature cut off": lambda _, token: token.rsplit(".", 1)[0],
    "signature empty": lambda _, token: token.rsplit(".", 1)[0] + ".",
    "truncated": lambda _, token: token[:-1],
    "doubled": lambda _, token: token + token,
    "four parts": lambda _, token: token + ".e30",
    "one part": lambda _, token: token.split(".")[0],
    "dots": lambda _, __: "..",
    "garbage": lambda _, __: "garbage",
    "control characters": lambda _, __: "\x01\x02\x7f",
    "a megabyte": lambda _, __: "a" * 1_000_000,
}


@pytest.fixture
async def genuine(app: FastAPI, factory: Factory) -> str:
    user = await factory.user("staff")
    async with client_of(app) as client:
        answer = await client.post("/token", json={"email": user.email, "password": PASSWORD})
    return str(answer.json()["access_token"])


def claims_of(token: str) -> Claims:
    return jwt.decode(token, options={"verify_signature": False})


async def test_the_forgers_can_make_a_token_that_passes(
    anonymous: AsyncClient, genuine: str
) -> None:
    copy = encode(claims_of(genuine))
    answer = await anonymous.get("/api/me", headers={"Authorization": f"Bearer {copy}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_401_for_a_forged_token(anonymous: AsyncClient, genuine: str, forgery: str) -> None:
    token = FORGERIES[forgery](claims_of(genuine), genuine)
    answer = await anonymous.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
