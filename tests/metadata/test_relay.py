"""From the outbox to the documents: complete, in order, whatever fails between."""

import asyncio
import random
import statistics
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from pymongo import ReplaceOne
from pymongo.errors import AutoReconnect, BulkWriteError
from sqlalchemy import exc

from inventory_api.kit.clock import utc_now
from inventory_api.metadata import documents, relay, sync_repository
from inventory_api.metadata.relay import BACKOFF_MAX_SECONDS, REFUSALS_MAX, Relay
from inventory_api.metadata.sync_repository import (
    BATCH,
    LEASE_SECONDS,
    RETENTION_DAYS,
    Claim,
    SyncReads,
    SyncRepository,
)
from inventory_api.models import SyncOperation
from inventory_api.stores import mongo
from inventory_api.stores.sql import run_unit
from tests.factories import create_product
from tests.metadata.sync import Sync, delete_product, eventually, patch_metadata, seconds_since


def state(version: int, product_id: int = 1) -> dict[str, Any]:
    """The document of a version, which says its version in its content too."""
    payload = f'{{"tags":["v{version}"],"specifications":{{"version":{version}}}}}'
    return documents.document_of(
        Claim(product_id, version, SyncOperation.UPSERT, f"v{version}", payload, 0)
    )


def tombstone(version: int, product_id: int = 1) -> dict[str, Any]:
    return documents.document_of(Claim(product_id, version, SyncOperation.DELETE, "", "{}", 0))


def lease_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shift = timedelta(seconds=LEASE_SECONDS + 1)
    monkeypatch.setattr(sync_repository, "utc_now", lambda: utc_now() + shift)


class TestDocument:
    async def test_holds_product_metadata_and_search_terms(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(
            admin,
            name="Eichenbrett 🪵",
            metadata={
                "tags": ["Oak", "küche"],
                "specifications": {
                    "material": "oak",
                    "width_mm": 420,
                    "oiled": True,
                    "weight": 1.5,
                    "colours": ["red", 7],
                    "box": {"inner": "hidden"},
                    "none": None,
                },
                "care_instructions": "Wipe.",
                "seo_title": "Board",
                "seo_description": "A board.",
                "vendor_notes": "In sixes.",
            },
        )
        await sync.drain()
        document = await sync.document(product["id"])
        assert document is not None
        assert document["product_id"] == product["id"]
        assert document["name"] == "Eichenbrett 🪵"
        assert (document["version"], document["deleted"]) == (1, False)
        assert {name: document[name] for name in product["metadata"]} == product["metadata"]
        assert sorted(document["spec_terms"]) == [
            "colours=7",
            "colours=red",
            "material=oak",
            "oiled=true",
            "weight=1.5",
            "width_mm=420",
        ]

    async def test_several_updates_travel_as_one(self, sync: Sync, admin: AsyncClient) -> None:
        product = await create_product(admin)
        for tag in ("a", "b", "c"):
            await patch_metadata(admin, product["id"], tags=[tag])
        assert await sync.relay.run_once() == 1
        assert await sync.relay.run_once() == 0
        document = await sync.document(product["id"])
        assert document is not None
        assert (document["version"], document["tags"]) == (4, ["c"])

    async def test_a_change_of_the_name_alone_arrives(self, sync: Sync, admin: AsyncClient) -> None:
        product = await create_product(admin, metadata={"tags": ["kept"]})
        await sync.drain()
        await admin.patch(
            f"/api/products/{product['id']}", json={"name": "Renamed"}, headers={"If-Match": "*"}
        )
        await sync.drain()
        document = await sync.document(product["id"])
        assert document is not None
        assert (document["name"], document["tags"]) == ("Renamed", ["kept"])

    async def test_only_members_of_the_metadata_come_from_the_payload(self) -> None:
        payload = '{"specifications":{},"_id":9,"version":99,"deleted":true,"other":1}'
        document = documents.document_of(Claim(1, 2, SyncOperation.UPSERT, "n", payload, 0))
        assert (document["_id"], document["version"], document["deleted"]) == (1, 2, False)
        assert "other" not in document


class TestVersionGuard:
    async def test_an_older_state_never_replaces_a_newer_one(self, sync: Sync) -> None:
        collection = sync.mongo.collection()
        for version in (3, 2):
            assert await documents.apply(collection, [state(version)]) == {}
        document = await sync.document(1)
        assert document is not None
        assert (document["version"], document["tags"]) == (3, ["v3"])

    async def test_applying_a_state_twice_changes_nothing(self, sync: Sync) -> None:
        collection = sync.mongo.collection()
        await documents.apply(collection, [state(3)])
        first = await sync.document(1)
        await documents.apply(collection, [state(3)])
        assert await sync.document(1) == first

    async def test_concurrent_appliers_in_any_order_end_at_the_newest(self, sync: Sync) -> None:
        collection = sync.mongo.collection()
        seen: list[int] = []

        async def watch(done: asyncio.Event) -> None:
            while not done.is_set():
                if (document := await sync.document(product_id)) is not None:
                    seen.append(document["version"])
                await asyncio.sleep(0)

        for product_id in range(1, 21):
            seen.clear()
            done = asyncio.Event()
            watcher = asyncio.create_task(watch(done))
            versions = random.sample(range(1, 6), 5)
            await asyncio.gather(
                *(documents.apply(collection, [state(version, product_id)]) for version in versions)
            )
            done.set()
            await watcher
            document = await sync.document(product_id)
            assert document is not None
            assert (document["version"], document["tags"]) == (5, ["v5"])
            assert all(earlier <= later for earlier, later in pairwise(seen)), seen

    async def test_one_batch_may_hold_new_old_and_deleted_products(self, sync: Sync) -> None:
        collection = sync.mongo.collection()
        await documents.apply(collection, [state(9, product_id=2), state(1, product_id=3)])
        batch = [state(1, product_id=1), state(4, product_id=2), tombstone(2, product_id=3)]
        assert await documents.apply(collection, batch) == {}
        stored = await documents.versions(collection, [1, 2, 3])
        assert [(one.version, one.deleted) for _, one in sorted(stored.items())] == [
            (1, False),
            (9, False),
            (2, True),
        ]


class TestDelete:
    async def test_leaves_a_tombstone_that_readers_pass_over(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin, metadata={"specifications": {"material": "oak"}})
        await sync.drain()
        await delete_product(admin, product["id"])
        await sync.drain()
        document = await sync.document(product["id"])
        assert document is not None
        assert (document["version"], document["deleted"]) == (2, True)
        assert "specifications" not in document
        collection = sync.mongo.collection()
        assert await documents.fetch(collection, [product["id"]]) == {}
        assert await documents.find_by_specification(collection, "material=oak", 0, 10) == []

    async def test_a_late_write_does_not_resurrect_the_product(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        late = state(1, product["id"])
        await delete_product(admin, product["id"])
        await sync.drain()
        await documents.apply(sync.mongo.collection(), [late])
        document = await sync.document(product["id"])
        assert document is not None
        assert document["deleted"] is True

    async def test_a_product_that_was_never_carried_leaves_a_tombstone_too(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await delete_product(admin, product["id"])
        await sync.drain()
        document = await sync.document(product["id"])
        assert document is not None
        assert document["deleted"] is True


class TestPurge:
    async def test_of_tombstone_and_row_after_seven_days_and_not_before(
        self, sync: Sync, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        product = await create_product(admin)
        kept = await create_product(admin)
        await delete_product(admin, product["id"])
        await sync.drain()

        async def purge_after(days: float) -> None:
            for module in (relay, sync_repository):
                moment = utc_now() + timedelta(days=days)
                monkeypatch.setattr(module, "utc_now", lambda moment=moment: moment)
            await sync.relay._purge()

        await purge_after(RETENTION_DAYS - 0.01)
        assert await sync.has_row(product["id"])
        assert await sync.document(product["id"]) is not None
        await purge_after(RETENTION_DAYS + 0.01)
        assert not await sync.has_row(product["id"])
        assert await sync.document(product["id"]) is None
        assert await sync.has_row(kept["id"])
        assert await sync.document(kept["id"]) is not None

    async def test_waits_for_a_tombstone_that_was_carried_late(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await delete_product(admin, product["id"])
        await sync.drain()
        long_ago = utc_now() - timedelta(days=RETENTION_DAYS + 3)
        await sync.change_row(product["id"], first_pending_at=long_ago)
        await sync.relay._purge()
        assert await sync.document(product["id"]) is not None
        assert await sync.has_row(product["id"])

    async def test_leaves_a_deletion_that_is_still_pending(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await delete_product(admin, product["id"])
        await sync.change_row(product["id"], first_pending_at=utc_now() - timedelta(days=30))
        await sync.relay._purge()
        assert (await sync.row(product["id"])).pending

    async def test_comes_by_itself(
        self, live: Sync, app: FastAPI, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        product = await create_product(admin)
        await delete_product(admin, product["id"])
        await eventually(lambda: live.is_synced(product["id"]))
        moment = utc_now() + timedelta(days=RETENTION_DAYS + 1)
        for module in (relay, sync_repository):
            monkeypatch.setattr(module, "utc_now", lambda: moment)
        await app.state.relay.close()
        app.state.relay.start()

        async def gone() -> bool:
            return not await live.has_row(product["id"])

        await eventually(gone)


class TestPoison:
    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param("{not json", id="not JSON"),
            pytest.param("[]", id="not an object"),
            pytest.param('{"tags":[],"specifications":[1]}', id="specifications of another type"),
            pytest.param("{}", id="without specifications"),
            pytest.param(
                '{"tags":[],"specifications":' + '{"a":' * 200 + "1" + "}" * 201, id="deep"
            ),
            pytest.param(
                # Each text is stored twice, as a value and as a search term.
                '{"tags":[],"specifications":{"list":['
                + ",".join(f'"{number:0190}"' for number in range(45_000))
                + "]}}",
                id="larger than a BSON document",
            ),
        ],
    )
    async def test_a_payload_that_cannot_be_stored_is_dead_and_blocks_nobody(
        self, sync: Sync, payload: str
    ) -> None:
        await sync.queue(1)
        await sync.change_row(1, payload=payload)
        await sync.queue(2)
        await sync.drain()
        row = await sync.row(1)
        assert (row.dead, row.pending) == (True, True)
        assert row.last_error
        assert await sync.document(1) is None
        assert await sync.is_synced(2)

    async def test_counts_as_dead_and_not_as_pending(self, sync: Sync) -> None:
        await sync.queue(1)
        await sync.change_row(1, payload="poison")
        await sync.drain()
        await sync.queue(2)
        status = await SyncReads(sync.database.reads).status()
        assert (status.pending, status.dead) == (1, 1)
        (dead,) = await SyncReads(sync.database.reads).dead()
        assert (dead.product_id, dead.version) == (1, 1)
        assert "MalformedJsonError" in dead.last_error

    async def test_raised_after_it_was_mended_it_heals(self, sync: Sync) -> None:
        await sync.queue(1)
        await sync.change_row(1, payload="poison")
        await sync.drain()
        await sync.change_row(1, payload='{"tags":["mended"],"specifications":{}}')
        await sync.drain()
        assert await sync.document(1) is None
        raised = await run_unit(sync.database, lambda s: SyncRepository(s).raise_dead())
        assert raised == 1
        await sync.drain()
        document = await sync.document(1)
        assert document is not None
        assert document["tags"] == ["mended"]
        assert await sync.is_synced(1)

    async def test_raised_unmended_it_dies_again(self, sync: Sync) -> None:
        await sync.queue(1)
        await sync.change_row(1, payload="poison")
        await sync.drain()
        await run_unit(sync.database, lambda s: SyncRepository(s).raise_dead())
        await sync.drain()
        assert (await sync.row(1)).dead


class Refusing:
    """A collection whose server refuses some documents at one of the two steps."""

    def __init__(self, collection: Any, step: int, product_ids: set[int]) -> None:
        self._collection = collection
        self._step = step
        self._product_ids = product_ids
        self._calls = 0

    async def bulk_write(self, requests: list[Any], ordered: bool) -> None:
        self._calls += 1
        ids = [request._filter["_id"] for request in requests]
        refused = [i for i, product_id in enumerate(ids) if product_id in self._product_ids]
        if (self._calls - 1) % 2 != self._step:
            refused = []
        taken = [request for i, request in enumerate(requests) if i not in refused]
        if taken:
            await self._collection.bulk_write(taken, ordered=ordered)
        if refused:
            flaws = [{"index": i, "code": 121, "errmsg": "failed validation"} for i in refused]
            raise BulkWriteError({"writeErrors": flaws, "writeConcernErrors": []})


class TestRefusedByTheServer:
    @pytest.mark.parametrize("step", [0, 1])
    async def test_it_is_postponed_and_the_others_are_stored(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        for product_id in (1, 2, 3):
            await sync.queue(product_id, seo_title=f"of {product_id}")
        collection = Refusing(sync.mongo.collection(), step, {2})
        with monkeypatch.context() as patch:
            patch.setattr(sync.mongo, "collection", lambda: collection)
            await sync.relay.run_once()
        row = await sync.row(2)
        assert (row.pending, row.dead) == (True, False)
        assert row.last_error == "WriteError: failed validation"
        for product_id in (1, 3):
            document = await sync.document(product_id)
            assert document is not None
            assert document["seo_title"] == f"of {product_id}"
            assert await sync.is_synced(product_id)

    async def test_it_is_given_up_after_many_attempts(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sync.queue(1)
        collection = Refusing(sync.mongo.collection(), 1, {1})
        monkeypatch.setattr(sync.mongo, "collection", lambda: collection)
        for _ in range(REFUSALS_MAX):
            await sync.relay.run_once()
            await sync.change_row(1, next_attempt_at=utc_now())
        assert not (await sync.row(1)).dead
        await sync.relay.run_once()
        assert (await sync.row(1)).dead

    async def test_a_write_that_is_not_confirmed_is_not_acknowledged(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Doubtful:
            async def bulk_write(self, requests: list[Any], ordered: bool) -> None:
                doubt = {"code": 64, "errmsg": "waiting for replication timed out"}
                raise BulkWriteError({"writeErrors": [], "writeConcernErrors": [doubt]})

        await sync.queue(1)
        monkeypatch.setattr(sync.mongo, "collection", Doubtful)
        await sync.relay.run_once()
        row = await sync.row(1)
        assert row.pending
        assert "replication" in row.last_error


@pytest.fixture
def unreachable(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB resets every connection; the relay may ask it again at once."""

    async def fail(*_: object) -> None:
        raise AutoReconnect("connection reset")

    monkeypatch.setattr(mongo, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(documents, "apply", fail)


@pytest.mark.usefixtures("unreachable")
class TestTransportErrors:
    async def test_back_off_doubles_up_to_half_a_minute(self, sync: Sync) -> None:
        await sync.queue(1)
        for attempt in range(12):
            before = utc_now()
            assert await sync.relay.run_once() == 1
            row = await sync.row(1)
            delay = (row.next_attempt_at - before).total_seconds()
            full = min(0.5 * 2**attempt, BACKOFF_MAX_SECONDS)
            assert 0.75 * full <= delay <= full + 0.5, attempt
            await sync.change_row(1, next_attempt_at=utc_now())

    async def test_never_kill_a_row(self, sync: Sync) -> None:
        await sync.queue(1)
        for _ in range(3 * REFUSALS_MAX):
            await sync.relay.run_once()
            await sync.change_row(1, next_attempt_at=utc_now())
        row = await sync.row(1)
        assert (row.pending, row.dead) == (True, False)
        assert row.last_error == "AutoReconnect: connection reset"

    async def test_postpone_the_whole_batch_and_heal(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sync.queue_rows(range(1, 4))
        await sync.relay.run_once()
        assert await sync.relay.run_once() == 0
        monkeypatch.undo()
        await asyncio.sleep(0)
        for product_id in (1, 2, 3):
            await sync.change_row(product_id, next_attempt_at=utc_now())
        await sync.drain()
        for product_id in (1, 2, 3):
            row = await sync.row(product_id)
            assert (row.pending, row.attempts, row.last_error) == (False, 0, None)

    async def test_a_backlog_is_not_run_through_while_mongodb_is_away(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "POLL_SECONDS", 20.0)
        await sync.queue_rows(range(1, 3 * BATCH + 1))
        sync.relay.start()
        await eventually(lambda: _tried(sync, BATCH))
        await asyncio.sleep(0.3)
        assert await _tried(sync, BATCH)
        await sync.relay.close()


async def _tried(sync: Sync, rows: int) -> bool:
    attempts = [(await sync.row(product_id)).attempts for product_id in range(1, 3 * BATCH + 1)]
    return bool(sum(attempts) == rows)


class TestRun:
    async def test_a_write_is_carried_at_once_and_not_at_the_next_poll(
        self, live: Sync, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "POLL_SECONDS", 20.0)
        product = await create_product(admin)
        await eventually(lambda: live.is_synced(product["id"]))
        lags = []
        for number in range(5):
            await patch_metadata(admin, product["id"], tags=[f"tag {number}"])
            start = time.monotonic()
            await eventually(lambda: live.is_synced(product["id"]))
            lags.append(seconds_since(start))
        assert statistics.median(lags) < 0.8, lags

    async def test_what_nobody_woke_it_for_is_carried_by_the_poll(
        self, live: Sync, admin: AsyncClient
    ) -> None:
        await live.queue(1)
        await eventually(lambda: live.is_synced(1))

    async def test_more_than_a_batch_is_carried_without_a_pause(
        self, live: Sync, app: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "POLL_SECONDS", 20.0)
        await live.queue_rows(range(1, 3 * BATCH + 1))
        await app.state.relay.wake()
        await eventually(lambda: live.is_synced(3 * BATCH))
        status = await SyncReads(live.database.reads).status()
        assert status.pending == 0

    @pytest.mark.parametrize(
        "error",
        [
            AutoReconnect("gone"),
            exc.OperationalError("SELECT 1", None, Exception("gone")),
            exc.TimeoutError("no connection came free"),
            ConnectionResetError("gone"),
            asyncio.IncompleteReadError(b"", 4),
            RuntimeError("a flaw of a driver"),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("step", ["claim", "acknowledge"])
    async def test_survives_errors_of_either_store(
        self, live: Sync, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
    ) -> None:
        failures = 0
        real = getattr(SyncRepository, step)

        async def fail_twice(*arguments: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures <= 2:
                raise error
            return await real(*arguments)

        monkeypatch.setattr(relay, "POLL_SECONDS", 0.02)
        monkeypatch.setattr(sync_repository, "LEASE_SECONDS", 0)
        monkeypatch.setattr(SyncRepository, step, fail_twice)
        await live.queue(1)
        await eventually(lambda: live.is_synced(1))
        assert failures >= 3
        document = await live.document(1)
        assert document is not None
        assert document["version"] == 1

    async def test_clears_the_leases_of_a_dead_relay_at_start_where_it_is_the_only_one(
        self, sync: Sync, app: FastAPI, on_real_stores: bool
    ) -> None:
        await sync.queue(1)
        assert len(await run_unit(sync.database, lambda s: SyncRepository(s).claim())) == 1
        fresh = Relay(sync.database, sync.mongo)
        fresh.start()
        try:
            if on_real_stores:
                await sync.queue(2)
                await fresh.wake()
                await eventually(lambda: sync.is_synced(2))
                assert not await sync.is_synced(1)
            else:
                await eventually(lambda: sync.is_synced(1))
        finally:
            await fresh.close()

    async def test_close_waits_for_the_batch_under_way(
        self, sync: Sync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, entered = documents.apply, asyncio.Event()

        async def slow(*arguments: Any) -> Any:
            entered.set()
            await asyncio.sleep(0.2)
            return await real(*arguments)

        monkeypatch.setattr(documents, "apply", slow)
        await sync.queue(1)
        sync.relay.start()
        async with asyncio.timeout(5):
            await entered.wait()
        await sync.relay.close()
        assert await sync.is_synced(1)


class TestCutShort:
    """The relay's task is cancelled at a step; another relay goes on when the lease has run out."""

    async def cut(self, sync: Sync, entered: asyncio.Event) -> None:
        task = asyncio.create_task(sync.relay.run_once())
        async with asyncio.timeout(5):
            await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_between_claim_and_apply(
        self, sync: Sync, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        product = await create_product(admin, metadata={"tags": ["kept"]})
        entered = asyncio.Event()

        async def hang(*_: object) -> None:
            entered.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(documents, "apply", hang)
            await self.cut(sync, entered)
        assert await sync.document(product["id"]) is None
        await sync.drain()
        assert not await sync.is_synced(product["id"])
        lease_runs_out(monkeypatch)
        await sync.drain()
        assert await sync.is_synced(product["id"])
        document = await sync.document(product["id"])
        assert document is not None
        assert document["tags"] == ["kept"]

    async def test_between_placeholder_and_replacement(
        self, sync: Sync, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        product = await create_product(admin, metadata={"specifications": {"material": "oak"}})
        entered = asyncio.Event()
        real = documents._write

        async def hang_at_second(collection: Any, requests: Any) -> Any:
            if isinstance(requests[0], ReplaceOne):
                entered.set()
                await asyncio.Event().wait()
            return await real(collection, requests)

        with monkeypatch.context() as patch:
            patch.setattr(documents, "_write", hang_at_second)
            await self.cut(sync, entered)
        assert await documents.fetch(sync.mongo.collection(), [product["id"]]) == {}
        lease_runs_out(monkeypatch)
        await sync.drain()
        assert await sync.is_synced(product["id"])
        collection = sync.mongo.collection()
        found = await documents.find_by_specification(collection, "material=oak", 0, 10)
        assert found == [product["id"]]

    async def test_between_apply_and_acknowledge(
        self, sync: Sync, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        product = await create_product(admin, metadata={"tags": ["kept"]})
        entered = asyncio.Event()

        async def hang(*_: object) -> None:
            entered.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(SyncRepository, "acknowledge", hang)
            await self.cut(sync, entered)
        applied = await sync.document(product["id"])
        assert applied is not None
        assert not await sync.is_synced(product["id"])
        lease_runs_out(monkeypatch)
        await sync.drain()
        assert await sync.is_synced(product["id"])
        assert await sync.document(product["id"]) == applied

    async def test_a_relay_that_wakes_up_late_undoes_nothing(
        self, sync: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin, metadata={"tags": ["old"]})
        late = await run_unit(sync.database, lambda s: SyncRepository(s).claim())
        await patch_metadata(admin, product["id"], tags=["new"])
        await sync.drain()
        await sync.relay._apply(late, [documents.document_of(claim) for claim in late])
        document = await sync.document(product["id"])
        assert document is not None
        assert document["tags"] == ["new"]
        row = await sync.row(product["id"])
        assert (row.pending, row.applied_version) == (False, 2)
