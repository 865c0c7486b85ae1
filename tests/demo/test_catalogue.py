"""The demo catalogue is complete, consistent and within the limits of the API."""

import re
from datetime import date, timedelta
from decimal import Decimal

import pytest

from inventory_api.demo.catalogue import DemoProduct, categories, ean13, products, suppliers

TODAY = date(2025, 3, 14)


@pytest.fixture(scope="module")
def catalogue() -> list[DemoProduct]:
    return products(TODAY)


def test_counts(catalogue: list[DemoProduct]) -> None:
    assert (len(categories()), len(suppliers()), len(catalogue)) == (12, 20, 500)


def test_same_output_on_each_call_even_if_a_caller_edits_it(catalogue: list[DemoProduct]) -> None:
    for product in products(TODAY):
        product.metadata.tags.clear()
        for value in product.metadata.specifications.values():
            if isinstance(value, list | dict):
                value.clear()
    assert products(TODAY) == catalogue


def test_only_expiry_dates_depend_on_today(catalogue: list[DemoProduct]) -> None:
    later = products(TODAY + timedelta(days=10))
    for now, then in zip(catalogue, later, strict=True):
        assert (now.sku, now.name, now.quantity_in_stock) == (
            then.sku,
            then.name,
            then.quantity_in_stock,
        )
        if now.expiry_date is not None:
            assert then.expiry_date == now.expiry_date + timedelta(days=10)


def test_keys_are_unique_ignoring_case(catalogue: list[DemoProduct]) -> None:
    barcodes = [p.barcode for p in catalogue if p.barcode]
    for keys in (
        [p.sku for p in catalogue],
        [p.name for p in catalogue],
        barcodes,
        [c.name for c in categories()],
        [s.name for s in suppliers()],
        [s.email for s in suppliers()],
        [s.phone for s in suppliers()],
    ):
        assert len({key.casefold() for key in keys}) == len(keys)


def test_check_digit_of_known_number() -> None:
    assert ean13("400638133393") == "4006381333931"


def test_barcodes_are_in_store_ean13(catalogue: list[DemoProduct]) -> None:
    barcodes = [p.barcode for p in catalogue if p.barcode]
    assert 0 < len(catalogue) - len(barcodes) < 60
    for barcode in barcodes:
        assert re.fullmatch(r"2\d{12}", barcode)
        # Counted from the right, as in the standard: every second digit weighs three.
        weighted = [int(d) * (3 if i % 2 else 1) for i, d in enumerate(reversed(barcode))]
        assert sum(weighted) % 10 == 0


def test_references_exist_and_are_all_used(catalogue: list[DemoProduct]) -> None:
    assert {p.category for p in catalogue} == {c.name for c in categories()}
    assert {p.supplier for p in catalogue} - {None} == {s.name for s in suppliers()}
    assert 0 < sum(p.supplier is None for p in catalogue) < 30


def test_text_limits(catalogue: list[DemoProduct]) -> None:
    for p in catalogue:
        assert re.fullmatch(r"[A-Z]{3}-\d{4}", p.sku)
        assert 1 <= len(p.name) <= 150
        assert "{" not in p.name
        assert ", ," not in p.name
        assert p.name == p.name.strip(" ,")
        assert 1 <= len(re.findall(r"\.(?:\s|$)", p.description)) <= 3
        assert 1 <= len(p.unit) <= 16
        assert len(p.metadata.seo_title) <= 150
        assert len(p.metadata.seo_description) <= 300


def test_prices_have_two_decimals_and_a_margin(catalogue: list[DemoProduct]) -> None:
    for p in catalogue:
        assert p.cost_price.as_tuple().exponent == p.selling_price.as_tuple().exponent == -2
        assert p.cost_price > 0
        assert Decimal("1.3") <= p.selling_price / p.cost_price <= Decimal("3")


def test_metadata(catalogue: list[DemoProduct]) -> None:
    for p in catalogue:
        tags = p.metadata.tags
        assert 2 <= len(tags) == len(set(tags)) <= 6
        assert all(tag and tag == tag.lower() for tag in tags)
        for key in p.metadata.specifications:
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", key)


def test_only_food_drink_and_cosmetics_expire(catalogue: list[DemoProduct]) -> None:
    expiring = [p for p in catalogue if p.expiry_date is not None]
    assert {p.category for p in expiring} == {"Pantry", "Tea, coffee and drinks", "Bath and body"}
    assert all(p.expiry_date > TODAY for p in expiring if p.expiry_date)
    assert any(p.expiry_date <= TODAY + timedelta(days=7) for p in expiring if p.expiry_date)
    assert all(p.expiry_date for p in catalogue if p.category == "Pantry")


def test_stock_and_status_are_distributed_like_a_real_shop(catalogue: list[DemoProduct]) -> None:
    low = sum(p.quantity_in_stock <= p.reorder_level for p in catalogue)
    out = sum(p.quantity_in_stock == 0 for p in catalogue)
    inactive = sum(p.status == "inactive" for p in catalogue)
    assert all(p.reorder_level > 0 and p.quantity_in_stock >= 0 for p in catalogue)
    assert 30 <= low <= 50
    assert 3 <= out <= 20
    assert 12 <= inactive <= 28


def test_suppliers_are_invented() -> None:
    for s in suppliers():
        assert s.email.endswith(".example")
        assert s.email.isascii()
        assert re.fullmatch(r"\+[\d ]+", s.phone)
    assert sum(not s.name.isascii() for s in suppliers()) >= 5
