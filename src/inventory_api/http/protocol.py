"""uvicorn's fast HTTP protocol with a bound on request heads, which it lacks."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers don't end within `MAX_HEAD_BYTES`.

    The parser joins an unfinished header anew with each piece that arrives: without a bound a
    single connection takes memory and, by the square of the length, the event loop.
    """

    _head_bytes = 0
    _in_body = False

    def data_received(self, data: bytes) -> None:
        # The callbacks below start the count anew whenever a head or a message ends in `data`.
        self._head_bytes += len(data)
        counted = self._head_bytes
        super().data_received(data)
        if self._head_bytes != counted or self._in_body:
            return
        if counted > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_body, self._head_bytes = True, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body, self._head_bytes = False, 0
        super().on_message_complete()
