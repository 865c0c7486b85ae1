"""What can go wrong with categories.

CategoryNotFound   404  category_not_found
CategoryNameTaken  409  category_name_taken
CategoryInUse      409  category_in_use
"""

from inventory_api.kit.errors import Conflict, NotFound


class CategoryNotFound(NotFound):
    code = "category_not_found"
    title = "Category not found"
    default_detail = "There is no category with this id."


class CategoryNameTaken(Conflict):
    code = "category_name_taken"
    title = "Category name taken"
    default_detail = "There is a category of this name already, if perhaps in other letter case."


class CategoryInUse(Conflict):
    code = "category_in_use"
    title = "Category in use"

    def __init__(self, products: int) -> None:
        """Args: products: how many products hold it."""
        super().__init__(
            f"{products} product(s) are in this category.", extensions={"products": products}
        )
