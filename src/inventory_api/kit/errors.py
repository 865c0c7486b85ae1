"""The errors that a user of the service can meet, by family.

    AppError                      code, status and title per class
    ├── BadRequest           400
    ├── Unauthenticated      401
    ├── Forbidden            403
    ├── NotFound             404
    ├── Conflict             409
    ├── PreconditionFailed   412
    ├── UnsupportedMediaType 415
    ├── Invalid              422
    ├── PreconditionRequired 428
    └── Unavailable          503

A feature derives its own from these (`class SkuTaken(Conflict)`); `http/problems.py` alone turns
them into responses, in the form of RFC 9457.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with one member of the input."""

    pointer: str
    """RFC 6901 pointer into the body, or `#/query/<name>`, `#/path/<name>`, `#/header/<name>`."""
    detail: str
    code: str


class AppError(Exception):
    """A refusal with a stable code. Raising it rolls the request's transaction back.

    Args:
        detail: a sentence for people about this occurrence; the class's own by default.
        flaws: the members at fault, where there are any.
        headers: to be sent with the answer.
        extensions: further members of the problem document.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    default_detail: ClassVar[str] = ""

    def __init__(
        self,
        detail: str | None = None,
        *,
        flaws: Sequence[Flaw] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail or self.title
        self.flaws = tuple(flaws)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})
        super().__init__(self.detail)


class BadRequest(AppError):
    code = "bad_request"
    status = 400
    title = "Bad request"


class Unauthenticated(AppError):
    code = "unauthenticated"
    status = 401
    title = "Not signed in"
    default_detail = "Sign in, or send a valid access token."


class Forbidden(AppError):
    code = "forbidden"
    status = 403
    title = "Not allowed"


class NotFound(AppError):
    code = "not_found"
    status = 404
    title = "Not found"
    default_detail = "There is nothing at this address."


class Conflict(AppError):
    code = "conflict"
    status = 409
    title = "Conflict"


class PreconditionFailed(AppError):
    code = "precondition_failed"
    status = 412
    title = "Changed in the meantime"
    default_detail = "The resource has changed since it was read: read it again, then retry."


class UnsupportedMediaType(AppError):
    code = "unsupported_media_type"
    status = 415
    title = "Unsupported media type"


class Invalid(AppError):
    code = "invalid"
    status = 422
    title = "Invalid input"


class PreconditionRequired(AppError):
    code = "precondition_required"
    status = 428
    title = "Precondition required"
    default_detail = "Send If-Match with the ETag that was read, so that no change is lost."


class Unavailable(AppError):
    code = "unavailable"
    status = 503
    title = "Temporarily unavailable"
    default_detail = "The service can't do this at the moment: try again shortly."

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        """Args: retry_after: seconds after which trying again makes sense."""
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
