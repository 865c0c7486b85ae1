"""Signing up, in and out, and asking who one is."""

import dataclasses
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from inventory_api.auth.passwords import WAITING_MAX
from inventory_api.auth.tokens import TokenType
from inventory_api.models import Role
from tests.conftest import client_of
from tests.factories import PASSWORD, Factory

NEW = {"username": "kim", "email": "kim@shop.example", "password": PASSWORD}
JSON = {"Content-Type": "application/json"}

UNREADABLE_PASSWORDS = [
    pytest.param(b'"a password with a \\u0000 in it"', id="NUL"),
    pytest.param(b'"a password with a \x00 in it"', id="raw NUL"),
    pytest.param(b'"a password with a \\ud800 in it"', id="lone surrogate"),
    pytest.param(b'"a password with \xff in it"', id="broken UTF-8"),
]


def cookies_of(answer: Response) -> dict[str, Morsel[str]]:
    cookies: dict[str, Morsel[str]] = {}
    for line in answer.headers.get_list("set-cookie"):
        cookies |= SimpleCookie(line)
    return cookies


def without_ids(answer: Response) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    return {
        name: value for name, value in document.items() if name not in ("request_id", "instance")
    }


def credentials(email: str, password: str = PASSWORD) -> dict[str, str]:
    return {"email": email, "password": password}


def with_settings(app: FastAPI, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    settings = app.state.settings.model_copy(update=changes)
    auth = dataclasses.replace(app.state.auth, settings=settings)
    monkeypatch.setitem(app.state._state, "settings", settings)
    monkeypatch.setitem(app.state._state, "auth", auth)


def fill_password_pool(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if as many were waiting as may; whoever hashes nevertheless fails the test."""
    passwords = app.state.auth.passwords
    monkeypatch.setattr(passwords, "_busy", passwords._workers + WAITING_MAX)
    monkeypatch.setattr(passwords, "_executor", None)


def assert_503(answer: Response) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["code"] == "unavailable"


@pytest.fixture
async def browser(app: FastAPI, factory: Factory) -> Any:
    """A client that has logged in: its tokens are in its cookies."""
    user = await factory.user()
    async with client_of(app) as client:
        answer = await client.post("/login", json=credentials(user.email))
        assert answer.status_code == 200
        yield client


class TestSignUp:
    async def test_makes_a_staff_account_that_is_not_signed_in(
        self, anonymous: AsyncClient
    ) -> None:
        answer = await anonymous.post("/signup", json=NEW)
        assert answer.status_code == 201
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        user = answer.json()
        assert user.keys() == {
            "id", "username", "email", "role", "is_active", "created_at", "updated_at"
        }  # fmt: skip
        assert (user["username"], user["email"]) == ("kim", "kim@shop.example")
        assert user["role"] == "staff"
        assert user["is_active"] is True

    async def test_the_account_can_log_in(self, anonymous: AsyncClient) -> None:
        user = (await anonymous.post("/signup", json=NEW)).json()
        answer = await anonymous.post("/login", json=credentials(NEW["email"]))
        assert answer.status_code == 200
        assert answer.json() == user

    @pytest.mark.parametrize("role", ["admin", "staff", None])
    async def test_422_role_is_no_member(self, anonymous: AsyncClient, role: str | None) -> None:
        answer = await anonymous.post("/signup", json=NEW | {"role": role})
        assert answer.status_code == 422
        (flaw,) = answer.json()["errors"]
        assert (flaw["pointer"], flaw["code"]) == ("#/role", "extra_forbidden")
        assert (await anonymous.post("/login", json=credentials(NEW["email"]))).status_code == 401

    @pytest.mark.parametrize("username", ["kim", "KIM", " Kim ", "ｋｉｍ"])
    async def test_409_username_taken_whatever_its_case(
        self, anonymous: AsyncClient, username: str
    ) -> None:
        await anonymous.post("/signup", json=NEW)
        answer = await anonymous.post(
            "/signup", json=NEW | {"username": username, "email": "other@shop.example"}
        )
        assert answer.status_code == 409
        assert answer.json()["code"] == "username_taken"

    @pytest.mark.parametrize(
        "email", ["kim@shop.example", "KIM@Shop.Example", " kim@shop.example ", "kim@shop.ｅxample"]
    )
    async def test_409_email_taken_whatever_its_case(
        self, anonymous: AsyncClient, email: str
    ) -> None:
        await anonymous.post("/signup", json=NEW)
        answer = await anonymous.post("/signup", json=NEW | {"username": "other", "email": email})
        assert answer.status_code == 409
        assert answer.json()["code"] == "email_taken"

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("username", "ki"),
            ("username", " ki "),
            ("username", "k" * 65),
            ("username", "   "),
            ("username", "\u3000 \u3000"),
            ("username", "ﷺ" * 20),
            ("username", None),
            ("username", 5),
            ("username", ["kim"]),
            ("email", "kim"),
            ("email", "kim@shop"),
            ("email", "kim @shop.example"),
            ("email", "kim@shop@shop.example"),
            ("email", "k" * 250 + "@shop.example"),
            ("email", None),
            ("password", ""),
            ("password", "x" * 14),
            ("password", "x" * 129),
            ("password", "x" * 4_096),
            ("password", "x" * 100_000),
            ("password", None),
            ("password", {"$gt": ""}),
        ],
    )
    async def test_422_names_the_member(
        self, anonymous: AsyncClient, member: str, value: object
    ) -> None:
        answer = await anonymous.post("/signup", json=NEW | {member: value})
        assert answer.status_code == 422
        assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [f"#/{member}"]

    @pytest.mark.parametrize(
        "password",
        ["x" * 15, " " * 15, "🔑" * 128, "\u0301" * 15, "pass\nword\twith\rcontrol", "ÿ" * 37],
        ids=["15", "blanks", "512 bytes", "combining", "control", "74 bytes"],
    )
    async def test_any_password_of_the_length_is_taken_and_counts_whole(
        self, anonymous: AsyncClient, password: str
    ) -> None:
        answer = await anonymous.post("/signup", json=NEW | {"password": password})
        assert answer.status_code == 201
        log_in = credentials(NEW["email"], password)
        assert (await anonymous.post("/login", json=log_in)).status_code == 200
        log_in["password"] += "x"
        assert (await anonymous.post("/login", json=log_in)).status_code == 401
        log_in["password"] = password[:-1]
        assert (await anonymous.post("/login", json=log_in)).status_code == 401

    @pytest.mark.parametrize("password", UNREADABLE_PASSWORDS)
    async def test_400_password_that_is_no_text(
        self, anonymous: AsyncClient, password: bytes
    ) -> None:
        body = b'{"username": "kim", "email": "kim@shop.example", "password": %b}' % password
        answer = await anonymous.post("/signup", content=body, headers=JSON)
        assert answer.status_code == 400
        assert answer.json()["code"] == "malformed_json"

    async def test_403_when_sign_up_is_closed(
        self, app: FastAPI, anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_settings(app, monkeypatch, signup_enabled=False)
        answer = await anonymous.post("/signup", json=NEW)
        assert answer.status_code == 403
        assert answer.json()["code"] == "signup_disabled"

    async def test_413(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.post("/signup", content=_chunks(), headers=JSON)
        assert answer.status_code == 413

    async def test_415(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.post("/signup", data=NEW)
        assert answer.status_code == 415

    async def test_503_when_too_many_wait_for_a_hash(
        self, app: FastAPI, anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill_password_pool(app, monkeypatch)
        assert_503(await anonymous.post("/signup", json=NEW))


async def _chunks() -> Any:
    for _ in range(17):
        yield b" " * 65_536


@pytest.mark.parametrize("path", ["/login", "/token"])
class TestBothLogIns:
    """What `POST /login` and `POST /token` have in common."""

    async def test_the_address_counts_without_regard_to_case(
        self, anonymous: AsyncClient, factory: Factory, path: str
    ) -> None:
        user = await factory.user(email="Kim@Shop.Example")
        for email in (user.email, "kim@shop.example", " KIM@SHOP.EXAMPLE "):
            answer = await anonymous.post(path, json=credentials(email))
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "no-store"

    async def test_401_unknown_wrong_and_disabled_look_alike(
        self, anonymous: AsyncClient, factory: Factory, path: str
    ) -> None:
        user, disabled = await factory.user(), await factory.user(is_active=False)
        answers = [
            await anonymous.post(path, json=body)
            for body in (
                credentials("nobody@shop.example"),
                credentials("no address"),
                credentials(""),
                credentials(user.email, "wrong"),
                credentials(user.email, ""),
                credentials(user.email, PASSWORD + "x"),
                credentials(user.email, PASSWORD.upper()),
                credentials(disabled.email),
                credentials(disabled.email, "wrong"),
            )
        ]
        first = answers[0]
        assert first.status_code == 401
        assert first.json()["code"] == "invalid_credentials"
        assert first.headers["WWW-Authenticate"] == "Bearer"
        assert first.headers["Cache-Control"] == "no-store"
        for answer in answers:
            assert answer.status_code == 401
            assert without_ids(answer) == without_ids(first)
            headers, expected = (
                {name: value for name, value in one.headers.items() if name != "x-request-id"}
                for one in (answer, first)
            )
            assert headers == expected

    @pytest.mark.parametrize("password", UNREADABLE_PASSWORDS)
    async def test_400_password_that_is_no_text(
        self, anonymous: AsyncClient, path: str, password: bytes
    ) -> None:
        body = b'{"email": "kim@shop.example", "password": %b}' % password
        answer = await anonymous.post(path, content=body, headers=JSON)
        assert answer.status_code == 400

    @pytest.mark.parametrize(
        ("password", "status"),
        [("x" * 4_096, 401), ("🔑" * 1_025, 401), ("🔑" * 4_096, 401), ("x" * 4_097, 422)],
        ids=["4096", "4100 bytes", "16384 bytes", "4097"],
    )
    async def test_a_huge_password_is_refused_calmly(
        self, anonymous: AsyncClient, factory: Factory, path: str, password: str, status: int
    ) -> None:
        user = await factory.user()
        for email in (user.email, "nobody@shop.example"):
            answer = await anonymous.post(path, json=credentials(email, password))
            assert answer.status_code == status

    async def test_413(self, anonymous: AsyncClient, path: str) -> None:
        answer = await anonymous.post(path, content=_chunks(), headers=JSON)
        assert answer.status_code == 413

    async def test_415(self, anonymous: AsyncClient, path: str) -> None:
        answer = await anonymous.post(path, data=credentials("kim@shop.example"))
        assert answer.status_code == 415

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"email": "kim@shop.example"}, "#/password"),
            ({"password": PASSWORD}, "#/email"),
            (credentials("kim@shop.example") | {"remember": True}, "#/remember"),
            ({"email": {"$ne": ""}, "password": PASSWORD}, "#/email"),
            ([], "#"),
            (None, "#"),
        ],
    )
    async def test_422(self, anonymous: AsyncClient, path: str, body: object, pointer: str) -> None:
        answer = await anonymous.post(path, json=body)
        assert answer.status_code == 422
        assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]

    async def test_503_when_too_many_wait_for_a_hash(
        self,
        app: FastAPI,
        anonymous: AsyncClient,
        factory: Factory,
        path: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        user = await factory.user()
        fill_password_pool(app, monkeypatch)
        assert_503(await anonymous.post(path, json=credentials(user.email)))
        assert_503(await anonymous.post(path, json=credentials("nobody@shop.example")))


class TestLogIn:
    async def test_answers_with_the_user_and_keeps_tokens_out_of_the_body(
        self, anonymous: AsyncClient, factory: Factory
    ) -> None:
        user = await factory.user("clerk")
        answer = await anonymous.post("/login", json=credentials(user.email))
        assert answer.status_code == 200
        assert answer.json()["id"] == user.id
        assert answer.json()["role"] == "clerk"
        for cookie in cookies_of(answer).values():
            assert cookie.value
            assert cookie.value not in answer.text

    async def test_cookies_on_http_in_development(
        self, app: FastAPI, anonymous: AsyncClient, factory: Factory
    ) -> None:
        user = await factory.user()
        answer = await anonymous.post("/login", json=credentials(user.email))
        cookies = cookies_of(answer)
        assert cookies.keys() == {"access_token", "refresh_token"}
        for cookie in cookies.values():
            assert cookie["httponly"]
            assert cookie["path"] == "/"
            assert not cookie["domain"]
            assert not cookie["secure"]
            assert cookie["expires"]
        assert cookies["access_token"]["samesite"] == "lax"
        assert cookies["refresh_token"]["samesite"] == "strict"
        tokens = app.state.auth.tokens
        access = tokens.verify(cookies["access_token"].value, TokenType.ACCESS)
        refresh = tokens.verify(cookies["refresh_token"].value, TokenType.REFRESH)
        assert access.sid == refresh.sid
        assert access.expires_at - access.issued_at == 600
        assert refresh.expires_at - refresh.issued_at == 7 * 24 * 3600

    async def test_secure_cookies_are_bound_to_the_host(
        self, app: FastAPI, factory: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_settings(app, monkeypatch, cookie_secure=True)
        user = await factory.user()
        async with client_of(app) as browser:
            browser.base_url = "https://localhost"
            answer = await browser.post("/login", json=credentials(user.email))
            cookies = cookies_of(answer)
            assert cookies.keys() == {"__Host-access_token", "__Host-refresh_token"}
            for cookie in cookies.values():
                assert cookie["secure"]
                assert cookie["httponly"]
                assert cookie["path"] == "/"
                assert not cookie["domain"]
            assert (await browser.get("/api/me")).status_code == 200
            bare = {"Cookie": f"access_token={cookies['__Host-access_token'].value}"}
            browser.cookies.clear()
            assert (await browser.get("/api/me", headers=bare)).status_code == 401

    async def test_each_log_in_is_a_session_of_its_own(
        self, app: FastAPI, factory: Factory
    ) -> None:
        user = await factory.user()
        async with client_of(app) as one, client_of(app) as other:
            for browser in (one, other):
                await browser.post("/login", json=credentials(user.email))
            assert (await one.post("/logout")).status_code == 204
            assert (await other.get("/api/me")).status_code == 200

    async def test_a_hostile_user_agent_is_stored(
        self, anonymous: AsyncClient, factory: Factory
    ) -> None:
        user = await factory.user()
        agent = "Ü" * 300 + "'; DROP TABLE users --"
        answer = await anonymous.post(
            "/login",
            json=credentials(user.email),
            headers=[(b"User-Agent", agent.encode("latin-1"))],
        )
        assert answer.status_code == 200


class TestCreateToken:
    async def test_answers_in_the_shape_of_rfc_6749_without_cookies(
        self, app: FastAPI, anonymous: AsyncClient, factory: Factory
    ) -> None:
        user = await factory.user("clerk")
        answer = await anonymous.post("/token", json=credentials(user.email))
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        pair = answer.json()
        assert pair.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert pair["token_type"] == "Bearer"
        assert pair["expires_in"] == 600
        tokens = app.state.auth.tokens
        claims = tokens.verify(pair["access_token"], TokenType.ACCESS)
        assert (claims.user_id, claims.role) == (user.id, Role.CLERK)
        assert tokens.verify(pair["refresh_token"], TokenType.REFRESH).sid == claims.sid

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    async def test_the_access_token_works_as_a_bearer(
        self, anonymous: AsyncClient, factory: Factory, scheme: str
    ) -> None:
        user = await factory.user()
        pair = (await anonymous.post("/token", json=credentials(user.email))).json()
        header = {"Authorization": f"{scheme} {pair['access_token']}"}
        assert (await anonymous.get("/api/me", headers=header)).json()["id"] == user.id


class TestLogOut:
    async def test_204_clears_the_cookies_with_their_own_attributes(
        self, app: FastAPI, factory: Factory, anonymous: AsyncClient
    ) -> None:
        user = await factory.user()
        logged_in = await anonymous.post("/login", json=credentials(user.email))
        answer = await anonymous.post("/logout")
        assert answer.status_code == 204
        assert answer.content == b""
        assert answer.headers["Cache-Control"] == "no-store"
        given, cleared = cookies_of(logged_in), cookies_of(answer)
        assert cleared.keys() == given.keys()
        for name, cookie in cleared.items():
            assert cookie.value == ""
            assert cookie["max-age"] == "0"
            for attribute in ("path", "domain", "secure", "httponly", "samesite"):
                assert cookie[attribute] == given[name][attribute]
        assert not anonymous.cookies

    async def test_the_access_token_is_refused_at_once(self, browser: AsyncClient) -> None:
        access = {"Authorization": f"Bearer {browser.cookies['access_token']}"}
        assert (await browser.get("/api/me", headers=access)).status_code == 200
        assert (await browser.post("/logout")).status_code == 204
        assert (await browser.get("/api/me", headers=access)).status_code == 401

    async def test_ends_the_session_of_a_bearer(self, staff: AsyncClient) -> None:
        assert (await staff.post("/logout")).status_code == 204
        answer = await staff.get("/api/me")
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthenticated"

    async def test_a_second_log_out_is_204(self, browser: AsyncClient) -> None:
        cookies = dict(browser.cookies)
        for _ in range(2):
            browser.cookies.update(cookies)
            assert (await browser.post("/logout")).status_code == 204

    @pytest.mark.parametrize("type_", list(TokenType))
    async def test_an_expired_bearer_token_ends_its_session_too(
        self, app: FastAPI, browser: AsyncClient, type_: TokenType
    ) -> None:
        tokens = app.state.auth.tokens
        alive = browser.cookies["access_token"]
        claims = tokens.verify(alive, TokenType.ACCESS)
        expired = tokens.issue(type_, user_id=claims.user_id, sid=claims.sid, seconds=-60)
        browser.cookies.clear()
        header = {"Authorization": f"Bearer {expired.text}"}
        assert (await browser.post("/logout", headers=header)).status_code == 204
        header = {"Authorization": f"Bearer {alive}"}
        assert (await browser.get("/api/me", headers=header)).status_code == 401

    async def test_the_refresh_token_ends_it_when_the_access_token_has_expired(
        self, app: FastAPI, browser: AsyncClient
    ) -> None:
        tokens = app.state.auth.tokens
        alive = browser.cookies["access_token"]
        claims = tokens.verify(alive, TokenType.ACCESS)
        expired = tokens.issue(
            TokenType.ACCESS, user_id=claims.user_id, sid=claims.sid, seconds=-60, role=Role.STAFF
        )
        refresh = browser.cookies["refresh_token"]
        browser.cookies.clear()
        cookies = {"Cookie": f"access_token={expired.text}; refresh_token={refresh}"}
        assert (await browser.get("/api/me", headers=cookies)).status_code == 401
        assert (await browser.post("/logout", headers=cookies)).status_code == 204
        header = {"Authorization": f"Bearer {alive}"}
        assert (await browser.get("/api/me", headers=header)).status_code == 401

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Cookie": "access_token=nonsense; refresh_token=nonsense"},
            {"Authorization": "Bearer nonsense"},
            {"Authorization": "Basic a2ltOmtpbQ=="},
            {"Authorization": ""},
        ],
    )
    async def test_nothing_to_end_is_204(
        self, anonymous: AsyncClient, headers: dict[str, str]
    ) -> None:
        assert (await anonymous.post("/logout", headers=headers)).status_code == 204

    async def test_with_a_bearer_the_cookies_session_stays(self, browser: AsyncClient) -> None:
        header = {"Authorization": "Bearer nonsense"}
        access = {"Authorization": f"Bearer {browser.cookies['access_token']}"}
        assert (await browser.post("/logout", headers=header)).status_code == 204
        assert (await browser.get("/api/me", headers=access)).status_code == 200


class TestGetMe:
    @pytest.mark.parametrize("role", ["staff", "clerk", "admin"])
    async def test_answers_with_the_account(
        self, app: FastAPI, factory: Factory, role: str
    ) -> None:
        async with client_of(app, headers=await factory.bearer(role)) as client:
            answer = await client.get("/api/me")
        assert answer.status_code == 200
        assert answer.json()["role"] == role
        assert answer.headers["Cache-Control"] == "no-store"
        assert "password" not in answer.text

    async def test_takes_the_cookie(self, browser: AsyncClient) -> None:
        assert (await browser.get("/api/me")).status_code == 200

    async def test_401_without_a_token(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.get("/api/me")
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthenticated"
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "value", ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic a2ltOmtpbQ==", "nonsense"]
    )
    async def test_401_the_header_decides_whatever_the_cookies_say(
        self, browser: AsyncClient, value: str
    ) -> None:
        answer = await browser.get("/api/me", headers={"Authorization": value})
        assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/signup", "/login", "/token"])
@pytest.mark.parametrize("media_type", ["application/vnd.api+json", "text/plain", "a/b"])
async def test_public_operations_take_one_media_type(
    anonymous: AsyncClient, path: str, media_type: str
) -> None:
    body = b'{"username": "kim", "email": "kim@shop.example", "password": "a long enough sentence"}'
    answer = await anonymous.post(path, content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"
