"""Which constraint a statement violated: the name decides the error that a client sees."""

import re

from sqlalchemy import MetaData, UniqueConstraint, exc

# Anchored at the end: the message quotes the user's value before the key's name.
_DUPLICATE = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'$", re.DOTALL)
_NAMED = re.compile(r"CONSTRAINT [`'\"]?([A-Za-z0-9_]+)[`'\"]?|Check constraint '([A-Za-z0-9_]+)'")
_SQLITE_UNIQUE = "UNIQUE constraint failed: "
_SQLITE_NAMED = re.compile(r"^(?:CHECK|FOREIGN KEY) constraint failed: ([a-z0-9_]+)$")

_MYSQL_DUPLICATE = 1062
_MYSQL_NAMED = {1451, 1452, 3819, 4025}


def violated_constraint(error: exc.DBAPIError, metadata: MetaData) -> str | None:
    """The name of the violated constraint; None when the error is of another sort.

    MariaDB reports a CHECK as OperationalError, so the class of the error says nothing.
    """
    if error.orig is None or not error.orig.args:
        return None
    code, *_ = error.orig.args
    message = str(error.orig.args[-1])
    if code == _MYSQL_DUPLICATE and (match := _DUPLICATE.search(message)):
        return match[1]
    if code in _MYSQL_NAMED and (match := _NAMED.search(message)):
        return match[1] or match[2]
    if message.startswith(_SQLITE_UNIQUE):
        return _sqlite_unique(message.removeprefix(_SQLITE_UNIQUE), metadata)
    if match := _SQLITE_NAMED.match(message):
        return match[1]
    return None


def _sqlite_unique(failed: str, metadata: MetaData) -> str | None:
    """SQLite names the columns, such as `products.sku_key`, and not the constraint."""
    table_name, _, _ = failed.partition(".")
    columns = {column.partition(".")[2] for column in failed.split(", ")}
    table = metadata.tables.get(table_name)
    for constraint in table.constraints if table is not None else ():
        if isinstance(constraint, UniqueConstraint) and set(constraint.columns.keys()) == columns:
            return str(constraint.name)
    return None
