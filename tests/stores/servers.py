"""The real stores that the tests run against, started and stopped as ordinary child processes.

Every server listens on 127.0.0.1 only, keeps all it writes in the folder it is given, and is killed
when the process that started it dies. `install.sh` beside this file installs them.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

PROJECT = Path(__file__).resolve().parents[2]
JAVA_FOLDER = PROJECT / ".stores"

START_SECONDS = 60.0
STOP_SECONDS = 15.0

# Reads until the parent's end of the pipe is closed, which the kernel does however the parent dies.
GUARD = 'read -r _; kill -KILL "$0"'


class ServerError(Exception):
    """A store could not be installed, started or spoken to."""


def find_program(name: str) -> str | None:
    """Where a program is; Debian keeps servers where an ordinary user's PATH does not look."""
    folders = [os.environ["PATH"], "/usr/local/sbin", "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port whose last connections are still winding down can be taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A free port, below those that the kernel gives to outgoing connections (from 32768 on).

    So no connection can take the port while its server is down for a restart.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if port_is_free(port):
            return port


class Server(ABC):
    """One server process: a folder for its data and log, and a port on 127.0.0.1."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @classmethod
    def installed(cls) -> bool:
        return all(find_program(program) for program in cls.programs)

    @property
    def folder(self) -> Path:
        if self._folder is None:
            raise ServerError(f"{self.name} has not been started")
        return self._folder

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServerError(f"{self.name} has not been started")
        return self._port

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    def start(self, folder: Path, port: int | None = None) -> None:
        """Start with the data in `folder`, made if it is missing, and return once it answers."""
        if self._process is not None:
            raise ServerError(f"{self.name} is running already")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        self._port = port or free_port()
        self._launch()

    def stop(self) -> None:
        """End it in an orderly way, or by force when that takes too long; nothing if it is down."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same folder and port, stopping it first if it is up."""
        self.stop()
        self._launch()

    def freeze(self) -> None:
        """Let it answer nothing: connections stay open, and new ones are accepted by the kernel."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    @abstractmethod
    def _command(self) -> list[str]:
        """The server's command line."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes commands yet."""

    def _program(self, name: str) -> str:
        path = find_program(name)
        if path is None:
            raise ServerError(f"{self.name}: no {name} here; run tests/stores/install.sh")
        return path

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process

    def _launch(self) -> None:
        if not port_is_free(self.port):
            raise ServerError(f"{self.name}: port {self.port} of 127.0.0.1 is in use")
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Out of the terminal's group: Ctrl-C is for the parent, which then stops it.
                start_new_session=True,
            )
        # Not PR_SET_PDEATHSIG: that fires when the thread ends which started the server.
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        try:
            self._wait_until_it_answers(process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None:
                raise self._failure(f"ended at once with status {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {START_SECONDS:.0f} s")
            time.sleep(0.02)

    def _failure(self, what: str) -> ServerError:
        tail = self.log.read_text(errors="replace").splitlines()[-20:]
        return ServerError("\n  ".join([f"{self.name} {what}; its log {self.log} ends:", *tail]))

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        # A frozen server takes SIGTERM only once it goes on.
        self._process.send_signal(signal.SIGCONT)
        if self._guard is not None:
            # Before the server's id is free to be given to another process.
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class MariaDb(Server):
    """MariaDB, for the MySQL protocol, with `root` and no password.

    Acknowledged transactions outlive `kill()` in either mode; with `durable` they are also synced
    to the disk, as in production, at the cost of speed.
    """

    name = "MariaDB"
    programs = ("mariadbd", "mariadb-install-db", "mariadb")

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self._durable = durable

    @property
    def url(self) -> str:
        """Ends in a slash: add the database's name."""
        return f"mysql://root@127.0.0.1:{self.port}/"

    def create_database(self, name: str) -> None:
        self._execute(f"CREATE DATABASE IF NOT EXISTS {_quoted(name)}")

    def drop_database(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _execute(self, statement: str) -> None:
        done = self._client(statement)
        if done.returncode != 0:
            raise ServerError(f"{self.name}: {statement}: {done.stderr.strip()}")

    def _client(self, statement: str) -> subprocess.CompletedProcess[str]:
        command = [self._program("mariadb"), "--no-defaults", "--protocol=tcp", "--host=127.0.0.1"]
        command += [f"--port={self.port}", "--user=root", f"--execute={statement}"]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)

    def _as_user(self) -> list[str]:
        # MariaDB does not run as root unless it is told to.
        return ["--user=root"] if os.geteuid() == 0 else []

    def _launch(self) -> None:
        if not self._data.exists():
            self._make_data()
        super()._launch()

    def _make_data(self) -> None:
        # Made beside its place, so that an interrupted attempt is never taken for a database.
        fresh = Path(tempfile.mkdtemp(dir=self.folder))
        command = [self._program("mariadb-install-db"), "--no-defaults", f"--datadir={fresh}"]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        command += ["--skip-name-resolve", "--innodb-log-file-size=16M", *self._as_user()]
        with self.log.open("ab") as log:
            done = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise self._failure(f"could not make its data folder (status {done.returncode})")
        fresh.rename(self._data)

    def _command(self) -> list[str]:
        command = [self._program("mariadbd"), "--no-defaults", *self._as_user()]
        command += [f"--datadir={self._data}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        # Within the data folder. A relative name cannot outgrow the 107 bytes of a socket's path.
        command += ["--socket=mariadb.sock", "--pid-file=mariadb.pid", "--skip-name-resolve"]
        command += ["--max-connections=500", "--innodb-buffer-pool-size=64M"]
        command += ["--innodb-log-file-size=16M", "--character-set-server=utf8mb4"]
        if not self._durable:
            command += ["--innodb-flush-log-at-trx-commit=2", "--debug-no-sync"]
            command += ["--innodb-flush-method=nosync"]
        return command

    def _answers(self) -> bool:
        return self._client("SELECT 1").returncode == 0


class Redis(Server):
    """Redis, in memory only: a restart starts empty."""

    name = "Redis"
    programs = ("redis-server",)

    @property
    def url(self) -> str:
        return self.database(0)

    def database(self, number: int) -> str:
        """The URL of one of its 64 databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def _command(self) -> list[str]:
        command = [self._program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--databases", "64", "--save", "", "--appendonly", "no"]
        return [*command, "--maxmemory-policy", "noeviction"]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


class MongoServer(Server):
    """mongo-java-server, for the MongoDB protocol; what it has answered outlives `kill()`."""

    name = "MongoServer"
    programs = ("java",)

    @classmethod
    def installed(cls) -> bool:
        # install.sh writes this file last.
        return super().installed() and (JAVA_FOLDER / "sums").exists()

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        # Quick to start rather than quick after minutes, and with a bound on its memory.
        command = [self._program("java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]
        command += ["-cp", f"{JAVA_FOLDER / 'classes'}{os.pathsep}{JAVA_FOLDER / 'lib'}/*"]
        return [*command, "MongoServer", str(self.port), "data.h2"]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except OSError:
            return False


SERVERS: tuple[type[Server], ...] = (MariaDb, Redis, MongoServer)


class Stores:
    """All three stores, started and stopped side by side.

    Without a folder they are in a temporary one, which is gone after `stop()`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        durable: bool = False,
        mysql_port: int | None = None,
        redis_port: int | None = None,
        mongo_port: int | None = None,
    ) -> None:
        self.mysql = MariaDb(durable=durable)
        self.redis = Redis()
        self.mongo = MongoServer()
        self._folder = folder
        self._mysql_port = mysql_port
        self._redis_port = redis_port
        self._mongo_port = mongo_port
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @staticmethod
    def missing() -> list[str]:
        """The names of the servers that are not installed here."""
        return [server.name for server in SERVERS if not server.installed()]

    def start(self) -> None:
        if missing := self.missing():
            raise ServerError(f"not installed: {', '.join(missing)}; run tests/stores/install.sh")
        folder = self._folder
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="stores-")
            folder = Path(self._temporary.name)
        try:
            _side_by_side(
                partial(self.mysql.start, folder / "mysql", self._mysql_port),
                partial(self.redis.start, folder / "redis", self._redis_port),
                partial(self.mongo.start, folder / "mongo", self._mongo_port),
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        _side_by_side(self.mysql.stop, self.redis.stop, self.mongo.stop)
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _side_by_side(*actions: Callable[[], None]) -> None:
    """Run all of them, each in a thread; when some fail, raise the first one's error at the end."""
    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(action) for action in actions]
    for future in futures:
        future.result()


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
