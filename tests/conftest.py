"""Stores, application and clients for every test.

`--stores=embedded` (the default) runs the suite on SQLite, the embedded document store and Valkey;
`--stores=real` on MariaDB, a MongoDB-protocol server and Redis, over real connections.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncmy
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import delete

from inventory_api.app import create_app
from inventory_api.models import Base, Location
from inventory_api.models.location import MAIN
from inventory_api.settings import Settings
from inventory_api.stores import migrations
from inventory_api.stores.sql import Database, open_database
from tests.factories import Factory
from tests.stores.servers import Stores

_SERVERS = pytest.StashKey[Stores]()
_URLS = ("TEST_MYSQL", "TEST_MONGODB", "TEST_REDIS")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stores", choices=["embedded", "real"], default="embedded")


def pytest_configure(config: pytest.Config) -> None:
    """Start the real stores once, in the process that xdist's workers inherit from.

    Addresses given from outside (as public CI does, with MySQL and MongoDB) are used instead.
    """
    if config.getoption("--stores") != "real" or hasattr(config, "workerinput"):
        return
    if all(name in os.environ for name in _URLS):
        return
    if missing := Stores.missing():
        raise pytest.UsageError(f"--stores=real needs {', '.join(missing)}")
    servers = Stores()
    servers.start()
    config.stash[_SERVERS] = servers
    addresses = (servers.mysql.url, servers.mongo.url, servers.redis.url)
    os.environ.update(zip(_URLS, addresses, strict=True))


def pytest_unconfigure(config: pytest.Config) -> None:
    if (servers := config.stash.get(_SERVERS, None)) is not None:
        servers.stop()


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("--stores") == "real":
        return "stores: real (MariaDB, mongo-java-server, Redis, each over TCP)"
    return "stores: embedded (SQLite, nx-27017, Valkey)"


_STORELESS = (
    "demo/test_catalogue.py",
    "kit/",
    "stores/test_embedded.py",
    "stores/test_stores.py",
    "test_architecture.py",
    "test_settings.py",
)
"""Tests that no store has a part in, or that bring their own: one run of them is enough."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--stores") != "real":
        return
    root = Path(__file__).parent
    once = [item for item in items if str(item.path.relative_to(root)).startswith(_STORELESS)]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if item not in once]


def worker_number() -> int:
    """0 without xdist, else the worker's own: databases and ports are per worker."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def on_real_stores(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--stores") == "real")


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="inventory-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def settings(data_dir: Path, on_real_stores: bool) -> Settings:
    """Settings of this worker's own databases; hashing made cheap."""
    values: dict[str, object] = {
        "data_dir": data_dir,
        "password_hash_rounds": 4,
        "jwt_secret_key": "a secret for tests, of more than 32 bytes",
        "log_level": "INFO",
    }
    if on_real_stores:
        mysql, mongodb, redis = (os.environ[name] for name in _URLS)
        number = worker_number()
        values |= {
            "mysql_uri": f"{mysql}test_{number}",
            "mongodb_uri": f"{mongodb}/test_{number}",
            "redis_url": f"{redis.rsplit('/', 1)[0]}/{number}",
        }
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: Settings, on_real_stores: bool) -> AsyncIterator[Database]:
    """The migrated database of this worker."""
    if on_real_stores:
        await create_mysql_database(f"test_{worker_number()}")
    database = open_database(settings)
    await migrations.migrate(database)
    yield database
    await database.close()


async def create_mysql_database(name: str) -> str:
    """An empty MySQL database. Returns: its address."""

    url = os.environ["TEST_MYSQL"]
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    connection = await asyncmy.connect(host="127.0.0.1", port=port, user="root")
    async with connection.cursor() as cursor:
        await cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
        await cursor.execute(f"CREATE DATABASE `{name}`")
    await connection.ensure_closed()
    return url + name


@pytest.fixture(scope="session")
async def app(settings: Settings, database: Database) -> AsyncIterator[FastAPI]:
    """The whole service, its relay and its stores running."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await app.state.mongo.wait_connected()
        await app.state.auth.deny_list.repair()
        yield app


@pytest.fixture
async def clean(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Empties every table and the documents after the test."""
    yield
    async with app.state.database.write_engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            statement = delete(table)
            if table is Location.__table__:
                statement = statement.where(Location.code != MAIN)
            await connection.execute(statement)
    await app.state.mongo.collection().delete_many({})


def client_of(app: FastAPI, **options: object) -> AsyncClient:
    """A client of the application in this process. A 500 is an answer, not an exception."""
    transport = ASGITransport(app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://localhost", **options)  # type: ignore[arg-type]


@pytest.fixture
async def anonymous(app: FastAPI, clean: None) -> AsyncIterator[AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def factory(app: FastAPI, clean: None) -> Factory:
    return Factory(app)


@pytest.fixture
async def admin(app: FastAPI, factory: Factory) -> AsyncIterator[AsyncClient]:
    async with client_of(app, headers=await factory.bearer("admin")) as client:
        yield client


@pytest.fixture
async def clerk(app: FastAPI, factory: Factory) -> AsyncIterator[AsyncClient]:
    async with client_of(app, headers=await factory.bearer("clerk")) as client:
        yield client


@pytest.fixture
async def staff(app: FastAPI, factory: Factory) -> AsyncIterator[AsyncClient]:
    async with client_of(app, headers=await factory.bearer("staff")) as client:
        yield client
