"""A server whose MongoDB is refused or frozen: what its clients see, and how it heals."""

import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.factories import product_body
from tests.faults.world import World, world
from tests.processes.harness import Server, wait_until

pytestmark = pytest.mark.faults

HEAL_SECONDS = 40.0
CUTS = ("refuse", "freeze")


@pytest.fixture(scope="module")
async def stores(
    tmp_path_factory: pytest.TempPathFactory, on_real_stores: bool
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("outage")
    async with world(folder, "outage", on_real_stores=on_real_stores) as stores:
        yield stores


@pytest.fixture(scope="module")
def server(stores: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), stores.variables) as server:
        yield server


@pytest.fixture(scope="module")
def account(server: Server) -> tuple[str, str]:
    assert server.admin is not None
    return server.admin


@pytest.fixture
def client(stores: World, server: Server, account: tuple[str, str]) -> Iterator[httpx.Client]:
    """An administrator, while all stores are well; afterwards they are again."""
    with server.client(account) as client:
        wait_until(lambda: readiness(client) == "ok", HEAL_SECONDS, "all stores are well")
        yield client
        stores.proxy.pass_through()


def readiness(client: httpx.Client) -> str:
    return str(client.get("/health/ready").json()["status"])


def create(client: httpx.Client, **metadata: Any) -> httpx.Response:
    return client.post("/api/products", json=product_body(metadata=metadata))


def patch(client: httpx.Client, path: str, **metadata: Any) -> httpx.Response:
    return client.patch(path, json={"metadata": metadata}, headers={"If-Match": "*"})


def product_of(answer: httpx.Response) -> tuple[str, dict[str, Any]]:
    assert answer.status_code in (200, 201), answer.text
    product: dict[str, Any] = answer.json()
    return f"/api/products/{product['id']}", product


def is_synced(client: httpx.Client, path: str) -> bool:
    return client.get(path).headers["Metadata-Sync"] == "synced"


def listed(client: httpx.Client, product: dict[str, Any]) -> dict[str, Any]:
    answer = client.get("/api/products", params={"sku": product["sku"], "include": "metadata"})
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["items"]
    found: dict[str, Any] = item
    return found


def search(client: httpx.Client, spec: str) -> httpx.Response:
    return client.get("/api/products", params={"spec": spec})


@pytest.mark.parametrize("cut", CUTS)
class TestWhileMongoDbIsAway:
    def test_writes_are_taken_shown_at_once_and_carried_later(
        self, stores: World, client: httpx.Client, cut: str
    ) -> None:
        getattr(stores.proxy, cut)()
        answer = create(client, tags=["one"], specifications={"cut": f"{cut} new"})
        assert answer.headers["Metadata-Sync"] == "pending"
        path, product = product_of(answer)
        assert product["metadata"]["tags"] == ["one"]
        answer = patch(client, path, tags=["two"])
        assert answer.headers["Metadata-Sync"] == "pending"
        _, changed = product_of(answer)
        assert changed["metadata"]["tags"] == ["two"]
        single = client.get(path)
        assert single.headers["Metadata-Sync"] == "pending"
        assert single.json() == changed
        assert client.get(f"{path}/metadata").json() == changed["metadata"]
        assert listed(client, product) == changed

        stores.proxy.pass_through()
        wait_until(lambda: is_synced(client, path), HEAL_SECONDS, "it is carried")
        assert listed(client, product) == changed
        (found,) = search(client, f"cut:{cut} new").json()["items"]
        assert found["id"] == product["id"]

    def test_what_was_carried_before_is_still_listed(
        self, stores: World, client: httpx.Client, cut: str
    ) -> None:
        path, product = product_of(create(client, tags=["before"]))
        wait_until(lambda: is_synced(client, path), HEAL_SECONDS, "it is carried")
        getattr(stores.proxy, cut)()
        assert listed(client, product) == product
        _, changed = product_of(patch(client, path, tags=["meanwhile"]))
        assert listed(client, product) == changed

    def test_a_single_product_is_as_quick_as_ever(
        self, stores: World, client: httpx.Client, cut: str
    ) -> None:
        path, _ = product_of(create(client))
        getattr(stores.proxy, cut)()
        seconds = []
        for number in range(15):
            start = time.monotonic()
            assert client.get(path).status_code == 200
            seconds.append(time.monotonic() - start)
            if number % 5 == 0:
                assert patch(client, path, tags=[f"tag {number}"]).status_code == 200
        assert statistics.median(seconds) < 0.5, seconds

    def test_only_the_search_by_specification_is_refused_and_soon(
        self, stores: World, client: httpx.Client, cut: str
    ) -> None:
        getattr(stores.proxy, cut)()
        for _ in range(3):
            start = time.monotonic()
            answer = search(client, "material:oak")
            assert time.monotonic() - start < 1.5
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == "metadata_unavailable"
            assert int(answer.headers["Retry-After"]) > 0
        stores.proxy.pass_through()
        wait_until(lambda: search(client, "material:oak").status_code == 200, 10, "it is answered")

    def test_a_deletion_is_carried_later_and_nothing_comes_back(
        self, stores: World, client: httpx.Client, cut: str
    ) -> None:
        term = f"deleted:{cut}"
        path, _ = product_of(create(client, specifications={"deleted": cut}))
        wait_until(lambda: is_synced(client, path), HEAL_SECONDS, "it is carried")
        assert len(search(client, term).json()["items"]) == 1
        getattr(stores.proxy, cut)()
        assert patch(client, path, tags=["last words"]).status_code == 200
        assert client.delete(path, headers={"If-Match": "*"}).status_code == 204
        assert client.get(path).status_code == 404
        stores.proxy.pass_through()
        wait_until(lambda: search(client, term).status_code == 200, 10, "it is answered")
        assert search(client, term).json()["items"] == []

    def test_the_service_is_ready_but_degraded(
        self, stores: World, client: httpx.Client, cut: str
    ) -> None:
        getattr(stores.proxy, cut)()
        wait_until(lambda: readiness(client) == "degraded", 10, "it is noticed")
        answer = client.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json()["mongodb"] == "unavailable"


@pytest.mark.parametrize("cut", CUTS)
class TestStartWithoutMongoDb:
    async def test_it_serves_and_connects_later(
        self, tmp_path: Path, on_real_stores: bool, cut: str
    ) -> None:
        async with world(tmp_path, "start", on_real_stores=on_real_stores) as stores:
            getattr(stores.proxy, cut)()
            with Server(tmp_path / "run", stores.variables) as server:
                assert server.admin is not None
                with server.client(server.admin) as client:
                    path, product = product_of(
                        create(client, tags=["early"], specifications={"born": "early"})
                    )
                    assert listed(client, product) == product
                    assert search(client, "born:early").status_code == 503
                    stores.proxy.pass_through()
                    wait_until(lambda: is_synced(client, path), HEAL_SECONDS, "it is carried")
                    assert search(client, "born:early").json()["items"][0]["id"] == product["id"]

    async def test_it_can_be_stopped_meanwhile(
        self, tmp_path: Path, on_real_stores: bool, cut: str
    ) -> None:
        async with world(tmp_path, "stop", on_real_stores=on_real_stores) as stores:
            getattr(stores.proxy, cut)()
            with Server(tmp_path / "run", stores.variables) as server:
                wait_until(lambda: "mongodb_unreachable" in server.log, 10, "it has tried")
                server.stop()
                assert "Traceback" not in server.log
