"""What the operations on categories require."""

from typing import Annotated

from fastapi import Depends, Path

from inventory_api.categories.errors import CategoryNotFound
from inventory_api.categories.repository import CategoryReads, CategoryRepository
from inventory_api.kit.schemas import ParameterId
from inventory_api.models import Category
from inventory_api.stores.sql import ReadSessionDep, WriteSessionDep

CategoryId = Annotated[ParameterId, Path(description="Id of the category.", examples=[1])]


async def category_repository(session: WriteSessionDep) -> CategoryRepository:
    return CategoryRepository(session)


async def category_reads(reads: ReadSessionDep) -> CategoryReads:
    return CategoryReads(reads)


CategoryRepositoryDep = Annotated[CategoryRepository, Depends(category_repository)]
CategoryReadsDep = Annotated[CategoryReads, Depends(category_reads)]


async def category_by_id(category_id: CategoryId, categories: CategoryRepositoryDep) -> Category:
    """Raises: CategoryNotFound."""
    category = await categories.get(category_id)
    if category is None:
        raise CategoryNotFound
    return category


CategoryById = Annotated[Category, Depends(category_by_id)]
"""A category that is about to be changed."""
