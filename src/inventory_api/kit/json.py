"""JSON in and out: one strict reader, one encoder.

The reader refuses what Python's own accepts and what later breaks a store or another client:
NaN and infinities, numbers outside 64 bits, duplicate members, NUL, lone surrogates, deep nesting.
"""

import json
import math
import re
from typing import Any, NoReturn

import msgspec

MAX_DEPTH = 32
MAX_ITEMS = 50_000
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

JsonValue = Any
"""A value as `read` returns it: None, bool, int, float, str, list, dict."""

# One that does not end matches too: its end would be looked for again from each quote.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def _plain(value: object) -> object:
    """What the encoder can't take by itself: subclasses of int, such as BSON's 64-bit integer."""
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class MalformedJsonError(ValueError):
    """The text is not JSON that this service takes; the message says why, never echoing it."""


def write(value: object) -> bytes:
    """Encode to UTF-8 JSON: datetimes as RFC 3339, decimals as strings, `msgspec.Raw` as it is."""
    return _encoder.encode(value)


def write_text(value: object) -> str:
    return _encoder.encode(value).decode()


def read(body: bytes) -> JsonValue:
    """Decode UTF-8 JSON strictly.

    Raises:
        MalformedJsonError: for anything that is not JSON or is beyond the limits above.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJsonError("the body is not UTF-8") from error
    _refuse_bomb(text)
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_int64,
            object_pairs_hook=_unique_members,
        )
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise MalformedJsonError(f"nested deeper than {MAX_DEPTH} levels") from error
    _refuse_unstorable(value)
    return value


def _refuse_bomb(text: str) -> None:
    """Bound what parsing can cost, at the cost of a few scans: it runs on the event loop."""
    # The second count, for texts full of commas, takes less than 0.1 s for the largest body.
    if _items(text) > MAX_ITEMS and _items(_STRING.sub("", text)) > MAX_ITEMS:
        raise MalformedJsonError(f"more than {MAX_ITEMS} values")


def _items(text: str) -> int:
    return sum(map(text.count, "[{,"))


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedJsonError("a number is too large")
    return number


def _int64(digits: str) -> int:
    # 20 characters hold every 64-bit integer with its sign; int() of more can take very long.
    if len(digits) > 20 or not INT_MIN <= (number := int(digits)) <= INT_MAX:
        raise MalformedJsonError("an integer does not fit into 64 bits")
    return number


def _unique_members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJsonError("an object has a member twice")
    return members


def _refuse_unstorable(value: JsonValue) -> None:
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            if "\x00" in item:
                raise MalformedJsonError("a text contains the character NUL")
            if not item.isascii() and _SURROGATE.search(item):
                raise MalformedJsonError("a text contains a lone surrogate")
        elif isinstance(item, list | dict):
            if depth > MAX_DEPTH:
                raise MalformedJsonError(f"nested deeper than {MAX_DEPTH} levels")
            pending.extend((member, depth + 1) for member in item)
            if isinstance(item, dict):
                pending.extend((member, depth + 1) for member in item.values())
