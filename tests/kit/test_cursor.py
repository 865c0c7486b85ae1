"""Cursors that nobody else can make."""

import base64

import pytest

from inventory_api.kit.cursor import CURSOR_MAX, CursorCodec, InvalidCursorError

codec = CursorCodec(b"a secret of more than thirty-two bytes")


def test_keeps_a_position() -> None:
    position: list[str | int] = ["Ä \x01😀", 9_007_199_254_740_991]
    assert codec.decode("q", codec.encode("q", position)) == position


def test_has_one_text_for_each_position() -> None:
    """base64 has spare bits, padding and two alphabets: none of them makes a second text."""
    for filler in range(64):
        cursor = codec.encode("q", ["x" * filler, 1])
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        last = cursor[-1]
        others = {cursor + "=" * (-len(cursor) % 4), base64.b64encode(raw).decode(), cursor + "\n"}
        others |= {cursor[:-1] + chr(ord(last) + 1), cursor[:-1] + chr(ord(last) - 1)}
        for other in others - {cursor}:
            with pytest.raises(InvalidCursorError):
                codec.decode("q", other)


def test_refuses_longer_ones_than_are_made() -> None:
    with pytest.raises(InvalidCursorError):
        codec.decode("q", codec.encode("q", ["x" * CURSOR_MAX]))
