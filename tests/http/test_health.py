"""Liveness and readiness."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import exc

OK = {"status": "ok", "mysql": "ok", "mongodb": "ok", "redis": "ok"}


async def sql_fails(*_: Any) -> Any:
    raise exc.OperationalError("SELECT 1", {}, OSError("connection refused"))


async def fails(*_: Any) -> bool:
    return False


async def hangs(*_: Any) -> bool:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class TestLiveness:
    async def test_200_whatever_is_down(
        self, app: FastAPI, anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app.state.database.reads, "_all", sql_fails)
        monkeypatch.setattr(app.state.redis, "ping", hangs)
        monkeypatch.setattr(app.state.mongo, "ping", hangs)
        answer = await anonymous.get("/health/live")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ok"}


class TestReadiness:
    async def test_200_when_all_is_well(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json() == OK

    @pytest.mark.parametrize("failure", [sql_fails, hangs])
    async def test_503_without_sql(
        self,
        app: FastAPI,
        anonymous: AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        failure: Any,
    ) -> None:
        monkeypatch.setattr(app.state.database.reads, "_all", failure)
        async with asyncio.timeout(5):
            answer = await anonymous.get("/health/ready")
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == OK | {"status": "unavailable", "mysql": "unavailable"}

    @pytest.mark.parametrize(("store", "member"), [("mongo", "mongodb"), ("redis", "redis")])
    @pytest.mark.parametrize("failure", [fails, hangs])
    async def test_degraded_without_another_store(
        self,
        app: FastAPI,
        anonymous: AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        store: str,
        member: str,
        failure: Any,
    ) -> None:
        monkeypatch.setattr(getattr(app.state, store), "ping", failure)
        async with asyncio.timeout(5):
            answer = await anonymous.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json() == OK | {"status": "degraded", member: "unavailable"}

    async def test_answers_soon_though_every_store_hangs(
        self, app: FastAPI, anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app.state.database.reads, "_all", hangs)
        monkeypatch.setattr(app.state.redis, "ping", hangs)
        monkeypatch.setattr(app.state.mongo, "ping", hangs)
        async with asyncio.timeout(2):
            answer = await anonymous.get("/health/ready")
        assert answer.status_code == 503
        assert set(answer.json().values()) == {"unavailable"}
