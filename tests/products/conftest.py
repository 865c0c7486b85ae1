"""What tests of products hold still, and what they watch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event

from inventory_api.metadata.sync_repository import Claim, SyncRepository

Recorder = Callable[[], AbstractContextManager[list[str]]]

# A context variable: what the relay and the deny-list send in the background is not recorded.
_recording: ContextVar[list[str] | None] = ContextVar("recording", default=None)


@pytest.fixture
def mongo_away(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB refuses every call, for requests and for the relay."""
    monkeypatch.setattr(app.state.mongo, "_connected", False)


@pytest.fixture
def relay_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay takes nothing, so that what is queued stays pending."""

    async def nothing(_repository: SyncRepository) -> list[Claim]:
        return []

    monkeypatch.setattr(SyncRepository, "claim", nothing)


@pytest.fixture
def recorder(app: FastAPI) -> Iterator[Recorder]:
    """Records the SQL statements of the requests that are sent within its context."""

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        log = _recording.get()
        if log is not None and not statement.startswith("BEGIN"):
            log.append(statement)

    @contextmanager
    def recording() -> Iterator[list[str]]:
        statements: list[str] = []
        token = _recording.set(statements)
        try:
            yield statements
        finally:
            _recording.reset(token)

    database = app.state.database
    engines = [database.read_engine.sync_engine, database.write_engine.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    yield recording
    for engine in engines:
        event.remove(engine, "before_cursor_execute", record)
