"""The stores and the fault proxy do what the other tests take for granted."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncmy
import pytest
import redis.asyncio
import redis.exceptions
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError

from tests.stores.proxy import FaultProxy
from tests.stores.servers import (
    PROJECT,
    MariaDb,
    MongoServer,
    Redis,
    Server,
    ServerError,
    Stores,
    free_port,
)


def require(server: type[Server]) -> None:
    if not server.installed():
        reason = f"{server.name} is not installed; run tests/stores/install.sh"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    require(MariaDb)
    server = MariaDb()
    server.start(tmp_path_factory.mktemp("mariadb"))
    server.create_database("things")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    require(Redis)
    server = Redis()
    server.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    require(MongoServer)
    server = MongoServer()
    server.start(tmp_path_factory.mktemp("mongo"))
    yield server
    server.stop()


@asynccontextmanager
async def mysql_connection(port: int, database: str = "things") -> AsyncIterator[Any]:
    connection = await asyncmy.connect(
        host="127.0.0.1", port=port, user="root", database=database, connect_timeout=5
    )
    try:
        yield connection
    finally:
        connection.close()


async def execute(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    async with connection.cursor() as cursor:
        await cursor.execute(statement)
        return list(await cursor.fetchall())


async def ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"+PONG\r\n"


def connect_and_read(port: int) -> None:
    """Both in one step: a reset may come before the connecting is done, or after it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.recv(1)


def redis_client(url: str) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(url, retry=None, socket_timeout=5, decode_responses=True)


def mongo_client(server: MongoServer) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(server.url, serverSelectionTimeoutMS=5000)


def has_ended(pid: int) -> bool:
    """Gone, or a zombie: a container's first process may be slow to collect orphans."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestMariaDb:
    async def test_keeps_rows_over_restart_and_kill(self, mariadb: MariaDb) -> None:
        async with mysql_connection(mariadb.port) as connection:
            await execute(connection, "CREATE TABLE colours (name VARCHAR(20) PRIMARY KEY)")
            await execute(connection, "INSERT INTO colours VALUES ('grün')")
            await connection.commit()
        port, pid = mariadb.port, mariadb.pid

        mariadb.restart()
        mariadb.kill()
        mariadb.restart()

        assert mariadb.port == port
        assert mariadb.pid != pid
        async with mysql_connection(port) as connection:
            assert await execute(connection, "SELECT name FROM colours") == [("grün",)]

    async def test_creates_and_drops_databases(self, mariadb: MariaDb) -> None:
        mariadb.create_database("with-hyphen")
        async with mysql_connection(mariadb.port, "with-hyphen") as connection:
            assert await execute(connection, "SELECT DATABASE()") == [("with-hyphen",)]

        mariadb.drop_database("with-hyphen")
        with pytest.raises(asyncmy.errors.OperationalError, match="Unknown database"):
            async with mysql_connection(mariadb.port, "with-hyphen"):
                pytest.fail("the database is still there")

    def test_is_durable_on_request(self, tmp_path: Path) -> None:
        require(MariaDb)
        server = MariaDb(durable=True)
        server.start(tmp_path)
        try:
            server.create_database("durable")
        finally:
            server.stop()


class TestRedis:
    async def test_sets_and_gets_by_database(self, redis_server: Redis) -> None:
        async with redis_client(redis_server.database(63)) as last:
            await last.set("colour", "red")
            assert await last.get("colour") == "red"
        async with redis_client(redis_server.url) as first:
            assert await first.get("colour") is None

    async def test_answers_nothing_while_frozen(self, redis_server: Redis) -> None:
        async with redis_client(redis_server.url) as client:
            await client.set("colour", "red")
            redis_server.freeze()
            waiting = asyncio.ensure_future(client.get("colour"))
            assert not (await asyncio.wait([waiting], timeout=0.3))[0]
            redis_server.thaw()
            assert await waiting == "red"


class TestMongoServer:
    async def test_inserts_and_finds(self, mongo: MongoServer) -> None:
        async with mongo_client(mongo) as client:
            await client.things.colours.insert_one({"_id": 1, "name": "red"})
            assert await client.things.colours.find_one({"name": "red"}) == {
                "_id": 1,
                "name": "red",
            }

    async def test_reports_duplicate_keys(self, mongo: MongoServer) -> None:
        async with mongo_client(mongo) as client:
            await client.things.shapes.create_index("name", unique=True)
            await client.things.shapes.insert_one({"name": "round"})
            with pytest.raises(DuplicateKeyError) as caught:
                await client.things.shapes.insert_one({"name": "round"})
        assert caught.value.code == 11000

    async def test_keeps_what_it_answered_over_kill(self, mongo: MongoServer) -> None:
        async with mongo_client(mongo) as client:
            for number in range(200):
                await client.things.numbers.insert_one({"_id": number})
            mongo.kill()
            mongo.restart()
            assert await client.things.numbers.count_documents({}) == 200


class TestLifetime:
    def test_stop_ends_a_frozen_server(self, tmp_path: Path) -> None:
        require(Redis)
        server = Redis()
        server.start(tmp_path)
        pid = server.pid
        server.freeze()
        server.stop()
        assert has_ended(pid)

    def test_dies_with_its_parent(self, tmp_path: Path) -> None:
        require(Redis)
        code = (
            "import sys, time; from pathlib import Path; from tests.stores.servers import Redis;"
            "server = Redis(); server.start(Path(sys.argv[1]));"
            "print(server.pid, flush=True); time.sleep(60)"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            parent.kill()
        wait_until(lambda: has_ended(pid))

    def test_says_that_a_port_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ServerError, match=f"Redis: port {port} .* in use"):
                Redis().start(tmp_path, port)

    def test_shows_the_log_of_a_server_that_does_not_come_up(self, tmp_path: Path) -> None:
        require(MariaDb)
        (tmp_path / "data").mkdir()
        server = MariaDb()
        with pytest.raises(ServerError, match=r"(?s)MariaDB ended at once .*InnoDB"):
            server.start(tmp_path)
        with pytest.raises(ServerError, match="is not running"):
            _ = server.pid


class TestStores:
    def test_starts_all_and_leaves_nothing(self) -> None:
        for server in (MariaDb, Redis, MongoServer):
            require(server)
        with Stores() as stores:
            servers: list[Server] = [stores.mysql, stores.redis, stores.mongo]
            pids = [server.pid for server in servers]
            folder = stores.mysql.folder
        assert all(has_ended(pid) for pid in pids)
        assert not folder.exists()

    def test_runs_in_the_foreground_until_told_to_stop(self) -> None:
        for server in (MariaDb, Redis, MongoServer):
            require(server)
        port = free_port()
        command = [sys.executable, "-m", "tests.stores", f"--mysql-port={port}"]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(4)]
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 0
        assert lines[0] == f"export MYSQL_URI=mysql://root@127.0.0.1:{port}/inventory\n"
        assert lines[1].startswith("export MONGODB_URI=mongodb://127.0.0.1:")
        assert lines[2].startswith("export REDIS_URL=redis://127.0.0.1:")


class TestFaultProxy:
    @pytest.fixture
    def proxy(self, redis_server: Redis) -> Iterator[FaultProxy]:
        with FaultProxy(redis_server.port) as proxy:
            yield proxy

    @pytest.fixture
    async def client(
        self, proxy: FaultProxy, redis_server: Redis
    ) -> AsyncIterator[redis.asyncio.Redis]:
        async with redis_client(proxy.through(redis_server.url)) as client:
            await client.set("colour", "red")
            yield client

    async def test_latency_is_added_each_way(
        self, proxy: FaultProxy, client: redis.asyncio.Redis
    ) -> None:
        proxy.latency(0.1)
        start = time.monotonic()
        assert await client.get("colour") == "red"
        assert 0.2 <= time.monotonic() - start < 0.4

    async def test_latency_does_not_narrow_the_pipe(
        self, proxy: FaultProxy, client: redis.asyncio.Redis
    ) -> None:
        big = "x" * 4_000_000
        await client.set("big", big)
        proxy.latency(0.1)
        start = time.monotonic()
        assert await client.get("big") == big
        assert time.monotonic() - start < 1

    async def test_freeze_holds_bytes_until_pass(
        self, proxy: FaultProxy, client: redis.asyncio.Redis, redis_server: Redis
    ) -> None:
        proxy.freeze()
        async with redis_client(proxy.through(redis_server.url)) as other:
            waiting = asyncio.gather(client.get("colour"), other.ping())
            assert not (await asyncio.wait([waiting], timeout=0.3))[0]
            proxy.pass_through()
            assert tuple(await waiting) == ("red", True)

    async def test_refuse_cuts_and_refuses_until_pass(
        self, proxy: FaultProxy, client: redis.asyncio.Redis
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get("colour")
        proxy.pass_through()
        assert await client.get("colour") == "red"

    async def test_reset_cuts_once(self, proxy: FaultProxy) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ping(reader, writer)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ping(reader, writer)
        writer.close()

    async def test_reset_cuts_what_is_frozen(self, proxy: FaultProxy) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ping(reader, writer)
        proxy.freeze()
        writer.write(b"PING\r\n")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    async def test_dropped_answer_leaves_the_commit_done(self, mariadb: MariaDb) -> None:
        async with mysql_connection(mariadb.port) as direct:
            await execute(direct, "CREATE TABLE orders (id INT PRIMARY KEY)")
            with FaultProxy(mariadb.port) as proxy:
                async with mysql_connection(proxy.port) as connection:
                    await execute(connection, "INSERT INTO orders VALUES (1)")
                    proxy.drop_answer(b"COMMIT")
                    with pytest.raises(asyncmy.errors.OperationalError):
                        await connection.commit()
                assert proxy.dropped == 1
                async with mysql_connection(proxy.port) as connection:
                    await execute(connection, "INSERT INTO orders VALUES (2)")
                    await connection.commit()
            assert await execute(direct, "SELECT id FROM orders ORDER BY id") == [(1,), (2,)]

    async def test_cuts_new_connections_while_the_server_is_down(self) -> None:
        with FaultProxy(free_port()) as proxy:
            outcome = asyncio.to_thread(connect_and_read, proxy.port)
            with pytest.raises(ConnectionResetError):
                await outcome
