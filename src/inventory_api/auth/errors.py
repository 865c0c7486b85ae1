"""What can go wrong with accounts.

Unauthenticated
├── InvalidCredentials    401  invalid_credentials
└── InvalidToken          401  unauthenticated
Conflict
├── UsernameTaken         409  username_taken
└── EmailTaken            409  email_taken
Forbidden
├── RoleForbids           403  forbidden
└── SignupDisabled        403  signup_disabled
Unavailable
├── TooManyLogins         503  unavailable
└── AuthenticationDown    503  unavailable
"""

from inventory_api.kit.errors import Conflict, Forbidden, Unauthenticated, Unavailable

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class InvalidToken(Unauthenticated):
    """Missing, forged, expired or revoked: which one is nobody's business outside."""

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class InvalidCredentials(Unauthenticated):
    """Unknown e-mail, wrong password and disabled account answer alike."""

    code = "invalid_credentials"
    title = "Wrong e-mail or password"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.", headers=_CHALLENGE)


class RoleForbids(Forbidden):
    default_detail = "Your role does not allow this."


class SignupDisabled(Forbidden):
    code = "signup_disabled"
    default_detail = "Accounts are made by an administrator here."


class UsernameTaken(Conflict):
    code = "username_taken"
    title = "User name taken"
    default_detail = "Somebody has this user name already."


class EmailTaken(Conflict):
    code = "email_taken"
    title = "E-mail address taken"
    default_detail = "There is an account for this e-mail address already."


class TooManyLogins(Unavailable):
    default_detail = "Too many sign-ins at once: try again shortly."


class AuthenticationDown(Unavailable):
    """Neither Redis nor MySQL can say whether the session is alive: nobody is let in or out."""
