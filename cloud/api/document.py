"""The OpenAPI document: what FastAPI knows, and the errors, which are application/problem+json everywhere."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from cloud.api.problems import MEDIA_TYPE, Problem

ABOUT = """\
What the gateways measured, and what became of every sample. Times are UTC epoch milliseconds. Lists that can be long
come in pages: `limit` items and `next`, which is the parameter `after` of the following page. Errors are
application/problem+json (RFC 9457). The host answers only on its own machine: there are no users and roles yet.
"""
_ERRORS = {
    403: ("A page of another origin asks.", "a page of 'https://example.org' may not ask this host"),
    404: ("There is nothing of this name.", "no dead letter 17; `gaugeline cloud dead-letters` lists them"),
    409: ("Not as things are: what to do first.", "this host keeps no archive: write `archive: {path: FOLDER}` ..."),
    421: ("The Host header does not name this machine.", "this host answers only to 127.0.0.1, [::1] and localhost"),
    422: ("A parameter is wrong.", "query.limit: Input should be less than or equal to 1000"),
    500: ("A fault of the host.", "a fault of this host: its log has the traceback; please report it"),
    503: ("The database does not answer, or this host is a standby.", "the database does not answer, try again later"),
}
_CAN_MISS = ("/api/balance", "/api/window", "/api/refill", "/api/energy/today", "/api/dead-letters/{letter}")
_CAN_CONFLICT = (
    "/api/archive",
    "/api/archive/run",
    "/api/archive/restore",
    "/api/backup",
    "/api/export",
    "/api/disk",
    "/api/disk/compact",
    "/api/retention",
    "/api/retention/plan",
    "/api/retention/run",
)
_RETRY = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}


def describe(app: FastAPI) -> None:
    """The application's document is made once, when somebody asks for it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # what FastAPI would say, and this host never does
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for path, methods in document["paths"].items():
        for operation in methods.values():
            statuses = [403, 421, 500, 503]
            if operation.get("parameters") or operation.get("requestBody"):
                statuses.append(422)
            statuses += [404] if path in _CAN_MISS else []
            statuses += [409] if path in _CAN_CONFLICT else []
            operation["responses"] |= {str(status): _error(status) for status in sorted(statuses)}
    return document


def _error(status: int) -> dict[str, Any]:
    about, detail = _ERRORS[status]
    example = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    schema = {"$ref": "#/components/schemas/Problem"}
    found: dict[str, Any] = {"description": about, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
    return found | ({"headers": _RETRY} if status == 503 else {})
