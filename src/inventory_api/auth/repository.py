"""Users and log-ins in SQL."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Row, bindparam, func, select, update

from inventory_api.auth.errors import EmailTaken, UsernameTaken
from inventory_api.kit.clock import utc_now
from inventory_api.kit.repository import Repository
from inventory_api.models import AuthSession, Role, User
from inventory_api.stores.sql import ReadSession, WriteSession

_USER_COLUMNS = (
    User.id,
    User.username,
    User.email,
    User.role,
    User.is_active,
    User.created_at,
    User.updated_at,
)
_USER_BY_ID = select(*_USER_COLUMNS).where(User.id == bindparam("user_id"))
_CREDENTIALS = select(*_USER_COLUMNS, User.password_hash).where(
    User.email_key == bindparam("email_key")
)
_LIVE_SESSION = (
    select(AuthSession.revoked_at, AuthSession.expires_at, User.is_active, User.role)
    .join(User, User.id == AuthSession.user_id)
    .where(AuthSession.sid == bindparam("sid"), User.id == bindparam("user_id"))
)
_REVOKED_SINCE = select(AuthSession.sid, AuthSession.revoked_at).where(
    AuthSession.revoked_at >= bindparam("since")
)
_ADMINS = (
    select(func.count()).select_from(User).where(User.role == Role.ADMIN, User.is_active.is_(True))
)


class UserRepository(Repository[User]):
    model = User
    errors: ClassVar = {
        "uq_users_username_key": UsernameTaken,
        "uq_users_email_key": EmailTaken,
    }


class AccountReads:
    """What sign-in and the session check read, each one statement."""

    def __init__(self, reads: ReadSession) -> None:
        self._reads = reads

    async def user(self, user_id: int) -> Row[Any] | None:
        return await self._reads.first(_USER_BY_ID, {"user_id": user_id})

    async def credentials(self, email_key: str) -> Row[Any] | None:
        return await self._reads.first(_CREDENTIALS, {"email_key": email_key})

    async def live_session(self, sid: str, user_id: int) -> Row[Any] | None:
        return await self._reads.first(_LIVE_SESSION, {"sid": sid, "user_id": user_id})

    async def revoked_since(self, since: datetime) -> list[tuple[str, datetime]]:
        rows = await self._reads.all(_REVOKED_SINCE, {"since": since})
        return [(row.sid, row.revoked_at) for row in rows]

    async def active_admins(self) -> int:
        return await self._reads.count(_ADMINS)


class SessionRepository:
    """Log-ins, changed in the caller's transaction."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def add(self, session: AuthSession) -> None:
        self._session.add(session)
        await self._session.flush()

    async def revoke(self, sid: str) -> bool:
        """End a log-in. Returns: whether it was alive."""
        ended = await self._session.execute(
            update(AuthSession)
            .where(AuthSession.sid == sid, AuthSession.revoked_at.is_(None))
            .values(revoked_at=utc_now())
            .execution_options(synchronize_session=False)
        )
        return bool(ended.rowcount)  # type: ignore[attr-defined]
