"""Roles and what each may do: the only table of it."""

from enum import StrEnum

from inventory_api.models import Role


class Permission(StrEnum):
    READ = "read"
    WRITE_STOCK = "write_stock"
    WRITE_CATALOG = "write_catalog"
    ADMINISTER = "administer"


PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.STAFF: frozenset({Permission.READ}),
    Role.CLERK: frozenset({Permission.READ, Permission.WRITE_STOCK}),
    Role.ADMIN: frozenset(Permission),
}


def may(role: Role, permission: Permission) -> bool:
    return permission in PERMISSIONS[role]


def least_role(permission: Permission) -> Role:
    """The lowest role that has a permission; what the contract shows as `x-required-role`."""
    return next(role for role in Role if may(role, permission))
