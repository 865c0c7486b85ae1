"""A process dies at each step between a write and its document; the next relay goes on."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from inventory_api.kit.clock import utc_now
from inventory_api.metadata import documents, sync_repository
from inventory_api.metadata.reconcile import reconcile
from inventory_api.metadata.sync_repository import LEASE_SECONDS
from inventory_api.settings import Settings
from tests.factories import create_product
from tests.faults.crash import DIED, SKU
from tests.metadata.sync import Sync, at_rest, delete_product, patch_metadata
from tests.processes.harness import environment, variables_of

pytestmark = pytest.mark.faults

RELAY_STEPS = (
    "after claim, before apply",
    "after placeholder, before replacement",
    "after apply, before acknowledge",
)


@pytest.fixture
async def sync(app: FastAPI, clean: None) -> AsyncIterator[Sync]:
    async with at_rest(app) as sync:
        yield sync


async def die_at(step: str, settings: Settings, folder: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.faults.crash", step],
        cwd=folder,
        env=environment(**variables_of(settings)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == DIED, done.stderr


async def converge(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another relay works, once the dead one's leases have run out."""
    shift = timedelta(seconds=LEASE_SECONDS + 1)
    monkeypatch.setattr(sync_repository, "utc_now", lambda: utc_now() + shift)
    await sync.drain()
    drift = await reconcile(sync.database, sync.mongo, fix=False)
    assert (drift.found, drift.pending) == (0, 0)


class TestWriterDies:
    async def test_before_commit_and_nothing_happened(
        self,
        sync: Sync,
        admin: AsyncClient,
        settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await die_at("before commit", settings, tmp_path)
        assert (await admin.get("/api/products", params={"sku": SKU})).json()["items"] == []
        await converge(sync, monkeypatch)

    async def test_after_commit_before_notify_and_the_poll_finds_it(
        self,
        sync: Sync,
        admin: AsyncClient,
        settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await die_at("after commit, before notify", settings, tmp_path)
        (product,) = (await admin.get("/api/products", params={"sku": SKU})).json()["items"]
        await converge(sync, monkeypatch)
        document = await sync.document(product["id"])
        assert document is not None
        assert document["tags"] == ["made"]


@pytest.mark.parametrize("step", RELAY_STEPS)
class TestRelayDies:
    async def test_carrying_new_changed_and_deleted_products(
        self,
        sync: Sync,
        admin: AsyncClient,
        settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
    ) -> None:
        changed, deleted = [
            (await create_product(admin, metadata={"tags": ["old"]}))["id"] for _ in range(2)
        ]
        await sync.drain()
        new = (await create_product(admin, metadata={"tags": ["new"]}))["id"]
        await patch_metadata(admin, changed, tags=["changed"])
        await delete_product(admin, deleted)
        await die_at(step, settings, tmp_path)
        for product_id in (new, changed, deleted):
            assert not await sync.is_synced(product_id)
        await converge(sync, monkeypatch)
        found = await documents.fetch(sync.mongo.collection(), [new, changed, deleted])
        assert {key: document["tags"] for key, document in found.items()} == {
            new: ["new"],
            changed: ["changed"],
        }

    async def test_and_a_newer_write_does_not_wait_for_its_lease(
        self,
        sync: Sync,
        admin: AsyncClient,
        settings: Settings,
        tmp_path: Path,
        step: str,
    ) -> None:
        product = await create_product(admin, metadata={"tags": ["old"]})
        await die_at(step, settings, tmp_path)
        await patch_metadata(admin, product["id"], tags=["newer"])
        await sync.drain()
        document = await sync.document(product["id"])
        assert document is not None
        assert document["tags"] == ["newer"]
        assert await sync.is_synced(product["id"])
