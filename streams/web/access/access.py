"""Decides about each request and websocket: who it is, and whether they may."""

import time
from collections.abc import Callable

from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from streams.web.access.audit import SAFE_METHODS
from streams.web.access.config import AccessConfig, RateConfig
from streams.web.access.keys import Keyring
from streams.web.access.oidc import Issuer
from streams.web.access.origin import check_host, check_origin
from streams.web.access.paths import Place
from streams.web.access.principal import LOCAL, Principal
from streams.web.access.rate import Buckets, bucket_of
from streams.web.access.require import COOKIE, KEY_HEADER, check_scope, unauthorized
from streams.web.access.session import read_session
from streams.web.problems import ProblemError

REFUSED = Counter("twin_web_refused_total", "Requests that were refused", ["status"])


class Access:
    """The rules of one `twin web`.

    Args:
        config: the section `access`.
        own_name: TWIN_WEB_HOST.
        now_s: [s since the epoch]
    """

    def __init__(self, config: AccessConfig, own_name: str, now_s: Callable[[], float] = time.time) -> None:
        self.config = config
        self.keys = Keyring(config.keys, now_s)
        self.now_s = now_s
        self._own_name = own_name
        self._issuer = Issuer(config.oidc) if config.oidc else None
        # Without keys there is only this machine, and what it sends to itself is its own business.
        rate = config.rate or (None if config.is_open else RateConfig())
        self._buckets = Buckets(rate) if rate else None
        self._anonymous = Principal("anonymous", frozenset(config.anonymous), way="anonymous")

    async def admit(self, connection: HTTPConnection, place: Place) -> Principal:
        """Who sends this, if they may reach the place at all; what a route needs beyond, it says itself.

        They stand in the scope's state, as `principal`, as soon as they are known.

        Raises:
            ProblemError: 401, 403, 429 or 503, and why.
        """
        headers = connection.headers
        if self.config.is_open and not place.is_public:
            check_host(headers, self._own_name)
        principal = await self._recognise(connection, place)
        connection.scope.setdefault("state", {})["principal"] = principal
        if place.is_limited:
            self._take(principal, connection)
        self._check_origin(connection, principal)
        if place.is_public:
            return principal
        if not place.is_api or connection.scope["type"] == "websocket":
            check_scope(principal, "read")
        elif not principal.scopes and principal.way == "anonymous":
            raise unauthorized("this needs a key: none was shown", "no-key")
        return principal

    async def _recognise(self, connection: HTTPConnection, place: Place) -> Principal:
        if place.is_public and not place.is_limited:
            return LOCAL if self.config.is_open else self._anonymous  # whatever they show
        try:
            found = await self._shown(connection)
        except ProblemError:
            # Wrong keys are tried from an address; it may do so only so often.
            self._take(self._anonymous, connection)
            raise
        return found or (LOCAL if self.config.is_open else self._anonymous)

    async def _shown(self, connection: HTTPConnection) -> Principal | None:
        """Who showed something; None when nothing was shown, or nothing is asked for."""
        if self.config.is_open:
            return None
        headers = connection.headers
        authorization = headers.get("authorization")
        if authorization is not None:
            return await self._of_bearer(authorization)
        key = headers.get(KEY_HEADER)
        if key is not None:
            return self.keys.principal(key, f"the header {KEY_HEADER}")
        cookie = connection.cookies.get(COOKIE)
        return read_session(cookie, self.keys, self.now_s()) if cookie else None

    async def _of_bearer(self, authorization: str) -> Principal:
        kind, _, token = authorization.partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token:
            raise unauthorized("the header Authorization is not Bearer and a key", error="invalid_request")
        if self._issuer is not None and token.count(".") == 2 and self.keys.find(token) is None:
            return await self._issuer.principal(token)
        return self.keys.principal(token, "the header Authorization")

    def _take(self, principal: Principal, connection: HTTPConnection) -> None:
        if self._buckets is None:
            return
        is_known = principal.way not in ("anonymous", "local")
        name = f"key {principal.name}" if is_known else bucket_of(client_of(connection))
        self._buckets.take(name)

    def _check_origin(self, connection: HTTPConnection, principal: Principal) -> None:
        """Refuse what a page of another site sends by the hand of somebody whom the browser vouches for."""
        is_socket = connection.scope["type"] == "websocket"
        if not is_socket and connection.scope["method"] in SAFE_METHODS:
            return
        if principal.way in ("key", "oidc"):
            return  # shown in a header, which no browser sends by itself
        check_origin(connection.headers, is_needed=principal.way == "session")


def client_of(connection: HTTPConnection) -> str:
    """Address of who sends."""
    return connection.client.host if connection.client else ""


def wants_page(method: str, headers: Headers) -> bool:
    """Whether a person looks for a page, who is better led to the login than told 401."""
    return method == "GET" and "text/html" in headers.get("accept", "") and "authorization" not in headers
