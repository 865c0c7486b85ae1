"""A proxy between unix sockets that makes faults, for the embedded stores.

`FaultProxy` beside it does the same over TCP for the real ones, and more of it.
"""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Self


class UnixProxy:
    """Stands before the socket of an embedded store, in one mode at a time; it passes all at first.

    Args:
        target: the store's socket.
        path: where this one listens.
    """

    def __init__(self, target: Path, path: Path) -> None:
        self.path = path
        self._target = target
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.pass_through()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    async def pass_through(self) -> None:
        """Let all flow, what `freeze` held back included."""
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._connect, self.path)

    async def freeze(self) -> None:
        """Accept connections and bytes, and let nothing flow until another mode is set."""
        await self.pass_through()
        self._flowing.clear()

    async def reset(self) -> None:
        """Cut every connection now; new ones pass."""
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def refuse(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.path.unlink()
        await self.reset()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio reports it as an error when the handler's is cancelled.
        connection = asyncio.create_task(self._join(reader, writer))
        self._connections.add(connection)
        # Whatever it ended with: a connection that is cut fails.
        await asyncio.gather(connection, return_exceptions=True)
        self._connections.discard(connection)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await self._flowing.wait()
            store_reader, store_writer = await asyncio.open_unix_connection(self._target)
            with closing(store_writer):
                await asyncio.gather(
                    self._carry(reader, store_writer), self._carry(store_reader, writer)
                )

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._flowing.wait()
            sink.write(data)
            await sink.drain()
        sink.write_eof()
