"""Who may call what: every operation of the contract, asked by everybody."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from fastapi import Depends, FastAPI, Response
from httpx import AsyncClient

from inventory_api.auth.dependencies import Admin, CatalogWriter, Viewer, current_user
from inventory_api.auth.roles import PERMISSIONS, Permission, least_role, may
from inventory_api.auth.schemas import User
from inventory_api.http import openapi, problems
from inventory_api.http.route import new_router
from inventory_api.models import Role
from tests.conftest import client_of
from tests.factories import Factory
from tests.http.operations import DOCUMENT, OPERATIONS, PROTECTED, Operation

RANKS = ["public", "staff", "clerk", "admin"]
PEOPLE = ["anonymous", "staff", "clerk", "admin", "revoked"]


@pytest.fixture(params=PEOPLE)
async def somebody(
    request: pytest.FixtureRequest, app: FastAPI, factory: Factory
) -> AsyncIterator[tuple[str, AsyncClient]]:
    who: str = request.param
    role = "admin" if who == "revoked" else who
    headers = {} if who == "anonymous" else await factory.bearer(role)
    async with client_of(app, headers=headers) as client:
        if who == "revoked":
            assert (await client.get("/api/me")).status_code == 200
            assert (await client.post("/logout")).status_code == 204
        yield who, client


def expected(who: str, role: str) -> set[int] | None:
    """What is due to somebody; None: neither 401 nor 403."""
    if role == "public":
        return None
    if who in ("anonymous", "revoked"):
        return {401}
    return None if RANKS.index(who) >= RANKS.index(role) else {403}


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
async def test_who_may_call_it(somebody: tuple[str, AsyncClient], operation: Operation) -> None:
    who, client = somebody
    answer = await client.request(
        operation.method,
        operation.url(),
        json=operation.body() if operation.media_type else None,
        headers={"If-Match": "*"},
    )
    refused = expected(who, operation.role)
    if refused is not None:
        assert answer.status_code in refused
    elif operation.id in ("logIn", "createToken"):
        assert answer.json()["code"] == "invalid_credentials"
    else:
        assert answer.status_code not in (401, 403)
        assert answer.status_code < 500


def test_the_matrix_is_not_empty() -> None:
    assert {operation.role for operation in OPERATIONS} >= {"public", "staff", "admin"}
    assert len(PROTECTED) > 20


class TestRoleOfEveryOperation:
    def test_only_these_are_open_to_everybody(self) -> None:
        public = {operation.id for operation in OPERATIONS if operation.role == "public"}
        assert public == {
            "signUp", "logIn", "createToken", "logOut", "getLiveness", "getReadiness",
            "getContractJson", "getContractYaml",
        }  # fmt: skip

    def test_reading_takes_staff_and_writing_the_catalogue_an_admin(self) -> None:
        catalogue = [
            operation
            for operation in OPERATIONS
            if operation.path.split("/")[2:3] in (["products"], ["categories"], ["suppliers"])
        ]
        assert len(catalogue) >= 21
        for operation in catalogue:
            assert operation.role == ("staff" if operation.method == "GET" else "admin")

    def test_nothing_under_api_is_public(self) -> None:
        under_api = [operation for operation in OPERATIONS if operation.under_api]
        assert under_api
        assert all(operation.role in ("staff", "clerk", "admin") for operation in under_api)

    def test_security_is_what_the_role_needs(self) -> None:
        either: list[dict[str, list[str]]] = [{"cookieAuth": []}, {"bearerAuth": []}]
        for operation in OPERATIONS:
            if operation.id == "logOut":
                assert operation.spec["security"] == [*either, {}]
            else:
                assert operation.spec["security"] == ([] if operation.role == "public" else either)
        assert {"cookieAuth", "bearerAuth"} <= DOCUMENT["components"]["securitySchemes"].keys()


class TestPermissions:
    def test_each_role_may_what_the_one_below_it_may(self) -> None:
        roles = list(Role)
        assert roles == [Role.STAFF, Role.CLERK, Role.ADMIN]
        for lower, higher in pairwise(roles):
            assert PERMISSIONS[lower] < PERMISSIONS[higher]

    def test_least_roles(self) -> None:
        assert {permission: least_role(permission) for permission in Permission} == {
            Permission.READ: Role.STAFF,
            Permission.WRITE_STOCK: Role.CLERK,
            Permission.WRITE_CATALOG: Role.ADMIN,
            Permission.ADMINISTER: Role.ADMIN,
        }
        for permission in Permission:
            assert [role for role in Role if may(role, permission)] == [
                role
                for role in Role
                if list(Role).index(role) >= list(Role).index(least_role(permission))
            ]


def unguarded(document: dict[str, object]) -> list[str]:
    """Operations under /api that name no permission: the contract would call them public."""
    paths = document["paths"]
    assert isinstance(paths, dict)
    return [
        operation["operationId"]
        for path, item in paths.items()
        for operation in item.values()
        if path.startswith("/api/") and operation["x-required-role"] == "public"
    ]


@pytest.fixture
def small(app: FastAPI) -> FastAPI:
    """An application with the real guard, and one route that forgot its permission."""
    small = FastAPI(
        title="Small",
        version="1",
        summary="",
        description="",
        contact={"name": "x"},
        license_info={"name": "x"},
        generate_unique_id_function=openapi.operation_id,
        openapi_url=None,
    )
    small.state._state.update(app.state._state)
    problems.install(small)
    protected = new_router("/api", dependencies=[Depends(current_user)])

    @protected.get("/forgotten")
    async def read_forgotten() -> dict[str, str]:
        return {}

    @protected.get("/viewed", response_model=User)
    async def read_viewed(actor: Viewer, response: Response) -> Response:
        return response

    @protected.put("/written")
    async def write_catalogue(actor: CatalogWriter) -> dict[str, str]:
        return {}

    @protected.get("/administered")
    async def administer(actor: Admin) -> dict[str, str]:
        return {}

    small.include_router(protected)
    return small


class TestForgottenPermission:
    def test_the_check_names_the_route(self, small: FastAPI) -> None:
        document = openapi.build(small)
        assert unguarded(document) == ["readForgotten"]
        roles = {
            operation["operationId"]: operation["x-required-role"]
            for item in document["paths"].values()
            for operation in item.values()
        }
        assert roles == {
            "readForgotten": "public",
            "readViewed": "staff",
            "writeCatalogue": "admin",
            "administer": "admin",
        }

    def test_the_service_has_none(self) -> None:
        assert unguarded(DOCUMENT) == []

    async def test_the_route_is_closed_to_strangers_all_the_same(
        self, small: FastAPI, factory: Factory
    ) -> None:
        async with client_of(small) as client:
            assert (await client.get("/api/forgotten")).status_code == 401
            bearer = await factory.bearer("staff")
            assert (await client.get("/api/forgotten", headers=bearer)).status_code == 200
            assert (await client.get("/api/administered", headers=bearer)).status_code == 403
