"""Two workers on shared stores act as one server."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from inventory_api.settings import Settings
from tests.conftest import create_mysql_database, worker_number
from tests.factories import product_body
from tests.processes.harness import Server, descendants, is_running, wait_until

pytestmark = pytest.mark.process


@pytest.fixture
async def workers(tmp_path: Path, settings: Settings) -> AsyncIterator[Server]:
    """A server of two workers, on databases of its own."""
    assert settings.mongodb_uri is not None
    number = worker_number()
    variables = {
        "DATA_DIR": str(tmp_path / "data"),
        "MYSQL_URI": await create_mysql_database(f"workers_{number}"),
        "MONGODB_URI": f"{settings.mongodb_uri.get_secret_value().rpartition('/')[0]}/w_{number}",
        "REDIS_URL": f"{os.environ['TEST_REDIS'].rpartition('/')[0]}/{48 + number % 16}",
        "JWT_SECRET_KEY": "a secret for tests, of more than 32 bytes",
    }
    server = Server(tmp_path / "run", variables, "--workers", "2").start()
    family = descendants(server.pid)
    yield server
    server.kill()
    for pid in family:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


def ask(server: Server, header: dict[str, str], path: str) -> httpx.Response:
    """GET on a new connection, which either worker may take."""
    with httpx.Client(base_url=server.address, timeout=10, headers=header) as client:
        return client.get(path)


def statuses(server: Server, header: dict[str, str], count: int) -> list[int]:
    return [ask(server, header, "/api/me").status_code for _ in range(count)]


class TestTwoWorkers:
    async def test_a_log_out_in_one_is_refused_by_the_other_at_once(self, workers: Server) -> None:
        account = workers.admin
        assert account is not None
        for _ in range(5):
            with workers.client(account) as client:
                header = {"Authorization": client.headers["Authorization"]}
                assert statuses(workers, header, 10) == [200] * 10
                assert client.post("/logout").status_code == 204
            assert statuses(workers, header, 30) == [401] * 30

    async def test_what_one_has_written_the_other_shows(self, workers: Server) -> None:
        account = workers.admin
        assert account is not None
        with workers.client(account) as client:
            header = {"Authorization": client.headers["Authorization"]}
            for number in range(20):
                body = product_body(metadata={"tags": [f"tag {number}"]})
                product = client.post("/api/products", json=body).json()
                assert ask(workers, header, f"/api/products/{product['id']}").json() == product

    async def test_ends_as_a_whole(self, workers: Server) -> None:
        family = descendants(workers.pid)
        assert len(family) >= 2
        workers.send(signal.SIGTERM)
        workers.wait(20)
        wait_until(lambda: not any(map(is_running, family)), 10, "the workers end")
        assert "Traceback" not in workers.log
