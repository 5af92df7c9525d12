"""The cookie of a page login.

Only hashes of keys are kept here, so a cookie that is signed with what is kept could be made by whoever reads
the configuration file. This one holds the key itself, encrypted under its hash: without the key nobody can
make one, and without the hash nobody can read it. It holds on every `twin web` of the same configuration.
"""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import replace
from http.cookies import SimpleCookie
from math import inf

from cryptography.fernet import Fernet, InvalidToken

from streams.web.access.config import KeyConfig
from streams.web.access.keys import Keyring
from streams.web.access.principal import Principal
from streams.web.access.require import COOKIE
from streams.web.problems import ProblemError

LASTS_S = 12 * 3_600
"""[s] A working day; then the page asks for the key again."""


def make_session(key: KeyConfig, text: str, now_s: float) -> str:
    """The value of a cookie for who showed a key."""
    return f"{key.name}.{_box(key).encrypt_at_time(text.encode(), int(now_s)).decode()}"


def read_session(value: str, keys: Keyring, now_s: float) -> Principal | None:
    """Who has this cookie; None when it is none of ours, too old, or its key is not valid any more."""
    name, _, token = value.rpartition(".")
    key = keys.named(name)
    if key is None:
        return None
    box = _box(key)
    try:
        text = box.decrypt_at_time(token, LASTS_S, int(now_s)).decode()
        principal = keys.principal(text, "the cookie", "session")
        until_s = min(box.extract_timestamp(token) + LASTS_S, principal.until_s or inf)
        return replace(principal, until_s=until_s)
    except (InvalidToken, ValueError, ProblemError):
        return None


def set_cookie(value: str, *, is_secure: bool) -> str:
    """The header that gives a browser its cookie; an empty value takes it away.

    SameSite=Lax: a link to a view that a colleague sent opens it. What changes anything needs an Origin, too.
    """
    cookie: SimpleCookie = SimpleCookie()
    cookie[COOKIE] = value
    morsel = cookie[COOKIE]
    morsel["path"], morsel["samesite"] = "/", "Lax"
    morsel["max-age"] = str(LASTS_S if value else 0)
    morsel["httponly"] = True
    morsel["secure"] = is_secure
    return morsel.OutputString()


def _box(key: KeyConfig) -> Fernet:
    return Fernet(urlsafe_b64encode(hashlib.sha256(b"twin session " + key.sha256.lower().encode()).digest()))
