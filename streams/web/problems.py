"""Errors as problem documents (RFC 9457) that name the field."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

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


def invalid_parameters(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """422: all that pydantic found, its places beginning with where they stand (query, body)."""
    faults = [{"field": _field(fault["loc"]), "detail": _reason(fault)} for fault in errors]
    detail = "; ".join(f"{fault['field']}: {fault['detail']}" for fault in faults)
    return invalid(faults[0]["field"], detail, errors=faults)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of this app a problem document."""

    @app.exception_handler(ProblemError)
    async def answer_problem(request: Request, error: ProblemError) -> JSONResponse:
        return problem_response(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(invalid_parameters(error.errors()), request.url.path)

    @app.exception_handler(HTTPException)
    async def answer_http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:
            # FastAPI's own for bytes that are no text; what is no JSON is 422 everywhere.
            wrong = ProblemError(422, "invalid-json", "the body is not JSON in UTF-8", field="body")
            return problem_response(wrong, request.url.path)
        phrase = HTTPStatus(error.status_code).phrase
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path}: /docs lists what there is"
        name = "too-large" if error.status_code == 413 else phrase.lower().replace(" ", "-")
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(app, request.url.path)) or headers.get("Allow", "")
        problem = ProblemError(error.status_code, name, detail, headers=headers)
        return problem_response(problem, request.url.path)

    @app.exception_handler(Exception)
    async def answer_bug(request: Request, _error: Exception) -> JSONResponse:
        problem = ProblemError(500, "internal-error", "this is a bug; the log has its trace")
        return problem_response(problem, request.url.path)


def problem_response(error: ProblemError, path: str) -> JSONResponse:
    """The document of an error as an answer to who asked for a path."""
    return JSONResponse(
        error.document | {"instance": path},
        status_code=error.status,
        headers=dict(error.headers or {}),
        media_type=MEDIA_TYPE,
    )


def _allowed(app: FastAPI, path: str) -> list[str]:
    """The methods that a path has: a route knows its own alone."""
    places = (path, path.rstrip("/") + "/")  # DECICE's routes stand in the document with their slash
    return sorted(
        {
            method.upper()
            for place, operations in app.openapi()["paths"].items()
            if any(compile_path(place)[0].match(one) for one in places)
            for method in operations
        }
    )


def _reason(fault: Mapping[str, Any]) -> str:
    return "there is no such parameter" if fault["type"] == "extra_forbidden" else str(fault["msg"])


def _field(location: tuple[str | int, ...]) -> str:
    # The first part says where it stands (query, path, body), unless it is all there is.
    return ".".join(str(part) for part in location[1:] or location)
