"""Liveness and readiness."""

import asyncio
from typing import Annotated, Literal

from fastapi import Request, Response
from pydantic import Field
from sqlalchemy import exc, text

from inventory_api.http.openapi import problems
from inventory_api.http.route import new_router
from inventory_api.kit import json
from inventory_api.kit.schemas import OutputSchema

router = new_router("/health", tags=["health"])

PROBE_SECONDS = 0.5


class Liveness(OutputSchema):
    """The process serves requests."""

    status: Annotated[Literal["ok"], Field(examples=["ok"])]


class Readiness(OutputSchema):
    """Whether requests can be served. Only MySQL is needed; the other stores may be away."""

    status: Annotated[Literal["ok", "degraded", "unavailable"], Field(examples=["ok"])]
    mysql: Annotated[Literal["ok", "unavailable"], Field(examples=["ok"])]
    mongodb: Annotated[Literal["ok", "unavailable"], Field(examples=["ok"])]
    redis: Annotated[Literal["ok", "unavailable"], Field(examples=["ok"])]


async def _answers(probe: object) -> bool:
    try:
        return bool(await asyncio.wait_for(probe, PROBE_SECONDS))  # type: ignore[arg-type]
    except (TimeoutError, exc.SQLAlchemyError, OSError):
        return False


@router.get(
    "/live",
    response_model=Liveness,
    summary="Is the process alive?",
    responses=problems(),
)
async def get_liveness() -> Response:
    """Asks no store, so it answers whatever is down."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get(
    "/ready",
    response_model=Readiness,
    summary="Can requests be served?",
    responses={
        503: {"model": Readiness, "description": "MySQL can't be reached."},
        **problems(),
    },
)
async def get_readiness(request: Request) -> Response:
    """503 while MySQL is away; `degraded` while MongoDB or Redis is."""
    state = request.app.state
    mysql, mongodb, redis = await asyncio.gather(
        _answers(state.database.reads.first(text("SELECT 1"))),
        _answers(state.mongo.ping()),
        _answers(state.redis.ping()),
    )
    status = "unavailable" if not mysql else "ok" if mongodb and redis else "degraded"
    stores = {"mysql": mysql, "mongodb": mongodb, "redis": redis}
    words = {name: "ok" if well else "unavailable" for name, well in stores.items()}
    return Response(
        json.write({"status": status, **words}),
        status_code=200 if mysql else 503,
        media_type="application/json",
    )
