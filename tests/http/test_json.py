"""What is not JSON, or more than JSON, is refused by every operation that takes a body."""

import time

import pytest
from httpx import AsyncClient

from tests.http.operations import WITH_BODY, Operation

CORPUS: dict[str, bytes] = {
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": Infinity}',
    "-Infinity": b'{"name": -Infinity}',
    "1e400": b'{"name": 1e400}',
    "-1e400": b'{"name": -1e400}',
    "duplicate member": b'{"name": "a", "name": "a"}',
    "duplicate member behind an escape": b'{"name": "a", "n\\u0061me": "b"}',
    "duplicate member inside": b'{"metadata": {"a": 1, "a": 2}}',
    "33 lists": b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}",
    "33 objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100,000 lists": b"[" * 100_000,
    "100,000 lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "2^63": b'{"name": 9223372036854775808}',
    "-2^63 - 1": b'{"name": -9223372036854775809}',
    "5,000 digits": b'{"name": ' + b"9" * 5_000 + b"}",
    "a million digits": b'{"name": ' + b"9" * 1_000_000 + b"}",
    "broken UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 cut short": b'{"name": "\xc3"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "UTF-32": '{"name": "a"}'.encode("utf-32-le"),
    "lone high surrogate": b'{"name": "\\ud800"}',
    "lone low surrogate": b'{"name": "\\udc00"}',
    "surrogates the wrong way round": b'{"name": "\\ude00\\ud83d"}',
    "surrogate in a member's name": b'{"\\ud800": 1}',
    "NUL": b'{"name": "a\\u0000b"}',
    "NUL in a member's name": b'{"\\u0000": 1}',
    "raw NUL": b'{"name": "a\x00b"}',
    "raw control character": b'{"name": "a\nb"}',
    "BOM": b'\xef\xbb\xbf{"name": "a"}',
    "blank": b" ",
    "truncated": b'{"name": "a"',
    "truncated text": b'{"name": "a',
    "truncated escape": b'{"name": "\\u00',
    "trailing comma": b'{"name": "a",}',
    "trailing text": b'{"name": "a"} x',
    "two documents": b'{"name": "a"}{"name": "a"}',
    "single quotes": b"{'name': 'a'}",
    "a comment": b'{"name": "a"} // x',
    "no quotes": b"{name: 1}",
    "leading zero": b'{"name": 01}',
    "plus": b'{"name": +1}',
    "hexadecimal": b'{"name": 0x1}',
    "bare point": b'{"name": 1.}',
    "True": b'{"name": True}',
    "undefined": b"undefined",
    "XML": b"<name>a</name>",
    "a form": b"name=a&email=b",
}


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_400_for_what_cannot_be_read(
    admin: AsyncClient, anonymous: AsyncClient, operation: Operation
) -> None:
    assert operation.media_type is not None
    headers = {"Content-Type": operation.media_type, "If-Match": "*"}
    for client in (admin, anonymous):
        for name, body in CORPUS.items():
            answer = await client.request(
                operation.method, operation.url(), content=body, headers=headers
            )
            assert (name, answer.status_code) == (name, 400)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["code"] == "malformed_json"
            assert len(answer.json()["detail"]) < 200


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_422_for_json_of_another_shape(admin: AsyncClient, operation: Operation) -> None:
    assert operation.media_type is not None
    headers = {"Content-Type": operation.media_type, "If-Match": "*"}
    for body in (b"", b"null", b"true", b"1", b"1.5", b'"text"', b"[]", b"[{}]", b'{"": 1}'):
        answer = await admin.request(
            operation.method, operation.url(), content=body, headers=headers
        )
        # An id that nothing has is refused before the body's members are looked at.
        assert (body, answer.status_code) == (body, 404 if "{" in operation.path else 422)


async def test_the_limits_themselves_are_taken(admin: AsyncClient) -> None:
    for body in (
        b'{"name": "a", "description": "\\ud83e\\udd58 \\uffff \\u0001"}',
        b'\t\r\n {"name":"b"} \t\r\n',
        b'{"n\\u0061me":"c"}',
    ):
        answer = await admin.post(
            "/api/categories", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 201
    for value in (b"9223372036854775807", b"-9223372036854775808", b"1e308", b"[" * 31 + b"]" * 31):
        answer = await admin.post(
            "/api/categories",
            content=b'{"name": %b}' % value,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 33 + b'"' + b'\\"' * 400_000, id="text that never ends"),
        pytest.param(b'{"a":"' * 150_000, id="many quotes"),
        pytest.param(b"[" * 33 + b'"\\' * 400_000, id="escapes"),
        pytest.param(b'{"a":' + b"1" * 900_000, id="digits"),
        pytest.param(b'{"a":1.' + b"1" * 900_000 + b"}", id="decimals"),
        pytest.param(b'["' + b"[" * 900_000, id="brackets in a text"),
    ],
)
async def test_a_hostile_body_does_not_hold_the_service_up(
    anonymous: AsyncClient, body: bytes
) -> None:
    started = time.perf_counter()
    answer = await anonymous.post(
        "/api/categories", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 401)
    assert time.perf_counter() - started < 2
