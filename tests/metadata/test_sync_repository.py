"""The outbox rows: queued with the product, leased, acknowledged, postponed, buried."""

import asyncio
from datetime import timedelta

import pytest
from httpx import AsyncClient
from sqlalchemy import event, text

from inventory_api.kit.clock import utc_now
from inventory_api.metadata import sync_repository
from inventory_api.metadata.sync_repository import BATCH, LEASE_SECONDS, Claim, SyncRepository
from inventory_api.stores.sql import run_unit, unit_of_work
from tests.factories import create_product, product_body
from tests.metadata.sync import Sync, delete_product, patch_metadata

LEASE = timedelta(seconds=LEASE_SECONDS)


async def claim(sync: Sync) -> list[Claim]:
    return await run_unit(sync.database, lambda session: SyncRepository(session).claim())


async def acknowledge(sync: Sync, claims: list[Claim]) -> None:
    await run_unit(sync.database, lambda session: SyncRepository(session).acknowledge(claims))


class TestQueue:
    async def test_a_new_product_queues_version_1_with_the_whole_payload(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin, name="Board", metadata={"tags": ["oak"]})
        row = await sync.row(product["id"])
        assert (row.version, row.applied_version, row.pending, row.dead) == (1, 0, True, False)
        assert row.name == "Board"
        assert '"tags":["oak"]' in row.payload
        assert '"specifications":{}' in row.payload

    async def test_a_later_state_replaces_the_queued_one(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin, metadata={"tags": ["one"]})
        first = await sync.row(product["id"])
        for tag in ("two", "three"):
            await patch_metadata(admin, product["id"], tags=[tag])
        row = await sync.row(product["id"])
        assert row.version == 3
        assert '"tags":["three"]' in row.payload
        assert row.first_pending_at == first.first_pending_at

    async def test_what_was_applied_is_pending_anew_from_the_change_on(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await sync.drain()
        before = utc_now()
        await patch_metadata(admin, product["id"], tags=["new"])
        row = await sync.row(product["id"])
        assert row.pending
        assert row.applied_version == 1
        assert row.first_pending_at >= before

    async def test_a_change_of_the_product_alone_queues_its_name_too(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await admin.patch(
            f"/api/products/{product['id']}", json={"name": "New name"}, headers={"If-Match": "*"}
        )
        row = await sync.row(product["id"])
        assert (row.version, row.name) == (2, "New name")

    async def test_a_refused_product_queues_nothing(self, sync: Sync, admin: AsyncClient) -> None:
        body = product_body()
        assert (await admin.post("/api/products", json=body)).status_code == 201
        assert (await admin.post("/api/products", json=body)).status_code == 409
        assert len(await claim(sync)) == 1

    async def test_deleting_queues_a_tombstone_above_the_last_version(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await delete_product(admin, product["id"])
        row = await sync.row(product["id"])
        assert (row.operation, row.version, row.pending) == ("delete", 2, True)


class TestClaim:
    async def test_takes_the_longest_due_first_and_no_more_than_a_batch(self, sync: Sync) -> None:
        now = utc_now()
        await sync.queue_rows(range(1, 21), next_attempt_at=now - timedelta(seconds=1))
        await sync.queue_rows(range(21, BATCH + 21), next_attempt_at=now - timedelta(seconds=5))
        claims = await claim(sync)
        assert {one.product_id for one in claims} == set(range(21, BATCH + 21))

    async def test_a_claimed_row_is_not_claimed_again_until_its_lease_has_run_out(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sync.queue_rows(range(1, 2))
        start = utc_now()
        assert len(await claim(sync)) == 1
        monkeypatch.setattr(sync_repository, "utc_now", lambda: start + LEASE * 0.95)
        assert await claim(sync) == []
        monkeypatch.setattr(sync_repository, "utc_now", lambda: start + LEASE * 1.1)
        again = await claim(sync)
        assert [one.attempts for one in again] == [1]

    async def test_a_newer_write_ends_the_lease(self, sync: Sync, admin: AsyncClient) -> None:
        product = await create_product(admin)
        assert [one.version for one in await claim(sync)] == [1]
        await patch_metadata(admin, product["id"], tags=["new"])
        claims = await claim(sync)
        assert [(one.version, one.attempts) for one in claims] == [(2, 0)]

    async def test_dead_postponed_and_applied_rows_are_left_alone(self, sync: Sync) -> None:
        await sync.queue_rows(range(1, 2), dead=True)
        await sync.queue_rows(range(2, 3), pending=False)
        await sync.queue_rows(range(3, 4), next_attempt_at=utc_now() + timedelta(seconds=5))
        assert await claim(sync) == []

    async def test_two_relays_get_disjoint_batches_without_waiting(
        self, sync: Sync, on_real_stores: bool
    ) -> None:
        await sync.queue_rows(range(1, BATCH + 31))
        async with unit_of_work(sync.database) as session:
            mine = await SyncRepository(session).claim()
            if on_real_stores:  # SQLite lets one writer in at a time
                others = await asyncio.wait_for(claim(sync), 1)
        if not on_real_stores:
            others = await claim(sync)
        ids = [one.product_id for one in (*mine, *others)]
        assert (len(mine), len(others)) == (BATCH, 30)
        assert sorted(ids) == list(range(1, BATCH + 31))

    async def test_finds_due_rows_by_the_index_however_many_products_there_are(
        self, sync: Sync, on_real_stores: bool
    ) -> None:
        await sync.queue_rows(range(1, 2_001), pending=False)
        await sync.queue_rows(range(2_001, 2_004))
        statements: list[tuple[str, object]] = []
        engine = sync.database.write_engine

        def note(_c: object, _cursor: object, sql: str, values: object, *_: object) -> None:
            if sql.startswith("SELECT"):
                statements.append((sql, values))

        event.listen(engine.sync_engine, "before_cursor_execute", note)
        try:
            assert len(await claim(sync)) == 3
        finally:
            event.remove(engine.sync_engine, "before_cursor_execute", note)
        ((sql, values),) = statements
        explain = "EXPLAIN " if on_real_stores else "EXPLAIN QUERY PLAN "
        async with engine.begin() as connection:
            if on_real_stores:
                await connection.execute(text("ANALYZE TABLE product_sync"))
            plan = (await connection.exec_driver_sql(explain + sql, values)).mappings().all()
        if on_real_stores:
            assert [row["type"] for row in plan] == ["range"]
            assert int(plan[0]["rows"]) < 500  # an estimate, of 2,003
        else:
            assert "SEARCH product_sync USING INDEX" in plan[0]["detail"]


class TestAcknowledge:
    async def test_notes_the_version_and_that_nothing_is_pending(self, sync: Sync) -> None:
        await sync.queue_rows(range(1, 2), version=7, last_error="once")
        await acknowledge(sync, await claim(sync))
        row = await sync.row(1)
        assert (row.applied_version, row.pending, row.attempts) == (7, False, 0)
        assert row.last_error is None

    async def test_of_an_old_version_leaves_a_newer_one_pending(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        other = await create_product(admin)
        old = await claim(sync)
        await patch_metadata(admin, product["id"], tags=["new"])
        await acknowledge(sync, old)
        row = await sync.row(product["id"])
        assert (row.version, row.applied_version, row.pending) == (2, 1, True)
        assert await sync.is_synced(other["id"])

    async def test_never_lowers_the_applied_version(self, sync: Sync, admin: AsyncClient) -> None:
        product = await create_product(admin)
        old = await claim(sync)
        await patch_metadata(admin, product["id"], tags=["new"])
        await acknowledge(sync, await claim(sync))
        await acknowledge(sync, old)
        row = await sync.row(product["id"])
        assert (row.applied_version, row.pending) == (2, False)


class TestFailure:
    async def test_a_late_failure_of_an_old_version_does_not_touch_a_newer_one(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        (old,) = await claim(sync)
        await patch_metadata(admin, product["id"], tags=["new"])
        await run_unit(sync.database, lambda s: SyncRepository(s).postpone(old, 60, "late"))
        await run_unit(sync.database, lambda s: SyncRepository(s).bury(old, "late"))
        row = await sync.row(product["id"])
        assert (row.dead, row.last_error) == (False, None)
        assert [one.version for one in await claim(sync)] == [2]

    async def test_a_newer_write_raises_a_dead_row(self, sync: Sync, admin: AsyncClient) -> None:
        product = await create_product(admin)
        (old,) = await claim(sync)
        await run_unit(sync.database, lambda s: SyncRepository(s).bury(old, "poison"))
        assert (await sync.row(product["id"])).dead
        await patch_metadata(admin, product["id"], tags=["new"])
        row = await sync.row(product["id"])
        assert (row.dead, row.last_error) == (False, None)

    async def test_the_reason_is_cut_to_its_column(self, sync: Sync) -> None:
        await sync.queue_rows(range(1, 2))
        (one,) = await claim(sync)
        await run_unit(sync.database, lambda s: SyncRepository(s).bury(one, "é" * 500))
        assert (await sync.row(1)).last_error == "é" * 200


class TestClearLeases:
    async def test_makes_pending_rows_due_and_leaves_dead_ones_dead(self, sync: Sync) -> None:
        later = utc_now() + timedelta(hours=1)
        await sync.queue_rows(range(1, 2), next_attempt_at=later)
        await sync.queue_rows(range(2, 3), next_attempt_at=later, dead=True)
        await sync.queue_rows(range(3, 4), next_attempt_at=later, pending=False)
        await run_unit(sync.database, lambda s: SyncRepository(s).clear_leases())
        assert [one.product_id for one in await claim(sync)] == [1]
