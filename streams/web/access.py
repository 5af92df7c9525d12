"""The key of DECICE's POST routes."""

from hmac import compare_digest

from fastapi import Request

from streams.settings import Settings
from streams.web.problems import ProblemError

HEADER = "X-Internal-Api-Key"


def check_key(request: Request) -> None:
    """Raise a 401 problem unless the request has the key, if one is set."""
    settings: Settings = request.app.state.twin.settings
    key = settings.api_key
    if key is None:
        return
    given = request.headers.get(HEADER)
    if given is None or not compare_digest(given.encode(), key.get_secret_value().encode()):
        what = "is missing" if given is None else "has another value"
        raise ProblemError(
            401,
            "wrong-key",
            f"the header {HEADER} {what}: it must be the TWIN_INTERNAL_API_KEY",
            field=HEADER,
        )
