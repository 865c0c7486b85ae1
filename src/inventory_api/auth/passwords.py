"""Password hashing, off the event loop and bounded: a hash costs a third of a second of a core."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passlib.context import CryptContext
from passlib.exc import PasswordSizeError, PasswordValueError, UnknownHashError

from inventory_api.auth.errors import TooManyLogins

WAITING_MAX = 16

T = TypeVar("T")


class Passwords:
    """Hashes with bcrypt over HMAC-SHA256, so that every character of a long password counts.

    One worker fewer than cores: with one per core, other requests' p99 rose by 2.5 times and more.
    """

    def __init__(self, rounds: int) -> None:
        self._context = CryptContext(
            schemes=["bcrypt_sha256", "bcrypt"],
            deprecated=["bcrypt"],
            bcrypt_sha256__rounds=rounds,
        )
        self._workers = max(1, (os.cpu_count() or 1) - 1)
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="password")
        self._busy = 0
        self._dummy = self._context.hash("nobody's password")

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Raises: TooManyLogins: more are waiting than can be served soon."""
        return await self._run(lambda: str(self._context.hash(password)))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right. No hash (an unknown account) costs the same time.

        Raises:
            TooManyLogins: more are waiting than can be served soon.
        """
        right = await self._run(lambda: self._verify(password, password_hash or self._dummy))
        return right and password_hash is not None

    def _verify(self, password: str, password_hash: str) -> bool:
        try:
            return bool(self._context.verify(password, password_hash))
        except (PasswordSizeError, PasswordValueError, UnknownHashError, UnicodeEncodeError):
            return False  # no such password can have been set

    async def _run(self, work: Callable[[], T]) -> T:
        if self._busy >= self._workers + WAITING_MAX:
            raise TooManyLogins
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._busy -= 1
