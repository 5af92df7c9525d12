"""Tokens of an OIDC issuer: its keys by discovery, kept, and asked for anew when it changes them."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import jwt
import structlog

from streams.errors import TwinError
from streams.web.access.config import OidcConfig, check_issuer
from streams.web.access.principal import SCOPES, Principal
from streams.web.access.require import unauthorized
from streams.web.problems import ProblemError

RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
"""Signatures with RSA."""

ALGORITHMS = RSA | {"ES256", "ES384", "ES512"}
"""Signatures that only the issuer can make: with others its public key, or nothing, would do."""

TIMEOUT_S = 5.0
"""[s] For one answer of the issuer."""

MAX_BYTES = 1 << 20
"""[B] Of one."""

MAX_TOKEN = 16_384
"""[1] Letters of a token."""

AGAIN_S = 60.0
"""[s] Between looks for new keys, however many tokens name one that is unknown."""

KEPT_S = 3_600.0
"""[s] After which keys are looked for again: the issuer may have withdrawn one."""

LEEWAY_S = 30
"""[s] By which clocks may differ."""

log = structlog.get_logger(__name__)


class IssuerError(TwinError):
    """The issuer did not answer, or not with what it should."""


class IssuerKey(NamedTuple):
    """A public key of the issuer, and the signatures that it may make."""

    public: Any
    algorithms: frozenset[str]


class Issuer:
    """Checks tokens of one issuer."""

    def __init__(self, config: OidcConfig, now_s: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._now_s = now_s
        self._keys: dict[str | None, IssuerKey] = {}
        self._asked_s = self._got_s = float("-inf")
        self._fault: str | None = None
        self._turn = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None

    async def principal(self, token: str) -> Principal:
        """Who a token is of, with the scopes that it has.

        Raises:
            ProblemError: 401, the token is not valid here; 503, the issuer's keys cannot be had.
        """
        try:
            if len(token) > MAX_TOKEN:
                raise jwt.InvalidTokenError("it is too long")
            header = jwt.get_unverified_header(token)
            if str(header.get("alg")) not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError("its algorithm is not allowed")
            key = await self._key(header.get("kid"))
            if key is None:
                raise jwt.InvalidKeyError("its key is none of the issuer's")
            if header["alg"] not in key.algorithms:
                raise jwt.InvalidAlgorithmError("its algorithm is not that of its key")
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[header["alg"]],
                audience=self._config.audience,
                issuer=self._config.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as error:
            raise unauthorized(f"the token is not valid: {error}", error="invalid_token") from error
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        told = claims.get(self._config.scope_claim)
        words = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        scopes = frozenset(scope for scope in SCOPES if self._config.scope_prefix + scope in words)
        name, until_s = f"oidc:{str(claims['sub'])[:200]}", float(claims["exp"]) + LEEWAY_S
        return Principal(name, scopes, way="oidc", until_s=until_s)

    async def _key(self, kid: object) -> IssuerKey | None:
        found = self._known(kid)
        if found is not None:
            if self._now_s() - self._got_s > KEPT_S and self._may_ask():
                # Nobody waits for it: an issuer that hangs holds nobody up.
                self._asking = asyncio.create_task(self._ask(), name="keys of the issuer")
            return found
        async with self._turn:
            # Another may have asked while this one waited.
            if self._known(kid) is None and self._may_ask():
                await self._ask()
        if not self._keys:
            detail = f"the keys of {self._config.issuer} cannot be had: {self._fault}"
            raise ProblemError(503, "issuer-away", detail, headers={"Retry-After": str(int(AGAIN_S))})
        return self._known(kid)

    def _known(self, kid: object) -> IssuerKey | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None

    def _may_ask(self) -> bool:
        return self._now_s() - self._asked_s >= AGAIN_S

    async def _ask(self) -> None:
        self._asked_s = self._now_s()
        try:
            self._keys = await fetch_keys(self._config.issuer)
            self._got_s, self._fault = self._now_s(), None
        except IssuerError as error:
            # The keys that there are stay good: an issuer that is away locks nobody out.
            self._fault = str(error)
            log.warning("the keys of the issuer cannot be had", issuer=self._config.issuer, error=self._fault)


async def fetch_keys(issuer: str) -> dict[str | None, IssuerKey]:
    """The keys that an issuer signs with, by id.

    Raises:
        IssuerError: it does not answer, or not with what OpenID Connect Discovery 1.0 says.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        about = await _json(session, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if about.get("issuer") != issuer:
            raise IssuerError("its discovery document is of another issuer")
        try:
            place = check_issuer(str(about.get("jwks_uri", "")))
        except ValueError as error:
            raise IssuerError(f"its jwks_uri {error}") from None
        found = await _json(session, place)
    entries = found.get("keys")
    keys = dict(filter(None, map(_read_key, entries if isinstance(entries, list) else [])))
    if not keys:
        raise IssuerError("it has no key that can be used")
    return keys


async def _json(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise IssuerError(f"{url} answers {answer.status}")
            body = b""
            async for chunk in answer.content.iter_chunked(65_536):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise IssuerError(f"{url} answers more than {MAX_BYTES} bytes")
        document = json.loads(body)
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
        raise IssuerError(f"{url}: {type(error).__name__}: {error}") from error
    if not isinstance(document, dict):
        raise IssuerError(f"{url} is no JSON object")
    return document


def _read_key(entry: object) -> tuple[str | None, IssuerKey] | None:
    """A key by its id; None when it is not one for signatures that are taken here."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC"):
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") not in ALGORITHMS:
        return None
    try:
        key = jwt.PyJWK.from_dict(entry)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    kid = entry.get("kid")
    # A key that says no algorithm is good for all of its kind: of a curve there is one.
    is_free = entry["kty"] == "RSA" and "alg" not in entry
    algorithms = RSA if is_free else frozenset({key.algorithm_name}) & ALGORITHMS
    return (kid if isinstance(kid, str) else None), IssuerKey(key.key, algorithms)
