"""`inventory-api serve` as its users run it: a process, a port, a data folder."""

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.factories import product_body
from tests.processes.harness import (
    Process,
    Server,
    descendants,
    is_running,
    run_command,
    wait_until,
)
from tests.stores.servers import free_port

pytestmark = pytest.mark.process

SPECIFICATIONS = {"material": "oak", "width_mm": 420}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of a server, not made yet."""
    return tmp_path / "data"


@pytest.fixture
def server(tmp_path: Path, folder: Path) -> Iterator[Server]:
    """A server on embedded stores, started by the test."""
    server = Server(tmp_path / "run", {"DATA_DIR": str(folder)})
    yield server
    server.kill()


def started(server: Server) -> tuple[Server, tuple[str, str]]:
    server.start()
    assert server.admin is not None, server.log[-2000:]
    return server, server.admin


def create(client: httpx.Client, path: str, **body: object) -> dict[str, object]:
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    document: dict[str, object] = answer.json()
    return document


def fill(client: httpx.Client) -> dict[str, object]:
    category = create(client, "/api/categories", name="Boards")
    return create(
        client,
        "/api/products",
        **product_body(
            category_id=category["id"],
            metadata={"tags": ["oak"], "specifications": SPECIFICATIONS},
        ),
    )


def found_by_specification(client: httpx.Client) -> list[dict[str, object]]:
    answer = client.get("/api/products", params={"spec": "material:oak", "include": "metadata"})
    items: list[dict[str, object]] = answer.json()["items"] if answer.is_success else []
    return items


class TestFirstStart:
    def test_prints_the_administrator_once_and_serves(self, server: Server) -> None:
        server, account = started(server)
        assert server.output.count("password:") == 1
        with server.client(account) as client:
            assert client.get("/api/me").json()["role"] == "admin"
            product = fill(client)
            wait_until(lambda: found_by_specification(client), 10, "the product is found")
            (found,) = found_by_specification(client)
            assert found["id"] == product["id"]
        assert account[1] not in server.log
        assert "Traceback" not in server.log

    def test_is_ready_with_every_store(self, server: Server) -> None:
        started(server)
        with server.client() as client:
            wait_until(
                lambda: client.get("/health/ready").json()["status"] == "ok", 10, "it is ready"
            )

    def test_the_data_folder_is_for_its_owner_alone(self, server: Server, folder: Path) -> None:
        started(server)
        assert folder.stat().st_mode & 0o077 == 0

    def test_in_a_folder_with_a_very_long_name_in_any_script(self, tmp_path: Path) -> None:
        folder = tmp_path / "Lager Süd — 仓库" / ("long name " * 12).strip()
        folder = folder / ("é" * 60) / "data"
        with Server(tmp_path / "run", {"DATA_DIR": str(folder)}) as server:
            assert server.admin is not None
            with server.client(server.admin) as client:
                fill(client)
                wait_until(lambda: found_by_specification(client), 10, "the product is found")
        assert (folder / "inventory.sqlite3").exists()


class TestKill:
    def test_everything_acknowledged_is_there_after_the_next_start(self, server: Server) -> None:
        server, account = started(server)
        with server.client(account) as client:
            product = fill(client)
        server.kill()
        server.start()
        assert server.seconds_to_start < 15
        assert server.admin is None, "no second administrator"
        with server.client(account) as client:
            path = f"/api/products/{product['id']}"
            assert client.get(path).json() == product
            listed = client.get("/api/products", params={"include": "metadata"}).json()["items"]
            assert listed == [product]
            wait_until(lambda: found_by_specification(client), 15, "the product is found")
            assert found_by_specification(client) == [product]
            assert client.get(path).headers["Metadata-Sync"] == "synced"

    def test_a_session_outlives_it_and_a_revoked_one_stays_revoked(self, server: Server) -> None:
        server, account = started(server)
        with server.client(account) as kept, server.client(account) as ended:
            assert ended.post("/logout").status_code == 204
            server.kill()
            server.start()
            assert kept.get("/api/me").status_code == 200
            assert ended.get("/api/me").status_code == 401

    def test_leaves_no_process_behind(self, server: Server) -> None:
        started(server)
        children = descendants(server.pid)
        assert children, "Valkey is a child"
        server.kill()
        wait_until(lambda: not any(map(is_running, children)), 10, "its children end")

    def test_under_load_loses_nothing_that_was_acknowledged(self, server: Server) -> None:
        server, account = started(server)
        acknowledged: list[dict[str, object]] = []
        with server.client(account) as client:
            header = dict(client.headers)

        def write() -> None:
            with httpx.Client(base_url=server.address, timeout=10, headers=header) as client:
                while True:
                    body = product_body(metadata={"specifications": SPECIFICATIONS})
                    try:
                        answer = client.post("/api/products", json=body)
                    except httpx.TransportError:
                        return
                    if answer.status_code == 201:
                        acknowledged.append(answer.json())

        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write) for _ in range(4)]
            wait_until(lambda: len(acknowledged) > 40, 30, "40 products are made")
            server.kill()
            for writer in writers:
                writer.result(timeout=30)
        server.start()
        with server.client(account) as client:
            for product in acknowledged:
                assert client.get(f"/api/products/{product['id']}").json() == product

            def all_found() -> bool:
                query = {"spec": "material:oak", "limit": "200"}
                answer = client.get("/api/products", params=query)
                ids = {item["id"] for item in answer.json().get("items", [])}
                return {product["id"] for product in acknowledged} <= ids

            wait_until(all_found, 30, "all are in the search")


class TestStop:
    def test_sigterm_lets_the_request_under_way_finish(self, tmp_path: Path, folder: Path) -> None:
        variables = {"DATA_DIR": str(folder), "PASSWORD_HASH_ROUNDS": "13"}
        with Server(tmp_path / "run", variables) as server:
            account = server.admin
            assert account is not None
            children = descendants(server.pid)
            answers: list[httpx.Response] = []
            sent = threading.Event()

            def stream() -> Iterator[bytes]:
                yield b'{"email": "%s", ' % account[0].encode()
                sent.set()
                time.sleep(0.3)
                yield b'"password": "%s"}' % account[1].encode()

            def log_in() -> None:
                headers = {"Content-Type": "application/json"}
                with server.client() as client:
                    answers.append(client.post("/token", content=stream(), headers=headers))

            thread = threading.Thread(target=log_in)
            thread.start()
            assert sent.wait(10)
            time.sleep(0.1)
            server.send(signal.SIGTERM)
            thread.join(30)
            assert [answer.status_code for answer in answers] == [200]
            assert server.wait(15) in (0, -signal.SIGTERM)
            assert "Traceback" not in server.log
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{server.address}/health/live", timeout=2)
            wait_until(lambda: not any(map(is_running, children)), 5, "Valkey ends with it")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_is_quick_without_requests_and_says_nothing_wrong(
        self, server: Server, number: signal.Signals
    ) -> None:
        started(server)
        start = time.monotonic()
        server.send(number)
        assert server.wait(15) in (0, -number)
        assert time.monotonic() - start < 8
        assert "Traceback" not in server.log


class TestRefusesToStart:
    def test_a_second_server_on_the_same_folder(self, server: Server, folder: Path) -> None:
        started(server)
        again = run_command(
            "serve",
            "--port",
            str(free_port()),
            variables={"DATA_DIR": str(folder)},
            cwd=server.folder,
        )
        assert again.returncode == 1
        assert "Another server already runs on" in again.stderr
        assert "Traceback" not in again.stderr
        with server.client() as client:
            assert client.get("/health/live").status_code == 200

    def test_on_a_port_that_is_taken(self, server: Server, tmp_path: Path) -> None:
        started(server)
        variables = {"DATA_DIR": str(tmp_path / "other"), "PORT": str(server.port)}
        again = run_command("serve", variables=variables, cwd=server.folder)
        assert again.returncode == 1
        assert "address already in use" in again.stderr
        assert "Traceback" not in again.stderr

    @pytest.mark.parametrize(
        ("variables", "named"),
        [
            ({"MYSQL_URI": "postgres://host/db"}, "MYSQL_URI"),
            ({"MONGODB_URI": "mongodb://host:99999"}, "MONGODB_URI"),
            ({"JWT_SECRET_KEY": "short"}, "JWT_SECRET_KEY"),
            ({"PORT": "eighty"}, "PORT"),
            ({"ALLOWED_HOSTS": "localhost"}, "ALLOWED_HOSTS"),
            ({"ENVIRONMENT": "production"}, "JWT_SECRET_KEY"),
            ({"WORKERS": "2"}, "WORKERS"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
    )
    def test_with_wrong_settings_in_one_sentence_that_names_the_variable(
        self, tmp_path: Path, variables: dict[str, str], named: str
    ) -> None:
        variables = {"DATA_DIR": str(tmp_path / "data")} | variables
        done = run_command("serve", variables=variables, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert named in done.stderr
        assert "Traceback" not in done.stderr
        (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("Serving")]
        assert sentence.endswith(".")
        for value in ("short", "eighty", "99999/"):
            assert value not in done.stderr

    def test_with_an_unusable_secret_in_the_data_folder(self, tmp_path: Path, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        (folder / "jwt_secret").write_text("short")
        done = run_command("serve", variables={"DATA_DIR": str(folder)}, cwd=tmp_path)
        assert done.returncode == 2
        assert "JWT_SECRET_KEY is not set" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("command", ["serve", "migrate", "demo"])
    def test_with_a_data_folder_that_cannot_be_made(self, tmp_path: Path, command: str) -> None:
        (tmp_path / "file").touch()
        done = run_command(
            command, variables={"DATA_DIR": str(tmp_path / "file" / "data")}, cwd=tmp_path
        )
        assert done.returncode == 1
        assert "file" in done.stderr
        assert "Traceback" not in done.stderr


class TestSetup:
    def test_two_at_once_make_one_administrator(self, tmp_path: Path, folder: Path) -> None:
        assert (
            run_command("migrate", variables={"DATA_DIR": str(folder)}, cwd=tmp_path).returncode
            == 0
        )
        servers = [
            Process(
                ("serve", "--setup", "--port", str(free_port())),
                {"DATA_DIR": str(folder)},
                tmp_path / name,
            )
            for name in ("one", "two")
        ]
        try:
            for server in servers:
                server.start()
            wait_until(lambda: any(server.ended for server in servers), 30, "one is refused")
            wait_until(
                lambda: any("Uvicorn running" in server.log for server in servers), 30, "one serves"
            )
            assert sum(server.ended for server in servers) == 1
            assert sum(server.output.count("password:") for server in servers) == 1
        finally:
            for server in servers:
                server.kill()

    def test_makes_one_beside_a_user_who_has_its_name(self, tmp_path: Path, folder: Path) -> None:
        with Server(tmp_path / "first", {"DATA_DIR": str(folder)}) as server:
            admin = server.admin
            assert admin is not None
            with server.client(admin) as client:
                me = client.get("/api/me").json()
        _demote(folder, int(me["id"]))
        with Server(tmp_path / "second", {"DATA_DIR": str(folder)}) as server:
            assert server.admin is not None
            assert server.admin[0] != admin[0]
            with server.client(server.admin) as client:
                assert client.get("/api/me").json()["role"] == "admin"


def _demote(folder: Path, user_id: int) -> None:
    with sqlite3.connect(folder / "inventory.sqlite3") as connection:
        connection.execute("UPDATE users SET role = 'staff' WHERE id = ?", (user_id,))
