"""Opaque, signed keyset cursors.

A cursor says where a page ended: the sort values and the id of its last row. It is bound to the
question (sort and filters) that made it, so it can't be carried over to another list, and signed,
so nobody can steer a query with one. It grants nothing: every request is authorised by itself.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from inventory_api.kit import json

_SIGNATURE_BYTES = 16
CURSOR_MAX = 2_048
"""Longest cursor that is taken, in characters."""


class InvalidCursorError(ValueError):
    """The cursor was not made by this service for this list."""


class CursorCodec:
    """Signs and reads cursors with a key derived from the service's secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"inventory-api cursor", "sha256")

    def encode(self, question: str, position: Sequence[str | int]) -> str:
        """A cursor after `position` in the answers to `question`; needs no escaping in a URL."""
        payload = json.write(list(position))
        return _text(self._sign(question, payload) + payload)

    def decode(self, question: str, cursor: str) -> list[str | int]:
        """The position that was given to `encode`.

        Raises:
            InvalidCursorError: altered, cut, or made for another question.
        """
        if len(cursor) > CURSOR_MAX:
            raise InvalidCursorError
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidCursorError from error
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        # base64 has several texts for the same bytes (spare bits, padding): one of them is ours.
        if _text(raw) != cursor:
            raise InvalidCursorError
        if not hmac.compare_digest(signature, self._sign(question, payload)):
            raise InvalidCursorError
        position: list[str | int] = json.read(payload)
        return position

    def _sign(self, question: str, payload: bytes) -> bytes:
        asked = hashlib.sha256(question.encode()).digest()
        return hmac.digest(self._key, asked + payload, "sha256")[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    """base64 in unreserved URL characters, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
