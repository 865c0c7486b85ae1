"""The command `inventory-api`.

Exit codes: 0 done; 1 it could not be done, or drift was found; 2 wrong usage or settings.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import uvicorn
from pydantic import TypeAdapter, ValidationError
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import exc

from inventory_api import log
from inventory_api.app import create_app
from inventory_api.auth import schemas as accounts
from inventory_api.auth.first_admin import add_admin, ensure_first_admin
from inventory_api.auth.passwords import Passwords
from inventory_api.demo.load import load as load_demo
from inventory_api.http import openapi as contract
from inventory_api.http.protocol import BoundedHttpProtocol
from inventory_api.kit.clock import utc_now
from inventory_api.kit.errors import AppError
from inventory_api.metadata.reconcile import Drift, reconcile
from inventory_api.metadata.relay import Relay
from inventory_api.metadata.sync_repository import SyncReads, SyncRepository
from inventory_api.settings import Settings, SettingsError, load_settings
from inventory_api.stores import migrations
from inventory_api.stores.embedded import (
    DataFolderBusy,
    EmbeddedStoreError,
    embedded_documents,
    lock_data_folder,
)
from inventory_api.stores.mongo import Mongo, MongoUnavailableError
from inventory_api.stores.sql import LONG_READ_SECONDS, Database, open_database, run_unit

GRACEFUL_SECONDS = 25
DOCUMENTS_SECONDS = 10.0

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
sync = typer.Typer(no_args_is_help=True, help="The way of metadata from MySQL to MongoDB.")
app.add_typer(sync, name="sync")

console = Console(stderr=True)

T = TypeVar("T")

DataDir = Annotated[Path | None, typer.Option(help="Overrides DATA_DIR.")]


class CommandFailedError(Exception):
    """The command could not do its work; the message is for the user."""


_FOR_THE_USER = (EmbeddedStoreError, SettingsError, OSError)
"""What can fail at start-up with a message that says all."""


def main() -> None:
    """Run a command; what a user can cause ends in one sentence, not in a traceback."""
    try:
        app()
    except SettingsError as error:
        _die(str(error), 2)
    except (CommandFailedError, EmbeddedStoreError, MongoUnavailableError) as error:
        _die(str(error), 1)
    except AppError as error:
        _die(error.detail, 1)
    except exc.DBAPIError as error:
        _die(_sql_sentence(error), 1)
    except PyMongoError as error:
        _die(f"MongoDB can't be used: {error}.", 1)
    except OSError as error:
        _die(f"{error}.", 1)


def _sql_sentence(error: exc.DBAPIError) -> str:
    if isinstance(error, exc.ProgrammingError) or "no such" in str(error.orig):
        return f"The schema is not as expected (run `inventory-api migrate`): {error.orig}."
    return f"The SQL database can't be used: {error.orig}."


def _die(sentence: str, code: int) -> None:
    console.print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(code)


@app.command()
def serve(
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Overrides HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Overrides PORT.")] = None,
    workers: Annotated[int | None, typer.Option(help="Overrides WORKERS.")] = None,
    setup: Annotated[
        bool,
        typer.Option(
            "--setup",
            help="First migrate, and make and print an administrator when there is none.",
        ),
    ] = False,
) -> None:
    """Serve the API until Ctrl-C or SIGTERM."""
    settings = load_settings(data_dir=data_dir, host=host, port=port, workers=workers)
    log.configure(settings.log_level)
    embedded = not (settings.mysql_uri and settings.mongodb_uri and settings.redis_url)
    if setup:
        asyncio.run(_set_up(settings, wait=not embedded))
    console.print(
        f"Serving on http://{settings.host}:{settings.port} (explore it at /docs)"
        + (f"; embedded stores in {settings.data_dir}" if embedded else ""),
        highlight=False,
        soft_wrap=True,
    )
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "http": BoundedHttpProtocol,
        "access_log": False,
        "log_config": None,
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
    }
    if settings.workers > 1:
        # The workers are new processes: they read the settings again.
        os.environ |= {"DATA_DIR": str(settings.data_dir), "HOST": settings.host}
        os.environ |= {"PORT": str(settings.port), "WORKERS": str(settings.workers)}
        uvicorn.run(
            "inventory_api.cli:_worker_app", factory=True, workers=settings.workers, **options
        )
        return
    application = create_app(settings)
    state = application.state
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: not isinstance(state.startup_error, _FOR_THE_USER)
    )
    server = uvicorn.Server(uvicorn.Config(application, **options))
    with suppress(KeyboardInterrupt, SystemExit):  # the latter when it can't start
        server.run()
    if isinstance(state.startup_error, _FOR_THE_USER):
        raise state.startup_error
    if not server.started:
        raise CommandFailedError("The server did not start; its log says why.")


def _worker_app() -> Any:
    settings = load_settings()
    log.configure(settings.log_level)
    return create_app(settings)


async def _set_up(settings: Settings, *, wait: bool) -> None:
    """Migrate and make the first administrator; wait for a server that is still starting."""
    async with _database(settings) as database:
        deadline = time.monotonic() + (60 if wait else 0)
        while True:
            try:
                await migrations.migrate(database)
                break
            except exc.OperationalError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1)
        with _passwords(settings) as passwords:
            admin = await ensure_first_admin(database, passwords)
    if admin is not None:
        print("\nThe first administrator (this is shown only once):")
        print(f"  e-mail:   {admin.email}\n  password: {admin.password}\n", flush=True)


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database's schema to this version."""

    async def run(database: Database) -> str | None:
        await migrations.migrate(database)
        return await migrations.current(database)

    revision = _with_database(load_settings(data_dir=data_dir), run)
    console.print(f"The schema is at revision {revision}.", highlight=False)


@app.command()
def create_admin(
    username: Annotated[str, typer.Option(help="Unique without regard to case.")],
    email: Annotated[str, typer.Option(help="What one signs in with.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Add an administrator, however many there are."""
    settings = load_settings(data_dir=data_dir)
    if password_stdin:
        password = sys.stdin.read().removesuffix("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    username = _checked("username", accounts.Username, username)
    email = _checked("email", accounts.Email, email)
    password = _checked("password", accounts.NewPassword, password)

    async def run(database: Database) -> None:
        with _passwords(settings) as passwords:
            await add_admin(database, passwords, username=username, email=email, password=password)

    _with_database(settings, run)
    console.print(f"The administrator {username} can sign in.", highlight=False, markup=False)


def _checked(name: str, type_: Any, value: str) -> str:
    """The value as the API would take it."""
    try:
        return str(TypeAdapter(type_).validate_python(value))
    except (ValidationError, UnicodeEncodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "not text"
        raise SettingsError(f"The {name} can't be accepted: {reason}.") from error


@app.command()
def demo(data_dir: DataDir = None) -> None:
    """Fill the store with a believable catalogue; safe beside a running server, and again."""
    settings = load_settings(data_dir=data_dir)

    async def run(database: Database) -> int:
        # Only wakes: the relay of the server, running or to come, carries the metadata on.
        relay = Relay(database, Mongo("mongodb://not-asked"))
        with _progress("Products") as progress:
            return await load_demo(database, relay, utc_now().date(), progress)

    added = _with_database(settings, run)
    console.print(f"{added} products added.", highlight=False)


@app.command()
def openapi(
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the file; 1 if it differs.")
    ] = False,
    file: Annotated[Path, typer.Argument(help="The contract.")] = Path("openapi.yaml"),
) -> None:
    """Write the contract, or check that the committed one is what the code says."""
    text = contract.to_yaml(create_app(Settings.model_construct()).openapi())
    if not check:
        file.write_text(text, encoding="utf-8")
        console.print(f"Written to {file}.", highlight=False)
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        raise CommandFailedError(f"{file} is not what the code says: run `inventory-api openapi`.")


@app.command()
def relay(data_dir: DataDir = None) -> None:
    """Carry metadata from MySQL to MongoDB, without serving the API."""
    settings = load_settings(data_dir=data_dir)
    log.configure(settings.log_level)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            if settings.mysql_uri is None:
                try:
                    stack.enter_context(lock_data_folder(settings.data_dir))
                except DataFolderBusy as error:
                    raise CommandFailedError(
                        "The server on this data folder carries the metadata already."
                    ) from error
            database = await stack.enter_async_context(_database(settings))
            mongo = await stack.enter_async_context(_mongo(settings))
            carrier = Relay(database, mongo)
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, carrier.stop)
            await carrier.run()

    asyncio.run(run())
    console.print("Stopped.")


@app.command(name="reconcile")
def reconcile_(
    fix: Annotated[bool, typer.Option("--fix", help="Make what differs pending again.")] = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait first until nothing is pending.")
    ] = 0.0,
    data_dir: DataDir = None,
) -> None:
    """Compare MySQL with MongoDB; 1 when they differ and it was not fixed."""
    settings = load_settings(data_dir=data_dir)

    async def run(database: Database) -> Drift:
        async with _mongo(settings) as mongo:
            await _connected(mongo)
            reads = SyncReads(database.reads)
            deadline = time.monotonic() + wait
            while (await reads.status()).pending and time.monotonic() < deadline:  # noqa: ASYNC110 - another process works
                await asyncio.sleep(0.2)
            with _progress("Products") as progress:
                return await reconcile(database, mongo, fix=fix, progress=progress)

    drift = _with_database(settings, run)
    for name in ("compared", "pending", "missing", "stale", "newer", "orphaned", "dead"):
        value = getattr(drift, name)
        ids = "" if isinstance(value, int) or not value else f"  {_some(value)}"
        print(f"{name}: {value if isinstance(value, int) else len(value)}{ids}")
    if fix:
        print(f"fixed: {drift.fixed}")
    if drift.found > drift.fixed:
        raise CommandFailedError("The stores differ.")


def _some(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:20])) + (", …" if len(ids) > 20 else "")


@sync.command()
def status(data_dir: DataDir = None) -> None:
    """How far MongoDB is behind; 1 when something is dead."""

    async def run(database: Database) -> int:
        reads = SyncReads(database.reads)
        now = await reads.status()
        print(f"pending: {now.pending}")
        if now.oldest_pending_at is not None:
            lag = (utc_now() - now.oldest_pending_at).total_seconds()
            print(f"oldest_pending_seconds: {lag:.1f}")
        print(f"dead: {now.dead}")
        for row in await reads.dead():
            print(f"  product {row.product_id} version {row.version}: {row.last_error}")
        return now.dead

    if _with_database(load_settings(data_dir=data_dir), run):
        raise CommandFailedError("Some metadata can't be carried: see `sync retry`.")


@sync.command()
def retry(data_dir: DataDir = None) -> None:
    """Try dead rows again."""

    async def run(database: Database) -> int:
        return await run_unit(database, lambda session: SyncRepository(session).raise_dead())

    raised = _with_database(load_settings(data_dir=data_dir), run)
    print(f"raised: {raised}")


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    database = open_database(settings, read_seconds=LONG_READ_SECONDS)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _mongo(settings: Settings) -> AsyncIterator[Mongo]:
    """MongoDB, or the embedded documents: also beside a server that has them open."""
    async with AsyncExitStack() as stack:
        if settings.mongodb_uri is not None:
            uri = settings.mongodb_uri.get_secret_value()
        else:
            uri = await stack.enter_async_context(embedded_documents(settings.data_dir))
        mongo = Mongo(uri)
        stack.push_async_callback(mongo.close)
        mongo.start()
        yield mongo


async def _connected(mongo: Mongo) -> None:
    try:
        await asyncio.wait_for(asyncio.shield(mongo.wait_connected()), DOCUMENTS_SECONDS)
    except TimeoutError as error:
        raise CommandFailedError("MongoDB can't be reached.") from error


def _with_database(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with _database(settings) as database:
            return await work(database)

    return asyncio.run(run())


@contextmanager
def _passwords(settings: Settings) -> Iterator[Passwords]:
    passwords = Passwords(settings.password_hash_rounds)
    try:
        yield passwords
    finally:
        passwords.close()


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    bar = Progress(
        TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
