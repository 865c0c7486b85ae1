"""The reusable pieces of the contract: problem responses, headers, security schemes, tags."""

from typing import Any

_PROBLEMS: dict[int, tuple[str, str, str, str]] = {
    400: ("BadRequest", "The request can't be read.", "malformed_json", "Bad request"),
    401: ("Unauthorized", "Not signed in, or not any more.", "unauthenticated", "Not signed in"),
    403: ("Forbidden", "The role does not allow this.", "forbidden", "Not allowed"),
    404: ("NotFound", "There is nothing at this address.", "not_found", "Not found"),
    409: ("Conflict", "It contradicts what is stored; `code` says how.", "conflict", "Conflict"),
    412: (
        "PreconditionFailed",
        "It has changed since it was read; the answer's ETag is the current one.",
        "precondition_failed",
        "Changed in the meantime",
    ),
    413: ("ContentTooLarge", "The body is too large.", "content_too_large", "Content too large"),
    415: (
        "UnsupportedMediaType",
        "The body is not declared as JSON.",
        "unsupported_media_type",
        "Unsupported media type",
    ),
    422: ("UnprocessableContent", "Members can't be accepted.", "invalid", "Invalid input"),
    428: (
        "PreconditionRequired",
        "If-Match is missing.",
        "precondition_required",
        "Precondition required",
    ),
    429: ("TooManyRequests", "Try again later.", "too_many_requests", "Too many requests"),
    503: ("ServiceUnavailable", "Try again shortly.", "unavailable", "Temporarily unavailable"),
}

NAMES = {status: entry[0] for status, entry in _PROBLEMS.items()}

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The version of the resource, for If-Match and If-None-Match.",
        "required": True,
        "schema": {"type": "string", "examples": ['"3"']},
    },
    "Link": {
        "description": 'The next page as `rel="next"` (RFC 8288); absent on the last one.',
        "schema": {"type": "string", "examples": ['</api/products?cursor=Zm9v>; rel="next"']},
    },
    "Location": {
        "description": "Path of the new resource.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/api/products/1"]},
    },
    "MetadataSync": {
        "description": "Whether the metadata has reached the search store.",
        "required": True,
        "schema": {"type": "string", "enum": ["synced", "pending"], "examples": ["synced"]},
    },
    "RetryAfter": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "examples": [1]},
    },
    "SetCookie": {
        "description": "The session's cookies; httpOnly, out of reach for scripts.",
        "schema": {"type": "string", "examples": ["access_token=…; HttpOnly; Path=/"]},
    },
    "WWWAuthenticate": {
        "description": "The scheme by which to sign in.",
        "schema": {"type": "string", "examples": ["Bearer"]},
    },
}

_HEADER_FIELDS = {
    "MetadataSync": "Metadata-Sync",
    "RetryAfter": "Retry-After",
    "SetCookie": "Set-Cookie",
    "WWWAuthenticate": "WWW-Authenticate",
}
_PROBLEM_HEADERS = {
    401: ("WWWAuthenticate",),
    412: ("ETag",),
    429: ("RetryAfter",),
    503: ("RetryAfter",),
}

SECURITY_SCHEMES = {
    "bearerAuth": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token from `POST /token`, for programs.",
    },
    "cookieAuth": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-access_token",
        "description": (
            "Set by `POST /login`, sent by the browser. On plain http in development the cookie"
            " is named `access_token`."
        ),
    },
}

TAGS = [
    {"name": "accounts", "description": "Sign up, sign in, sign out."},
    {"name": "categories", "description": "Groups of products."},
    {"name": "contract", "description": "This description itself."},
    {"name": "health", "description": "For load balancers and operators."},
    {"name": "products", "description": "The catalogue, each product with its metadata."},
    {"name": "suppliers", "description": "Where products come from."},
]


def headers(*names: str) -> dict[str, Any]:
    """References to shared headers, for a response's `headers`."""
    return {
        _HEADER_FIELDS.get(name, name): {"$ref": f"#/components/headers/{name}"} for name in names
    }


def shared_responses() -> dict[str, Any]:
    """Every problem response, each with a named example."""
    return {
        name: _problem(status, description, code, title)
        for status, (name, description, code, title) in _PROBLEMS.items()
    }


def _problem(status: int, description: str, code: str, title: str) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": description,
        "instance": "/api/products/1",
        "code": code,
        "request_id": "4d1c3f0a9b7e4c7d8a52f7e1b2c3d4e5",
    }
    schema = "Problem"
    if status == 422:
        schema = "ValidationProblem"
        example["errors"] = [
            {"pointer": "#/name", "detail": "Field required", "code": "missing"},
        ]
    response: dict[str, Any] = {
        "description": description,
        "content": {
            "application/problem+json": {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "examples": {code: {"summary": title, "value": example}},
            }
        },
    }
    if names := _PROBLEM_HEADERS.get(status):
        response["headers"] = headers(*names)
    return response
