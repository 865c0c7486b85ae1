"""Signing up, in and out."""

import logging
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from inventory_api import log
from inventory_api.auth.errors import InvalidCredentials
from inventory_api.auth.passwords import Passwords
from inventory_api.auth.repository import AccountReads, SessionRepository, UserRepository
from inventory_api.auth.revocation import DenyList
from inventory_api.auth.tokens import IssuedToken, Tokens, TokenType, digest
from inventory_api.kit.clock import utc_now
from inventory_api.kit.text import canonical
from inventory_api.models import AuthSession, Role, User
from inventory_api.settings import Settings
from inventory_api.stores.sql import WriteSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuthContext:
    """What authentication needs for the life of the process."""

    settings: Settings
    passwords: Passwords
    tokens: Tokens
    deny_list: DenyList
    reads: AccountReads


@dataclass(frozen=True, slots=True)
class SignedIn:
    user: Row[Any]
    access: IssuedToken
    refresh: IssuedToken


class AccountService:
    def __init__(self, session: WriteSession, context: AuthContext) -> None:
        self._session = session
        self._context = context
        self._users = UserRepository(session)
        self._sessions = SessionRepository(session)

    async def sign_up(
        self, *, username: str, email: str, password: str, role: Role = Role.STAFF
    ) -> User:
        """Make an account.

        Raises:
            UsernameTaken, EmailTaken: somebody has it already, whatever the case of the letters.
        """
        user = User(
            username=username,
            username_key=canonical(username),
            email=email,
            email_key=canonical(email),
            role=role,
            is_active=True,
            # Hashed before the transaction begins with the first statement.
            password_hash=await self._context.passwords.hash(password),
        )
        await self._users.add(user)
        log.event(logger, "user_created", user_id=user.id, role=role)
        return user

    async def log_in(
        self, email: str, password: str, *, user_agent: str | None, address: str | None
    ) -> SignedIn:
        """Start a session.

        Raises:
            InvalidCredentials: unknown, wrong or disabled; all look and last alike.
        """
        user = await self._context.reads.credentials(canonical(email))
        right = await self._context.passwords.verify(password, user and user.password_hash)
        if user is None or not right or not user.is_active:
            log.event(logger, "log_in_refused", logging.WARNING, address=address)
            raise InvalidCredentials
        signed_in = self._issue(user, sid := uuid.uuid4().hex)
        now = utc_now()
        await self._sessions.add(
            AuthSession(
                sid=sid,
                user_id=user.id,
                refresh_digest=digest(signed_in.refresh.jti),
                previous_refresh_digest=None,
                rotated_at=now,
                created_at=now,
                expires_at=now + timedelta(seconds=self._context.settings.refresh_token_seconds),
                revoked_at=None,
                user_agent=user_agent[:255] if user_agent else None,
                address=address,
            )
        )
        log.event(logger, "logged_in", user_id=user.id, sid=sid, address=address)
        return signed_in

    async def log_out(self, sid: str) -> None:
        """End a session at once in every process; ending it twice is no error."""
        if await self._sessions.revoke(sid):
            log.event(logger, "logged_out", sid=sid)
            self._session.after_commit.append(lambda: self._context.deny_list.add(sid))

    def _issue(self, user: Row[Any], sid: str) -> SignedIn:
        settings, tokens = self._context.settings, self._context.tokens
        access = tokens.issue(
            TokenType.ACCESS,
            user_id=user.id,
            sid=sid,
            seconds=settings.access_token_seconds,
            role=user.role,
        )
        refresh = tokens.issue(
            TokenType.REFRESH, user_id=user.id, sid=sid, seconds=settings.refresh_token_seconds
        )
        return SignedIn(user, access, refresh)
