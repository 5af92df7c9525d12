"""Keeps passwords, tokens and keys out of records, logs and errors."""

import re
from base64 import b64encode
from contextlib import suppress

from yarl import URL

from streams.collect.target import Target
from streams.errors import SourceError

SECRET_PARAMETER = re.compile(
    r"(?i)token|secret|passw|pwd|api.?key|^key$|auth|signature|^sig$|credential|session"
)
"""Names of query parameters whose values stay out of records and logs."""


def public_url(url: str) -> str:
    """The URL without user, password, fragment and the values of secret parameters."""
    parts = URL(url).with_user(None).with_fragment(None)
    if parts.query:
        parts = parts.with_query(
            [(name, "***" if SECRET_PARAMETER.search(name) else value) for name, value in parts.query.items()]
        )
    return str(parts)


def credentials(target: Target) -> dict[str, str]:
    """The request headers of the configuration; a token's file is read each time, because tokens rotate."""
    headers = {name: value.get_secret_value() for name, value in target.headers.items()}
    if target.bearer_token_file is not None:
        try:
            headers["Authorization"] = f"Bearer {target.bearer_token_file.read_text().strip()}"
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise SourceError(
                "credentials", f"cannot read bearer_token_file {target.bearer_token_file}: {reason}"
            ) from None
    return headers


def redact(text: str, target: Target) -> str:
    """The text on one line, without what must stay secret: a target may echo what it was sent."""
    secrets = {value.get_secret_value() for value in target.headers.values()}
    with suppress(SourceError):
        secrets |= {value.removeprefix("Bearer ") for value in credentials(target).values()}
    if target.url:
        url = URL(target.url)
        shown = URL(target.name).query
        secrets |= {value for name, value in url.query.items() if shown.get(name) != value}
        if url.user or url.password:
            basic = b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()
            secrets |= {basic, url.user or "", url.password or "", url.raw_password or ""}
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
