"""Accounts in the contract."""

from typing import Annotated, Literal

from pydantic import Field

from inventory_api.kit.schemas import (
    EMAIL_PATTERN,
    Id,
    InputSchema,
    OutputSchema,
    Trimmed,
    UniqueText,
    UtcTime,
)
from inventory_api.models import Role

PASSWORD_MIN, PASSWORD_MAX = 15, 128

Username = Annotated[
    str,
    Field(
        min_length=3, max_length=64, description="Unique without regard to case.", examples=["kim"]
    ),
    Trimmed,
    UniqueText,
]
Email = Annotated[
    str,
    Field(
        max_length=254,
        pattern=EMAIL_PATTERN,
        description="Unique without regard to case.",
        examples=["kim@shop.example"],
    ),
    Trimmed,
    UniqueText,
]
NewPassword = Annotated[
    str,
    Field(
        min_length=PASSWORD_MIN,
        max_length=PASSWORD_MAX,
        description="Any characters; length is what counts.",
        examples=["a long enough sentence"],
    ),
]


class SignUp(InputSchema):
    """A new account; it gets the role staff."""

    username: Username
    email: Email
    password: NewPassword


class LogIn(InputSchema):
    """What one signs in with."""

    email: Annotated[str, Field(max_length=254, examples=["kim@shop.example"])]
    password: Annotated[str, Field(max_length=4_096, examples=["a long enough sentence"])]


class User(OutputSchema):
    """An account."""

    id: Annotated[Id, Field(examples=[1])]
    username: Annotated[str, Field(examples=["kim"])]
    email: Annotated[str, Field(examples=["kim@shop.example"])]
    role: Annotated[Role, Field(examples=["staff"])]
    is_active: Annotated[bool, Field(description="Whether it may sign in.", examples=[True])]
    created_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]
    updated_at: Annotated[UtcTime, Field(examples=["2026-01-31T09:30:00.000000Z"])]


class TokenPair(OutputSchema):
    """Tokens for a program, in the shape of RFC 6749 section 5.1."""

    access_token: Annotated[str, Field(examples=["eyJhbGciOi…"])]
    token_type: Annotated[Literal["Bearer"], Field(examples=["Bearer"])]
    expires_in: Annotated[
        int, Field(description="Life of the access token in seconds.", examples=[600])
    ]
    refresh_token: Annotated[str, Field(examples=["eyJhbGciOi…"])]
