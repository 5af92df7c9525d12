"""Small HTTP questions to a server on this machine, as JSON."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

ANSWER_TIMEOUT_S = 2.0
"""[s] For one answer; a paused server accepts connections and never answers."""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Without the user's proxy, which can't reach this machine's 127.0.0.1."""


def ask(url: str, body: object = None, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
    """GET `url`, or POST `body` as JSON, and return the JSON answer (None where the answer is not JSON).

    Raises: OSError if there is no answer or one of an error status.
    """
    request = urllib.request.Request(url, headers={"Content-Type": "application/json"})
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            text = response.read()
    except HTTPException as error:
        raise OSError(f"{url}: {error}") from error
    try:
        return json.loads(text)
    except ValueError:
        return None


def answers(url: str) -> bool:
    """Return whether `url` answers 2xx."""
    try:
        ask(url)
    except OSError:
        return False
    return True
