"""MongoDB: connected in the background, retried for ever, never needed to start."""

import asyncio
import logging
import time
from typing import Any

from beanie import init_beanie
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from inventory_api import log
from inventory_api.kit import tasks
from inventory_api.models.product_document import ProductDocument
from inventory_api.settings import SettingsError

logger = logging.getLogger(__name__)

READ_MILLISECONDS = 900
"""Up to 500 ms more pass where there is no server: PyMongo looks for one that often."""
RELAY_SECONDS = 3.0
RETRY_SECONDS = 1.0
DEFAULT_DATABASE = "inventory"

MongoDocument = dict[str, Any]


class MongoUnavailableError(Exception):
    """MongoDB can't be asked at the moment; whoever asks has another way or says 503."""


class Mongo:
    """The client and whether it can be used.

    After a failure reads are refused for `RETRY_SECONDS` without asking, so that an outage costs
    one time-out a second and not one a request.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: AsyncMongoClient[MongoDocument] | None = None
        self._connected = False
        self._closed = False
        self._refused_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect.

        Raises:
            SettingsError: the address is none.
        """
        try:
            self._client = AsyncMongoClient(
                self._uri,
                timeoutMS=READ_MILLISECONDS,
                serverSelectionTimeoutMS=READ_MILLISECONDS,
                connectTimeoutMS=READ_MILLISECONDS,
                appname="inventory-api",
            )
            database = self._client.get_default_database(DEFAULT_DATABASE)
        except (PyMongoError, ValueError) as error:
            raise SettingsError(f"MONGODB_URI: {error}.") from error
        self._task = asyncio.create_task(self._connect(database), name="mongo-connect")

    async def close(self) -> None:
        self._closed = True
        await tasks.end(self._task)
        if self._client is not None:
            await self._client.close()

    @property
    def connected(self) -> bool:
        """Whether the first connection has stood; the driver mends later ones by itself."""
        return self._connected

    @property
    def available(self) -> bool:
        return self._connected and time.monotonic() >= self._refused_until

    async def wait_connected(self) -> None:
        """Return once the first connection stands; for commands that can't work without."""
        if self._task is not None:
            await self._task

    def collection_for_lists(self) -> AsyncCollection[MongoDocument]:
        """The documents' collection, for those who have another way.

        Raises:
            MongoUnavailableError: not connected yet, or failed a moment ago.
        """
        if not self.available:
            raise MongoUnavailableError("MongoDB is not available")
        return self.collection()

    def collection(self) -> AsyncCollection[MongoDocument]:
        """The documents' collection.

        Raises:
            MongoUnavailableError: not connected yet.
        """
        if not self.connected:
            raise MongoUnavailableError("MongoDB is not connected")
        return ProductDocument.get_pymongo_collection()

    def failed(self, error: Exception) -> None:
        """Note that a call failed for want of the server."""
        self._refused_until = time.monotonic() + RETRY_SECONDS
        log.event(logger, "mongodb_failed", logging.WARNING, error=type(error).__name__)

    async def ping(self) -> bool:
        if self._client is None or not self._connected:
            return False
        try:
            await self._client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    async def _connect(self, database: AsyncDatabase[MongoDocument]) -> None:
        delay = 0.1
        # PyMongo now and then swallows a cancellation, so that alone would not end this.
        while not self._connected and not self._closed:
            try:
                await init_beanie(database=database, document_models=[ProductDocument])
                self._connected = True
                log.event(logger, "mongodb_connected")
            except Exception as error:
                # Whatever it is: the task must not end in silence with MongoDB never connected.
                log.event(logger, "mongodb_unreachable", logging.WARNING, error=repr(error)[:200])
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
