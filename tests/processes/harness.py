"""Real processes of the service for tests: the server, the command line, and stores to fault."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import httpx

from inventory_api.settings import Settings
from inventory_api.stores.embedded import embedded_documents
from tests.stores.servers import PROJECT, free_port

START_SECONDS = 30.0
COMMAND = [sys.executable, "-m", "inventory_api"]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment with only these settings of the service in it."""
    settings = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    found = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": found, "PASSWORD_HASH_ROUNDS": "4"} | variables


def variables_of(settings: Settings) -> dict[str, str]:
    """The environment variables that lead another process to the same stores."""
    variables = {"DATA_DIR": str(settings.data_dir)}
    for name in ("mysql_uri", "mongodb_uri", "redis_url", "jwt_secret_key"):
        if (secret := getattr(settings, name)) is not None:
            variables[name.upper()] = secret.get_secret_value()
    return variables


def run_command(
    *arguments: str,
    variables: Mapping[str, str],
    cwd: Path,
    text: str | None = None,
    seconds: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run `inventory-api` to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Poll until the condition holds. Returns: after how many seconds it did."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name, in brackets, may hold spaces; the parent is the second word behind it.
                behind = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(behind[1])
    found: set[int] = set()
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Process:
    """A command of the service that runs until it is told to end."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path
    """Where it runs, and where its output goes; made if it is missing."""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.stdout_file.open("wb") as out, self.log_file.open("ab") as err:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    @property
    def command(self) -> list[str]:
        return [*COMMAND, *self.arguments]

    @property
    def stdout_file(self) -> Path:
        return self.folder / "stdout"

    @property
    def log_file(self) -> Path:
        return self.folder / "stderr"

    @property
    def output(self) -> str:
        return self.stdout_file.read_text()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self, seconds: float = 15) -> None:
        """Ask it to end, and expect that it does."""
        self.send(signal.SIGTERM)
        assert self.wait(seconds) in (0, -signal.SIGTERM), self.log[-2_000:]

    def kill(self) -> None:
        """End it as a crash would; nothing if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Server(Process):
    """`inventory-api serve --setup` on a free port."""

    def __init__(self, folder: Path, variables: Mapping[str, str], *options: str) -> None:
        self.port = free_port()
        super().__init__(
            ("serve", "--setup", "--port", str(self.port), *options), variables, folder
        )

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it, and return once it serves."""
        super().start()
        try:
            self.seconds_to_start = wait_until(self._serves, START_SECONDS, "the server serves")
        except BaseException:
            self.kill()
            raise
        return self

    def _serves(self) -> bool:
        assert not self.ended, f"the server ended at once: {self.log[-2000:]}"
        try:
            return httpx.get(f"{self.address}/health/live", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def admin(self) -> tuple[str, str] | None:
        """The first administrator's e-mail and password, when this start has printed them."""
        found = re.search(r"e-mail: +(\S+)\n +password: (\S+)\n", self.output)
        return None if found is None else (found[1], found[2])

    @contextmanager
    def client(self, account: tuple[str, str] | None = None) -> Iterator[httpx.Client]:
        """A client, signed in when an account is given."""
        with httpx.Client(base_url=self.address, timeout=10) as client:
            if account is not None:
                email, password = account
                answer = client.post("/token", json={"email": email, "password": password})
                assert answer.status_code == 200, answer.text
                client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client


@contextmanager
def documents_over_tcp(folder: Path) -> Iterator[tuple[int, str]]:
    """The embedded document store behind a TCP port, so that a FaultProxy can stand before it.

    Yields: the port, and the URI that leads past it.
    """
    started: Future[tuple[int, str, Callable[[], object]]] = Future()

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with embedded_documents(folder) as uri:
            path = unquote(uri.removeprefix("mongodb://"))

            async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                upstream, downstream = await asyncio.open_unix_connection(path)
                await asyncio.gather(_pump(reader, downstream), _pump(upstream, writer))

            server = await asyncio.start_server(join, "127.0.0.1", free_port())
            port = server.sockets[0].getsockname()[1]
            started.set_result((port, uri, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()
            server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    port, uri, stop = started.result(START_SECONDS)
    try:
        yield port, uri
    finally:
        stop()
        thread.join(START_SECONDS)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()
