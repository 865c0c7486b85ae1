"""Operations on categories."""

from httpx import AsyncClient

from tests.factories import MERGE_PATCH, create_category, create_product


class TestCreateCategory:
    async def test_creates(self, admin: AsyncClient) -> None:
        answer = await admin.post("/api/categories", json={"name": "Küche"})
        assert answer.status_code == 201
        assert answer.headers["ETag"] == '"1"'
        category = answer.json()
        assert answer.headers["Location"] == f"/api/categories/{category['id']}"
        assert category["name"] == "Küche"
        assert category["description"] is None

    async def test_401(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.post("/api/categories", json={"name": "x"})
        assert answer.status_code == 401

    async def test_403(self, staff: AsyncClient, clerk: AsyncClient) -> None:
        for client in (staff, clerk):
            answer = await client.post("/api/categories", json={"name": "x"})
            assert answer.status_code == 403

    async def test_409_taken_without_regard_to_case(self, admin: AsyncClient) -> None:
        await create_category(admin, name="Kitchen")
        answer = await admin.post("/api/categories", json={"name": " KITCHEN "})
        assert answer.status_code == 409
        assert answer.json()["code"] == "category_name_taken"


class TestDeleteCategory:
    async def test_409_names_how_many_products_hold_it(self, admin: AsyncClient) -> None:
        category = await create_category(admin)
        await create_product(admin, category_id=category["id"])
        await create_product(admin, category_id=category["id"])
        answer = await admin.delete(f"/api/categories/{category['id']}", headers={"If-Match": "*"})
        assert answer.status_code == 409
        assert answer.json()["code"] == "category_in_use"
        assert answer.json()["products"] == 2


class TestUpdateCategory:
    async def test_412_shows_the_current_etag(self, admin: AsyncClient) -> None:
        category = await create_category(admin)
        path = f"/api/categories/{category['id']}"
        changed = await admin.patch(path, json={"name": "New"}, headers={"If-Match": '"1"'})
        assert changed.status_code == 200
        stale = await admin.patch(
            path, json={"name": "Newer"}, headers={"If-Match": '"1"'} | MERGE_PATCH
        )
        assert stale.status_code == 412
        assert stale.headers["ETag"] == '"2"'
