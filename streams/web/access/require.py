"""Scopes as dependencies of routes, so that the OpenAPI document shows them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from streams.web.access.principal import Principal, Scope, principal_of
from streams.web.models import Problem
from streams.web.problems import ProblemError

KEY_HEADER = "X-Internal-Api-Key"
"""What DECICE's programs send their key in."""

COOKIE = "twin_session"
"""What a browser sends after a login."""

Check = Callable[..., Awaitable[Principal]]
"""A dependency that refuses who may not."""

BEARER = HTTPBearer(
    scheme_name="bearer", auto_error=False, description="A key (`twin key`), or a token of the OIDC issuer"
)
HEADER = APIKeyHeader(
    scheme_name="key", name=KEY_HEADER, auto_error=False, description="A key, as DECICE's programs send it"
)
SESSION = APIKeyCookie(
    scheme_name="session", name=COOKIE, auto_error=False, description="What POST /login gives for a key"
)


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No key, or a wrong one"},
    403: {"model": Problem, "description": "The key has not the scope, or not the world or kind"},
    429: {"model": Problem, "description": "Too many requests; Retry-After says how long to wait"},
}
"""What every route that needs a scope may answer."""


def require(scope: Scope) -> Check:
    """A dependency that refuses who has not a scope: 401 for who showed no key, 403 for others."""
    return CHECKS[scope]


def check_scope(principal: Principal, scope: Scope) -> None:
    """Raise a problem unless they have a scope."""
    if principal.may(scope):
        return
    if principal.way == "anonymous":
        raise unauthorized(f"this needs a key with the scope {scope}: none was shown", "no-key")
    has = ", ".join(sorted(principal.scopes)) or "none"
    raise forbidden(f"{principal.name} has not the scope {scope}; it has {has}")


def unauthorized(detail: str, name: str = "wrong-key", error: str = "") -> ProblemError:
    """401; `error` is the word of RFC 6750 for what is wrong with what was shown."""
    hint = "send it as Authorization: Bearer …, or log in at /login"
    challenge = 'Bearer realm="twin"' + (f', error="{error}"' if error else "")
    return ProblemError(401, name, f"{detail}; {hint}", headers={"WWW-Authenticate": challenge})


def forbidden(detail: str, field: str | None = None) -> ProblemError:
    """403: they are known, and may not."""
    return ProblemError(403, "forbidden", detail, field=field)


def check_sees_all(principal: Principal, what: str, *, worlds: bool = True) -> None:
    """Raise 403 for who is limited to some kinds (or worlds), where an answer cannot be limited."""
    if not principal.sees_all_kinds:
        raise forbidden(
            f"{what} has entities of all kinds, and {principal.name} sees only {', '.join(principal.kinds)}"
        )
    if worlds and not principal.sees_all_worlds:
        raise forbidden(
            f"{what} is of all worlds, and {principal.name} sees only {', '.join(principal.worlds)}"
        )


def _check(scope: Scope) -> Check:
    async def check(
        connection: HTTPConnection,
        _bearer: Annotated[object, Security(BEARER)],
        _header: Annotated[object, Security(HEADER)],
        _session: Annotated[object, Security(SESSION)],
    ) -> Principal:
        principal = principal_of(connection)
        check_scope(principal, scope)
        return principal

    check.scope = scope  # type: ignore[attr-defined]  # tests read which scope a route needs
    return check


CHECKS: dict[Scope, Check] = {scope: _check(scope) for scope in ("read", "events", "admin")}
"""One for each scope, so that FastAPI asks it once for a request."""
