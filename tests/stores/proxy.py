"""A TCP proxy that makes faults, run as `python -m tests.stores.proxy TARGET_PORT PORT`.

Its stdin takes a command a line, as JSON, and its stdout answers once it is in force. Tests use it
through `FaultProxy`. It ends when its stdin does, so it never outlives them.
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
from typing import Any, Self

from tests.stores.servers import PROJECT, ServerError, free_port

HOST = "127.0.0.1"
Chunks = asyncio.Queue[tuple[float, bytes]]


class FaultProxy:
    """Stands before a server on 127.0.0.1, in one mode at a time; `pass_through` at first."""

    _process: subprocess.Popen[str]

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target

    def through(self, url: str) -> str:
        """The URL with this proxy's port in place of the server's."""
        return url.replace(f":{self._target}", f":{self.port}", 1)

    def pass_through(self) -> None:
        """Let all flow, what `freeze` held back included."""
        self._order(mode="pass")

    def latency(self, seconds: float) -> None:
        """Deliver everything so much later, each way; the width of the pipe stays as it is."""
        self._order(mode="latency", seconds=seconds)

    def freeze(self) -> None:
        """Accept connections and bytes, and let nothing flow until another mode is set."""
        self._order(mode="freeze")

    def refuse(self) -> None:
        """Reset every connection and refuse new ones."""
        self._order(mode="refuse")

    def reset(self) -> None:
        """Reset every connection now; new ones pass."""
        self._order(mode="reset")

    def drop_answer(self, pattern: bytes, times: int = 1) -> None:
        """Hand on a request that holds `pattern`, then cut its connection instead of the answer.

        The cut comes when the server answers, so the server has carried the request out.
        After so many `times`, all passes again.
        """
        self._order(mode="drop_answer", pattern=pattern.decode("latin-1"), times=times)

    @property
    def dropped(self) -> int:
        """How many answers have been dropped since the start."""
        return int(self._order(mode="status")["dropped"])

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.proxy", str(self._target), str(self.port)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pass_through()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _order(self, **command: object) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(command), file=stdin, flush=True)
        if line := stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        raise ServerError("the proxy has died; it says why on stderr")


class Proxy:
    """The proxy itself: in each direction of a connection one task reads and one delivers."""

    def __init__(self, target: int, port: int) -> None:
        self._target = target
        self._port = port
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self._flowing = asyncio.Event()
        self._delay = 0.0
        self._pattern = b""
        self._drops_left = 0
        self._dropped = 0

    async def serve(self) -> None:
        # A thread waits for the lines; the loop stays free for the connections.
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            if command["mode"] != "status":
                await self._enter(command)
            print(json.dumps({"dropped": self._dropped}), flush=True)

    async def _enter(self, command: dict[str, Any]) -> None:
        mode = command["mode"]
        self._delay = command.get("seconds", 0.0)
        self._pattern = command.get("pattern", "").encode("latin-1")
        self._drops_left = command.get("times", 0)
        if mode == "refuse" and self._listener is not None:
            self._listener.close()
            self._listener = None
        if mode in ("refuse", "reset"):
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
        self._flowing.clear() if mode == "freeze" else self._flowing.set()
        if mode != "refuse" and self._listener is None:
            self._listener = await asyncio.start_server(self._connect, HOST, self._port)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None
        self._connections.add(this)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            # One end was reset or cannot be reached, or we cut it: the client sees a reset.
            reset(writer)
        finally:
            self._connections.remove(this)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:
            raise ConnectionAbortedError("accepted just before the listener was closed")
        server_reader, server_writer = await asyncio.open_connection(HOST, self._target)
        requests, answers, cut = Chunks(), Chunks(), asyncio.Event()
        try:
            await asyncio.gather(
                self._read(reader, requests),
                self._deliver(requests, server_writer, True, cut),
                self._read(server_reader, answers),
                self._deliver(answers, writer, False, cut),
            )
        except (OSError, asyncio.CancelledError):
            reset(server_writer)
            raise
        server_writer.close()

    async def _read(self, source: asyncio.StreamReader, chunks: Chunks) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(65_536):
            chunks.put_nowait((loop.time() + self._delay, data))
        chunks.put_nowait((loop.time() + self._delay, b""))

    async def _next(self, chunks: Chunks) -> bytes:
        """The next bytes, once they are due and may flow; none at the end."""
        due, data = await chunks.get()
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await self._flowing.wait()
        return data

    async def _deliver(
        self, chunks: Chunks, sink: asyncio.StreamWriter, to_server: bool, cut: asyncio.Event
    ) -> None:
        while data := await self._next(chunks):
            if to_server and self._drops_left and self._pattern in data:
                self._drops_left -= 1
                cut.set()
            elif not to_server and cut.is_set():
                self._dropped += 1
                raise ConnectionAbortedError("an answer is dropped")
            sink.write(data)
            await sink.drain()
        sink.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close it with a TCP reset, as a crashed peer's kernel would."""
    connection: socket.socket = writer.get_extra_info("socket")
    if not writer.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(Proxy(target=int(sys.argv[1]), port=int(sys.argv[2])).serve())
