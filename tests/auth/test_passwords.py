"""Hashing: whole passwords, the same cost for everybody, and never more than can be served."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from passlib.context import CryptContext

from inventory_api.auth.errors import TooManyLogins
from inventory_api.auth.passwords import WAITING_MAX, Passwords
from tests.factories import PASSWORD, Factory


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class SlowContext:
    """Hashes once it may go on; counts what it was asked."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.asked = 0

    def hash(self, password: str) -> str:
        self.asked += 1
        assert self.may_go_on.wait(10)
        return "hash of " + password

    def verify(self, password: str, password_hash: str) -> bool:
        return self.hash(password) == password_hash


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(4)
    yield passwords
    passwords.close()


@pytest.fixture
def slow(passwords: Passwords) -> Iterator[SlowContext]:
    context = SlowContext()
    passwords._context = context
    yield context
    context.may_go_on.set()


class TestHash:
    async def test_uses_bcrypt_over_sha256_with_the_rounds_that_are_set(
        self, passwords: Passwords
    ) -> None:
        hashed = await passwords.hash(PASSWORD)
        assert hashed.startswith("$bcrypt-sha256$")
        assert "r=4$" in hashed

    async def test_the_same_password_twice_has_two_hashes(self, passwords: Passwords) -> None:
        assert await passwords.hash(PASSWORD) != await passwords.hash(PASSWORD)

    @pytest.mark.parametrize("length", [72, 73, 100, 128])
    async def test_every_character_counts(self, passwords: Passwords, length: int) -> None:
        password = "x" * length
        hashed = await passwords.hash(password)
        assert await passwords.verify(password, hashed)
        assert not await passwords.verify(password + "x", hashed)
        assert not await passwords.verify(password[:-1], hashed)
        assert not await passwords.verify(password[:-1] + "y", hashed)


class TestVerify:
    async def test_takes_a_plain_bcrypt_hash_of_another_application(
        self, passwords: Passwords
    ) -> None:
        hashed = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4).hash(PASSWORD)
        assert await passwords.verify(PASSWORD, hashed)
        assert not await passwords.verify(PASSWORD + "x", hashed)

    async def test_nobody_has_the_password_of_no_account(self, passwords: Passwords) -> None:
        assert not await passwords.verify("nobody's password", None)

    @pytest.mark.parametrize("password_hash", ["", "nonsense", PASSWORD])
    async def test_a_hash_that_is_none_fits_nothing(
        self, passwords: Passwords, password_hash: str
    ) -> None:
        assert not await passwords.verify(PASSWORD, password_hash)

    @pytest.mark.parametrize("password", ["", "\x00", "a\x00b", "\ud800", "x" * 4_097])
    async def test_no_password_is_an_error(self, passwords: Passwords, password: str) -> None:
        hashed = await passwords.hash(PASSWORD)
        assert not await passwords.verify(password, hashed)
        assert not await passwords.verify(password, None)


class TestPool:
    async def test_refuses_before_hashing_when_full_and_takes_again_when_served(
        self, passwords: Passwords, slow: SlowContext
    ) -> None:
        places = passwords._workers + WAITING_MAX
        running = [asyncio.create_task(passwords.hash(str(number))) for number in range(places)]
        await until(lambda: slow.asked == passwords._workers)
        async with asyncio.timeout(5):
            for _ in range(3):
                with pytest.raises(TooManyLogins):
                    await passwords.hash(PASSWORD)
                with pytest.raises(TooManyLogins):
                    await passwords.verify(PASSWORD, None)
        slow.may_go_on.set()
        assert await asyncio.gather(*running) == [f"hash of {number}" for number in range(places)]
        assert slow.asked == places
        assert await passwords.hash(PASSWORD) == f"hash of {PASSWORD}"

    async def test_leaves_the_event_loop_free(
        self, passwords: Passwords, slow: SlowContext
    ) -> None:
        hashing = asyncio.create_task(passwords.hash(PASSWORD))
        await until(lambda: slow.asked == 1)
        assert not hashing.done()
        slow.may_go_on.set()
        await hashing

    async def test_who_gives_up_waiting_frees_the_place(
        self, passwords: Passwords, slow: SlowContext
    ) -> None:
        places = passwords._workers + WAITING_MAX
        running = [asyncio.create_task(passwords.hash(str(number))) for number in range(places)]
        await until(lambda: slow.asked == passwords._workers)
        running.pop().cancel()
        await asyncio.sleep(0)
        newcomer = asyncio.create_task(passwords.hash(PASSWORD))
        slow.may_go_on.set()
        assert await newcomer == f"hash of {PASSWORD}"
        await asyncio.gather(*running)


class TestLogIn:
    async def test_every_refusal_costs_one_hash_of_the_same_cost(
        self,
        app: FastAPI,
        anonymous: AsyncClient,
        factory: Factory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        user, disabled = await factory.user(), await factory.user(is_active=False)
        passwords = app.state.auth.passwords
        verified: list[str] = []
        original = passwords._verify

        def verify(password: str, password_hash: str) -> bool:
            verified.append(password_hash)
            return bool(original(password, password_hash))

        monkeypatch.setattr(passwords, "_verify", verify)
        for email in ("nobody@shop.example", user.email, disabled.email):
            body = {"email": email, "password": "wrong"}
            assert (await anonymous.post("/token", json=body)).status_code == 401
        unknown, wrong, off = verified
        assert (wrong, off) == (user.password_hash, disabled.password_hash)
        assert unknown not in (wrong, off)
        costs = {password_hash.split("$")[2] for password_hash in verified}
        assert len(costs) == 1

    async def test_nobody_logs_in_with_the_dummys_password(
        self, anonymous: AsyncClient, factory: Factory
    ) -> None:
        body = {"email": "nobody@shop.example", "password": "nobody's password"}
        assert (await anonymous.post("/token", json=body)).status_code == 401
