"""Stores of a test's own whose document store stands behind a proxy that makes faults."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import create_mysql_database, worker_number
from tests.processes.harness import documents_over_tcp
from tests.stores.proxy import FaultProxy


@dataclass(frozen=True)
class World:
    variables: dict[str, str]
    """Settings that lead to the stores, to the documents through the proxy."""
    proxy: FaultProxy
    documents: str
    """The URI that leads to the documents past the proxy."""
    one_relay: bool
    """Whether only one relay may run at a time, as on SQLite."""


@asynccontextmanager
async def world(folder: Path, name: str, *, on_real_stores: bool) -> AsyncIterator[World]:
    """Empty stores: MariaDB and mongo-java-server, or SQLite and the embedded documents."""
    variables = {"DATA_DIR": str(folder / "data")}
    variables["JWT_SECRET_KEY"] = "a secret for tests, of more than 32 bytes"
    async with AsyncExitStack() as stack:
        if on_real_stores:
            number = worker_number()
            variables["MYSQL_URI"] = await create_mysql_database(f"{name}_{number}")
            variables["REDIS_URL"] = f"{os.environ['TEST_REDIS'].rpartition('/')[0]}/{32 + number}"
            port = int(os.environ["TEST_MONGODB"].rpartition(":")[2])
            host = f"mongodb://127.0.0.1:{port}"
            database = f"{name}_{number}_{os.getpid()}"
        else:
            port, host = stack.enter_context(documents_over_tcp(folder / "documents"))
            database = "inventory"
        proxy = stack.enter_context(FaultProxy(port))
        variables["MONGODB_URI"] = f"mongodb://127.0.0.1:{proxy.port}/{database}"
        yield World(variables, proxy, f"{host}/{database}", one_relay="MYSQL_URI" not in variables)
