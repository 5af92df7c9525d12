"""Errors as problem documents (RFC 9457) that name the field."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An answer other than what was asked for.

    `name` ends the problem's type, so that programs need not read the text; `field` is the parameter that is
    wrong; `extra` are further members of the document.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers
        self.document: dict[str, Any] = {
            "type": f"urn:decice-twin:{name}",
            "title": name.replace("-", " ").capitalize(),
            "status": status,
            "detail": detail,
        }
        if field is not None:
            self.document["field"] = field
        self.document |= extra


def invalid(field: str, detail: str, **extra: Any) -> ProblemError:
    """422: a parameter that cannot be meant."""
    return ProblemError(422, "invalid-parameter", detail, field=field, **extra)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of this app a problem document."""

    @app.exception_handler(ProblemError)
    async def answer_problem(request: Request, error: ProblemError) -> JSONResponse:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"field": _field(fault["loc"]), "detail": _reason(fault)} for fault in error.errors()]
        detail = "; ".join(f"{fault['field']}: {fault['detail']}" for fault in faults)
        return _answer(request, invalid(faults[0]["field"], detail, errors=faults))

    @app.exception_handler(HTTPException)
    async def answer_http(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path}: /docs lists what there is"
        name = phrase.lower().replace(" ", "-")
        return _answer(request, ProblemError(error.status_code, name, detail, headers=error.headers))

    @app.exception_handler(Exception)
    async def answer_bug(request: Request, _error: Exception) -> JSONResponse:
        return _answer(request, ProblemError(500, "internal-error", "this is a bug; the log has its trace"))


def _answer(request: Request, error: ProblemError) -> JSONResponse:
    return JSONResponse(
        error.document | {"instance": request.url.path},
        status_code=error.status,
        headers=dict(error.headers or {}),
        media_type=MEDIA_TYPE,
    )


def _reason(fault: Mapping[str, Any]) -> str:
    return "there is no such parameter" if fault["type"] == "extra_forbidden" else str(fault["msg"])


def _field(location: tuple[str | int, ...]) -> str:
    # The first part says where it stands (query, path, body), unless it is all there is.
    return ".".join(str(part) for part in location[1:] or location)
