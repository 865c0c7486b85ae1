"""Which constraint failed, out of what the drivers say."""

import pytest
from sqlalchemy import exc

from inventory_api.kit.constraints import violated_constraint
from inventory_api.models import Base


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((1062, "Duplicate entry 'kit-1' for key 'uq_products_sku_key'"), "uq_products_sku_key"),
        (
            (1062, "Duplicate entry 'x' for key 'products.uq_products_sku_key'"),
            "uq_products_sku_key",
        ),
        (
            (
                1062,
                "Duplicate entry 'a' for key 'uq_users_email_key'' for key 'uq_products_sku_key'",
            ),
            "uq_products_sku_key",
        ),
        (
            (1062, "Duplicate entry 'a\nb' for key 'uq_products_barcode_key'"),
            "uq_products_barcode_key",
        ),
        (
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`t`.`products`,"
                " CONSTRAINT `fk_products_category_id_categories` FOREIGN KEY (`category_id`)"
                " REFERENCES `categories` (`id`))",
            ),
            "fk_products_category_id_categories",
        ),
        (
            (4025, "CONSTRAINT `ck_products_cost_price` failed for `t`.`products`"),
            "ck_products_cost_price",
        ),
        (
            (3819, "Check constraint 'ck_products_cost_price' is violated."),
            "ck_products_cost_price",
        ),
        (("UNIQUE constraint failed: products.sku_key",), "uq_products_sku_key"),
        (
            ("FOREIGN KEY constraint failed: fk_products_supplier_id_suppliers",),
            "fk_products_supplier_id_suppliers",
        ),
        (("CHECK constraint failed: ck_products_cost_price",), "ck_products_cost_price"),
        (("FOREIGN KEY constraint failed",), None),
        (("UNIQUE constraint failed: nowhere.a",), None),
        (("UNIQUE constraint failed: products.name_key",), None),
        ((1213, "Deadlock found when trying to get lock"), None),
        ((), None),
    ],
    ids=str,
)
def test_the_name_decides(arguments: tuple[object, ...], name: str | None) -> None:
    error = exc.IntegrityError("INSERT", {}, Exception(*arguments))
    assert violated_constraint(error, Base.metadata) == name
