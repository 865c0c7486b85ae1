"""The command `inventory-api`, run as its users run it: in a process, from any folder."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from inventory_api.settings import Settings
from inventory_api.stores import migrations
from inventory_api.stores.embedded import lock_data_folder
from tests.conftest import create_mysql_database, worker_number
from tests.factories import create_product
from tests.metadata.sync import Sync, at_rest, at_work, eventually
from tests.processes.harness import Process, run_command, variables_of, wait_until
from tests.stores.servers import free_port

pytestmark = pytest.mark.process

Completed = subprocess.CompletedProcess[str]
Command = Callable[..., Awaitable[Completed]]
PASSWORD = "a password of some length"
RUN = ("create-admin", "--password-stdin")


@pytest.fixture
async def sync(app: FastAPI, clean: None) -> AsyncIterator[Sync]:
    async with at_rest(app) as sync:
        yield sync


@pytest.fixture
async def live(app: FastAPI, clean: None) -> AsyncIterator[Sync]:
    async with at_work(app) as sync:
        yield sync


@pytest.fixture
def command(settings: Settings, tmp_path: Path, app: FastAPI) -> Command:
    """Runs a command on the stores of the running application, from another folder."""
    return elsewhere(variables_of(settings), tmp_path)


@pytest.fixture
async def empty(settings: Settings, tmp_path: Path, on_real_stores: bool) -> dict[str, str]:
    """Settings that lead to stores in which there is nothing, not even a schema."""
    variables = {"DATA_DIR": str(tmp_path / "empty data")}
    if on_real_stores:
        assert settings.mongodb_uri is not None
        number = worker_number()
        mongodb = settings.mongodb_uri.get_secret_value().rpartition("/")[0]
        variables |= {
            "MYSQL_URI": await create_mysql_database(f"cli_{number}"),
            "MONGODB_URI": f"{mongodb}/cli_{os.getpid()}_{free_port()}",
        }
    return variables


def elsewhere(variables: Mapping[str, str], folder: Path) -> Command:
    """Runs a command in a folder; in a thread, since the application runs in this one."""
    return partial(asyncio.to_thread, run_command, variables=variables, cwd=folder)


def succeeded(done: Completed) -> Completed:
    assert done.returncode == 0, done.stderr
    return done


def failed(done: Completed, code: int, sentence: str) -> None:
    """With this code, and a sentence in place of a traceback."""
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def figures(done: Completed) -> dict[str, str]:
    """The lines `name: value` that a command prints."""
    lines = [line.partition(": ") for line in done.stdout.splitlines() if ": " in line]
    return {name.strip(): value for name, _, value in lines}


class TestUsage:
    @pytest.mark.parametrize("arguments", [("nonsense",), ("serve", "--port", "eighty")])
    async def test_2_for_what_there_is_not(
        self, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        done = await elsewhere({}, tmp_path)(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr

    async def test_2_for_a_wrong_setting(self, tmp_path: Path) -> None:
        done = await elsewhere({"MYSQL_URI": "mysql://host"}, tmp_path)("migrate")
        failed(done, 2, "MYSQL_URI: should name a database")

    async def test_1_for_a_database_that_is_away(self, tmp_path: Path) -> None:
        variables = {"MYSQL_URI": f"mysql://root:s3cret@127.0.0.1:{free_port()}/inventory"}
        for arguments in (("migrate",), ("sync", "status")):
            done = await elsewhere(variables, tmp_path)(*arguments)
            failed(done, 1, "The SQL database can't be used")
            assert "s3cret" not in done.stderr

    @pytest.mark.parametrize("arguments", [("demo",), ("sync", "status")])
    async def test_1_before_the_schema_is_there(
        self, tmp_path: Path, empty: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        failed(
            await elsewhere(empty, tmp_path)(*arguments),
            1,
            "inventory-api migrate",
        )


class TestMigrate:
    async def test_brings_an_empty_database_to_the_head_and_does_nothing_again(
        self, tmp_path: Path, empty: dict[str, str]
    ) -> None:
        for _ in range(2):
            done = succeeded(await elsewhere(empty, tmp_path)("migrate"))
            assert f"at revision {migrations.head()}" in done.stderr

    async def test_a_data_folder_is_relative_to_where_the_command_runs(
        self, tmp_path: Path
    ) -> None:
        succeeded(await elsewhere({}, tmp_path)("migrate", "--data-dir", "shop"))
        assert (tmp_path / "shop" / "inventory.sqlite3").exists()


class TestCreateAdmin:
    async def add(self, command: Command, name: str, password: str = PASSWORD) -> Completed:
        return await command(
            *RUN, "--username", name, "--email", f"{name}@shop.example", text=password
        )

    async def log_in(self, client: AsyncClient, name: str, password: str = PASSWORD) -> int:
        body = {"email": f"{name}@shop.example", "password": password}
        return (await client.post("/token", json=body)).status_code

    async def test_who_can_sign_in_at_the_running_server(
        self, command: Command, anonymous: AsyncClient
    ) -> None:
        done = succeeded(await self.add(command, "alice"))
        assert PASSWORD not in done.stdout + done.stderr
        answer = await anonymous.post(
            "/token", json={"email": "alice@shop.example", "password": PASSWORD}
        )
        assert answer.status_code == 200
        header = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert (await anonymous.get("/api/me", headers=header)).json()["role"] == "admin"

    async def test_drops_one_trailing_newline_and_no_more(
        self, command: Command, anonymous: AsyncClient
    ) -> None:
        succeeded(await self.add(command, "one", PASSWORD + "\n"))
        assert await self.log_in(anonymous, "one") == 200
        succeeded(await self.add(command, "two", f" {PASSWORD} \n\n"))
        assert await self.log_in(anonymous, "two", f" {PASSWORD} \n") == 200
        assert await self.log_in(anonymous, "two", f" {PASSWORD} ") == 401

    async def test_however_many_there_are(self, command: Command, admin: AsyncClient) -> None:
        for name in ("carol", "dave"):
            succeeded(await self.add(command, name))
            assert await self.log_in(admin, name) == 200

    async def test_2_for_what_the_api_would_refuse(
        self, command: Command, anonymous: AsyncClient
    ) -> None:
        failed(await self.add(command, "short", "tiny"), 2, "The password can't be accepted")
        failed(await self.add(command, "ab"), 2, "The username can't be accepted")
        done = await command(*RUN, "--username", "nobody", "--email", "no address", text=PASSWORD)
        failed(done, 2, "The email can't be accepted")
        assert await self.log_in(anonymous, "short", "tiny") == 401

    async def test_1_for_a_taken_name_or_address(
        self, command: Command, anonymous: AsyncClient
    ) -> None:
        succeeded(await self.add(command, "erin"))
        done = await command(
            *RUN, "--username", "ERIN", "--email", "e2@shop.example", text=PASSWORD
        )
        failed(done, 1, "Somebody has this user name already.")
        done = await command(
            *RUN, "--username", "frank", "--email", "ERIN@shop.example", text=PASSWORD
        )
        failed(done, 1, "There is an account for this e-mail address already.")


class TestDemo:
    async def test_adds_500_products_once_and_the_running_server_carries_them(
        self, command: Command, live: Sync, admin: AsyncClient
    ) -> None:
        assert "500 products added." in succeeded(await command("demo")).stderr
        assert "0 products added." in succeeded(await command("demo")).stderr
        params = {"include": ["total", "metadata"], "limit": "1"}
        page = (await admin.get("/api/products", params=params)).json()
        assert page["total"] == 500
        done = succeeded(await command("reconcile", "--wait", "30"))
        assert figures(done)["compared"] == "500"
        assert figures(done)["pending"] == "0"
        product_id = page["items"][0]["id"]
        document = await live.document(product_id)
        assert document is not None
        assert document["tags"] == page["items"][0]["metadata"]["tags"]


class TestOpenapi:
    async def test_writes_and_checks_the_contract(self, tmp_path: Path) -> None:
        run = elsewhere({}, tmp_path)
        failed(await run("openapi", "--check"), 1, "openapi.yaml is not what the code says")
        succeeded(await run("openapi"))
        succeeded(await run("openapi", "--check"))
        file = tmp_path / "openapi.yaml"
        file.write_text(file.read_text(encoding="utf-8") + "# by hand\n", encoding="utf-8")
        failed(await run("openapi", "--check"), 1, "openapi.yaml is not what the code says")

    async def test_is_the_same_whatever_the_settings_are(self, tmp_path: Path) -> None:
        succeeded(await elsewhere({}, tmp_path)("openapi", "one.yaml"))
        variables = {"CURRENCY": "EUR", "LOG_LEVEL": "nonsense", "LC_ALL": "C", "PYTHONUTF8": "0"}
        succeeded(await elsewhere(variables, tmp_path)("openapi", "two.yaml"))
        assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()

    async def test_1_for_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        done = await elsewhere({}, tmp_path)("openapi", "nowhere/openapi.yaml")
        failed(done, 1, "nowhere/openapi.yaml")


class TestReconcile:
    async def test_0_when_the_stores_agree(
        self, command: Command, sync: Sync, admin: AsyncClient
    ) -> None:
        await create_product(admin)
        await sync.drain()
        done = succeeded(await command("reconcile"))
        names = ("pending", "missing", "stale", "newer", "orphaned", "dead")
        assert figures(done) == {"compared": "1"} | dict.fromkeys(names, "0")

    async def test_0_with_what_is_pending(
        self, command: Command, sync: Sync, admin: AsyncClient
    ) -> None:
        await create_product(admin)
        done = succeeded(await command("reconcile", "--wait", "0.5"))
        assert figures(done)["pending"] == "1"

    async def test_1_when_they_differ_and_0_once_that_is_fixed(
        self, command: Command, live: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await eventually(lambda: live.is_synced(product["id"]))
        await live.mongo.collection().delete_one({"_id": product["id"]})
        done = await command("reconcile")
        failed(done, 1, "The stores differ.")
        assert figures(done)["missing"] == f"1  {product['id']}"
        fixed = succeeded(await command("reconcile", "--fix"))
        assert figures(fixed)["fixed"] == "1"
        done = succeeded(await command("reconcile", "--wait", "20"))
        assert (figures(done)["pending"], figures(done)["missing"]) == ("0", "0")

    async def test_1_when_mongodb_is_away(self, settings: Settings, tmp_path: Path) -> None:
        dead = {"MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}"}
        done = await elsewhere(variables_of(settings) | dead, tmp_path)("reconcile")
        failed(done, 1, "MongoDB can't be reached.")

    async def test_2_for_a_mongodb_address_that_is_none(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        wrong = {"MONGODB_URI": "mongodb://127.0.0.1:99999"}
        done = await elsewhere(variables_of(settings) | wrong, tmp_path)("reconcile")
        failed(done, 2, "MONGODB_URI")


class TestSync:
    async def test_status_counts_and_retry_heals(
        self, command: Command, live: Sync, admin: AsyncClient
    ) -> None:
        product = await create_product(admin)
        await eventually(lambda: live.is_synced(product["id"]))
        assert figures(succeeded(await command("sync", "status"))) == {"pending": "0", "dead": "0"}
        await live.queue(product["id"] + 1)
        await live.change_row(product["id"] + 1, payload="poison", pending=True)

        async def is_dead() -> bool:
            return bool((await live.row(product["id"] + 1)).dead)

        await eventually(is_dead)
        done = await command("sync", "status")
        failed(done, 1, "see `sync retry`")
        assert figures(done)["dead"] == "1"
        assert f"product {product['id'] + 1} version 1: MalformedJsonError" in done.stdout
        await live.change_row(product["id"] + 1, payload='{"specifications":{}}')
        assert figures(succeeded(await command("sync", "retry"))) == {"raised": "1"}
        await eventually(lambda: live.is_synced(product["id"] + 1))
        succeeded(await command("sync", "status"))

    async def test_status_says_for_how_long_something_waits(
        self, command: Command, sync: Sync, admin: AsyncClient
    ) -> None:
        await create_product(admin)
        done = succeeded(await command("sync", "status"))
        assert figures(done)["pending"] == "1"
        assert 0 < float(figures(done)["oldest_pending_seconds"]) < 60


class TestRelay:
    async def test_carries_what_is_pending_until_it_is_told_to_stop(
        self, tmp_path: Path, empty: dict[str, str]
    ) -> None:
        run = elsewhere(empty, tmp_path)
        succeeded(await run("migrate"))
        succeeded(await run("demo"))
        assert figures(succeeded(await run("sync", "status")))["pending"] == "500"
        with Process(("relay",), empty, tmp_path / "relay") as relay:
            done = succeeded(await run("reconcile", "--wait", "60"))
            assert (figures(done)["compared"], figures(done)["pending"]) == ("500", "0")
            relay.send(signal.SIGTERM)
            assert relay.wait(15) == 0, relay.log
            assert "Traceback" not in relay.log

    async def test_1_beside_a_running_embedded_server(self, tmp_path: Path) -> None:
        with lock_data_folder(tmp_path / "data"):
            done = await elsewhere({"DATA_DIR": "data"}, tmp_path)("relay")
        failed(done, 1, "The server on this data folder carries the metadata already.")

    async def test_waits_for_stores_that_are_away(self, tmp_path: Path) -> None:
        variables = {
            "MYSQL_URI": f"mysql://root@127.0.0.1:{free_port()}/inventory",
            "MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}",
        }
        with Process(("relay",), variables, tmp_path / "relay") as relay:
            wait_until(lambda: relay.log.count("mongodb_unreachable") > 1, 20, "it tries again")
            assert not relay.ended
            relay.send(signal.SIGINT)
            assert relay.wait(15) == 0, relay.log


class TestInstalled:
    async def test_the_script_is_the_same_command(self, tmp_path: Path) -> None:
        script = shutil.which("inventory-api", path=str(Path(sys.executable).parent))
        assert script is not None
        done = subprocess.run(  # noqa: ASYNC221 - nothing else has to run meanwhile
            [script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        for name in ("serve", "migrate", "create-admin", "demo", "openapi", "relay", "reconcile"):
            assert name in done.stdout
