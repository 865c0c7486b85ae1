"""The stores of the application with its relay at rest or at work."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from tests.metadata.sync import Sync, at_rest, at_work


@pytest.fixture
async def sync(app: FastAPI, clean: None) -> AsyncIterator[Sync]:
    async with at_rest(app) as sync:
        yield sync


@pytest.fixture
async def live(app: FastAPI, clean: None) -> AsyncIterator[Sync]:
    async with at_work(app) as sync:
        yield sync
