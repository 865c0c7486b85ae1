"""Every SQL table and every Beanie document, one file each."""

from inventory_api.models.auth_session import AuthSession
from inventory_api.models.base import Base
from inventory_api.models.category import Category
from inventory_api.models.location import Location
from inventory_api.models.product import Product, ProductStatus
from inventory_api.models.product_document import ProductDocument
from inventory_api.models.product_sync import ProductSync, SyncOperation
from inventory_api.models.product_tag import ProductTag
from inventory_api.models.stock import (
    DocumentKind,
    StockDocument,
    StockLevel,
    StockMovement,
    StockTotal,
)
from inventory_api.models.supplier import Supplier
from inventory_api.models.user import Role, User

__all__ = [
    "AuthSession",
    "Base",
    "Category",
    "DocumentKind",
    "Location",
    "Product",
    "ProductDocument",
    "ProductStatus",
    "ProductSync",
    "ProductTag",
    "Role",
    "StockDocument",
    "StockLevel",
    "StockMovement",
    "StockTotal",
    "Supplier",
    "SyncOperation",
    "User",
]
