"""The base of every repository: it flushes, never commits, and speaks of no HTTP."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.kit.clock import utc_now
from inventory_api.kit.constraints import violated_constraint
from inventory_api.kit.errors import AppError

ModelT = TypeVar("ModelT", bound=Any)


class Repository(Generic[ModelT]):
    """Loads and stores entities of one model within the caller's transaction."""

    model: ClassVar[type[Any]]
    errors: ClassVar[Mapping[str, Callable[[], AppError]]] = {}
    """Name of a constraint → the error that its violation is."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def get(self, entity_id: int) -> ModelT | None:
        """The entity, locked: changes to it queue here, and each reads the one before.

        The version still decides, since another node of a cluster does not see the lock.
        """
        return await self.session.get(self.model, entity_id, with_for_update=True)

    async def add(self, entity: ModelT) -> ModelT:
        """Insert, with both timestamps set; a violated constraint surfaces here."""
        entity.created_at = entity.updated_at = utc_now()
        self.session.add(entity)
        await self.flush()
        return entity

    async def change(
        self, entity: ModelT, values: Mapping[str, Any], *, touch: bool = False
    ) -> bool:
        """Set what differs; the version and `updated_at` rise only when something does.

        Args:
            touch: raise them all the same, for a change that lies outside of the row.

        Returns:
            Whether anything was written.
        """
        changed = {name: value for name, value in values.items() if getattr(entity, name) != value}
        if not changed and not touch:
            return False
        for name, value in changed.items():
            setattr(entity, name, value)
        entity.updated_at = utc_now()
        await self.flush()
        return True

    async def remove(self, entity: ModelT) -> None:
        await self.session.delete(entity)
        await self.flush()

    async def flush(self) -> None:
        """Raises: the error that `errors` has for a violated constraint."""
        try:
            await self.session.flush()
        except exc.DBAPIError as error:
            name = violated_constraint(error, self.model.metadata)
            if name is None or name not in self.errors:
                raise
            raise self.errors[name]() from error
