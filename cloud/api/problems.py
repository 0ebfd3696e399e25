"""Errors as application/problem+json (RFC 9457): what is wrong, and what to do."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wire.errors import ConfigError, LeaseLost, StoreDown


def problem(status: int, detail: str, **more: object) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, media_type="application/problem+json")


async def _store_down(_request: Request, fault: Exception) -> JSONResponse:
    return problem(503, f"the database does not answer, try again later: {fault}")


async def _not_active(_request: Request, fault: Exception) -> JSONResponse:
    return problem(503, f"this host is not the active one any more: {fault}")


async def _config(_request: Request, fault: Exception) -> JSONResponse:
    return problem(409, str(fault))


async def _http(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    return problem(fault.status_code, str(fault.detail))


async def _wrong_call(_request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    errors = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in fault.errors()]
    detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors)
    return problem(422, detail, errors=errors)


def add(app: FastAPI) -> None:
    app.add_exception_handler(StoreDown, _store_down)
    app.add_exception_handler(LeaseLost, _not_active)
    app.add_exception_handler(ConfigError, _config)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _wrong_call)
