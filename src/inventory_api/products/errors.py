"""What can go wrong with products.

ProductNotFound       404  product_not_found
SkuTaken              409  sku_taken
BarcodeTaken          409  barcode_taken
UnknownCategory       422  unknown_category
UnknownSupplier       422  unknown_supplier
InvalidMetadata       422  invalid
SortNotPossible       422  sort_not_possible
MetadataUnavailable   503  metadata_unavailable
"""

from inventory_api.kit.errors import Conflict, Flaw, Invalid, NotFound, Unavailable


class ProductNotFound(NotFound):
    code = "product_not_found"
    title = "Product not found"
    default_detail = "There is no product with this id."


class SkuTaken(Conflict):
    code = "sku_taken"
    title = "SKU taken"
    default_detail = "Another product has this SKU, if perhaps in other letter case."

    def __init__(self) -> None:
        super().__init__(extensions={"pointer": "#/sku"})


class BarcodeTaken(Conflict):
    code = "barcode_taken"
    title = "Barcode taken"
    default_detail = "Another product has this barcode."

    def __init__(self) -> None:
        super().__init__(extensions={"pointer": "#/barcode"})


class UnknownCategory(Invalid):
    code = "unknown_category"
    title = "Unknown category"

    def __init__(self) -> None:
        flaw = Flaw("#/category_id", "There is no category with this id", "unknown_category")
        super().__init__("There is no category with this id.", flaws=[flaw])


class UnknownSupplier(Invalid):
    code = "unknown_supplier"
    title = "Unknown supplier"

    def __init__(self) -> None:
        flaw = Flaw("#/supplier_id", "There is no supplier with this id", "unknown_supplier")
        super().__init__("There is no supplier with this id.", flaws=[flaw])


class InvalidMetadata(Invalid):
    default_detail = "The metadata would be beyond its limits after this change."


class SortNotPossible(Invalid):
    code = "sort_not_possible"
    title = "Sort not possible"

    def __init__(self) -> None:
        flaw = Flaw("#/query/sort", "Only sort=id goes with spec", "sort_not_possible")
        super().__init__("A search by specification is sorted by id.", flaws=[flaw])


class MetadataUnavailable(Unavailable):
    code = "metadata_unavailable"
    title = "Metadata search unavailable"
    default_detail = "Searching specifications is not possible at the moment: try again shortly."
