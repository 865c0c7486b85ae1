"""The bound on request heads, on a real socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from inventory_api.http.protocol import MAX_HEAD_BYTES, BoundedHttpProtocol
from tests.stores.servers import free_port


async def _length(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(
        _length, port=free_port(), http=BoundedHttpProtocol, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    yield config.port
    server.should_exit = True
    await serving


async def _exchange(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read())
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(10):
            return await answer
    except ConnectionError:
        return await asyncio.wait_for(asyncio.shield(answer), 10)
    finally:
        writer.close()


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


async def test_a_head_that_does_not_end_is_cut(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\nX-A: ", *[b"a" * 16_384] * 8]
    answer = await _exchange(port, *pieces, pause=0.02)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("size", [10, MAX_HEAD_BYTES * 2, 1_000_000])
async def test_a_body_of_any_size_is_no_head(port: int, size: int) -> None:
    head = HEAD + f"Content-Length: {size}\r\n\r\n".encode()
    assert (await _exchange(port, head + b"x" * size)).endswith(f"\r\n\r\n{size}".encode())
    pieces = [b"x" * (size // 2), b"x" * (size - size // 2)]
    assert (await _exchange(port, head, *pieces, pause=0.05)).endswith(str(size).encode())


async def test_each_request_of_a_connection_has_a_head_of_its_own(port: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 30_000 + b"\r\n\r\n"
    last = HEAD + b"Content-Length: 0\r\n\r\n"
    answer = await _exchange(port, request, request, request, last, pause=0.05)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
