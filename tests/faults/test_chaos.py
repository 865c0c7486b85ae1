"""Writers, relays and the document store killed and cut at random; then nothing is lost.

Beside it a naive double write runs under the same faults, and has to diverge: else this test would
show nothing.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from sqlalchemy import Row, func, select

from inventory_api.metadata import documents
from inventory_api.metadata.sync_repository import Claim
from inventory_api.models import ProductSync, SyncOperation
from inventory_api.models.product_document import ProductDocument
from inventory_api.settings import Settings
from inventory_api.stores.sql import LONG_READ_SECONDS, Database, open_database
from tests.faults.world import World, world
from tests.faults.writer import NAIVE_COLLECTION
from tests.processes.harness import Process, run_command
from tests.stores.proxy import FaultProxy

pytestmark = pytest.mark.faults

SECONDS = 20.0
DRAIN_SECONDS = 80.0
"""Above a lease of 30 s and the longest pause of 30 s behind it."""

Documents = dict[int, dict[str, Any]]


@dataclass
class Divergence:
    products: int = 0
    missing: list[int] = field(default_factory=list)
    orphaned: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    newer: list[int] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)

    @property
    def diverged(self) -> int:
        kinds = (self.missing, self.orphaned, self.stale, self.newer, self.torn)
        return len({product_id for ids in kinds for product_id in ids})


async def compare(database: Database, stored: Documents) -> Divergence:
    """Every product against its document, content included."""
    found = Divergence()
    rows = await database.reads.all(
        select(
            ProductSync.product_id,
            ProductSync.version,
            ProductSync.operation,
            ProductSync.name,
            ProductSync.payload,
            ProductSync.attempts,
        )
    )
    alive = {product_id for product_id, document in stored.items() if not document["deleted"]}
    living: dict[int, Row[Any]] = {
        row.product_id: row for row in rows if row.operation is SyncOperation.UPSERT
    }
    found.products = len(rows)
    found.orphaned = sorted(alive - living.keys())
    found.missing = sorted(living.keys() - alive)
    for product_id in alive & living.keys():
        row, document = living[product_id], stored[product_id]
        if document["version"] < row.version:
            found.stale.append(product_id)
        elif document["version"] > row.version:
            found.newer.append(product_id)
        elif document != documents.document_of(Claim(*tuple(row))):
            found.torn.append(product_id)
    return found


@dataclass
class Writer(Process):
    """A writing process; what it has acknowledged is kept over its deaths."""

    kind: str = "outbox"
    acknowledged: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.writer", self.kind]

    def kill(self) -> None:
        super().kill()
        lines = self.output.splitlines(keepends=True) if self.stdout_file.exists() else []
        words = [line.split() for line in lines if line.endswith("\n")]
        self.acknowledged += [(int(i), int(version), kind) for i, version, kind in words]
        self.stdout_file.unlink(missing_ok=True)


@pytest.fixture
async def stores(tmp_path: Path, on_real_stores: bool) -> AsyncIterator[World]:
    async with world(tmp_path, "chaos", on_real_stores=on_real_stores) as stores:
        yield stores


@pytest.fixture
async def naive(
    stores: World, tmp_path: Path, on_real_stores: bool
) -> AsyncIterator[dict[str, str]]:
    """Settings of a second SQL database, beside the same documents."""
    async with world(tmp_path / "naive", "naive", on_real_stores=on_real_stores) as other:
        yield other.variables | {"MONGODB_URI": stores.variables["MONGODB_URI"]}


class Chaos:
    def __init__(
        self, proxy: FaultProxy, relays: list[Process], ours: list[Writer], doubles: list[Writer]
    ) -> None:
        self.proxy, self.relays, self.ours, self.doubles = proxy, relays, ours, doubles
        self.relay_kills = self.writer_kills = self.faults = 0
        self.end = time.monotonic() + SECONDS

    async def reign(self) -> None:
        await asyncio.gather(
            self._until_the_end(self._cut, 0.4, 1.2),
            self._until_the_end(self._kill_relay, 2.5, 4.0),
            self._until_the_end(self._kill_writer, 3.0, 5.0),
        )

    async def _until_the_end(self, act: Callable[[], Any], least: float, most: float) -> None:
        while time.monotonic() < self.end:
            await asyncio.sleep(random.uniform(least, most))
            await act()

    async def _cut(self) -> None:
        self.faults += 1
        cut = random.choice([self.proxy.refuse, self.proxy.freeze])
        await asyncio.to_thread(cut)
        await asyncio.sleep(random.uniform(0.4, 2.4))
        await asyncio.to_thread(self.proxy.pass_through)

    async def _kill_relay(self) -> None:
        self.relay_kills += 1
        await self._restart(random.choice(self.relays))

    async def _kill_writer(self) -> None:
        self.writer_kills += 1
        await self._restart(random.choice(self.ours))
        await self._restart(random.choice(self.doubles))

    async def _restart(self, process: Process) -> None:
        await asyncio.to_thread(process.kill)
        process.start()


class Watcher:
    """Reads the versions in the document store all the time, past the proxy."""

    def __init__(self, uri: str) -> None:
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)
        self._database = self._client.get_default_database()
        self.samples = 0
        self.enough = False
        self.went_back: list[tuple[int, int, int]] = []
        self._seen: dict[int, int] = {}

    async def watch(self) -> None:
        while not self.enough:
            now = {key: doc["version"] for key, doc in (await self.documents()).items()}
            self.samples += 1
            for product_id, version in self._seen.items():
                if now.get(product_id, -2) < version:
                    self.went_back.append((product_id, version, now.get(product_id, -2)))
            self._seen = now
            await asyncio.sleep(0.15)

    async def documents(self, collection: str = ProductDocument.Settings.name) -> Documents:
        found = self._database[collection].find({}, batch_size=100_000)
        return {document["_id"]: document async for document in found}

    async def close(self) -> None:
        await self._client.close()


def database_of(variables: dict[str, str]) -> Database:
    values = {name.lower(): value for name, value in variables.items()}
    settings = Settings(_env_file=None, **values)  # type: ignore[arg-type]
    return open_database(settings, read_seconds=LONG_READ_SECONDS)


async def drain(database: Database) -> float:
    """Wait until nothing is pending. Returns: how long that took."""
    start = time.monotonic()
    pending = select(func.count()).select_from(ProductSync).where(ProductSync.pending.is_(True))
    while count := await database.reads.count(pending):
        assert time.monotonic() - start < DRAIN_SECONDS, f"{count} rows are pending still"
        await asyncio.sleep(0.05)
    return time.monotonic() - start


async def test_nothing_is_lost_where_a_naive_double_write_diverges(
    stores: World,
    naive: dict[str, str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    for variables in (stores.variables, naive):
        done = await asyncio.to_thread(run_command, "migrate", variables=variables, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    relays = [
        Process(("relay",), stores.variables, tmp_path / f"relay {number}")
        for number in range(1 if stores.one_relay else 2)
    ]
    ours = [Writer((), stores.variables, tmp_path / f"writer {number}") for number in range(2)]
    doubles = [Writer((), naive, tmp_path / "naive writer", kind="naive")]
    database, naive_database = database_of(stores.variables), database_of(naive)
    watcher = Watcher(stores.documents)
    with ExitStack() as stack:
        for process in (*relays, *ours, *doubles):
            stack.enter_context(process)
        watching = asyncio.create_task(watcher.watch())
        chaos = Chaos(stores.proxy, relays, ours, doubles)
        await chaos.reign()
        for process in (*ours, *doubles):
            process.kill()
        drained = await drain(database)
        for process in relays:
            assert not process.ended, process.log[-2_000:]
        watcher.enough = True
        await watching
        result = await compare(database, await watcher.documents())
        baseline = await compare(naive_database, await watcher.documents(NAIVE_COLLECTION))
        rows = {
            row.product_id: row.version
            for row in await database.reads.all(select(ProductSync.product_id, ProductSync.version))
        }
    await watcher.close()
    await database.close()
    await naive_database.close()
    acknowledged = [write for writer in ours for write in writer.acknowledged]
    figures = {
        "writes": len(acknowledged),
        "products": result.products,
        "relay kills": chaos.relay_kills,
        "writer kills": chaos.writer_kills,
        "faults": chaos.faults,
        "samples": watcher.samples,
        "diverged": result.diverged,
        "drain seconds": round(drained, 1),
        "naive writes": sum(len(writer.acknowledged) for writer in doubles),
        "naive products": baseline.products,
        "naive diverged": baseline.diverged,
        "naive missing": len(baseline.missing),
        "naive orphaned": len(baseline.orphaned),
        "naive stale": len(baseline.stale),
    }
    print("chaos:", ", ".join(f"{name} {value}" for name, value in figures.items()))
    for name, value in figures.items():
        record_property(name, value)

    assert result == Divergence(products=result.products)
    assert watcher.went_back == []
    lost = [write for write in acknowledged if rows.get(write[0], -1) < write[1]]
    assert lost == []
    assert baseline.diverged > 0
    assert len(acknowledged) > 200
    assert min(chaos.relay_kills, chaos.writer_kills, chaos.faults) >= 4
    assert watcher.samples > 20
