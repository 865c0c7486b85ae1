"""Operations on single products and their metadata."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import select

from inventory_api.kit.clock import utc_now
from inventory_api.models import (
    DocumentKind,
    ProductSync,
    ProductTag,
    StockDocument,
    StockLevel,
    StockTotal,
    SyncOperation,
)
from tests.factories import (
    MERGE_PATCH,
    create_category,
    create_product,
    create_supplier,
    product_body,
)
from tests.products.support import (
    ANY,
    DEADLINE_SECONDS,
    EMPTY_METADATA,
    NOBODYS,
    STALE,
    movements,
    path_of,
    pointers,
    until_synced,
)

PRODUCTS = "/api/products"
TEXT = {"Content-Type": "text/plain"}
BROKEN = b'{"sku": '
METADATA: dict[str, Any] = {
    "tags": ["Oak", "handmade"],
    "specifications": {"material": "oak", "size": {"width_mm": 420, "height_mm": 20}},
    "care_instructions": "Wipe with a damp cloth.",
    "seo_title": "Oak board",
    "seo_description": "A solid oak board.",
    "vendor_notes": "Boxes of 6.",
}
BAD_PRICES = [
    7.1, 7, True, None, "", "1e3", "-1", "+1", "1.005", "NaN", "Infinity", "１２.50", "٣",
    "12345678901", " 1", "1 ", "1\n", "01", "1.", ".5", "1,50", "1_000",
]  # fmt: skip


@pytest.fixture
async def product(admin: AsyncClient) -> dict[str, Any]:
    return await create_product(admin, metadata=METADATA)


def complete(**overrides: Any) -> dict[str, Any]:
    """Every member that a product can be given, none of them the default."""
    return (
        product_body(
            barcode="2010000000427",
            description="Solid oak.",
            unit="gram",
            reorder_level=5,
            expiry_date="2027-12-31",
            status="inactive",
            metadata=METADATA,
        )
        | overrides
    )


async def send(client: AsyncClient, method: str, path: str, body: Any, **headers: str) -> Response:
    return await client.request(method, path, json=body, headers=ANY | headers)


class TestListProducts:
    async def test_staff_reads_a_page(self, admin: AsyncClient, staff: AsyncClient) -> None:
        product = await create_product(admin, **complete())
        answer = await staff.get(PRODUCTS)
        assert answer.status_code == 200
        del product["metadata"]
        assert answer.json() == {"items": [product], "next_cursor": None}
        assert "Link" not in answer.headers

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.get(PRODUCTS)).status_code == 401


class TestCreateProduct:
    async def test_creates_with_defaults(self, admin: AsyncClient, app: FastAPI) -> None:
        body = product_body()
        answer = await admin.post(PRODUCTS, json=body)
        assert answer.status_code == 201
        assert answer.headers["ETag"] == '"1"'
        assert answer.headers["Metadata-Sync"] == "pending"
        product = answer.json()
        assert answer.headers["Location"] == path_of(product)
        moments = [
            datetime.fromisoformat(product.pop(f"{word}_at")) for word in ("created", "updated")
        ]
        assert moments[0] == moments[1]
        assert moments[0].utcoffset() == timedelta(0)
        assert abs(utc_now() - moments[0]) < timedelta(minutes=1)
        assert product == body | {
            "id": product["id"],
            "barcode": None,
            "description": None,
            "category_id": None,
            "supplier_id": None,
            "currency": app.state.settings.currency,
            "unit": "piece",
            "reorder_level": 0,
            "expiry_date": None,
            "status": "active",
            "version": 1,
            "metadata": EMPTY_METADATA,
        }
        assert (await admin.get(path_of(product))).json() == answer.json()

    async def test_keeps_every_member(self, admin: AsyncClient) -> None:
        category, supplier = await create_category(admin), await create_supplier(admin)
        body = complete(category_id=category["id"], supplier_id=supplier["id"])
        product = await create_product(admin, **body)
        assert {name: product[name] for name in body} == body
        assert (await admin.get(path_of(product))).json() == product

    async def test_trims_sku_and_barcode_and_keeps_their_case(self, admin: AsyncClient) -> None:
        product = await create_product(admin, sku=" Kit-ä42\u3000\t", barcode="\n 20-Ab ")
        assert product["sku"] == "Kit-ä42"
        assert product["barcode"] == "20-Ab"

    async def test_measures_sku_and_barcode_without_the_space_around(
        self, admin: AsyncClient
    ) -> None:
        longest = "x" * 64
        product = await create_product(admin, sku=f" {longest} ", barcode=f" {longest} ")
        assert product["sku"] == product["barcode"] == longest

    async def test_keeps_all_other_text_as_it_is(self, admin: AsyncClient) -> None:
        text = " \t e\u0301é 👩‍👩‍👧 \u202eabc\u0085\u2028 \uffff "
        metadata = METADATA | {
            "tags": [text],
            "specifications": {"text": text, "list": [text, {"a": text}]},
            **dict.fromkeys(
                ("care_instructions", "seo_title", "seo_description", "vendor_notes"), text
            ),
        }
        body = product_body(name=text, description=text, unit=" g ", metadata=metadata)
        product = await create_product(admin, **body)
        assert {name: product[name] for name in body} == body
        assert (await admin.get(path_of(product))).json() == product

    async def test_null_barcodes_are_no_barcode_at_all(self, admin: AsyncClient) -> None:
        for _ in range(3):
            assert (await create_product(admin, barcode=None))["barcode"] is None

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("7.1", "7.10"),
            ("7.10", "7.10"),
            ("0", "0.00"),
            ("0.01", "0.01"),
            ("5", "5.00"),
            ("9999999999.99", "9999999999.99"),
        ],
    )
    async def test_money_has_two_decimals(self, admin: AsyncClient, given: str, kept: str) -> None:
        product = await create_product(admin, cost_price=given, selling_price=given)
        read = (await admin.get(path_of(product))).json()
        for document in (product, read):
            assert document["cost_price"] == document["selling_price"] == kept

    @pytest.mark.parametrize("price", BAD_PRICES, ids=repr)
    async def test_422_what_is_no_money(self, admin: AsyncClient, price: Any) -> None:
        answer = await admin.post(
            PRODUCTS, json=product_body(cost_price=price, selling_price=price)
        )
        assert answer.status_code == 422
        assert pointers(answer) == ["#/cost_price", "#/selling_price"]

    @pytest.mark.parametrize("number", [0, 5, 5.0, 2_147_483_647])
    async def test_takes_whole_numbers_however_written(
        self, admin: AsyncClient, number: float
    ) -> None:
        product = await create_product(admin, reorder_level=number, quantity_in_stock=number)
        assert product["reorder_level"] == number
        assert isinstance(product["reorder_level"], int)

    @pytest.mark.parametrize(
        "number", ["5", True, False, 5.5, -1, 2_147_483_648, 1e300, None, [5]], ids=repr
    )
    async def test_422_what_is_no_count(self, admin: AsyncClient, number: Any) -> None:
        answer = await admin.post(
            PRODUCTS, json=product_body(reorder_level=number, quantity_in_stock=number)
        )
        assert answer.status_code == 422
        assert pointers(answer) == ["#/reorder_level", "#/quantity_in_stock"]

    @pytest.mark.parametrize("number", ["1", True, 1.5, 0, -1, NOBODYS + 1], ids=repr)
    async def test_422_what_is_no_reference(self, admin: AsyncClient, number: Any) -> None:
        answer = await admin.post(
            PRODUCTS, json=product_body(category_id=number, supplier_id=number)
        )
        assert answer.status_code == 422
        assert pointers(answer) == ["#/category_id", "#/supplier_id"]

    @pytest.mark.parametrize("day", ["2027-12-31", "2028-02-29", "1000-01-01", "9999-12-31", None])
    async def test_keeps_the_expiry_date(self, admin: AsyncClient, day: str | None) -> None:
        product = await create_product(admin, expiry_date=day)
        assert product["expiry_date"] == day
        assert (await admin.get(path_of(product))).json()["expiry_date"] == day

    @pytest.mark.parametrize(
        "day",
        ["2027-02-29", "31.12.2027", "2027-12-31T00:00:00Z", "1599955200", "20271231", 5, True, ""],
        ids=repr,
    )
    async def test_422_what_is_no_date(self, admin: AsyncClient, day: Any) -> None:
        answer = await admin.post(PRODUCTS, json=product_body(expiry_date=day))
        assert answer.status_code == 422
        assert pointers(answer) == ["#/expiry_date"]

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("sku", ""),
            ("sku", " \u3000 "),
            ("sku", "x" * 65),
            ("sku", None),
            ("sku", 5),
            ("barcode", "  "),
            ("barcode", "x" * 65),
            ("name", ""),
            ("name", " \t"),
            ("name", "x" * 151),
            ("description", "x" * 10_001),
            ("unit", " "),
            ("unit", "x" * 17),
            ("status", "sold"),
            ("status", None),
            ("metadata", None),
            ("metadata/tags", [""]),
            ("metadata/specifications", {"1": "starts with a digit"}),
            ("metadata/seo_title", "x" * 151),
            ("colour", "red"),
            ("metadata/colour", "red"),
            ("id", 7),
            ("version", 7),
        ],
    )
    async def test_422_points_at_the_member(
        self, admin: AsyncClient, member: str, value: Any
    ) -> None:
        head, _, rest = member.partition("/")
        answer = await admin.post(
            PRODUCTS, json=product_body(**{head: {rest: value} if rest else value})
        )
        assert answer.status_code == 422
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "invalid"
        (pointer,) = pointers(answer)
        assert pointer.startswith(f"#/{member}")

    async def test_422_names_each_missing_member(self, admin: AsyncClient) -> None:
        answer = await admin.post(PRODUCTS, json={})
        assert answer.status_code == 422
        assert pointers(answer) == ["#/sku", "#/name", "#/cost_price", "#/selling_price"]

    @pytest.mark.parametrize("kind", ["category", "supplier"])
    async def test_422_unknown_reference(self, admin: AsyncClient, kind: str) -> None:
        answer = await admin.post(PRODUCTS, json=product_body(**{f"{kind}_id": NOBODYS}))
        assert answer.status_code == 422
        assert answer.json()["code"] == f"unknown_{kind}"
        assert pointers(answer) == [f"#/{kind}_id"]

    @pytest.mark.parametrize("again", ["Kit-ß42", "kit-SS42", "  KIT-ß42\t", "ｋｉｔ-ß４２"])
    @pytest.mark.parametrize("member", ["sku", "barcode"])
    async def test_409_taken_without_regard_to_case_and_space(
        self, admin: AsyncClient, member: str, again: str
    ) -> None:
        await create_product(admin, **{member: "Kit-ß42"})
        answer = await admin.post(PRODUCTS, json=product_body(**{member: again}))
        assert answer.status_code == 409
        assert answer.json()["code"] == f"{member}_taken"
        assert answer.json()["pointer"] == f"#/{member}"

    async def test_a_refused_product_leaves_nothing(self, admin: AsyncClient, app: FastAPI) -> None:
        first = await create_product(admin)
        answer = await admin.post(PRODUCTS, json=complete(sku=first["sku"], quantity_in_stock=3))
        assert answer.status_code == 409
        reads = app.state.database.reads
        assert len(await reads.all(select(ProductSync.product_id))) == 1
        assert await reads.all(select(ProductTag.tag_key)) == []
        assert await reads.all(select(StockDocument.id)) == []

    async def test_400_what_is_not_json(self, admin: AsyncClient) -> None:
        answer = await admin.post(
            PRODUCTS, content=BROKEN, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400
        assert answer.json()["code"] == "malformed_json"

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.post(PRODUCTS, json=product_body())).status_code == 401

    async def test_403(self, staff: AsyncClient, clerk: AsyncClient) -> None:
        for client in (staff, clerk):
            assert (await client.post(PRODUCTS, json=product_body())).status_code == 403

    async def test_413(self, admin: AsyncClient) -> None:
        body = product_body(description="x" * (1024 * 1024))
        assert (await admin.post(PRODUCTS, json=body)).status_code == 413

    async def test_415(self, admin: AsyncClient) -> None:
        answer = await admin.post(PRODUCTS, content=b"sku=1", headers=TEXT)
        assert answer.status_code == 415


class TestGetProduct:
    async def test_every_role_reads_it(
        self,
        product: dict[str, Any],
        admin: AsyncClient,
        clerk: AsyncClient,
        staff: AsyncClient,
    ) -> None:
        for client in (admin, clerk, staff):
            answer = await client.get(path_of(product))
            assert answer.status_code == 200
            assert answer.headers["ETag"] == '"1"'
            assert answer.json() == product

    async def test_adds_stock_on_request(self, admin: AsyncClient) -> None:
        product = await create_product(admin, quantity_in_stock=7, reorder_level=7)
        assert "stock" not in product
        answer = await admin.get(path_of(product), params={"include": "stock"})
        assert answer.headers["ETag"] == '"1.1"'
        assert answer.json() == product | {
            "stock": {"on_hand": 7, "reserved": 0, "available": 7, "is_low": True}
        }

    @pytest.mark.parametrize(
        ("level", "quantity", "status", "is_low"),
        [
            (5, 5, "active", True),
            (5, 4, "active", True),
            (5, 6, "active", False),
            (5, 5, "inactive", False),
            (0, 0, "active", False),
        ],
    )
    async def test_stock_is_low_at_the_reorder_level(
        self, admin: AsyncClient, level: int, quantity: int, status: str, is_low: bool
    ) -> None:
        product = await create_product(
            admin, reorder_level=level, quantity_in_stock=quantity, status=status
        )
        answer = await admin.get(path_of(product), params={"include": "stock"})
        assert answer.json()["stock"]["is_low"] is is_low

    @pytest.mark.parametrize("held", ['"1"', 'W/"1"', '"7", "1"', "*"])
    async def test_304(self, admin: AsyncClient, product: dict[str, Any], held: str) -> None:
        answer = await admin.get(path_of(product), headers={"If-None-Match": held})
        assert answer.status_code == 304
        assert answer.headers["ETag"] == '"1"'
        assert answer.content == b""

    async def test_a_form_with_stock_and_one_without_are_told_apart(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        path, stock = path_of(product), {"include": "stock"}
        for held, status in (('"1.1"', 304), ('"1"', 200), ('"1.2"', 200)):
            answer = await admin.get(path, params=stock, headers={"If-None-Match": held})
            assert answer.status_code == status
        answer = await admin.get(path, headers={"If-None-Match": '"1.1"'})
        assert answer.status_code == 200

    async def test_tells_when_the_metadata_is_in_the_search_store(
        self, admin: AsyncClient, relay_held: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        product = await create_product(admin)
        waiting = await admin.get(path_of(product))
        assert waiting.headers["Metadata-Sync"] == "pending"
        monkeypatch.undo()
        await until_synced(admin, product)
        answer = await admin.get(path_of(product))
        assert answer.headers["ETag"] == waiting.headers["ETag"]
        assert answer.json() == product

    async def test_needs_no_search_store(
        self, admin: AsyncClient, mongo_away: None, product: dict[str, Any]
    ) -> None:
        answer = await admin.get(path_of(product), params={"include": "stock"})
        assert answer.status_code == 200
        assert answer.json()["metadata"] == METADATA

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.get(f"{PRODUCTS}/1")).status_code == 401

    async def test_404(self, staff: AsyncClient) -> None:
        answer = await staff.get(f"{PRODUCTS}/{NOBODYS}")
        assert answer.status_code == 404
        assert answer.json()["code"] == "product_not_found"

    @pytest.mark.parametrize("bad", ["0", "-1", "abc", "1.0", "1_0", str(NOBODYS + 1)])
    async def test_422_what_is_no_id(self, staff: AsyncClient, bad: str) -> None:
        answer = await staff.get(f"{PRODUCTS}/{bad}")
        assert answer.status_code == 422
        assert pointers(answer) == ["#/path/product_id"]

    @pytest.mark.parametrize("parameters", [{"include": "total"}, {"colour": "red"}])
    async def test_422_unknown_parameter(
        self, admin: AsyncClient, product: dict[str, Any], parameters: dict[str, str]
    ) -> None:
        answer = await admin.get(path_of(product), params=parameters)
        assert answer.status_code == 422
        assert pointers(answer)[0].startswith(f"#/query/{next(iter(parameters))}")


class TestReplaceProduct:
    async def test_replaces(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        body = complete()
        answer = await admin.put(path_of(product), json=body, headers={"If-Match": '"1"'})
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"2"'
        assert answer.headers["Metadata-Sync"] == "pending"
        replaced = answer.json()
        assert {name: replaced[name] for name in body} == body
        assert replaced["version"] == 2
        assert replaced["created_at"] == product["created_at"]
        assert replaced["updated_at"] > product["updated_at"]
        assert (await admin.get(path_of(product))).json() == replaced

    async def test_absent_members_take_their_defaults(self, admin: AsyncClient) -> None:
        category, supplier = await create_category(admin), await create_supplier(admin)
        product = await create_product(
            admin,
            **complete(category_id=category["id"], supplier_id=supplier["id"], quantity_in_stock=4),
        )
        answer = await send(admin, "PUT", path_of(product), product_body(sku=product["sku"]))
        assert answer.status_code == 200
        for name in ("barcode", "description", "category_id", "supplier_id", "expiry_date"):
            assert answer.json()[name] is None
        assert answer.json()["unit"] == "piece"
        assert answer.json()["reorder_level"] == 0
        assert answer.json()["status"] == "active"
        assert answer.json()["metadata"] == EMPTY_METADATA
        shown = await admin.get(path_of(product), params={"include": "stock"})
        assert shown.json()["stock"]["on_hand"] == 4

    async def test_absent_metadata_takes_the_tags_along(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        await send(admin, "PUT", path_of(product), product_body())
        found = await admin.get(PRODUCTS, params={"tag": "oak"})
        assert found.json()["items"] == []

    async def test_the_same_again_changes_nothing(self, admin: AsyncClient) -> None:
        body = complete()
        product = await create_product(admin, **body)
        answer = await send(admin, "PUT", path_of(product), body)
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"1"'
        assert answer.json() == product

    async def test_an_own_sku_may_change_its_case(self, admin: AsyncClient) -> None:
        product = await create_product(admin, sku="kit-1")
        answer = await send(admin, "PUT", path_of(product), product_body(sku="KIT-1"))
        assert answer.status_code == 200
        assert answer.json()["sku"] == "KIT-1"

    async def test_400(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        answer = await admin.put(
            path_of(product), content=BROKEN, headers={"Content-Type": "application/json"} | ANY
        )
        assert answer.status_code == 400

    async def test_401(self, anonymous: AsyncClient) -> None:
        answer = await send(anonymous, "PUT", f"{PRODUCTS}/1", product_body())
        assert answer.status_code == 401

    async def test_403(
        self, staff: AsyncClient, clerk: AsyncClient, product: dict[str, Any]
    ) -> None:
        for client in (staff, clerk):
            answer = await send(client, "PUT", path_of(product), product_body())
            assert answer.status_code == 403

    async def test_404(self, admin: AsyncClient) -> None:
        answer = await send(admin, "PUT", f"{PRODUCTS}/{NOBODYS}", product_body())
        assert answer.status_code == 404

    @pytest.mark.parametrize("member", ["sku", "barcode"])
    async def test_409(self, admin: AsyncClient, product: dict[str, Any], member: str) -> None:
        await create_product(admin, **{member: "taken"})
        answer = await send(admin, "PUT", path_of(product), product_body(**{member: " TAKEN "}))
        assert answer.status_code == 409
        assert answer.json()["code"] == f"{member}_taken"

    async def test_412_shows_the_current_etag(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await admin.put(path_of(product), json=product_body(), headers=STALE)
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"1"'

    async def test_415(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        answer = await admin.put(path_of(product), content=b"{}", headers=TEXT | ANY)
        assert answer.status_code == 415

    @pytest.mark.parametrize("kind", ["category", "supplier"])
    async def test_422_unknown_reference(
        self, admin: AsyncClient, product: dict[str, Any], kind: str
    ) -> None:
        body = product_body(**{f"{kind}_id": NOBODYS})
        answer = await send(admin, "PUT", path_of(product), body)
        assert answer.status_code == 422
        assert answer.json()["code"] == f"unknown_{kind}"
        assert pointers(answer) == [f"#/{kind}_id"]

    async def test_422_stock_is_given_at_creation_only(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await send(admin, "PUT", path_of(product), product_body(quantity_in_stock=1))
        assert answer.status_code == 422
        assert pointers(answer) == ["#/quantity_in_stock"]

    async def test_428(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        answer = await admin.put(path_of(product), json=product_body())
        assert answer.status_code == 428


class TestUpdateProduct:
    @pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/json"])
    async def test_changes_what_is_given(
        self, admin: AsyncClient, product: dict[str, Any], media_type: str
    ) -> None:
        answer = await admin.patch(
            path_of(product),
            json={"name": "New", "selling_price": "20"},
            headers={"If-Match": '"1"', "Content-Type": media_type},
        )
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"2"'
        assert answer.headers["Metadata-Sync"] == "pending"
        changed = answer.json()
        assert changed["updated_at"] > product["updated_at"]
        assert changed == product | {
            "name": "New",
            "selling_price": "20.00",
            "version": 2,
            "updated_at": changed["updated_at"],
        }
        assert (await admin.get(path_of(product))).json() == changed

    @pytest.mark.parametrize(
        "nothing", [{}, {"metadata": {}}, {"metadata": {"specifications": {"absent": None}}}]
    )
    async def test_nothing_given_is_nothing_changed(
        self, admin: AsyncClient, product: dict[str, Any], nothing: dict[str, Any]
    ) -> None:
        await until_synced(admin, product)
        answer = await send(admin, "PATCH", path_of(product), nothing)
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"1"'
        assert answer.headers["Metadata-Sync"] == "synced"
        assert answer.json() == product

    async def test_what_is_the_same_is_nothing_changed(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        same = {name: product[name] for name in ("sku", "name", "cost_price", "metadata")}
        answer = await send(admin, "PATCH", path_of(product), same)
        assert answer.headers["ETag"] == '"1"'
        assert answer.json() == product

    @pytest.mark.parametrize(
        "member", ["barcode", "description", "category_id", "supplier_id", "expiry_date"]
    )
    async def test_null_empties_what_can_be_empty(self, admin: AsyncClient, member: str) -> None:
        category, supplier = await create_category(admin), await create_supplier(admin)
        body = complete(category_id=category["id"], supplier_id=supplier["id"])
        product = await create_product(admin, **body)
        answer = await send(admin, "PATCH", path_of(product), {member: None})
        assert answer.status_code == 200
        assert answer.json()[member] is None

    @pytest.mark.parametrize(
        "member", ["sku", "name", "cost_price", "selling_price", "unit", "reorder_level", "status"]
    )
    async def test_422_null_for_what_cannot_be_empty(
        self, admin: AsyncClient, product: dict[str, Any], member: str
    ) -> None:
        answer = await send(admin, "PATCH", path_of(product), {member: None})
        assert answer.status_code == 422
        assert pointers(answer) == [f"#/{member}"]

    @pytest.mark.parametrize("member", ["tags", "specifications"])
    async def test_422_null_for_metadata_that_cannot_be_null(
        self, admin: AsyncClient, product: dict[str, Any], member: str
    ) -> None:
        answer = await send(admin, "PATCH", path_of(product), {"metadata": {member: None}})
        assert answer.status_code == 422
        assert pointers(answer) == [f"#/metadata/{member}"]

    async def test_merges_metadata_down_into_specifications(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        patch = {
            "tags": ["pine"],
            "seo_title": None,
            "specifications": {
                "material": None,
                "size": {"height_mm": None, "depth_mm": [1, None, {"a": None}]},
                "new": {"kept": 1, "dropped": None},
            },
        }
        answer = await send(admin, "PATCH", path_of(product), {"metadata": patch})
        assert answer.status_code == 200
        assert answer.json()["metadata"] == METADATA | {
            "tags": ["pine"],
            "seo_title": None,
            "specifications": {
                "size": {"width_mm": 420, "depth_mm": [1, None, {"a": None}]},
                "new": {"kept": 1},
            },
        }
        assert (await admin.get(path_of(product))).json() == answer.json()

    async def test_null_empties_the_metadata(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await send(admin, "PATCH", path_of(product), {"metadata": None})
        assert answer.status_code == 200
        assert answer.json()["metadata"] == EMPTY_METADATA
        found = await admin.get(PRODUCTS, params={"tag": "oak"})
        assert found.json()["items"] == []

    async def test_a_metadata_change_is_a_product_change(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await send(admin, "PATCH", path_of(product), {"metadata": {"seo_title": "New"}})
        assert answer.headers["ETag"] == '"2"'
        assert answer.json()["version"] == 2
        assert answer.json()["updated_at"] > product["updated_at"]

    async def test_422_a_merge_beyond_a_limit_changes_nothing(self, admin: AsyncClient) -> None:
        full = {f"key{number}": number for number in range(200)}
        product = await create_product(admin, metadata={"specifications": full})
        patch = {"name": "New", "metadata": {"specifications": {"one_more": 1}}}
        answer = await send(admin, "PATCH", path_of(product), patch)
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid"
        assert pointers(answer) == ["#/metadata/specifications"]
        assert answer.json()["errors"][0]["code"] == "specifications_keys"
        assert (await admin.get(path_of(product))).json() == product

    async def test_a_full_metadata_can_swap_a_key(self, admin: AsyncClient) -> None:
        full = {f"key{number}": number for number in range(200)}
        product = await create_product(admin, metadata={"specifications": full})
        patch = {"metadata": {"specifications": {"key0": None, "one_more": 1}}}
        answer = await send(admin, "PATCH", path_of(product), patch)
        assert answer.status_code == 200
        assert len(answer.json()["metadata"]["specifications"]) == 200

    @pytest.mark.parametrize("held", ['"1"', '"1.1"', '"1.99"', '"7", "1"', "*"])
    async def test_a_form_that_shows_stock_can_save(
        self, admin: AsyncClient, product: dict[str, Any], held: str
    ) -> None:
        answer = await admin.patch(
            path_of(product), json={"name": "New"}, headers=MERGE_PATCH | {"If-Match": held}
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize("held", ['"2"', '"2.1"', '"11"', 'W/"1"', "1", '"', '""', '"0"'])
    async def test_412_shows_the_current_etag(
        self, admin: AsyncClient, product: dict[str, Any], held: str
    ) -> None:
        answer = await admin.patch(
            path_of(product), json={"name": "New"}, headers=MERGE_PATCH | {"If-Match": held}
        )
        assert answer.status_code == 412
        assert answer.json()["code"] == "precondition_failed"
        assert answer.headers["ETag"] == '"1"'
        assert (await admin.get(path_of(product))).json() == product

    async def test_428(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        answer = await admin.patch(path_of(product), json={"name": "New"}, headers=MERGE_PATCH)
        assert answer.status_code == 428
        assert answer.json()["code"] == "precondition_required"

    async def test_400(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        answer = await admin.patch(path_of(product), content=BROKEN, headers=MERGE_PATCH | ANY)
        assert answer.status_code == 400

    async def test_401(self, anonymous: AsyncClient) -> None:
        answer = await send(anonymous, "PATCH", f"{PRODUCTS}/1", {})
        assert answer.status_code == 401

    async def test_403(
        self, staff: AsyncClient, clerk: AsyncClient, product: dict[str, Any]
    ) -> None:
        for client in (staff, clerk):
            answer = await send(client, "PATCH", path_of(product), {"name": "New"})
            assert answer.status_code == 403

    async def test_404(self, admin: AsyncClient) -> None:
        answer = await send(admin, "PATCH", f"{PRODUCTS}/{NOBODYS}", {})
        assert answer.status_code == 404

    @pytest.mark.parametrize("member", ["sku", "barcode"])
    async def test_409(self, admin: AsyncClient, product: dict[str, Any], member: str) -> None:
        await create_product(admin, **{member: "taken"})
        answer = await send(admin, "PATCH", path_of(product), {member: " TAKEN "})
        assert answer.status_code == 409
        assert answer.json()["code"] == f"{member}_taken"
        assert (await admin.get(path_of(product))).json() == product

    async def test_415_says_what_is_taken(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await admin.patch(path_of(product), content=b"{}", headers=TEXT | ANY)
        assert answer.status_code == 415
        assert answer.headers["Accept-Patch"] == "application/merge-patch+json, application/json"

    @pytest.mark.parametrize("kind", ["category", "supplier"])
    async def test_422_unknown_reference(
        self, admin: AsyncClient, product: dict[str, Any], kind: str
    ) -> None:
        answer = await send(admin, "PATCH", path_of(product), {f"{kind}_id": NOBODYS})
        assert answer.status_code == 422
        assert answer.json()["code"] == f"unknown_{kind}"
        assert pointers(answer) == [f"#/{kind}_id"]

    @pytest.mark.parametrize("member", ["quantity_in_stock", "colour", "id", "currency"])
    async def test_422_unknown_member(
        self, admin: AsyncClient, product: dict[str, Any], member: str
    ) -> None:
        answer = await send(admin, "PATCH", path_of(product), {member: 1})
        assert answer.status_code == 422
        assert pointers(answer) == [f"#/{member}"]


class TestDeleteProduct:
    async def test_deletes(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        answer = await admin.delete(path_of(product), headers={"If-Match": '"1"'})
        assert answer.status_code == 204
        assert answer.content == b""
        assert (await admin.get(path_of(product))).status_code == 404
        assert (await admin.get(f"{path_of(product)}/metadata")).status_code == 404
        assert (await admin.get(PRODUCTS)).json()["items"] == []
        assert (await admin.delete(path_of(product), headers=ANY)).status_code == 404

    async def test_writes_off_what_remains(self, admin: AsyncClient, app: FastAPI) -> None:
        product = await create_product(admin, quantity_in_stock=24)
        assert (await admin.delete(path_of(product), headers=ANY)).status_code == 204
        opening, write_off = await movements(app, product["id"])
        assert (opening.quantity, opening.on_hand_after, opening.reason) == (24, 24, None)
        assert (write_off.quantity, write_off.on_hand_after) == (-24, 0)
        assert write_off.reason == "product_deleted"
        assert opening.sku == write_off.sku == product["sku"]
        reads = app.state.database.reads
        documents = await reads.all(select(StockDocument.kind).order_by(StockDocument.id))
        assert [row.kind for row in documents] == [DocumentKind.OPENING, DocumentKind.ADJUSTMENT]
        assert await reads.all(select(StockLevel.product_id)) == []
        assert await reads.all(select(StockTotal.product_id)) == []

    async def test_without_stock_nothing_is_booked(
        self, admin: AsyncClient, app: FastAPI, product: dict[str, Any]
    ) -> None:
        await admin.delete(path_of(product), headers=ANY)
        assert await movements(app, product["id"]) == []
        assert await app.state.database.reads.all(select(StockDocument.id)) == []

    async def test_leaves_a_tombstone_in_the_search_store(
        self, admin: AsyncClient, app: FastAPI, product: dict[str, Any]
    ) -> None:
        await until_synced(admin, product)
        await admin.delete(path_of(product), headers=ANY)
        row = await app.state.database.reads.first(
            select(ProductSync.operation, ProductSync.version)
        )
        assert (row.operation, row.version) == (SyncOperation.DELETE, 2)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (document := await _document(app, product["id"]))["deleted"]:
            assert time.monotonic() < deadline, "the tombstone does not arrive"
            await asyncio.sleep(0.01)
        assert document["version"] == 2
        assert "specifications" not in document

    async def test_frees_sku_barcode_and_tags(self, admin: AsyncClient) -> None:
        body = complete()
        product = await create_product(admin, **body)
        await admin.delete(path_of(product), headers=ANY)
        again = await create_product(admin, **body)
        assert again["id"] > product["id"]
        found = await admin.get(PRODUCTS, params={"tag": "oak"})
        assert [item["id"] for item in found.json()["items"]] == [again["id"]]

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.delete(f"{PRODUCTS}/1", headers=ANY)).status_code == 401

    async def test_403(
        self, staff: AsyncClient, clerk: AsyncClient, product: dict[str, Any]
    ) -> None:
        for client in (staff, clerk):
            assert (await client.delete(path_of(product), headers=ANY)).status_code == 403

    async def test_404(self, admin: AsyncClient) -> None:
        assert (await admin.delete(f"{PRODUCTS}/{NOBODYS}", headers=ANY)).status_code == 404

    async def test_412_shows_the_current_etag(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await admin.delete(path_of(product), headers=STALE)
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"1"'
        assert (await admin.get(path_of(product))).status_code == 200

    async def test_422(self, admin: AsyncClient) -> None:
        assert (await admin.delete(f"{PRODUCTS}/abc", headers=ANY)).status_code == 422

    async def test_428(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        assert (await admin.delete(path_of(product))).status_code == 428


class TestGetProductMetadata:
    async def test_shares_the_version_of_its_product(
        self, admin: AsyncClient, staff: AsyncClient, product: dict[str, Any]
    ) -> None:
        path = f"{path_of(product)}/metadata"
        answer = await staff.get(path)
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"1"'
        assert answer.headers["Metadata-Sync"] in {"synced", "pending"}
        assert answer.json() == METADATA
        await send(admin, "PATCH", path_of(product), {"name": "New"})
        assert (await staff.get(path)).headers["ETag"] == '"2"'

    async def test_is_empty_when_none_was_given(self, admin: AsyncClient) -> None:
        product = await create_product(admin)
        assert (await admin.get(f"{path_of(product)}/metadata")).json() == EMPTY_METADATA

    async def test_304(self, staff: AsyncClient, product: dict[str, Any]) -> None:
        answer = await staff.get(f"{path_of(product)}/metadata", headers={"If-None-Match": '"1"'})
        assert answer.status_code == 304
        assert answer.headers["ETag"] == '"1"'

    async def test_needs_no_search_store(
        self, staff: AsyncClient, mongo_away: None, product: dict[str, Any]
    ) -> None:
        answer = await staff.get(f"{path_of(product)}/metadata")
        assert answer.status_code == 200
        assert answer.headers["Metadata-Sync"] == "pending"
        assert answer.json() == METADATA

    async def test_401(self, anonymous: AsyncClient) -> None:
        assert (await anonymous.get(f"{PRODUCTS}/1/metadata")).status_code == 401

    async def test_404(self, staff: AsyncClient) -> None:
        answer = await staff.get(f"{PRODUCTS}/{NOBODYS}/metadata")
        assert answer.status_code == 404
        assert answer.json()["code"] == "product_not_found"

    async def test_422(self, staff: AsyncClient) -> None:
        assert (await staff.get(f"{PRODUCTS}/abc/metadata")).status_code == 422


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestChangeProductMetadata:
    """What replaceProductMetadata and updateProductMetadata refuse alike."""

    async def test_400(self, admin: AsyncClient, product: dict[str, Any], method: str) -> None:
        answer = await admin.request(
            method,
            f"{path_of(product)}/metadata",
            content=BROKEN,
            headers={"Content-Type": "application/json"} | ANY,
        )
        assert answer.status_code == 400

    async def test_401(self, anonymous: AsyncClient, method: str) -> None:
        answer = await send(anonymous, method, f"{PRODUCTS}/1/metadata", {})
        assert answer.status_code == 401

    async def test_403(
        self, staff: AsyncClient, clerk: AsyncClient, product: dict[str, Any], method: str
    ) -> None:
        for client in (staff, clerk):
            answer = await send(client, method, f"{path_of(product)}/metadata", {})
            assert answer.status_code == 403

    async def test_404(self, admin: AsyncClient, method: str) -> None:
        answer = await send(admin, method, f"{PRODUCTS}/{NOBODYS}/metadata", {})
        assert answer.status_code == 404

    async def test_412_shows_the_current_etag(
        self, admin: AsyncClient, product: dict[str, Any], method: str
    ) -> None:
        answer = await admin.request(method, f"{path_of(product)}/metadata", json={}, headers=STALE)
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"1"'

    async def test_415(self, admin: AsyncClient, product: dict[str, Any], method: str) -> None:
        answer = await admin.request(
            method, f"{path_of(product)}/metadata", content=b"{}", headers=TEXT | ANY
        )
        assert answer.status_code == 415

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"colour": "red"}, "#/colour"),
            ({"tags": None}, "#/tags"),
            ({"tags": ["a", "a"]}, "#/tags"),
            ({"tags": ["x" * 51]}, "#/tags/0"),
            ({"tags": [f"tag {number}" for number in range(51)]}, "#/tags"),
            ({"specifications": None}, "#/specifications"),
            ({"specifications": {"a.b": 1}}, "#/specifications"),
            ({"specifications": {"$set": 1}}, "#/specifications"),
            ({"seo_description": "x" * 301}, "#/seo_description"),
            ({"vendor_notes": 5}, "#/vendor_notes"),
        ],
    )
    async def test_422_points_at_the_member(
        self,
        admin: AsyncClient,
        product: dict[str, Any],
        method: str,
        body: dict[str, Any],
        pointer: str,
    ) -> None:
        answer = await send(admin, method, f"{path_of(product)}/metadata", body)
        assert answer.status_code == 422
        assert pointers(answer) == [pointer]
        assert (await admin.get(path_of(product))).json() == product

    async def test_428(self, admin: AsyncClient, product: dict[str, Any], method: str) -> None:
        answer = await admin.request(method, f"{path_of(product)}/metadata", json={})
        assert answer.status_code == 428

    async def test_raises_the_version_of_the_product(
        self, admin: AsyncClient, product: dict[str, Any], method: str
    ) -> None:
        answer = await send(admin, method, f"{path_of(product)}/metadata", {"seo_title": "New"})
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"2"'
        assert answer.headers["Metadata-Sync"] == "pending"
        read = (await admin.get(path_of(product))).json()
        assert read["version"] == 2
        assert read["updated_at"] > product["updated_at"]
        assert read["metadata"] == answer.json()


class TestReplaceProductMetadata:
    async def test_absent_members_are_empty(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        body = {"tags": ["pine"], "vendor_notes": None}
        answer = await send(admin, "PUT", f"{path_of(product)}/metadata", body)
        assert answer.status_code == 200
        assert answer.json() == EMPTY_METADATA | {"tags": ["pine"]}

    async def test_keeps_null_in_specifications(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        body = METADATA | {"specifications": {"unknown": None}}
        answer = await send(admin, "PUT", f"{path_of(product)}/metadata", body)
        assert answer.json() == body

    @pytest.mark.parametrize(
        ("old", "new"), [(1, True), (1, 1.0), (False, 0), ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    )
    async def test_stores_a_value_that_python_holds_for_equal(
        self, admin: AsyncClient, old: object, new: object
    ) -> None:
        product = await create_product(admin, metadata={"specifications": {"it": old}})
        body = {"specifications": {"it": new}}
        answer = await send(admin, "PUT", f"{path_of(product)}/metadata", body)
        assert answer.headers["ETag"] == '"2"'
        assert (await admin.get(f"{path_of(product)}/metadata")).content == answer.content

    async def test_the_same_again_changes_nothing(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        answer = await send(admin, "PUT", f"{path_of(product)}/metadata", METADATA)
        assert answer.headers["ETag"] == '"1"'
        assert (await admin.get(path_of(product))).json() == product


class TestUpdateProductMetadata:
    async def test_merges_down_into_specifications(
        self, admin: AsyncClient, product: dict[str, Any]
    ) -> None:
        patch = {
            "care_instructions": None,
            "specifications": {"size": {"height_mm": None}, "finish": {"oil": True, "wax": None}},
        }
        answer = await send(admin, "PATCH", f"{path_of(product)}/metadata", patch)
        assert answer.status_code == 200
        assert answer.json() == METADATA | {
            "care_instructions": None,
            "specifications": {
                "material": "oak",
                "size": {"width_mm": 420},
                "finish": {"oil": True},
            },
        }

    async def test_moves_the_tags_along(self, admin: AsyncClient, product: dict[str, Any]) -> None:
        await send(admin, "PATCH", f"{path_of(product)}/metadata", {"tags": ["Oak", "NEW"]})
        for tag, count in (("oak", 1), ("new", 1), ("handmade", 0)):
            found = await admin.get(PRODUCTS, params={"tag": tag})
            assert len(found.json()["items"]) == count

    async def test_422_a_merge_beyond_a_limit_changes_nothing(self, admin: AsyncClient) -> None:
        deep: dict[str, Any] = {}
        for _ in range(15):
            deep = {"a": deep}
        product = await create_product(admin, metadata={"specifications": deep})
        deeper: dict[str, Any] = {"a": {"b": {}}}
        for _ in range(14):
            deeper = {"a": deeper}
        answer = await send(
            admin, "PATCH", f"{path_of(product)}/metadata", {"specifications": {"a": deeper}}
        )
        assert answer.status_code == 422
        assert pointers(answer) == ["#/specifications"]
        assert answer.json()["errors"][0]["code"] == "specifications_depth"
        assert (await admin.get(path_of(product))).json() == product


async def _document(app: FastAPI, product_id: int) -> dict[str, Any]:
    document: dict[str, Any] = await app.state.mongo.collection().find_one({"_id": product_id})
    return document
