"""MongoDB is never needed to start, is found when it comes, and costs little while it is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from beanie import init_beanie
from fastapi import FastAPI
from pymongo.errors import AutoReconnect, PyMongoError

from inventory_api.models import ProductDocument
from inventory_api.settings import Settings, SettingsError
from inventory_api.stores import mongo as module
from inventory_api.stores.embedded import embedded_documents
from inventory_api.stores.mongo import (
    DEFAULT_DATABASE,
    RETRY_SECONDS,
    Mongo,
    MongoUnavailableError,
)
from tests.stores.proxy import FaultProxy
from tests.stores.test_redis import Line
from tests.stores.unix_proxy import UnixProxy

# PyMongo looks for a server every half second and ends the search at the look after its time-out.
SOON_SECONDS = 1.0 + 0.5 + 0.25


@asynccontextmanager
async def line_to_mongo(settings: Settings, folder: Path) -> AsyncIterator[Line]:
    if settings.mongodb_uri is not None:
        uri = settings.mongodb_uri.get_secret_value()
        port = urlsplit(uri).port
        assert port is not None
        with FaultProxy(port) as tcp:
            yield Line(tcp.through(uri), tcp)
        return
    async with embedded_documents(folder) as uri:
        target = Path(unquote(urlsplit(uri).netloc))
        async with UnixProxy(target, target.with_name("proxy.sock")) as unix:
            yield Line(f"mongodb://{quote(str(unix.path), safe='')}", unix)


@pytest.fixture
async def line(settings: Settings, tmp_path: Path) -> AsyncIterator[Line]:
    async with line_to_mongo(settings, tmp_path) as line:
        yield line


@pytest.fixture
async def mongo(line: Line, app: FastAPI) -> AsyncIterator[Mongo]:
    """Not started. Beanie binds its documents per process, so the application's is put back."""
    mongo = Mongo(line.url)
    yield mongo
    await line.set("pass_through")
    await mongo.close()
    database = app.state.mongo._client.get_default_database(DEFAULT_DATABASE)
    await init_beanie(database=database, document_models=[ProductDocument])


@pytest.fixture
async def connected(mongo: Mongo) -> Mongo:
    mongo.start()
    await asyncio.wait_for(mongo.wait_connected(), 10)
    return mongo


class TestStart:
    async def test_connects_in_the_background(self, mongo: Mongo) -> None:
        mongo.start()
        assert not mongo.available
        with pytest.raises(MongoUnavailableError):
            mongo.collection()
        await asyncio.wait_for(mongo.wait_connected(), 10)
        assert mongo.available
        assert mongo.collection().name == "product_metadata"

    @pytest.mark.parametrize("mode", ["refuse", "freeze"])
    async def test_works_without_the_server_and_finds_it_later(
        self, mongo: Mongo, line: Line, mode: str
    ) -> None:
        await line.set(mode)
        mongo.start()
        finding = asyncio.create_task(mongo.wait_connected())
        assert not (await asyncio.wait([finding], timeout=1.5))[0]
        assert not mongo.available
        assert await mongo.ping() is False
        with pytest.raises(MongoUnavailableError):
            mongo.collection()
        await line.set("pass_through")
        await asyncio.wait_for(finding, 10)
        assert mongo.available
        assert await mongo.ping() is True
        assert await mongo.collection().find_one({"_id": -1}) is None

    async def test_makes_the_indexes(self, connected: Mongo) -> None:
        indexes = await connected.collection().index_information()
        wanted = ("_product_id", "spec_terms_product_id")
        # The embedded server puts `idx_` and the collection before the name.
        found = [f"_{name}" for name in indexes]
        assert all(any(name.endswith(end) for name in found) for end in wanted), indexes

    @pytest.mark.parametrize("uri", ["mongodb://host:port", "mongodb://", "mongodb://h:99999/"])
    async def test_an_address_that_is_none_is_refused_at_once(self, uri: str) -> None:
        with pytest.raises(SettingsError, match=r"^MONGODB_URI"):
            Mongo(uri).start()

    async def test_can_be_closed_while_it_connects(self, line: Line) -> None:
        await line.set("freeze")
        mongo = Mongo(line.url)
        mongo.start()
        await asyncio.sleep(0)
        started = time.monotonic()
        await mongo.close()
        assert time.monotonic() - started < 3

    async def test_can_be_closed_before_it_was_started(self, line: Line) -> None:
        await Mongo(line.url).close()


class TestOutage:
    @pytest.mark.parametrize("mode", ["refuse", "freeze"])
    async def test_a_read_fails_soon(self, connected: Mongo, line: Line, mode: str) -> None:
        await line.set(mode)
        started = time.monotonic()
        with pytest.raises(PyMongoError):
            await connected.collection().find_one({"_id": 1})
        assert time.monotonic() - started < SOON_SECONDS

    @pytest.mark.parametrize("mode", ["refuse", "freeze"])
    async def test_a_ping_fails_as_soon_and_heals(
        self, connected: Mongo, line: Line, mode: str
    ) -> None:
        assert await connected.ping() is True
        await line.set(mode)
        started = time.monotonic()
        assert await connected.ping() is False
        assert time.monotonic() - started < SOON_SECONDS
        await line.set("pass_through")
        deadline = time.monotonic() + 10
        while not await connected.ping():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    async def test_after_a_failure_no_list_asks_for_a_second(
        self, connected: Mongo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock: dict[str, Any] = {"now": 1_000.0}
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock["now"]))
        connected.failed(AutoReconnect("gone"))
        clock["now"] += RETRY_SECONDS - 0.01
        assert not connected.available
        with pytest.raises(MongoUnavailableError):
            connected.collection_for_lists()
        clock["now"] += 0.01
        assert connected.available
        assert await connected.collection_for_lists().find_one({"_id": -1}) is None

    async def test_a_failure_is_logged_by_its_class(
        self, connected: Mongo, caplog: pytest.LogCaptureFixture
    ) -> None:
        connected.failed(AutoReconnect("mongodb://user:password@host"))
        assert "AutoReconnect" in str([vars(record) for record in caplog.records])
        assert "password" not in str([vars(record) for record in caplog.records])
