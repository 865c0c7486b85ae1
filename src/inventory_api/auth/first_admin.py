"""The first administrator, made when there is none."""

import secrets
from dataclasses import dataclass

from inventory_api.auth.errors import EmailTaken, UsernameTaken
from inventory_api.auth.passwords import Passwords
from inventory_api.auth.repository import AccountReads, UserRepository
from inventory_api.kit.text import canonical
from inventory_api.models import Role, User
from inventory_api.stores.sql import Database, run_unit

USERNAME = "admin"
EMAIL = "admin@inventory.example"
_OTHER_EMAIL = "admin-{}@inventory.example"


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    email: str
    password: str


async def add_admin(
    database: Database, passwords: Passwords, *, username: str, email: str, password: str
) -> User:
    """Add an administrator, however many there are.

    Raises:
        UsernameTaken, EmailTaken
    """
    password_hash = await passwords.hash(password)
    return await run_unit(
        database,
        lambda session: UserRepository(session).add(
            User(
                username=username,
                username_key=canonical(username),
                email=email,
                email_key=canonical(email),
                role=Role.ADMIN,
                is_active=True,
                password_hash=password_hash,
            )
        ),
    )


async def ensure_first_admin(database: Database, passwords: Passwords) -> FirstAdmin | None:
    """Make one with a generated password when there is no active administrator.

    Returns:
        The new account, whose password is known only now; None when there was one.
    """
    password = secrets.token_urlsafe(15)
    username, email = USERNAME, EMAIL
    while not await AccountReads(database.reads).active_admins():
        try:
            await add_admin(database, passwords, username=username, email=email, password=password)
        except (UsernameTaken, EmailTaken):
            # By another start at this moment, or by somebody who is no active administrator.
            suffix = secrets.token_hex(3)
            username, email = f"{USERNAME}-{suffix}", _OTHER_EMAIL.format(suffix)
        else:
            return FirstAdmin(email, password)
    return None
