"""Settings from the environment and `.env`; each is described in `.env.example`."""

import os
import secrets
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from inventory_api.kit import json

MIN_SECRET_BYTES = 32
_SAMPLE_SECRETS = frozenset({"change-me", "changethis", "secret", "your-secret-key"})

# ISO 4217 currencies with two decimals, which is what the price columns hold.
TWO_DECIMAL_CURRENCIES = frozenset(
    [
        "AED",
        "AFN",
        "ALL",
        "AMD",
        "AOA",
        "ARS",
        "AUD",
        "AWG",
        "AZN",
        "BAM",
        "BBD",
        "BDT",
        "BGN",
        "BMD",
        "BND",
        "BOB",
        "BRL",
        "BSD",
        "BTN",
        "BWP",
        "BYN",
        "BZD",
        "CAD",
        "CDF",
        "CHF",
        "CNY",
        "COP",
        "CRC",
        "CUP",
        "CVE",
        "CZK",
        "DKK",
        "DOP",
        "DZD",
        "EGP",
        "ERN",
        "ETB",
        "EUR",
        "FJD",
        "FKP",
        "GBP",
        "GEL",
        "GHS",
        "GIP",
        "GMD",
        "GTQ",
        "GYD",
        "HKD",
        "HNL",
        "HTG",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "IRR",
        "JMD",
        "KES",
        "KGS",
        "KHR",
        "KPW",
        "KYD",
        "KZT",
        "LAK",
        "LBP",
        "LKR",
        "LRD",
        "LSL",
        "MAD",
        "MDL",
        "MGA",
        "MKD",
        "MMK",
        "MNT",
        "MOP",
        "MRU",
        "MUR",
        "MVR",
        "MWK",
        "MXN",
        "MYR",
        "MZN",
        "NAD",
        "NGN",
        "NIO",
        "NOK",
        "NPR",
        "NZD",
        "PAB",
        "PEN",
        "PGK",
        "PHP",
        "PKR",
        "PLN",
        "QAR",
        "RON",
        "RSD",
        "RUB",
        "SAR",
        "SBD",
        "SCR",
        "SDG",
        "SEK",
        "SGD",
        "SHP",
        "SLE",
        "SOS",
        "SRD",
        "SSP",
        "STN",
        "SVC",
        "SYP",
        "SZL",
        "THB",
        "TJS",
        "TMT",
        "TOP",
        "TRY",
        "TTD",
        "TWD",
        "TZS",
        "UAH",
        "USD",
        "UYU",
        "UZS",
        "VES",
        "WST",
        "XCD",
        "YER",
        "ZAR",
        "ZMW",
        "ZWG",
    ]
)


class SettingsError(Exception):
    """A setting is wrong; the message is one sentence that names the variable."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Every variable of the service. Secrets never show in `repr` or in errors."""

    model_config = SettingsConfigDict(
        env_file=".env",
        # `MYSQL_URI=` in a compose or .env file means "not set".
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Environment = Environment.DEVELOPMENT
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    currency: str = "USD"
    log_level: Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    allowed_hosts: Annotated[list[str], NoDecode] = ["localhost", "127.0.0.1", "[::1]"]

    mysql_uri: SecretStr | None = None
    mongodb_uri: SecretStr | None = None
    redis_url: SecretStr | None = None
    sql_pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    relay_enabled: bool = True

    jwt_secret_key: SecretStr | None = None
    cookie_secure: bool | None = None
    signup_enabled: bool = True
    password_hash_rounds: Annotated[int, Field(ge=4, le=16)] = 12
    access_token_seconds: Annotated[int, Field(ge=30, le=900)] = 600
    refresh_token_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 604_800

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _json_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.read(value.encode())
        except (json.MalformedJsonError, UnicodeEncodeError) as error:
            raise _flaw('should be a JSON list of hosts, such as ["shop.example"]') from error

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: list[str]) -> list[str]:
        if not value or any("*" in host.removeprefix("*.") for host in value if host != "*"):
            raise _flaw('should be a list of hosts, such as ["shop.example", "*.shop.example"]')
        return value

    @field_validator("currency")
    @classmethod
    def _two_decimals(cls, value: str) -> str:
        if value not in TWO_DECIMAL_CURRENCIES:
            raise _flaw("should be an ISO 4217 code of a currency with two decimals, such as EUR")
        return value

    @field_validator("mysql_uri")
    @classmethod
    def _mysql_address(cls, value: SecretStr | None) -> SecretStr | None:
        _check_address(value, {"mysql", "mysql+asyncmy", "mariadb", "mariadb+asyncmy"}, "mysql://")
        if value and not urlsplit(value.get_secret_value()).path.strip("/"):
            raise _flaw("should name a database, such as mysql://user:password@host/inventory")
        return value

    @field_validator("mongodb_uri")
    @classmethod
    def _mongodb_address(cls, value: SecretStr | None) -> SecretStr | None:
        return _check_address(value, {"mongodb", "mongodb+srv"}, "mongodb://")

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: SecretStr | None) -> SecretStr | None:
        return _check_address(value, {"redis", "rediss", "unix"}, "redis://")

    @field_validator("jwt_secret_key")
    @classmethod
    def _strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        secret = value.get_secret_value()
        if len(secret.encode()) < MIN_SECRET_BYTES or secret.casefold() in _SAMPLE_SECRETS:
            raise _flaw(f"should be a secret of at least {MIN_SECRET_BYTES} bytes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.workers > 1 and not (self.mysql_uri and self.mongodb_uri and self.redis_url):
            raise _flaw(
                "WORKERS above 1 needs MYSQL_URI, MONGODB_URI and REDIS_URL:"
                " the embedded stores serve one process"
            )
        if self.environment is Environment.PRODUCTION:
            for name in ("jwt_secret_key", "mysql_uri", "mongodb_uri", "redis_url"):
                if getattr(self, name) is None:
                    raise _flaw(f"{name.upper()} has to be set in production")
            if self.cookie_secure is False:
                raise _flaw("COOKIE_SECURE can't be false in production")
            if "*" in self.allowed_hosts:
                raise _flaw("ALLOWED_HOSTS can't hold * in production")
        return self

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies are for https only; in development they work on plain http."""
        if self.cookie_secure is not None:
            return self.cookie_secure
        return self.environment is Environment.PRODUCTION


def _flaw(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "{sentence}", {"sentence": sentence})


def _check_address(value: SecretStr | None, schemes: set[str], example: str) -> SecretStr | None:
    if value is None:
        return None
    try:
        address = urlsplit(value.get_secret_value())
        if "," not in address.netloc:  # MongoDB takes several hosts
            _ = address.port
    except ValueError as error:
        raise _flaw("should be a URL") from error
    if address.scheme not in schemes or not (address.netloc or address.scheme == "unix"):
        raise _flaw(f"should be a URL that begins with {example}")
    return value


def load_settings(**overrides: object) -> Settings:
    """Read the settings.

    Args:
        overrides: values that go before the environment's; None means "not given".

    Raises:
        SettingsError: names the first variable that is wrong, and why, without its value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"][:1]).upper()
        reason = str(first["msg"])
        raise SettingsError(f"{name}: {reason}." if name else f"{reason}.") from error


def jwt_secret(settings: Settings) -> bytes:
    """The signing secret; in development one is made and kept in the data folder.

    Raises:
        SettingsError: the file is there and can't be used.
    """
    if settings.jwt_secret_key is not None:
        return settings.jwt_secret_key.get_secret_value().encode()
    path = settings.data_dir / "jwt_secret"
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        # Written whole before it gets its name: a second process never reads half of it.
        fresh = path.with_name(f".jwt_secret.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        try:
            os.link(fresh, path)
        finally:
            fresh.unlink()
    secret = path.read_bytes()
    if len(secret) < MIN_SECRET_BYTES:
        raise SettingsError(f"JWT_SECRET_KEY is not set, and {path} holds no usable secret.")
    return secret
