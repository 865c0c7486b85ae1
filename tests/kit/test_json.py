"""The strict reader and the one writer."""

import time
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest
from bson import Int64

from inventory_api.kit import json


class TestRead:
    @pytest.mark.parametrize(
        ("body", "value"),
        [
            (b"null", None),
            (b' {"a": [1, 2.5, true, ""]} ', {"a": [1, 2.5, True, ""]}),
            (b"-0", 0),
            (b"9223372036854775807", 2**63 - 1),
            (b"-9223372036854775808", -(2**63)),
            (b"1e308", 1e308),
            (rb'"\ud83d\ude00"', "😀"),
            ('"\u2028\uffff"'.encode(), "\u2028\uffff"),
        ],
    )
    def test_reads_what_rfc_8259_has(self, body: bytes, value: object) -> None:
        read = json.read(body)
        assert (read, type(read)) == (value, type(value))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"{'a': 1}",
            b"[1,]",
            b"01",
            b"1 2",
            b"\xef\xbb\xbf{}",
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b'"\t"',
            b"NaN",
            b"[Infinity]",
            b"-Infinity",
            b"1e400",
            b"-1e400",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"1" * 5_000,
            b'{"a": 1, "a": 1}',
            b'{"a": {"b": 1, "b": 2}}',
            rb'{"a": 1, "\u0061": 2}',
            rb'"\u0000"',
            rb'{"\u0000": 1}',
            rb'["\ud800"]',
            rb'{"\udfff": 1}',
            rb'"\ude00\ud83d"',
            b"[" * 33 + b"]" * 33,
            b'{"a":' * 33 + b"1" + b"}" * 33,
            b"[" * 500_000,
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_refuses_the_rest_without_echoing_it(self, body: bytes) -> None:
        with pytest.raises(json.MalformedJsonError) as caught:
            json.read(body)
        assert len(str(caught.value)) < 100

    def test_counts_values_outside_of_strings(self) -> None:
        commas = "[{," * 50_000
        assert json.read(json.write([commas, commas])) == [commas, commas]
        with pytest.raises(json.MalformedJsonError):
            json.read(b"[" + b"1," * 50_000 + b"1]")

    def test_counts_depth_outside_of_strings(self) -> None:
        assert json.read(b"[" * 32 + b"]" * 32)
        assert json.read(b"[" + b'"[[{",' * 30 + rb'"\"[\\"' + b"]")

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 33 + b'"' + b'\\"' * 500_000,
            b"[" * 33 + b'"' * 500_001,
            b"[" * 33 + b'"' + b"\\" * 500_001,
            b'["' + b"[" * 1_000_000,
        ],
        ids=lambda body: repr(body[30:40]),
    )
    def test_takes_no_longer_for_hostile_texts(self, body: bytes) -> None:
        started = time.process_time()
        with pytest.raises(json.MalformedJsonError):
            json.read(body)
        assert time.process_time() - started < 5


class TestWrite:
    def test_writes_each_type_in_one_way(self) -> None:
        document = {
            "moment": datetime(2026, 1, 31, 9, 30, 0, 5, tzinfo=UTC),
            "day": date(2026, 1, 31),
            "money": Decimal("7.10"),
            "text": "ä😀\u2028",
            "raw": msgspec.Raw(b'{"a":1}'),
            "long": Int64(2**63 - 1),
        }
        assert json.write_text(document) == (
            '{"moment":"2026-01-31T09:30:00.000005Z","day":"2026-01-31","money":"7.10",'
            '"text":"ä😀\u2028","raw":{"a":1},"long":9223372036854775807}'
        )

    def test_refuses_what_has_no_form_in_json(self) -> None:
        with pytest.raises(TypeError, match="complex"):
            json.write({"a": 1j})
