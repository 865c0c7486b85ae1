"""What can go wrong with suppliers.

SupplierNotFound   404  supplier_not_found
SupplierInUse      409  supplier_in_use
"""

from inventory_api.kit.errors import Conflict, NotFound


class SupplierNotFound(NotFound):
    code = "supplier_not_found"
    title = "Supplier not found"
    default_detail = "There is no supplier with this id."


class SupplierInUse(Conflict):
    code = "supplier_in_use"
    title = "Supplier in use"

    def __init__(self, products: int) -> None:
        """Args: products: how many products hold it."""
        super().__init__(
            f"{products} product(s) come from this supplier.", extensions={"products": products}
        )
