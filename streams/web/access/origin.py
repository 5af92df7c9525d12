"""Whether a browser sends what its own page asked for, and by the name that it thinks it talks to."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from streams.web.access.config import is_loopback
from streams.web.access.require import forbidden
from streams.web.problems import ProblemError


def check_host(headers: Headers, own_name: str) -> None:
    """Raise 403 unless the name in the Host header is one of this machine.

    A page from elsewhere may have a name that is first its server's and then 127.0.0.1: its scripts would
    read and write here (DNS rebinding). The name in Host is still theirs.

    Args:
        own_name: TWIN_WEB_HOST, which may be a name of this machine.
    """
    host = headers.get("host", "")
    name = _name(host)
    if not is_loopback(name) and name != own_name.lower():
        raise ProblemError(
            403,
            "wrong-host",
            f"Host is {host[:200]!r}: without keys the twin answers as 127.0.0.1 and localhost only; to serve"
            " it by another name make a key with `twin key`",
            field="Host",
        )


def check_origin(headers: Headers, *, is_needed: bool) -> None:
    """Raise 403 when a page of another place sent this.

    Args:
        is_needed: whether a request without an Origin is refused, too: browsers always send it with what
            changes something.
    """
    origin = headers.get("origin")
    if origin is None:
        if is_needed:
            raise forbidden("Origin is missing: who logged in at a page sends from that page", "Origin")
        return
    try:
        place = urlsplit(origin).netloc.lower()
    except ValueError:
        place = ""
    if not place or place != headers.get("host", "").lower():
        raise forbidden("Origin is another place than Host: pages of other sites may not send this", "Origin")


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
