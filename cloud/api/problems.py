"""Errors as application/problem+json (RFC 9457): what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from wire.errors import ConfigError, LeaseLost, StoreDown

MEDIA_TYPE = "application/problem+json"
RETRY_S = 5
"""Retry-After of a 503: a database that was restarted is there again, a lease has changed hands."""


class WhatIsWrong(BaseModel):
    where: str = Field(description="query.limit, body.site, ...")
    what: str


class Problem(BaseModel):
    """RFC 9457. detail says what is wrong and what to do."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Service Unavailable"])
    status: int = Field(examples=[503])
    detail: str = Field(examples=["the database does not answer, try again later: InfluxDB http://127.0.0.1:8086: ..."])
    errors: list[WhatIsWrong] | None = Field(None, description="of a 422: each parameter that is wrong")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    given = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        given.setdefault("Retry-After", str(RETRY_S))
    return JSONResponse(body, status, media_type=MEDIA_TYPE, headers=given)


async def _store_down(_request: Request, fault: Exception) -> JSONResponse:
    return problem(503, f"the database does not answer, try again later: {fault}")


async def _not_active(_request: Request, fault: Exception) -> JSONResponse:
    return problem(503, f"this host is not the active one any more: {fault}")


async def _config(_request: Request, fault: Exception) -> JSONResponse:
    return problem(409, str(fault))


async def _http(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    detail = str(fault.detail)
    if fault.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"there is nothing at {request.url.path}; every route of the API is at /docs"
    if fault.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (fault.headers or {}).get("Allow", "other methods")
        detail = f"{request.url.path} takes {allowed}, not {request.method}"
    return problem(fault.status_code, detail, fault.headers)


async def _wrong_call(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    errors = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in fault.errors()]
    detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors)
    return problem(422, detail, errors=errors)


async def _ours(_request: Request, _fault: Exception) -> JSONResponse:
    """The traceback is in the host's log, for the web server writes it there."""
    return problem(500, "a fault of this host: its log has the traceback; please report it")


def add(app: FastAPI) -> None:
    app.add_exception_handler(StoreDown, _store_down)
    app.add_exception_handler(LeaseLost, _not_active)
    app.add_exception_handler(ConfigError, _config)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _wrong_call)
    app.add_exception_handler(Exception, _ours)
