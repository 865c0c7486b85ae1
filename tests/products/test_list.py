"""The list of products: filters, sorts, pages, and what it can include."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pymongo.errors import AutoReconnect

from inventory_api.kit.text import canonical
from inventory_api.metadata import documents
from inventory_api.metadata.sync_repository import SyncReads
from inventory_api.products.schemas import ProductSort
from tests.factories import MERGE_PATCH, create_category, create_product, create_supplier
from tests.products.support import (
    ANY,
    DEADLINE_SECONDS,
    EMPTY_METADATA,
    path_of,
    pointers,
    until_synced,
)

PRODUCTS = "/api/products"
Products = dict[str, dict[str, Any]]
Parameters = dict[str, Any]


async def listed(client: AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    answer = await client.get(PRODUCTS, params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def walk(client: AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    """Every page, by following the links."""
    items: list[dict[str, Any]] = []
    answer = await client.get(PRODUCTS, params=parameters)
    while True:
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        assert len({item["id"] for item in items}) == len(items)
        if page["next_cursor"] is None:
            assert "Link" not in answer.headers
            return items
        url, relation = answer.headers["Link"].split("; ")
        assert relation == 'rel="next"'
        assert parse_qs(urlsplit(url).query.rstrip(">"))["cursor"] == [page["next_cursor"]]
        answer = await client.get(url[1:-1])


async def found_by_specification(client: AsyncClient, spec: str, **more: Any) -> list[int]:
    """Ids, once the search store has something to say."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (items := await listed(client, spec=spec, **more)):
        assert time.monotonic() < deadline, f"nothing is found by {spec}"
        await asyncio.sleep(0.01)
    return [item["id"] for item in items]


@pytest.fixture
async def shop(admin: AsyncClient) -> Products:
    """Products by a word for them; no two are the same in anything that a filter looks at."""
    kitchen, garden = await create_category(admin), await create_category(admin)
    smith, miller = await create_supplier(admin), await create_supplier(admin)
    return {
        "board": await create_product(
            admin,
            sku="KIT-1",
            barcode="20-a",
            name="Oak board",
            category_id=kitchen["id"],
            supplier_id=smith["id"],
            selling_price="5.00",
            quantity_in_stock=3,
            expiry_date="2027-01-31",
            metadata={"tags": ["Oak", "Straße"]},
        ),
        "table": await create_product(
            admin,
            sku="kit-2",
            barcode="20-b",
            name="Tisch, große Straße",
            category_id=kitchen["id"],
            supplier_id=miller["id"],
            selling_price="5.01",
            quantity_in_stock=4,
            expiry_date="2027-02-01",
            metadata={"tags": ["oak"]},
        ),
        "rake": await create_product(
            admin,
            sku="gar_3",
            name="Râteau 100%",
            category_id=garden["id"],
            selling_price="20.00",
            status="inactive",
            metadata={"tags": ["iron"]},
        ),
        "hose": await create_product(
            admin, sku="gar%4", name="a/b a\\b", selling_price="9999999999.99"
        ),
    }


FILTERS: list[tuple[Parameters, str]] = [
    ({}, "board table rake hose"),
    ({"status": "active"}, "board table hose"),
    ({"status": "inactive"}, "rake"),
    ({"price_min": "5.01"}, "table rake hose"),
    ({"price_min": "5.0"}, "board table rake hose"),
    ({"price_max": "5.01"}, "board table"),
    ({"price_max": "4.99"}, ""),
    ({"price_min": "5.01", "price_max": "20"}, "table rake"),
    ({"stock_min": 3}, "board table"),
    ({"stock_min": 4}, "table"),
    ({"stock_max": 3}, "board rake hose"),
    ({"stock_max": 0}, "rake hose"),
    ({"stock_min": 1, "stock_max": 3}, "board"),
    ({"sku": " kit-1 "}, "board"),
    ({"sku": "KIT-2"}, "table"),
    ({"sku": "KIT"}, ""),
    ({"barcode": "20-A"}, "board"),
    ({"barcode": "20-"}, ""),
    ({"q": "OAK"}, "board"),
    ({"q": "kit"}, "board table"),
    ({"q": "STRASSE"}, "table"),
    ({"q": "straße"}, "table"),
    ({"q": "GROẞE S"}, "table"),
    ({"q": "RÂT"}, "rake"),
    ({"q": "ra\u0302teau"}, "rake"),
    ({"q": "Rateau"}, ""),
    ({"q": "%"}, "rake hose"),
    ({"q": "_"}, "rake"),
    ({"q": "\\"}, "hose"),
    ({"q": "/"}, "hose"),
    ({"q": "a\\b"}, "hose"),
    ({"q": "k%d"}, ""),
    ({"q": "'; --"}, ""),
    ({"tag": "oak"}, "board table"),
    ({"tag": " ＯAK "}, "board table"),
    ({"tag": "STRASSE"}, "board"),
    ({"tag": "oa"}, ""),
    ({"expires_before": "2027-02-01"}, "board"),
    ({"expires_before": "2027-02-02"}, "board table"),
    ({"updated_since": "2020-01-01T00:00:00Z"}, "board table rake hose"),
    ({"updated_since": "2999-01-01T00:00:00+14:00"}, ""),
    ({"tag": "oak", "q": "kit", "price_max": "5", "stock_min": 1, "status": "active"}, "board"),
    ({"tag": "oak", "q": "kit", "price_max": "5", "stock_min": 4}, ""),
]


KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "id": lambda product: 0,
    "name": lambda product: canonical(product["name"]),
    "sku": lambda product: canonical(product["sku"]),
    "selling_price": lambda product: float(product["selling_price"]),
    "stock": lambda product: product["stock"]["on_hand"],
    "created_at": lambda product: product["created_at"],
    "updated_at": lambda product: product["updated_at"],
}

METADATA: Parameters = EMPTY_METADATA | {
    "tags": ["Oak"],
    "specifications": {
        "large": 2**53 + 1,
        "larger": [2**63 - 1, -(2**63)],
        "small": 5,
        "exact": 0.1,
        "whole": 5.0,
        "tiny": 5e-324,
        "no": False,
        "nothing": None,
        "day": "2026-01-31T09:30:00Z",
        "hex": "507f1f77bcf86cd799439011",
        "nested": {"list": [{"a": []}, {}]},
    },
    "vendor_notes": "Boxes of 6.",
}

SPECIFICATIONS: Parameters = {
    "material": "oak",
    "width_mm": 420,
    "weight": 1.5,
    "organic": True,
    "source": "http://shop.example:80/a",
    "colours": ["red", "Grün 😀", 7],
    "size": {"material": "inner"},
    "no": None,
}


class TestFilters:
    async def test_one_and_several_together(self, admin: AsyncClient, shop: Products) -> None:
        for parameters, words in FILTERS:
            names = [item["name"] for item in await listed(admin, **parameters)]
            assert names == [shop[word]["name"] for word in words.split()], parameters

    async def test_category_and_supplier(self, admin: AsyncClient, shop: Products) -> None:
        kitchen, miller = shop["board"]["category_id"], shop["table"]["supplier_id"]
        in_kitchen = await listed(admin, category_id=kitchen)
        assert [item["sku"] for item in in_kitchen] == ["KIT-1", "kit-2"]
        assert [item["sku"] for item in await listed(admin, supplier_id=miller)] == ["kit-2"]
        both = await listed(admin, category_id=shop["rake"]["category_id"], supplier_id=miller)
        assert both == []

    async def test_updated_since_is_inclusive_to_the_microsecond(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        moment = datetime.fromisoformat(shop["rake"]["updated_at"])
        for zone in (UTC, timezone(timedelta(hours=5, minutes=45))):
            local = moment.astimezone(zone)
            assert [
                item["sku"] for item in await listed(admin, updated_since=local.isoformat())
            ] == [
                "gar_3",
                "gar%4",
            ]
            later = (local + timedelta(microseconds=1)).isoformat()
            assert [item["sku"] for item in await listed(admin, updated_since=later)] == ["gar%4"]

    async def test_updated_since_follows_changes_of_metadata(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        since = shop["hose"]["updated_at"]
        patch = {"metadata": {"seo_title": "New"}}
        await admin.patch(path_of(shop["board"]), json=patch, headers=MERGE_PATCH | ANY)
        names = [item["sku"] for item in await listed(admin, updated_since=since)]
        assert names == ["KIT-1", "gar%4"]

    @pytest.mark.parametrize(
        "bad",
        [
            {"updated_since": "2026-01-31T09:30:00"},
            {"updated_since": "2026-01-31"},
            {"updated_since": "1700000000"},
            {"updated_since": "0001-01-01T00:00:00+14:00"},
            {"updated_since": "9999-12-31T23:59:59-14:00"},
            {"expires_before": "2026-02-30"},
            {"expires_before": "1599955200"},
            {"expires_before": "2026-01-31T00:00:00Z"},
            {"price_min": "1e3"},
            {"price_max": "-1"},
            {"price_max": "1.005"},
            {"stock_min": "-1"},
            {"stock_max": "1.0"},
            {"category_id": "0"},
            {"supplier_id": "x"},
            {"status": "sold"},
            {"sku": "x" * 65},
            {"sku": "a\x00"},
            {"barcode": "\x00"},
            {"q": ""},
            {"q": "x" * 101},
            {"q": "a\x00b"},
            {"tag": "x" * 51},
            {"tag": "\x00"},
            {"spec": "material"},
            {"spec": "material:"},
            {"spec": ":oak"},
            {"spec": "1a:oak"},
            {"spec": "a.b:oak"},
            {"spec": "a:\x00"},
            {"spec": "a:" + "x" * 199},
            {"sort": "colour"},
            {"sort": "NAME"},
            {"include": "metadata,stock"},
            {"limit": "0"},
            {"limit": "201"},
            {"limit": "1_0"},
            {"limit": " 5"},
            {"limit": "5.0"},
            {"limit": "٣"},
            {"limit": ""},
            {"colour": "red"},
            {"Status": "active"},
        ],
        ids=str,
    )
    async def test_422_points_at_the_parameter(self, staff: AsyncClient, bad: Parameters) -> None:
        answer = await staff.get(PRODUCTS, params=bad)
        assert answer.status_code == 422
        (pointer,) = pointers(answer)
        assert pointer.startswith(f"#/query/{next(iter(bad))}")

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
    async def test_takes_the_ends_of_time(self, staff: AsyncClient, moment: str) -> None:
        parameters = {"updated_since": moment, "expires_before": moment[:10]}
        assert (await staff.get(PRODUCTS, params=parameters)).status_code == 200


class TestSorts:
    @pytest.fixture
    async def assortment(self, admin: AsyncClient) -> list[dict[str, Any]]:
        """Ties in every column that may have them; updated in another order than created."""
        names = ["b", "A", "a", "Ä", "z", "😀", "\uffff", "A b", "B"]
        skus = ["s-b", "S-C", "s-a", "s-Z", "s-ä", "s-😀", "s-1", "s_2", "s-10"]
        prices = ["5", "10", "5", "9.99", "5", "0", "10", "9999999999.99", "0.01"]
        stocks = [3, 10, 0, 3, 9, 0, 3, 2_147_483_647, 0]
        made = [
            await create_product(
                admin, name=name, sku=sku, selling_price=price, quantity_in_stock=stock
            )
            for name, sku, price, stock in zip(names, skus, prices, stocks, strict=True)
        ]
        for index in (4, 1, 7):
            await admin.patch(
                path_of(made[index]), json={"description": "x"}, headers=MERGE_PATCH | ANY
            )
        products = [
            (await admin.get(path_of(product), params={"include": "stock"})).json()
            for product in made
        ]
        for product in products:
            del product["metadata"]
        return products

    @pytest.mark.parametrize("sort", list(ProductSort), ids=str)
    async def test_pages_of_two_make_the_whole_list_in_order(
        self, admin: AsyncClient, assortment: list[dict[str, Any]], sort: ProductSort
    ) -> None:
        key = KEYS[sort.removeprefix("-")]
        expected = sorted(
            assortment,
            key=lambda product: (key(product), product["id"]),
            reverse=sort.startswith("-"),
        )
        for limit in (2, 3, 200):
            walked = await walk(admin, sort=sort, limit=limit, include="stock")
            assert walked == expected

    async def test_by_id_when_not_asked(
        self, admin: AsyncClient, assortment: list[dict[str, Any]]
    ) -> None:
        ids = [item["id"] for item in await listed(admin)]
        assert ids == sorted(product["id"] for product in assortment)


class TestPages:
    async def test_the_link_keeps_every_parameter(self, admin: AsyncClient, shop: Products) -> None:
        parameters = {
            "include": ["metadata", "stock", "total"],
            "q": "kit",
            "tag": "oak",
            "sort": "-name",
            "limit": "1",
        }
        walked = await walk(admin, **parameters)
        assert [item["sku"] for item in walked] == ["kit-2", "KIT-1"]
        assert all({"metadata", "stock"} <= item.keys() for item in walked)

    async def test_the_link_survives_awkward_values(self, admin: AsyncClient) -> None:
        for number in range(3):
            await create_product(admin, name=f"ä & b=c+d#e%20 {number}")
        walked = await walk(admin, q="Ä & B=C+D#E%20", limit=1)
        assert len(walked) == 3

    async def test_a_full_last_page_has_no_next(self, admin: AsyncClient, shop: Products) -> None:
        answer = await admin.get(PRODUCTS, params={"limit": 4})
        assert len(answer.json()["items"]) == 4
        assert answer.json()["next_cursor"] is None

    async def test_another_limit_and_include_go_with_the_same_cursor(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        first = (await admin.get(PRODUCTS, params={"limit": 1})).json()
        rest = await listed(admin, cursor=first["next_cursor"], limit=50, include="stock")
        assert [item["sku"] for item in rest] == ["kit-2", "gar_3", "gar%4"]

    @pytest.mark.parametrize(
        "other",
        [
            {"sort": "-id"},
            {"sort": "name"},
            {"q": "k"},
            {"tag": "oak"},
            {"status": "active"},
            {"price_min": "0"},
            {"stock_min": 0},
            {"expires_before": "2027-01-01"},
            {"updated_since": "2020-01-01T00:00:00Z"},
        ],
        ids=str,
    )
    async def test_400_a_cursor_of_another_question(
        self, admin: AsyncClient, shop: Products, other: Parameters
    ) -> None:
        cursor = (await admin.get(PRODUCTS, params={"limit": 1})).json()["next_cursor"]
        _refused(await admin.get(PRODUCTS, params=other | {"cursor": cursor}))

    async def test_400_a_cursor_of_another_list(self, admin: AsyncClient, shop: Products) -> None:
        page = (await admin.get("/api/categories", params={"limit": 1})).json()
        _refused(await admin.get(PRODUCTS, params={"cursor": page["next_cursor"]}))

    async def test_400_an_altered_cursor(self, admin: AsyncClient, shop: Products) -> None:
        cursor: str = (await admin.get(PRODUCTS, params={"limit": 1})).json()["next_cursor"]
        spare_bits = cursor[:-1] + ("B" if cursor[-1] == "A" else "A")
        altered = [
            spare_bits,
            chr(ord(cursor[0]) ^ 1) + cursor[1:],
            cursor[:-1],
            cursor[1:],
            cursor + "A",
            cursor + "=",
            cursor + "==",
            "",
            "%",
            "é",
            "A" * 2_048,
        ]
        for text in altered:
            _refused(await admin.get(PRODUCTS, params={"cursor": text}))

    async def test_cursors_need_no_escaping_in_a_url(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        for sort in ProductSort:
            answer = await admin.get(PRODUCTS, params={"limit": 1, "sort": sort})
            cursor = answer.json()["next_cursor"]
            assert cursor.replace("-", "").replace("_", "").isalnum()
            assert cursor.isascii()

    async def test_the_longest_names_have_cursors_too(self, admin: AsyncClient) -> None:
        for name in ("\U0001d160" * 150, "\x01" * 150, "\ufdfa" * 150):
            await create_product(admin, name=name)
            await create_product(admin, name=name)
        assert len(await walk(admin, sort="name", limit=1)) == 6


class TestTotal:
    async def test_counts_what_matches_and_not_the_page(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        for parameters, words in FILTERS:
            for sort in ("id", "-name", "stock"):
                asked = parameters | {"include": "total", "limit": 1, "sort": sort}
                answer = await admin.get(PRODUCTS, params=asked)
                assert answer.json()["total"] == len(words.split()), asked

    async def test_counts_by_category_and_supplier(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        for name, count in (("category_id", 2), ("supplier_id", 1)):
            parameters = {name: shop["table"][name], "include": ["total", "stock"]}
            answer = await admin.get(PRODUCTS, params=parameters)
            assert answer.json()["total"] == count

    async def test_is_the_same_on_each_page(self, admin: AsyncClient, shop: Products) -> None:
        first = (await admin.get(PRODUCTS, params={"limit": 3, "include": "total"})).json()
        parameters = {"cursor": first["next_cursor"], "include": "total"}
        last = (await admin.get(PRODUCTS, params=parameters)).json()
        assert (len(last["items"]), last["total"], first["total"]) == (1, 4, 4)

    async def test_is_absent_when_not_asked(self, admin: AsyncClient, shop: Products) -> None:
        assert "total" not in (await admin.get(PRODUCTS)).json()


class TestIncludeStock:
    async def test_adds_it_to_each_product(self, admin: AsyncClient, shop: Products) -> None:
        figures = [item["stock"]["on_hand"] for item in await listed(admin, include="stock")]
        assert figures == [3, 4, 0, 0]

    async def test_it_is_absent_when_only_filtered_or_sorted_by(
        self, admin: AsyncClient, shop: Products
    ) -> None:
        for item in await listed(admin, stock_min=1, sort="stock"):
            assert "stock" not in item


class TestIncludeMetadata:
    @pytest.fixture
    async def product(self, admin: AsyncClient) -> dict[str, Any]:
        return await create_product(admin, metadata=METADATA)

    async def test_serves_the_document(
        self, admin: AsyncClient, product: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await until_synced(admin, product)
        monkeypatch.setattr(SyncReads, "payloads", None)
        (item,) = await listed(admin, include="metadata")
        assert item == product

    async def test_a_product_without_metadata_has_the_empty_one(self, admin: AsyncClient) -> None:
        product = await create_product(admin)
        await until_synced(admin, product)
        assert await listed(admin, include="metadata") == [product]

    async def test_serves_the_newest_while_the_document_is_behind(
        self, admin: AsyncClient, product: dict[str, Any], relay_held: None
    ) -> None:
        other = await create_product(admin)
        patch = {"metadata": {"seo_title": "Newest"}}
        answer = await admin.patch(path_of(product), json=patch, headers=MERGE_PATCH | ANY)
        assert answer.status_code == 200
        assert await listed(admin, include="metadata") == [answer.json(), other]

    async def test_serves_the_newest_while_only_the_older_state_was_synced(
        self, admin: AsyncClient, product: dict[str, Any], request: pytest.FixtureRequest
    ) -> None:
        await until_synced(admin, product)
        request.getfixturevalue("relay_held")
        patch = {"metadata": {"seo_title": "Newest"}}
        answer = await admin.patch(path_of(product), json=patch, headers=MERGE_PATCH | ANY)
        assert await listed(admin, include="metadata") == [answer.json()]

    async def test_serves_the_durable_copy_while_mongodb_is_away(
        self, admin: AsyncClient, product: dict[str, Any], mongo_away: None
    ) -> None:
        assert await listed(admin, include="metadata") == [product]

    async def test_serves_the_durable_copy_when_mongodb_fails_in_the_middle(
        self,
        admin: AsyncClient,
        app: FastAPI,
        product: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await until_synced(admin, product)
        _fail(monkeypatch, app, "fetch")
        assert await listed(admin, include="metadata") == [product]
        assert not app.state.mongo.available

    async def test_an_empty_page_asks_nobody(
        self, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(documents, "fetch", None)
        assert await listed(admin, include="metadata", q="nothing has this") == []


class TestSpecification:
    @pytest.mark.parametrize(
        "spec",
        [
            "material:oak",
            "width_mm:420",
            "weight:1.5",
            "organic:true",
            "source:http://shop.example:80/a",
            "colours:red",
            "colours:Grün 😀",
            "colours:7",
        ],
    )
    async def test_finds_scalars_and_members_of_lists(self, admin: AsyncClient, spec: str) -> None:
        await create_product(admin, metadata={"specifications": {"material": "pine"}})
        product = await create_product(admin, metadata={"specifications": SPECIFICATIONS})
        assert await found_by_specification(admin, spec) == [product["id"]]

    async def test_finds_whole_values_at_the_top_only(self, admin: AsyncClient) -> None:
        product = await create_product(admin, metadata={"specifications": SPECIFICATIONS})
        await until_synced(admin, product)
        for spec in (
            "material:oa",
            "material:OAK",
            "material:inner",
            "width_mm:42",
            "no:null",
            "size:inner",
            "unknown:oak",
        ):
            assert await listed(admin, spec=spec) == [], spec

    async def test_follows_changes(self, admin: AsyncClient) -> None:
        product = await create_product(admin, metadata={"specifications": {"material": "oak"}})
        await found_by_specification(admin, "material:oak")
        patch = {"specifications": {"material": "pine"}}
        await admin.patch(f"{path_of(product)}/metadata", json=patch, headers=MERGE_PATCH | ANY)
        assert await found_by_specification(admin, "material:pine") == [product["id"]]
        assert await listed(admin, spec="material:oak") == []

    async def test_a_deleted_product_is_gone_at_once(
        self, admin: AsyncClient, request: pytest.FixtureRequest
    ) -> None:
        product = await create_product(admin, metadata={"specifications": {"material": "oak"}})
        await found_by_specification(admin, "material:oak")
        request.getfixturevalue("relay_held")
        await admin.delete(path_of(product), headers=ANY)
        assert await listed(admin, spec="material:oak") == []

    async def test_goes_with_every_other_filter_page_by_page(self, admin: AsyncClient) -> None:
        made = [
            await create_product(
                admin,
                name=f"Board {number}",
                status="active" if number % 2 else "inactive",
                quantity_in_stock=number,
                metadata={"tags": ["t"], "specifications": {"material": "oak"}},
            )
            for number in range(7)
        ]
        await create_product(admin, name="Board", metadata={"tags": ["t"]})
        await until_synced(admin, *made)
        everything = await walk(admin, spec="material:oak", limit=2, include="metadata")
        assert everything == made
        asked: Parameters = {"status": "active", "tag": "T", "q": "board", "stock_min": 3}
        some = await walk(admin, spec="material:oak", limit=1, **asked)
        assert [item["id"] for item in some] == [made[3]["id"], made[5]["id"]]
        counts: list[tuple[Parameters, int]] = [({}, 7), (asked, 2), ({"q": "nothing"}, 0)]
        for filters, total in counts:
            answer = await admin.get(
                PRODUCTS,
                params=filters | {"spec": "material:oak", "limit": 1, "include": "total"},
            )
            assert answer.json()["total"] == total

    @pytest.mark.parametrize("matching", [[2, 4, 5], [], [0, 1, 2, 3, 4, 5, 6]], ids=str)
    async def test_walks_in_steps_smaller_than_the_matches(
        self, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch, matching: list[int]
    ) -> None:
        monkeypatch.setattr("inventory_api.products.service._SEARCH_STEP", 2)
        made = [
            await create_product(
                admin,
                status="active" if number in matching else "inactive",
                metadata={"specifications": {"material": "oak"}},
            )
            for number in range(7)
        ]
        await until_synced(admin, *made)
        expected = [made[number]["id"] for number in matching]
        for limit in (1, 2, 3, 10):
            walked = await walk(
                admin, spec="material:oak", status="active", limit=limit, include="total"
            )
            assert [item["id"] for item in walked] == expected

    async def test_422_another_sort(self, staff: AsyncClient) -> None:
        for sort in ProductSort:
            answer = await staff.get(PRODUCTS, params={"spec": "material:oak", "sort": sort})
            if sort is ProductSort.ID:
                assert answer.status_code == 200
                continue
            assert answer.status_code == 422
            assert answer.json()["code"] == "sort_not_possible"
            assert pointers(answer) == ["#/query/sort"]

    async def test_503_while_mongodb_is_away(self, staff: AsyncClient, mongo_away: None) -> None:
        _unavailable(await staff.get(PRODUCTS, params={"spec": "material:oak"}))

    async def test_503_when_mongodb_fails_in_the_middle(
        self, staff: AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _fail(monkeypatch, app, "find_by_specification")
        _unavailable(await staff.get(PRODUCTS, params={"spec": "material:oak"}))


def _refused(answer: Response) -> None:
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_cursor"


def _unavailable(answer: Response) -> None:
    assert answer.status_code == 503
    assert answer.json()["code"] == "metadata_unavailable"
    assert int(answer.headers["Retry-After"]) >= 1


def _fail(monkeypatch: pytest.MonkeyPatch, app: FastAPI, function: str) -> None:
    """Let a call to MongoDB fail on the way; afterwards it is available again."""

    async def fail(*_: Any) -> None:
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(documents, function, fail)
    monkeypatch.setattr(app.state.mongo, "_refused_until", 0.0)
