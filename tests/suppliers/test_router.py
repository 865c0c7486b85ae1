"""Operations on suppliers."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from tests.conftest import client_of
from tests.factories import MERGE_PATCH, Factory, create_product, create_supplier

ANY = {"If-Match": "*"}
NOWHERE = f"/api/suppliers/{2**53 - 1}"
BAD_NAMES = [None, "", "   ", "\u3000", "x" * 151, 5, True, ["x"], {"x": 1}]


def path_of(supplier: dict[str, Any]) -> str:
    return f"/api/suppliers/{supplier['id']}"


def pointers(answer: Any) -> list[str]:
    return [flaw["pointer"] for flaw in answer.json()["errors"]]


class TestListSuppliers:
    async def test_empty(self, staff: AsyncClient) -> None:
        answer = await staff.get("/api/suppliers")
        assert answer.status_code == 200
        assert answer.json() == {"items": [], "next_cursor": None}
        assert "Link" not in answer.headers

    async def test_shows_whole_suppliers(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin, address="All for cooking.")
        assert (await admin.get("/api/suppliers")).json()["items"] == [supplier]

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            (None, ["apple", "Banana", "cherry", "Äpfel"]),
            ("name", ["apple", "Banana", "cherry", "Äpfel"]),
            ("-name", ["Äpfel", "cherry", "Banana", "apple"]),
            ("id", ["Banana", "apple", "cherry", "Äpfel"]),
            ("-id", ["Äpfel", "cherry", "apple", "Banana"]),
        ],
    )
    async def test_sorts_without_regard_to_case_and_walks_by_cursor(
        self, admin: AsyncClient, sort: str | None, expected: list[str]
    ) -> None:
        for name in ("Banana", "apple", "cherry", "Äpfel"):
            await create_supplier(admin, name=name)
        question: dict[str, Any] = {"sort": sort} if sort else {}
        whole = (await admin.get("/api/suppliers", params=question)).json()["items"]
        assert [item["name"] for item in whole] == expected
        url: str | None = str(
            admin.build_request("GET", "/api/suppliers", params=question | {"limit": 1}).url
        )
        walked = []
        while url:
            answer = await admin.get(url)
            walked += answer.json()["items"]
            next_page = answer.links.get("next")
            assert (next_page is None) == (answer.json()["next_cursor"] is None)
            url = next_page["url"] if next_page else None
        assert walked == whole

    async def test_a_walk_under_inserts_repeats_and_skips_nothing(self, admin: AsyncClient) -> None:
        before = [await create_supplier(admin, name=f"{letter}0") for letter in "bdfhj"]
        params: dict[str, Any] = {"limit": 2}
        walked = []
        for letter in "aceg":
            page = (await admin.get("/api/suppliers", params=params)).json()
            walked += page["items"]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
            await create_supplier(admin, name=f"{letter}1")
            await create_supplier(admin, name=f"z{letter}")
        ids = [item["id"] for item in walked]
        assert len(ids) == len(set(ids))
        seen = [item for item in walked if item["name"].endswith("0")]
        assert seen == before[: len(seen)]
        assert len(seen) >= 4

    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("%", ["100% cotton"]),
            ("_", ["under_score"]),
            ("\\", ["back\\slash"]),
            ("/", ["for/ward"]),
            ("0% C", ["100% cotton"]),
            ("UNDER_", ["under_score"]),
            ("ＢＡＣＫ", ["back\\slash"]),
            ("'", ["o'brien"]),
            ("\\%", []),
            ("cot_on", []),
            ("und%ore", []),
            ("ä", ["Käse"]),
            ("STRASSE", ["Straße"]),
        ],
    )
    async def test_q_finds_text_as_it_stands(
        self, admin: AsyncClient, q: str, found: list[str]
    ) -> None:
        for name in (
            "100% cotton", "under_score", "back\\slash", "for/ward", "o'brien", "Käse", "Straße"
        ):  # fmt: skip
            await create_supplier(admin, name=name)
        answer = await admin.get("/api/suppliers", params={"q": q, "include": "total"})
        assert answer.status_code == 200
        assert [item["name"] for item in answer.json()["items"]] == found
        assert answer.json()["total"] == len(found)

    async def test_total_counts_all_pages_and_only_on_request(self, admin: AsyncClient) -> None:
        for _ in range(3):
            await create_supplier(admin)
        assert "total" not in (await admin.get("/api/suppliers?limit=1")).json()
        page = (await admin.get("/api/suppliers?limit=1&include=total")).json()
        assert (len(page["items"]), page["total"]) == (1, 3)
        again = {"limit": 1, "include": "total", "cursor": page["next_cursor"]}
        assert (await admin.get("/api/suppliers", params=again)).json()["total"] == 3

    async def test_limit_is_50_when_not_given(self, admin: AsyncClient) -> None:
        for _ in range(51):
            await create_supplier(admin)
        assert len((await admin.get("/api/suppliers")).json()["items"]) == 50
        assert len((await admin.get("/api/suppliers?limit=200")).json()["items"]) == 51

    async def test_400_altered_foreign_and_other_questions_cursors(
        self, admin: AsyncClient
    ) -> None:
        for name in ("a1", "a2", "a3"):
            await create_supplier(admin, name=name)
            await admin.post("/api/categories", json={"name": name})
        path = "/api/suppliers"
        question = {"limit": "1", "sort": "name", "q": "a"}
        cursor = (await admin.get(path, params=question)).json()["next_cursor"]
        foreign = await admin.get("/api/categories", params=question)
        assert (await admin.get(path, params=question | {"cursor": cursor})).status_code == 200
        refused = [question | {"cursor": foreign.json()["next_cursor"]}]
        refused += [
            question | {"cursor": text}
            for text in (
                "", "x", "=", "ä", "null", cursor[:-1], cursor + "A", cursor + "=",
                " " + cursor, cursor.swapcase(), cursor[::-1],
            )
        ]  # fmt: skip
        refused += [
            question | {"cursor": cursor[:at] + other + cursor[at + 1 :]}
            for at in range(len(cursor))
            for other in [next(letter for letter in "AB" if letter != cursor[at])]
        ]
        refused += [
            question | {"cursor": cursor} | other for other in ({"sort": "-name"}, {"q": "a2"})
        ]
        refused.append({"cursor": cursor})
        for params in refused:
            answer = await admin.get(path, params=params)
            assert (answer.status_code, params) == (400, params)
            assert answer.json()["code"] == "invalid_cursor"

    async def test_the_cursor_is_good_for_another_limit(self, admin: AsyncClient) -> None:
        for name in ("a", "b", "c"):
            await create_supplier(admin, name=name)
        cursor = (await admin.get("/api/suppliers?limit=1")).json()["next_cursor"]
        rest = await admin.get("/api/suppliers", params={"limit": 2, "cursor": cursor})
        assert [item["name"] for item in rest.json()["items"]] == ["b", "c"]

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.get("/api/suppliers?x=1")).status_code == 401

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("limit=0", "#/query/limit"),
            ("limit=201", "#/query/limit"),
            ("limit=-1", "#/query/limit"),
            ("limit=1_0", "#/query/limit"),
            ("limit=1.0", "#/query/limit"),
            ("limit=", "#/query/limit"),
            ("limit=" + "9" * 5_000, "#/query/limit"),
            ("sort=price", "#/query/sort"),
            ("sort=name%20DESC", "#/query/sort"),
            ("q=", "#/query/q"),
            ("q=%00", "#/query/q"),
            ("q=a%00b", "#/query/q"),
            ("q=" + "x" * 101, "#/query/q"),
            ("include=everything", "#/query/include/0"),
            ("page=2", "#/query/page"),
            ("Limit=2", "#/query/Limit"),
            ("a~b/c=1", "#/query/a~0b~1c"),
        ],
    )
    async def test_422(self, staff: AsyncClient, query: str, pointer: str) -> None:
        answer = await staff.get(f"/api/suppliers?{query}")
        assert answer.status_code == 422
        assert pointers(answer) == [pointer]


class TestCreateSupplier:
    async def test_creates(self, admin: AsyncClient) -> None:
        answer = await admin.post("/api/suppliers", json={"name": "Küche"})
        assert answer.status_code == 201
        assert answer.headers["ETag"] == '"1"'
        supplier = answer.json()
        assert answer.headers["Location"] == path_of(supplier)
        assert supplier["name"] == "Küche"
        for member in ("contact_name", "email", "phone", "address"):
            assert supplier[member] is None
        assert supplier["version"] == 1
        assert supplier["created_at"] == supplier["updated_at"]
        assert supplier["created_at"].endswith("Z")
        assert (await admin.get(answer.headers["Location"])).json() == supplier

    async def test_text_comes_back_as_it_was_sent(self, admin: AsyncClient) -> None:
        body = {"name": " Ｋüche\u0301 🥘 ", "address": " <b>\n\t'\"\\%_;--\u2028\u202e </b> "}
        supplier = await create_supplier(admin, **body)
        assert {name: supplier[name] for name in body} == body
        assert (await admin.get(path_of(supplier))).json() == supplier

    async def test_401(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.post("/api/suppliers", json={"name": "x"})
        assert answer.status_code == 401

    async def test_403(self, staff: AsyncClient, clerk: AsyncClient) -> None:
        for client in (staff, clerk):
            answer = await client.post("/api/suppliers", json={"name": "x"})
            assert answer.status_code == 403
            assert answer.json()["code"] == "forbidden"

    async def test_two_may_have_one_name(self, admin: AsyncClient) -> None:
        one, other = [await create_supplier(admin, name="Nordic") for _ in range(2)]
        assert one["id"] != other["id"]
        assert one["name"] == other["name"]

    async def test_415(self, admin: AsyncClient) -> None:
        for kind in ("text/plain", "application/merge-patch+json", "application/x-json", ""):
            headers = {"Content-Type": kind}
            answer = await admin.post("/api/suppliers", content=b'{"name":"x"}', headers=headers)
            assert answer.status_code == 415
            assert answer.json()["code"] == "unsupported_media_type"

    @pytest.mark.parametrize("name", BAD_NAMES)
    async def test_422_name(self, admin: AsyncClient, name: object) -> None:
        answer = await admin.post("/api/suppliers", json={"name": name})
        assert answer.status_code == 422
        assert pointers(answer) == ["#/name"]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "#/name"),
            ({"name": "x", "address": 5}, "#/address"),
            ({"name": "x", "contact_name": "x" * 151}, "#/contact_name"),
            ({"name": "x", "phone": "x" * 51}, "#/phone"),
            ({"name": "x", "phone": 441632}, "#/phone"),
            ({"name": "x", "email": "nowhere"}, "#/email"),
            ({"name": "x", "email": ""}, "#/email"),
            ({"name": "x", "email": "x" * 250 + "@x.example"}, "#/email"),
            ({"name": "x", "address": "x" * 1_001}, "#/address"),
            ({"name": "x", "id": 7}, "#/id"),
            ({"name": "x", "version": 7}, "#/version"),
            ({"name": "x", "name_key": "y"}, "#/name_key"),
            ([], "#"),
            ("name", "#"),
        ],
    )
    async def test_422(self, admin: AsyncClient, body: object, pointer: str) -> None:
        answer = await admin.post("/api/suppliers", json=body)
        assert answer.status_code == 422
        assert pointers(answer) == [pointer]

    async def test_longest_texts(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin, name="🥘" * 150, address="🥘" * 1_000)
        assert len((await admin.get(path_of(supplier))).json()["address"]) == 1_000


class TestGetSupplier:
    async def test_answers_with_its_etag(self, admin: AsyncClient, staff: AsyncClient) -> None:
        supplier = await create_supplier(admin)
        answer = await staff.get(path_of(supplier))
        assert answer.status_code == 200
        assert answer.json() == supplier
        assert answer.headers["ETag"] == '"1"'

    @pytest.mark.parametrize("tags", ['"1"', 'W/"1"', '"7", "1"', "*", '"7" , W/"1"'])
    async def test_304(self, admin: AsyncClient, tags: str) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.get(path_of(supplier), headers={"If-None-Match": tags})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["ETag"] == '"1"'

    @pytest.mark.parametrize("tags", ['"2"', "1", '"1', '"11"', "", '"1.5"'])
    async def test_200_when_the_client_has_another_state(
        self, admin: AsyncClient, tags: str
    ) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.get(path_of(supplier), headers={"If-None-Match": tags})
        assert answer.status_code == 200

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.get(NOWHERE)).status_code == 401

    async def test_404(self, staff: AsyncClient) -> None:
        answer = await staff.get(NOWHERE, headers={"If-None-Match": "*"})
        assert answer.status_code == 404
        assert answer.json()["code"] == "supplier_not_found"


class TestReplaceSupplier:
    async def test_absent_members_take_their_defaults(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin, address="Old")
        answer = await admin.put(path_of(supplier), json={"name": "New"}, headers=ANY)
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"2"'
        changed = answer.json()
        assert (changed["name"], changed["address"]) == ("New", None)
        assert changed["version"] == 2
        assert changed["created_at"] == supplier["created_at"]
        assert changed["updated_at"] > supplier["updated_at"]
        assert (await admin.get(path_of(supplier))).json() == changed

    async def test_the_same_again_changes_nothing(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin, name="Same", address="Same")
        body = {"name": "Same", "address": "Same"}
        answer = await admin.put(path_of(supplier), json=body, headers={"If-Match": '"1"'})
        assert answer.json() == supplier

    async def test_422(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.put(path_of(supplier), json={"address": "x"}, headers=ANY)
        assert answer.status_code == 422
        assert pointers(answer) == ["#/name"]

    async def test_merge_patch_is_no_media_type_of_it(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.put(path_of(supplier), json={"name": "x"}, headers=ANY | MERGE_PATCH)
        assert answer.status_code == 415


class TestUpdateSupplier:
    @pytest.mark.parametrize("kind", ["application/merge-patch+json", "application/json"])
    async def test_changes_what_is_given(self, admin: AsyncClient, kind: str) -> None:
        supplier = await create_supplier(admin, address="Old")
        answer = await admin.patch(
            path_of(supplier),
            json={"name": "New"},
            headers={"If-Match": '"1"', "Content-Type": f"{kind}; charset=utf-8"},
        )
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"2"'
        changed = {name: answer.json()[name] for name in ("name", "address", "version")}
        assert changed == {"name": "New", "address": "Old", "version": 2}

    @pytest.mark.parametrize("member", ["contact_name", "email", "phone", "address"])
    async def test_null_empties_what_may_be_null(self, admin: AsyncClient, member: str) -> None:
        supplier = await create_supplier(admin, **{member: "old@nordic.example"})
        answer = await admin.patch(path_of(supplier), json={member: None}, headers=ANY)
        assert answer.status_code == 200
        assert answer.json()[member] is None

    @pytest.mark.parametrize("body", [{}, {"name": "Same"}, {"address": None}])
    async def test_nothing_new_changes_nothing(
        self, admin: AsyncClient, body: dict[str, Any]
    ) -> None:
        supplier = await create_supplier(admin, name="Same")
        answer = await admin.patch(path_of(supplier), json=body, headers=ANY)
        assert answer.json() == supplier

    async def test_412_shows_the_current_etag(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin)
        path = path_of(supplier)
        changed = await admin.patch(path, json={"name": "New"}, headers={"If-Match": '"1"'})
        assert changed.status_code == 200
        stale = await admin.patch(
            path, json={"name": "Newer"}, headers={"If-Match": '"1"'} | MERGE_PATCH
        )
        assert stale.status_code == 412
        assert stale.headers["ETag"] == '"2"'
        assert stale.json()["code"] == "precondition_failed"

    @pytest.mark.parametrize("name", BAD_NAMES)
    async def test_422_name_also_for_null(self, admin: AsyncClient, name: object) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.patch(path_of(supplier), json={"name": name}, headers=ANY)
        assert answer.status_code == 422
        assert pointers(answer) == ["#/name"]

    @pytest.mark.parametrize("member", ["id", "version", "created_at", "products"])
    async def test_422_what_nobody_may_set(self, admin: AsyncClient, member: str) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.patch(path_of(supplier), json={member: 1}, headers=ANY)
        assert answer.status_code == 422
        assert pointers(answer) == [f"#/{member}"]


class TestDeleteSupplier:
    async def test_204_and_it_is_gone(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.delete(path_of(supplier), headers={"If-Match": '"1"'})
        assert answer.status_code == 204
        assert answer.content == b""
        assert (await admin.get(path_of(supplier))).status_code == 404
        assert (await admin.delete(path_of(supplier), headers=ANY)).status_code == 404

    async def test_409_names_how_many_products_hold_it(self, admin: AsyncClient) -> None:
        supplier = await create_supplier(admin)
        await create_product(admin, supplier_id=supplier["id"])
        await create_product(admin, supplier_id=supplier["id"])
        answer = await admin.delete(path_of(supplier), headers=ANY)
        assert answer.status_code == 409
        assert answer.json()["code"] == "supplier_in_use"
        assert answer.json()["products"] == 2
        assert (await admin.get(path_of(supplier))).json() == supplier


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", {"name": "New"}), ("PATCH", {"name": "New"}), ("DELETE", None)]
)
class TestEveryChange:
    async def test_401(self, anonymous: AsyncClient, method: str, body: Any) -> None:
        assert (await anonymous.request(method, NOWHERE, json=body)).status_code == 401

    @pytest.mark.parametrize("role", ["staff", "clerk"])
    async def test_403(
        self, app: FastAPI, factory: Factory, method: str, body: Any, role: str
    ) -> None:
        async with client_of(app, headers=await factory.bearer(role)) as client:
            answer = await client.request(method, NOWHERE, json=body)
        assert answer.status_code == 403
        assert answer.json()["code"] == "forbidden"

    async def test_404(self, admin: AsyncClient, method: str, body: Any) -> None:
        answer = await admin.request(method, NOWHERE, json=body)
        assert answer.status_code == 404
        assert answer.json()["code"] == "supplier_not_found"

    async def test_412(self, admin: AsyncClient, method: str, body: Any) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.request(
            method, path_of(supplier), json=body, headers={"If-Match": '"7"'}
        )
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"1"'
        assert (await admin.get(path_of(supplier))).json() == supplier

    async def test_415(self, admin: AsyncClient, method: str, body: Any) -> None:
        supplier = await create_supplier(admin)
        headers = ANY | {"Content-Type": "text/plain"}
        answer = await admin.request(
            method, path_of(supplier), content=b'{"name":"New"}', headers=headers
        )
        # A body means nothing in a DELETE, whatever it is declared as.
        assert answer.status_code == (204 if method == "DELETE" else 415)

    async def test_428(self, admin: AsyncClient, method: str, body: Any) -> None:
        supplier = await create_supplier(admin)
        answer = await admin.request(method, path_of(supplier), json=body)
        assert answer.status_code == 428
        assert answer.json()["code"] == "precondition_required"
        assert (await admin.get(path_of(supplier))).json() == supplier
