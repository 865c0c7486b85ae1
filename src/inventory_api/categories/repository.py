"""Categories in SQL."""

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Row, bindparam, exc, func, select

from inventory_api.categories.errors import CategoryInUse, CategoryNameTaken
from inventory_api.categories.schemas import CategoryQuery, CategorySort
from inventory_api.kit.constraints import violated_constraint
from inventory_api.kit.repository import Repository
from inventory_api.kit.sorting import Listing, Sorting, SortKey
from inventory_api.kit.text import canonical
from inventory_api.models import Category, Product
from inventory_api.stores.sql import ReadSession

_COLUMNS = (
    Category.id,
    Category.name,
    Category.name_key,
    Category.description,
    Category.version,
    Category.created_at,
    Category.updated_at,
)
_BY_ID = select(*_COLUMNS).where(Category.id == bindparam("category_id"))

SORTING = Sorting(
    Category.id,
    {
        CategorySort.ID: SortKey(Category.id),
        CategorySort.ID_DOWN: SortKey(Category.id, descending=True),
        CategorySort.NAME: SortKey(Category.name_key),
        CategorySort.NAME_DOWN: SortKey(Category.name_key, descending=True),
    },
)
_LISTING = Listing(_COLUMNS, SORTING)


class CategoryRepository(Repository[Category]):
    model = Category
    errors: ClassVar = {"uq_categories_name_key": CategoryNameTaken}

    async def remove(self, category: Category) -> None:
        """Raises: CategoryInUse: the foreign key holds it; the answer says for how many."""
        category_id = category.id
        try:
            await super().remove(category)
        except exc.DBAPIError as error:
            if violated_constraint(error, Product.metadata) != "fk_products_category_id_categories":
                raise
            await self.session.rollback()
            counted = select(func.count()).where(Product.category_id == category_id)
            raise CategoryInUse(await self.session.scalar(counted) or 0) from error


class CategoryReads:
    def __init__(self, reads: ReadSession) -> None:
        self._reads = reads

    async def one(self, category_id: int) -> Row[Any] | None:
        return await self._reads.first(_BY_ID, {"category_id": category_id})

    async def page(
        self, query: CategoryQuery, start: list[str | int] | None, limit: int
    ) -> Sequence[Row[Any]]:
        return await self._reads.all(_LISTING.page(_conditions(query), query.sort, start, limit))

    async def count(self, query: CategoryQuery) -> int:
        return await self._reads.count(_LISTING.count(_conditions(query)))


def _conditions(query: CategoryQuery) -> list[ColumnElement[bool]]:
    if query.q is None:
        return []
    return [Category.name_key.contains(canonical(query.q), autoescape=True)]
