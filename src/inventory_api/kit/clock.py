"""The one source of the present moment."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present moment in UTC, with microseconds: the resolution both SQL dialects store."""
    return datetime.now(UTC)
