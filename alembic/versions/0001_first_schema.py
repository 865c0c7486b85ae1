"""The first schema: catalogue, accounts, stock ledger, metadata outbox

Revision: 0001
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from inventory_api.models import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    # MySQL commits each statement by itself: a run that was killed goes on where it ended.
    "if_not_exists": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
_NUMBERED = _OPTIONS | {"sqlite_autoincrement": True}

_PRODUCT_REFERENCES = {
    "fk_products_category_id_categories": ("category_id", "categories"),
    "fk_products_supplier_id_suppliers": ("supplier_id", "suppliers"),
}
_TABLES = (
    "stock_totals",
    "stock_movements",
    "stock_levels",
    "product_tags",
    "stock_documents",
    "products",
    "auth_sessions",
    "users",
    "suppliers",
    "product_sync",
    "locations",
    "categories",
)


def upgrade() -> None:
    _create_tables()
    if op.get_bind().dialect.name == "sqlite":
        _name_foreign_keys()
    _create_main_location()


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table, if_exists=True)


def _create_tables() -> None:
    op.create_table(
        "categories",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("name_key", types.Key, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_categories"),
        sa.UniqueConstraint("name_key", name="uq_categories_name_key"),
        **_NUMBERED,
    )
    op.create_table(
        "locations",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("code_key", types.Key, nullable=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_locations"),
        sa.UniqueConstraint("code_key", name="uq_locations_code_key"),
        **_NUMBERED,
    )
    op.create_table(
        "product_sync",
        sa.Column("product_id", types.Id, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("operation", sa.String(32), nullable=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("payload", types.LongText, nullable=False),
        sa.Column("applied_version", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", types.UtcDateTime(), nullable=False),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.Column("last_error", sa.String(200), nullable=True),
        sa.Column("first_pending_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("product_id", name="pk_product_sync"),
        **_OPTIONS,
    )
    _create_index(
        "ix_product_sync_pending_dead_next_attempt_at",
        "product_sync",
        ["pending", "dead", "next_attempt_at"],
    )
    op.create_table(
        "suppliers",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("name_key", types.Key, nullable=False),
        sa.Column("contact_name", sa.String(150), nullable=True),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("phone", sa.String(50), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suppliers"),
        **_NUMBERED,
    )
    _create_index("ix_suppliers_name_key_id", "suppliers", ["name_key", "id"])
    op.create_table(
        "users",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("username_key", types.Key, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", types.Key, nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
        sa.UniqueConstraint("username_key", name="uq_users_username_key"),
        **_NUMBERED,
    )
    op.create_table(
        "auth_sessions",
        sa.Column("sid", sa.String(32), nullable=False),
        sa.Column("user_id", types.Id, nullable=False),
        sa.Column("refresh_digest", sa.String(64), nullable=False),
        sa.Column("previous_refresh_digest", sa.String(64), nullable=True),
        sa.Column("rotated_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime(), nullable=False),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True),
        sa.Column("user_agent", sa.String(255), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_auth_sessions_user_id_users"),
        sa.PrimaryKeyConstraint("sid", name="pk_auth_sessions"),
        **_OPTIONS,
    )
    _create_index("ix_auth_sessions_revoked_at", "auth_sessions", ["revoked_at"])
    _create_index("ix_auth_sessions_user_id", "auth_sessions", ["user_id"])
    op.create_table(
        "products",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("sku_key", types.Key, nullable=False),
        sa.Column("barcode", sa.String(64), nullable=True),
        sa.Column("barcode_key", types.Key, nullable=True),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("name_key", types.Key, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category_id", types.Id, nullable=True),
        sa.Column("supplier_id", types.Id, nullable=True),
        sa.Column("cost_price", types.Money(), nullable=False),
        sa.Column("selling_price", types.Money(), nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("reorder_level", sa.Integer(), nullable=False),
        sa.Column("expiry_date", sa.Date(), nullable=True),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.CheckConstraint("cost_price >= 0", name=op.f("ck_products_cost_price_not_negative")),
        sa.CheckConstraint(
            "reorder_level >= 0", name=op.f("ck_products_reorder_level_not_negative")
        ),
        sa.CheckConstraint(
            "selling_price >= 0", name=op.f("ck_products_selling_price_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name="fk_products_category_id_categories"
        ),
        sa.ForeignKeyConstraint(
            ["supplier_id"], ["suppliers.id"], name="fk_products_supplier_id_suppliers"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_products"),
        sa.UniqueConstraint("barcode_key", name="uq_products_barcode_key"),
        sa.UniqueConstraint("sku_key", name="uq_products_sku_key"),
        **_NUMBERED,
    )
    _create_index("ix_products_category_id_id", "products", ["category_id", "id"])
    _create_index("ix_products_created_at_id", "products", ["created_at", "id"])
    _create_index("ix_products_name_key_id", "products", ["name_key", "id"])
    _create_index("ix_products_selling_price_id", "products", ["selling_price", "id"])
    _create_index("ix_products_status_id", "products", ["status", "id"])
    _create_index("ix_products_supplier_id_id", "products", ["supplier_id", "id"])
    _create_index("ix_products_updated_at_id", "products", ["updated_at", "id"])
    op.create_table(
        "stock_documents",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("reference", sa.String(100), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("actor_id", types.Id, nullable=True),
        sa.Column("occurred_at", types.UtcDateTime(), nullable=False),
        sa.Column("recorded_at", types.UtcDateTime(), nullable=False),
        sa.Column("reverses", types.Id, nullable=True),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["users.id"], name="fk_stock_documents_actor_id_users"
        ),
        sa.ForeignKeyConstraint(
            ["reverses"], ["stock_documents.id"], name="fk_stock_documents_reverses_stock_documents"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_stock_documents"),
        sa.UniqueConstraint("reverses", name="uq_stock_documents_reverses"),
        **_NUMBERED,
    )
    _create_index("ix_stock_documents_kind_id", "stock_documents", ["kind", "id"])
    op.create_table(
        "product_tags",
        sa.Column("tag_key", types.Key, nullable=False),
        sa.Column("product_id", types.Id, nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
            name="fk_product_tags_product_id_products",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tag_key", "product_id", name="pk_product_tags"),
        **_OPTIONS,
    )
    _create_index("ix_product_tags_product_id", "product_tags", ["product_id"])
    op.create_table(
        "stock_levels",
        sa.Column("product_id", types.Id, autoincrement=False, nullable=False),
        sa.Column("location_id", types.Id, autoincrement=False, nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "reserved >= 0 AND reserved <= on_hand",
            name=op.f("ck_stock_levels_reserved_within_on_hand"),
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["locations.id"], name="fk_stock_levels_location_id_locations"
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name="fk_stock_levels_product_id_products"
        ),
        sa.PrimaryKeyConstraint("product_id", "location_id", name="pk_stock_levels"),
        **_OPTIONS,
    )
    _create_index("ix_stock_levels_location_id", "stock_levels", ["location_id"])
    op.create_table(
        "stock_movements",
        sa.Column("id", types.Id, nullable=False),
        sa.Column("document_id", types.Id, nullable=False),
        sa.Column("product_id", types.Id, nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("location_id", types.Id, nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("on_hand_after", sa.BigInteger(), nullable=False),
        sa.Column("unit_cost", types.Money(), nullable=True),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("occurred_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["stock_documents.id"],
            name="fk_stock_movements_document_id_stock_documents",
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["locations.id"], name="fk_stock_movements_location_id_locations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_stock_movements"),
        **_NUMBERED,
    )
    _create_index("ix_stock_movements_document_id", "stock_movements", ["document_id"])
    _create_index(
        "ix_stock_movements_product_id_location_id_id",
        "stock_movements",
        ["product_id", "location_id", "id"],
    )
    _create_index(
        "ix_stock_movements_product_id_occurred_at",
        "stock_movements",
        ["product_id", "occurred_at"],
    )
    op.create_table(
        "stock_totals",
        sa.Column("product_id", types.Id, autoincrement=False, nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "reserved >= 0 AND reserved <= on_hand",
            name=op.f("ck_stock_totals_reserved_within_on_hand"),
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name="fk_stock_totals_product_id_products"
        ),
        sa.PrimaryKeyConstraint("product_id", name="pk_stock_totals"),
        **_OPTIONS,
    )
    _create_index("ix_stock_totals_on_hand_product_id", "stock_totals", ["on_hand", "product_id"])


def _create_index(name: str, table: str, columns: list[str]) -> None:
    there = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    if name not in there:
        op.create_index(name, table, columns)


def _name_foreign_keys() -> None:
    """SQLite does not say which foreign key failed: triggers that run before it do."""
    for name, (column, parent) in _PRODUCT_REFERENCES.items():
        failed = f"SELECT RAISE(ABORT, 'FOREIGN KEY constraint failed: {name}');"
        for event in ("INSERT", f"UPDATE OF {column}"):
            op.execute(
                f"CREATE TRIGGER tr_{name}_{event.split()[0].lower()} BEFORE {event} ON products"
                f" WHEN NEW.{column} IS NOT NULL"
                f" AND NOT EXISTS (SELECT 1 FROM {parent} WHERE id = NEW.{column})"
                f" BEGIN {failed} END"
            )
        op.execute(
            f"CREATE TRIGGER tr_{name}_delete BEFORE DELETE ON {parent}"
            f" WHEN EXISTS (SELECT 1 FROM products WHERE {column} = OLD.id)"
            f" BEGIN {failed} END"
        )


def _create_main_location() -> None:
    now = datetime.now(UTC)
    locations = sa.table(
        "locations",
        sa.column("code"),
        sa.column("code_key"),
        sa.column("name"),
        sa.column("is_active"),
        sa.column("version"),
        sa.column("created_at", types.UtcDateTime()),
        sa.column("updated_at", types.UtcDateTime()),
    )
    if op.get_bind().scalar(sa.select(locations.c.code)) is not None:
        return
    op.bulk_insert(
        locations,
        [
            {
                "code": "MAIN",
                "code_key": "main",
                "name": "Main",
                "is_active": True,
                "version": 1,
                "created_at": now,
                "updated_at": now,
            }
        ],
    )
