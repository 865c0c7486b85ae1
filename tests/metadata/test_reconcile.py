"""What a comparison of the stores reports, and what its fix heals."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from httpx import AsyncClient

from inventory_api.kit.clock import utc_now
from inventory_api.metadata import documents, reconcile
from inventory_api.metadata.reconcile import Drift
from inventory_api.metadata.sync_repository import Claim
from inventory_api.models import SyncOperation
from tests.factories import create_product
from tests.metadata.sync import Sync, delete_product, patch_metadata


async def compare(sync: Sync, *, fix: bool = False) -> Drift:
    return await reconcile.reconcile(sync.database, sync.mongo, fix=fix)


def flaws(drift: Drift) -> dict[str, list[int]]:
    names = ("missing", "stale", "newer", "orphaned", "dead")
    return {name: ids for name in names if (ids := getattr(drift, name))}


async def heals(sync: Sync, **expected: list[int]) -> None:
    """The drift is reported as expected, is fixed by one run, and is gone after the relay's."""
    assert flaws(await compare(sync)) == expected
    assert flaws(await compare(sync)) == expected, "a comparison changes nothing"
    fixing = await compare(sync, fix=True)
    assert flaws(fixing) == expected
    assert fixing.fixed == fixing.found
    again = await compare(sync, fix=True)
    assert (flaws(again), again.pending) == ({}, fixing.fixed), "what waits for the relay"
    await sync.drain()
    after = await compare(sync)
    assert (flaws(after), after.pending) == ({}, 0)


@pytest.fixture
async def products(sync: Sync, admin: AsyncClient) -> list[int]:
    """Four products in both stores."""
    made = [
        await create_product(admin, metadata={"tags": [f"tag {number}"]}) for number in range(4)
    ]
    await sync.drain()
    return [product["id"] for product in made]


async def set_version(sync: Sync, product_id: int, version: int) -> None:
    await sync.mongo.collection().update_one({"_id": product_id}, {"$set": {"version": version}})


class TestDrift:
    async def test_none(self, sync: Sync, products: list[int]) -> None:
        drift = await compare(sync)
        assert (drift.compared, drift.found, drift.pending) == (4, 0, 0)

    async def test_none_in_empty_stores(self, sync: Sync) -> None:
        assert await compare(sync) == Drift()

    async def test_missing(self, sync: Sync, products: list[int], admin: AsyncClient) -> None:
        await sync.mongo.collection().delete_one({"_id": products[1]})
        await heals(sync, missing=[products[1]])
        document = await sync.document(products[1])
        assert document is not None
        assert document["tags"] == ["tag 1"]

    async def test_all_missing_as_after_the_loss_of_mongodb(
        self, sync: Sync, products: list[int]
    ) -> None:
        await sync.mongo.collection().delete_many({})
        await heals(sync, missing=products)

    async def test_stale(self, sync: Sync, products: list[int]) -> None:
        await set_version(sync, products[0], 0)
        await heals(sync, stale=[products[0]])

    async def test_a_placeholder_left_behind_is_stale(
        self, sync: Sync, products: list[int]
    ) -> None:
        await sync.mongo.collection().replace_one(
            {"_id": products[0]}, {"product_id": products[0], "version": -1, "deleted": True}
        )
        await heals(sync, stale=[products[0]])

    async def test_newer_as_after_a_restore_of_mysql(
        self, sync: Sync, products: list[int], admin: AsyncClient
    ) -> None:
        await set_version(sync, products[2], 41)
        before = (await admin.get(f"/api/products/{products[2]}")).json()
        await heals(sync, newer=[products[2]])
        after = await admin.get(f"/api/products/{products[2]}")
        assert after.headers["ETag"] == '"42"'
        changing = ("version", "updated_at")
        assert {k: v for k, v in after.json().items() if k not in changing} == {
            k: v for k, v in before.items() if k not in changing
        }
        assert await patch_metadata(admin, products[2], tags=["still changes"]) == 43

    async def test_a_tombstone_of_a_living_product_is_missing(
        self, sync: Sync, products: list[int], admin: AsyncClient
    ) -> None:
        for version in (1, 2):
            await sync.mongo.collection().replace_one(
                {"_id": products[version]},
                {"product_id": products[version], "version": version, "deleted": True},
            )
        await patch_metadata(admin, products[2], tags=["refused by the tombstone's version"])
        await sync.drain()
        await heals(sync, missing=[products[1], products[2]])

    async def test_orphaned_without_a_row(self, sync: Sync, products: list[int]) -> None:
        alone = products[-1] + 100
        claim = Claim(alone, 5, SyncOperation.UPSERT, "n", '{"specifications":{}}', 0)
        await documents.apply(sync.mongo.collection(), [documents.document_of(claim)])
        await heals(sync, orphaned=[alone])
        document = await sync.document(alone)
        assert document is not None
        assert (document["deleted"], document["version"]) == (True, 6)

    @pytest.mark.parametrize("version", [1, 2])
    async def test_orphaned_after_its_product_was_deleted(
        self, sync: Sync, products: list[int], admin: AsyncClient, version: int
    ) -> None:
        await delete_product(admin, products[0])
        await sync.drain()
        await sync.mongo.collection().update_one(
            {"_id": products[0]}, {"$set": {"deleted": False, "version": version}}
        )
        await heals(sync, orphaned=[products[0]])

    async def test_a_deleted_product_whose_tombstone_was_purged_is_no_drift(
        self, sync: Sync, products: list[int], admin: AsyncClient
    ) -> None:
        await delete_product(admin, products[0])
        await sync.drain()
        await sync.mongo.collection().delete_one({"_id": products[0]})
        assert (await compare(sync)).found == 0

    async def test_dead(self, sync: Sync, products: list[int]) -> None:
        payload = (await sync.row(products[0])).payload
        await sync.change_row(
            products[0], payload="poison", pending=True, next_attempt_at=utc_now()
        )
        await sync.drain()
        assert flaws(await compare(sync)) == {"dead": [products[0]]}
        await sync.change_row(products[0], payload=payload)
        await heals(sync, dead=[products[0]])

    async def test_pending_is_late_and_not_lost(
        self, sync: Sync, products: list[int], admin: AsyncClient
    ) -> None:
        await create_product(admin)
        await patch_metadata(admin, products[0], tags=["later"])
        await delete_product(admin, products[1])
        drift = await compare(sync, fix=True)
        assert (drift.found, drift.pending, drift.fixed) == (0, 3, 0)

    async def test_several_kinds_at_once(
        self, sync: Sync, products: list[int], admin: AsyncClient
    ) -> None:
        await sync.mongo.collection().delete_one({"_id": products[0]})
        await set_version(sync, products[1], 0)
        await set_version(sync, products[2], 9)
        await heals(sync, missing=[products[0]], stale=[products[1]], newer=[products[2]])


class TestPages:
    @pytest.fixture(autouse=True)
    def _small_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconcile, "STEP", 100)

    async def apply(self, sync: Sync, product_ids: Sequence[int]) -> None:
        claims = [
            Claim(product_id, 1, SyncOperation.UPSERT, "Many", '{"specifications":{}}', 0)
            for product_id in product_ids
        ]
        for start in range(0, len(claims), 200):
            batch = [documents.document_of(claim) for claim in claims[start : start + 200]]
            assert await documents.apply(sync.mongo.collection(), batch) == {}

    async def test_drift_at_every_edge_is_found_once(self, sync: Sync) -> None:
        rows = range(1, 1_051)
        missing = [1, 100, 101, 200, 500, 501, 1_050]
        orphaned = [*range(2_000, 2_250)]
        await sync.queue_rows(rows, pending=False)
        await self.apply(sync, [i for i in rows if i not in missing] + orphaned)
        seen: list[tuple[int, int]] = []
        drift = await reconcile.reconcile(
            sync.database, sync.mongo, fix=False, progress=lambda *now: seen.append(now)
        )
        assert flaws(drift) == {"missing": missing, "orphaned": orphaned}
        assert drift.compared == 1_050
        assert seen[-1] == (1_050, 1_050)

    async def test_gaps_in_either_store_hide_nothing(self, sync: Sync) -> None:
        await sync.queue_rows(range(1, 351), pending=False)
        await sync.queue_rows(range(3_000, 3_101), pending=False)
        await self.apply(sync, [*range(250, 600), *range(3_050, 3_400)])
        drift = await compare(sync)
        assert flaws(drift) == {
            "missing": [*range(1, 250), *range(3_000, 3_050)],
            "orphaned": [*range(351, 600), *range(3_101, 3_400)],
        }

    async def test_a_fix_heals_them_all(self, sync: Sync) -> None:
        await sync.queue_rows(range(1, 251), pending=False)
        await self.apply(sync, range(240, 360))
        await heals(sync, missing=[*range(1, 240)], orphaned=[*range(251, 360)])


class TestWhileLive:
    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_a_write_that_is_carried_while_the_documents_are_read_is_no_drift(
        self,
        sync: Sync,
        products: list[int],
        admin: AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
    ) -> None:
        await sync.mongo.collection().delete_one({"_id": products[0]})
        real = documents.versions

        async def write_meanwhile(*arguments: Any) -> Any:
            found = await real(*arguments)
            await patch_metadata(admin, products[0], tags=["meanwhile"])
            await sync.drain()
            return found if moment == "after" else await real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(documents, "versions", write_meanwhile)
            drift = await compare(sync, fix=True)
        assert drift.found == 0
        assert (await sync.row(products[0])).version == 2

    async def test_a_write_before_the_fix_makes_it_needless(
        self, sync: Sync, products: list[int], admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await set_version(sync, products[0], 0)
        await set_version(sync, products[1], 9)
        real = reconcile._fix

        async def write_before(database: Any, row: Any, document: Any) -> bool:
            await patch_metadata(admin, row.product_id, tags=["before"])
            return await real(database, row, document)

        with monkeypatch.context() as patch:
            patch.setattr(reconcile, "_fix", write_before)
            drift = await compare(sync, fix=True)
        assert (drift.found, drift.pending) == (0, 2)
        assert (await sync.row(products[1])).version == 2

    async def test_two_fixes_at_once_adopt_an_orphan_once(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claim = Claim(77, 5, SyncOperation.UPSERT, "n", '{"specifications":{}}', 0)
        await documents.apply(sync.mongo.collection(), [documents.document_of(claim)])
        real = reconcile._fix

        async def other_first(*arguments: Any) -> bool:
            assert await real(*arguments)
            return await real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(reconcile, "_fix", other_first)
            drift = await compare(sync, fix=True)
        assert (drift.found, drift.pending) == (0, 1)
        await sync.drain()
        assert (await compare(sync)).found == 0

    async def test_writes_under_way_are_never_taken_for_drift(
        self, live: Sync, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reconcile, "STEP", 5)
        made = [(await create_product(admin))["id"] for _ in range(12)]

        async def write() -> None:
            for number in range(40):
                await patch_metadata(admin, made[number % 8], tags=[f"tag {number}"])
                if number % 5 == 0:
                    product = await create_product(admin)
                    await delete_product(admin, product["id"])

        writer = asyncio.create_task(write())
        while not writer.done():
            assert flaws(await compare(live, fix=True)) == {}
        await writer
