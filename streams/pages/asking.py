"""Writes of a page: the browser sends them to the API, so that access, limits and audit hold for all."""

import json
from typing import Any

from nicegui import ui

EVENTS = "/twin/v1/events"
"""Path that scenario events are posted to."""

TIMEOUT_S = 15.0
"""[s] For an answer."""


async def post(path: str, document: Any) -> tuple[int, dict[str, Any]]:
    """POST a JSON document; gives the status and the answer, a problem document from 400 on."""
    try:
        status, text = await ui.run_javascript(
            f"""
            const answer = await fetch({json.dumps(path)}, {{
                method: "POST", headers: {{"Content-Type": "application/json"}},
                body: {json.dumps(json.dumps(document))},
            }});
            return [answer.status, await answer.text()];
            """,
            timeout=TIMEOUT_S,
        )
    except TimeoutError:
        return 504, {"detail": f"no answer within {TIMEOUT_S:g} s"}
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {"detail": text[:500]}
    return status, answer if isinstance(answer, dict) else {"answer": answer}
