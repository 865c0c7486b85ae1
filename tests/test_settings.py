"""Settings: what is refused, how it says so, and the secret that is made."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from inventory_api.settings import (
    TWO_DECIMAL_CURRENCIES,
    Environment,
    Settings,
    SettingsError,
    jwt_secret,
    load_settings,
)
from inventory_api.stores.sql import database_url

SECRET = "hunter2"
STRONG = "a secret of more than thirty-two bytes, surely"
STORES = {
    "MYSQL_URI": "mysql://user:password@db.example/inventory",
    "MONGODB_URI": "mongodb://mongo.example/inventory",
    "REDIS_URL": "redis://redis.example/0",
}
PRODUCTION = {"ENVIRONMENT": "production", "JWT_SECRET_KEY": STRONG} | STORES

WRONG = [
    ("ENVIRONMENT", "prod"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "http"),
    ("WORKERS", "0"),
    ("WORKERS", "65"),
    ("WORKERS", "1.5"),
    ("CURRENCY", "JPY"),
    ("CURRENCY", "usd"),
    ("CURRENCY", "EURO"),
    ("LOG_LEVEL", "debug"),
    ("LOG_LEVEL", "TRACE"),
    ("ALLOWED_HOSTS", "localhost"),
    ("ALLOWED_HOSTS", "localhost,shop.example"),
    ("ALLOWED_HOSTS", '"localhost"'),
    ("ALLOWED_HOSTS", "[]"),
    ("ALLOWED_HOSTS", "[1]"),
    ("ALLOWED_HOSTS", "{}"),
    ("ALLOWED_HOSTS", '["shop.*"]'),
    ("ALLOWED_HOSTS", '["*shop.example"]'),
    ("MYSQL_URI", f"postgresql://user:{SECRET}@host/db"),
    ("MYSQL_URI", f"mysql+pymysql://user:{SECRET}@host/db"),
    ("MYSQL_URI", f"mysql://user:{SECRET}@host"),
    ("MYSQL_URI", f"mysql://user:{SECRET}@host/"),
    ("MYSQL_URI", f"mysql://user:{SECRET}@host:port/db"),
    ("MYSQL_URI", f"mysql://user:{SECRET}@host:70000/db"),
    ("MYSQL_URI", f"mysql:{SECRET}"),
    ("MYSQL_URI", f"mysql://[{SECRET}/db"),
    ("MYSQL_URI", SECRET),
    ("MONGODB_URI", f"http://user:{SECRET}@host"),
    ("MONGODB_URI", "mongodb://"),
    ("MONGODB_URI", f"mongodb://user:{SECRET}@host:port/db"),
    ("REDIS_URL", f"http://user:{SECRET}@host"),
    ("REDIS_URL", f"redis://:{SECRET}@host:port"),
    ("REDIS_URL", "redis:"),
    ("SQL_POOL_SIZE", "0"),
    ("RELAY_ENABLED", "perhaps"),
    ("JWT_SECRET_KEY", SECRET),
    ("JWT_SECRET_KEY", "x" * 31),
    ("COOKIE_SECURE", "perhaps"),
    ("SIGNUP_ENABLED", "perhaps"),
    ("PASSWORD_HASH_ROUNDS", "3"),
    ("PASSWORD_HASH_ROUNDS", "17"),
    ("ACCESS_TOKEN_SECONDS", "29"),
    ("ACCESS_TOKEN_SECONDS", "901"),
    ("REFRESH_TOKEN_SECONDS", "59"),
]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting is given: neither by the environment nor by a .env file."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def given(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


class TestDefaults:
    def test_nothing_has_to_be_set_in_development(self) -> None:
        settings = load_settings()
        assert settings.environment is Environment.DEVELOPMENT
        assert settings.host == "127.0.0.1"
        assert (settings.mysql_uri, settings.mongodb_uri, settings.redis_url) == (None, None, None)
        assert settings.password_hash_rounds == 12
        assert settings.secure_cookies is False

    @pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
    def test_an_empty_variable_is_not_set(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
    ) -> None:
        default = load_settings()
        monkeypatch.setenv(name, "")
        assert load_settings() == default
        monkeypatch.delenv(name)
        (tmp_path / ".env").write_text(f"{name}=\n")
        assert load_settings() == default

    def test_the_env_file_is_read_and_the_environment_goes_before_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".env").write_text('PORT=9000\nALLOWED_HOSTS=["shop.example"]\nOTHER=1\n')
        assert load_settings().port == 9000
        assert load_settings().allowed_hosts == ["shop.example"]
        monkeypatch.setenv("PORT", "9001")
        assert load_settings().port == 9001
        assert load_settings(port=9002, host=None).port == 9002


class TestWrongValues:
    @pytest.mark.parametrize(("name", "value"), WRONG)
    def test_the_error_is_one_sentence_that_names_the_variable(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as refused:
            load_settings()
        message = str(refused.value)
        assert message.startswith(f"{name}: ")
        assert message.endswith(".")
        assert "\n" not in message
        assert SECRET not in message

    def test_every_checked_setting_is_in_the_table(self) -> None:
        unchecked = {"DATA_DIR", "HOST"}
        assert {name for name, _ in WRONG} == {
            name.upper() for name in Settings.model_fields
        } - unchecked

    def test_no_secret_shows_in_a_representation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given(monkeypatch, PRODUCTION)
        settings = load_settings()
        assert STRONG not in f"{settings!r} {settings}"
        assert "password@" not in f"{settings!r} {settings}"

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load_settings().port = 1  # type: ignore[misc]


class TestGoodValues:
    @pytest.mark.parametrize(
        "uri",
        [
            "mysql://user:p%40ss@host/inventory",
            "mysql+asyncmy://user:p%40ss@host/inventory",
            "mariadb://user:p%40ss@host/inventory",
            "mariadb+asyncmy://user:p%40ss@host/inventory",
        ],
    )
    def test_every_form_of_a_mysql_address_means_the_same(
        self, monkeypatch: pytest.MonkeyPatch, uri: str
    ) -> None:
        monkeypatch.setenv("MYSQL_URI", uri)
        url = database_url(load_settings())
        assert url.drivername == "mysql+asyncmy"
        assert (url.password, url.host, url.database) == ("p@ss", "host", "inventory")
        assert url.query["charset"] == "utf8mb4"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MONGODB_URI", "mongodb://user:secret@a:27017,b:27018,c/inventory?replicaSet=rs0"),
            ("MONGODB_URI", "mongodb+srv://cluster.example/inventory"),
            ("REDIS_URL", "rediss://:secret@host:6380/1"),
            ("REDIS_URL", "unix:///run/redis.sock"),
            ("JWT_SECRET_KEY", "x" * 32),
            ("JWT_SECRET_KEY", "ü" * 16),
        ],
    )
    def test_addresses_and_secrets(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        setting = getattr(load_settings(), name.lower())
        assert isinstance(setting, SecretStr)
        assert setting.get_secret_value() == value

    @pytest.mark.parametrize(
        "hosts", ['["shop.example"]', '["*.shop.example", "shop.example"]', '["*"]', '["[::1]"]']
    )
    def test_hosts(self, monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
        monkeypatch.setenv("ALLOWED_HOSTS", hosts)
        assert load_settings().allowed_hosts

    def test_currencies_have_two_decimals(self) -> None:
        assert {"USD", "EUR", "GBP", "CHF"} <= TWO_DECIMAL_CURRENCIES
        assert not {"JPY", "KWD", "BHD", "CLP", "XAU"} & TWO_DECIMAL_CURRENCIES


class TestWorkers:
    @pytest.mark.parametrize("missing", STORES)
    def test_more_than_one_needs_every_real_store(
        self, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        given(monkeypatch, STORES | {"WORKERS": "2"})
        assert load_settings().workers == 2
        monkeypatch.delenv(missing)
        with pytest.raises(SettingsError, match="WORKERS above 1 needs MYSQL_URI, MONGODB_URI"):
            load_settings()


class TestProduction:
    def test_starts_with_all_that_it_needs_and_secure_cookies(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given(monkeypatch, PRODUCTION)
        settings = load_settings()
        assert settings.environment is Environment.PRODUCTION
        assert settings.secure_cookies is True

    @pytest.mark.parametrize("missing", ["JWT_SECRET_KEY", *STORES])
    @pytest.mark.parametrize("empty", [False, True])
    def test_needs(self, monkeypatch: pytest.MonkeyPatch, missing: str, empty: bool) -> None:
        given(monkeypatch, PRODUCTION)
        if empty:
            monkeypatch.setenv(missing, "")
        else:
            monkeypatch.delenv(missing)
        with pytest.raises(SettingsError, match=f"^{missing} has to be set in production"):
            load_settings()

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("COOKIE_SECURE", "false", "COOKIE_SECURE can't be false"),
            ("ALLOWED_HOSTS", '["*"]', r"ALLOWED_HOSTS can't hold \*"),
            ("ALLOWED_HOSTS", '["shop.example", "*"]', r"ALLOWED_HOSTS can't hold \*"),
            ("JWT_SECRET_KEY", "change-me", "JWT_SECRET_KEY: should be a secret"),
        ],
    )
    def test_refuses(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
    ) -> None:
        given(monkeypatch, PRODUCTION | {name: value})
        with pytest.raises(SettingsError, match=message):
            load_settings()

    def test_development_may_do_all_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given(monkeypatch, {"COOKIE_SECURE": "false", "ALLOWED_HOSTS": '["*"]'})
        assert load_settings().secure_cookies is False
        monkeypatch.setenv("COOKIE_SECURE", "true")
        assert load_settings().secure_cookies is True


MAKE_SECRET = """
import sys, time
from pathlib import Path
from inventory_api.settings import Settings, jwt_secret
go = Path(sys.argv[2])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
print(jwt_secret(Settings(_env_file=None, data_dir=Path(sys.argv[1]))).decode())
"""


class TestJwtSecret:
    def test_the_given_one_is_used_and_nothing_written(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        settings = load_settings(jwt_secret_key=STRONG, data_dir=folder)
        assert jwt_secret(settings) == STRONG.encode()
        assert not folder.exists()

    def test_one_is_made_for_its_owner_alone_and_kept(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "data"
        settings = load_settings(data_dir=folder)
        mask = os.umask(0)
        try:
            secret = jwt_secret(settings)
        finally:
            os.umask(mask)
        assert len(secret) >= 32
        assert jwt_secret(settings) == secret
        assert [file.name for file in folder.iterdir()] == ["jwt_secret"]
        assert stat.S_IMODE((folder / "jwt_secret").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_each_folder_has_its_own(self, tmp_path: Path) -> None:
        one, other = (jwt_secret(load_settings(data_dir=tmp_path / name)) for name in "ab")
        assert one != other

    @pytest.mark.parametrize("content", [b"", b"x" * 31])
    def test_a_file_without_a_usable_secret_is_refused(
        self, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "jwt_secret").write_bytes(content)
        with pytest.raises(SettingsError, match=r"^JWT_SECRET_KEY is not set"):
            jwt_secret(load_settings(data_dir=tmp_path))
        assert (tmp_path / "jwt_secret").read_bytes() == content

    def test_processes_that_start_at_once_agree(self, tmp_path: Path) -> None:
        folder, go = tmp_path / "data", tmp_path / "go"
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", MAKE_SECRET, str(folder), str(go)],
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
                text=True,
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        go.touch()
        secrets = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
        assert len(set(secrets)) == 1
        assert [file.name for file in folder.iterdir()] == ["jwt_secret"]
