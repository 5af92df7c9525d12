"""An OIDC issuer: its keys, its tokens, and its answers over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "twin"


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def public_jwk(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    entry: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return entry | ({} if kid is None else {"kid": kid}) | {"use": "sig"} | more


def make_token(
    issuer: str,
    key: Any,
    kid: str | None = "k1",
    algorithm: str = "RS256",
    headers: Any = None,
    **claims: Any,
) -> str:
    """A token of alice, for a minute, with the scope to read; a claim that is None is left out."""
    now_s = int(time.time())
    told = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": now_s,
        "exp": now_s + 60,
        "scope": "openid twin:read",
    } | claims
    return jwt.encode(
        {name: value for name, value in told.items() if value is not None},
        key,
        algorithm=algorithm,
        headers=({} if kid is None else {"kid": kid}) | (headers or {}),
    )


@dataclass
class FakeIssuer:
    """Serves what stands in it; counts how often its keys were asked for."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    body: bytes | None = None
    hangs: bool = False
    asked: int = 0

    async def answer_about(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.about)

    async def answer_keys(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3_600)
        if self.body is not None:
            return web.Response(body=self.body)
        return web.json_response({"keys": self.keys}, status=self.status)


@asynccontextmanager
async def running_issuer() -> AsyncIterator[FakeIssuer]:
    issuer = FakeIssuer()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.answer_about)
    app.router.add_get("/keys", issuer.answer_keys)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
