"""The audit log: one line for everything that somebody changed, or was refused to."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from starlette.requests import HTTPConnection

from streams.web.access.principal import Principal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that change nothing."""

READS = ("/timeseries/read_record", "/_nicegui_ws/")
"""Ends, or beginnings, of paths whose POST changes nothing."""

MAX_NAMED = 20
"""[1] Worlds that one line names."""

log = structlog.get_logger("streams.web.audit")


def is_write(method: str, path: str) -> bool:
    """Whether a request is one to be written down."""
    end = path.rstrip("/")
    return method not in SAFE_METHODS and not end.endswith(READS[0]) and not path.startswith(READS[1])


def note(connection: HTTPConnection, **details: Any) -> None:
    """Add to the line of a request."""
    connection.scope.setdefault("state", {}).setdefault("audit", {}).update(details)


def note_touched(
    connection: HTTPConnection, worlds: Iterable[str], kinds: Iterable[str], **more: Any
) -> None:
    """Add what a request touches: worlds, and the kind of each entity."""
    named = sorted(set(worlds))
    counts = dict(sorted(Counter(kinds).items()))
    left_out = {"more_worlds": len(named) - MAX_NAMED} if len(named) > MAX_NAMED else {}
    note(connection, worlds=named[:MAX_NAMED], kinds=counts, **left_out, **more)


def write_line(
    principal: Principal, method: str, path: str, status: int, client: str, details: Mapping[str, Any]
) -> None:
    """Write one line. What somebody does on a page, other than by a request, is told in the same form.

    Args:
        path: as it was sent, percent-encoded and without its query.
        status: of the answer, or what it would have been.
        client: address.
    """
    log.info(
        "audit",
        who=principal.name,
        way=principal.way,
        method=method,
        path=path,
        status=status,
        client=client,
        **details,
    )
