"""Properties of the parts that stand alone: JSON, cursors, canonical texts."""

import json as standard_json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inventory_api.kit import json
from inventory_api.kit.cursor import CursorCodec, InvalidCursorError
from inventory_api.kit.text import CANONICAL_MAX, canonical, search_key
from tests.properties.strategies import NASTY, pure, scalars, texts

QUESTION = "ProductQuery{}"
codec = CursorCodec(b"a secret of more than thirty-two bytes")

values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(20), inner, max_size=4),
    max_leaves=20,
)
positions = st.lists(st.integers(-(2**63), 2**63 - 1) | texts(50), min_size=1, max_size=2)
PARTS = [
    *("[", "]", "{", "}", '"', "\\", ",", ":", "1", "-", "e5", ".", "null", "NaN", "Infinity"),
    *('"a"', "\\u0000", "\\ud800", " ", "[" * 40, "9" * 400, "\x00"),
]
nasty_texts = texts(50) | st.lists(st.sampled_from(NASTY), max_size=4).map("".join)


class TestJson:
    @pure
    @given(value=values)
    def test_what_is_written_is_read(self, value: Any) -> None:
        read = json.read(json.write(value))
        assert standard_json.dumps(read) == standard_json.dumps(value)

    @pure
    @given(value=values)
    def test_other_writers_are_read_alike(self, value: Any) -> None:
        for text in (
            standard_json.dumps(value),
            standard_json.dumps(value, ensure_ascii=False, indent=1),
        ):
            assert standard_json.dumps(json.read(text.encode())) == standard_json.dumps(value)

    @pure
    @given(body=st.binary(max_size=200))
    @example(body=b"\xef\xbb\xbf{}")
    @example(body=b"\xff")
    @example(body=b"")
    def test_of_any_bytes_it_says_no_in_one_way(self, body: bytes) -> None:
        _read_or_refused(body)

    @pure
    @given(
        parts=st.lists(
            st.sampled_from(PARTS),
            max_size=30,
        )
    )
    def test_of_almost_json_it_says_no_in_one_way(self, parts: list[str]) -> None:
        _read_or_refused("".join(parts).encode())


def _read_or_refused(body: bytes) -> None:
    """Nothing is read that a common reader would not, and nothing else is raised."""
    try:
        value = json.read(body)
    except json.MalformedJsonError:
        return
    assert standard_json.dumps(standard_json.loads(body)) == standard_json.dumps(value)


class TestCursor:
    @pure
    @given(position=positions, question=texts(50))
    def test_what_is_encoded_is_decoded(self, position: list[str | int], question: str) -> None:
        cursor = codec.encode(question, position)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
        assert codec.decode(question, cursor) == position

    @pure
    @given(position=positions, data=st.data())
    def test_altered_anywhere_it_is_refused(
        self, position: list[str | int], data: st.DataObject
    ) -> None:
        cursor = codec.encode(QUESTION, position)
        place = data.draw(st.sampled_from(range(len(cursor))) | st.just(len(cursor) - 1))
        printable = st.characters(codec="latin-1") | st.sampled_from("ABQRab01-_+/=")
        other = data.draw(printable.filter(lambda drawn: drawn != cursor[place]))
        for altered in (
            cursor[:place] + other + cursor[place + 1 :],
            cursor[:place] + other + cursor[place:],
            cursor[:place],
            cursor + other,
        ):
            with pytest.raises(InvalidCursorError):
                codec.decode(QUESTION, altered)

    @pure
    @given(position=positions, question=texts(50))
    def test_of_another_question_or_secret_it_is_refused(
        self, position: list[str | int], question: str
    ) -> None:
        cursor = codec.encode(question, position)
        with pytest.raises(InvalidCursorError):
            codec.decode(question + "x", cursor)
        with pytest.raises(InvalidCursorError):
            CursorCodec(b"another secret of more than thirty-two bytes").decode(question, cursor)

    @pure
    @given(cursor=texts(100))
    def test_of_any_text_it_says_no_in_one_way(self, cursor: str) -> None:
        with pytest.raises(InvalidCursorError):
            codec.decode(QUESTION, cursor)


class TestCanonical:
    @pure
    @given(text=nasty_texts)
    def test_is_canonical_itself(self, text: str) -> None:
        assert canonical(canonical(text)) == canonical(text)

    @pure
    @given(text=nasty_texts)
    def test_looks_at_neither_case_nor_space_around(self, text: str) -> None:
        for other in (text.casefold(), text.lower(), f" \t\u3000{text}\u00a0\n"):
            assert canonical(other) == canonical(text)

    @pure
    @given(text=nasty_texts.filter(lambda drawn: "ı" not in drawn))
    def test_capitals_are_the_same_but_of_the_dotless_i(self, text: str) -> None:
        assert canonical(text.upper()) == canonical(text)

    @pure
    @given(text=texts(300))
    def test_a_search_key_is_its_beginning(self, text: str) -> None:
        key = search_key(text)
        assert len(key) <= CANONICAL_MAX
        assert canonical(text).startswith(key)
