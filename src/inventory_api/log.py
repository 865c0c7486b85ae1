"""Structured logging: one JSON object a line, with the id of the request that caused it."""

import logging
import sys
from contextvars import ContextVar
from typing import Any

from inventory_api.kit import json
from inventory_api.kit.clock import utc_now

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_QUIET = (
    "nx_27017",
    "neosqlite",
    "pymongo",
    "aiosqlite",
    "alembic",
    "httpx",
    "inventory_api.stores.sql.FifoPool",
)


class JsonFormatter(logging.Formatter):
    """Events have stable names; what varies stands in fields, given as `extra={"fields": {…}}`.

    JSON escapes control characters, so nothing a client sends can forge a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": utc_now(),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.write_text(line)


# The driver repeats the server's notes as warnings, such as that a table is there already.
logging.getLogger("asyncmy").setLevel(logging.ERROR)


def configure(level: str) -> None:
    """Send the service's log to standard error, at `level` and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event. Never pass a password, a token or a cookie."""
    logger.log(level, name, extra={"fields": fields})
