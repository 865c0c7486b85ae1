"""Log-ins: the durable truth about which tokens are alive."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.models.base import TABLE_OPTIONS, Base
from inventory_api.models.types import Id, UtcDateTime


class AuthSession(Base):
    """One log-in of a browser or a program; its tokens carry its id as `sid`.

    Only SHA-256 digests (hex) of the refresh tokens' ids are kept.
    """

    __tablename__ = "auth_sessions"
    __table_args__ = (
        Index(None, "user_id"),
        Index(None, "revoked_at"),
        {key: value for key, value in TABLE_OPTIONS.items() if key != "sqlite_autoincrement"},
    )

    sid: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id"))
    refresh_digest: Mapped[str] = mapped_column(String(64))
    previous_refresh_digest: Mapped[str | None] = mapped_column(String(64))
    rotated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    user_agent: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(45))
