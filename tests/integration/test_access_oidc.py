"""Tokens of an OIDC issuer, which is a server of its own here, with keys of its own."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import streams.web.access.oidc
from streams.web.access.config import OidcConfig
from streams.web.access.oidc import AGAIN_S, KEPT_S, MAX_TOKEN, Issuer
from streams.web.problems import ProblemError
from tests.oidcissuer import AUDIENCE, FakeIssuer, ec_key, make_token, public_jwk, rsa_key, running_issuer
from tests.waiting import until

KEY = rsa_key()
OTHER = rsa_key()


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeIssuer]:
    async with running_issuer() as server:
        server.keys = [public_jwk(KEY, "k1", alg="RS256")]
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(server: FakeIssuer, clock: Clock) -> Issuer:
    return Issuer(OidcConfig(issuer=server.url, audience=AUDIENCE), clock)


async def refusal(issuer: Issuer, token: str) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await issuer.principal(token)
    return caught.value


async def test_a_token_says_who_and_what(issuer: Issuer, server: FakeIssuer) -> None:
    who = await issuer.principal(make_token(server.url, KEY))
    both = await issuer.principal(make_token(server.url, KEY, scope=["twin:admin", "twin:events", "read"]))
    none = await issuer.principal(make_token(server.url, KEY, scope=None))

    assert (who.name, who.scopes, who.way) == ("oidc:alice", {"read"}, "oidc")
    assert both.scopes == {"admin", "events"}
    assert none.scopes == set()
    assert server.asked == 1


async def test_the_claim_and_the_prefix_are_configured(server: FakeIssuer) -> None:
    issuer = Issuer(OidcConfig(issuer=server.url, audience=AUDIENCE, scope_claim="roles", scope_prefix=""))

    who = await issuer.principal(make_token(server.url, KEY, roles=["read", "x"], scope="twin:admin"))

    assert who.scopes == {"read"}


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_000_000},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 4_000_000_000},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"sub": None},
        {"sub": 7},
    ],
)
async def test_a_claim_that_is_wrong_is_401(issuer: Issuer, server: FakeIssuer, claims: Any) -> None:
    error = await refusal(issuer, make_token(server.url, KEY, **claims))

    assert (error.status, error.document["type"]) == (401, "urn:decice-twin:wrong-key")


async def test_clocks_may_differ_a_little(issuer: Issuer, server: FakeIssuer) -> None:
    now_s = int(time.time())

    assert (await issuer.principal(make_token(server.url, KEY, exp=now_s - 10))).name == "oidc:alice"
    assert (await refusal(issuer, make_token(server.url, KEY, exp=now_s - 60))).status == 401


async def test_a_signature_of_somebody_else_is_401(issuer: Issuer, server: FakeIssuer) -> None:
    good = make_token(server.url, KEY)
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "eve"}).encode()).decode().rstrip("=")

    for token in (
        make_token(server.url, OTHER),
        f"{head}.{forged}.{signature}",
        f"{head}.{body}.",
        "a.b.c",
        "..",
    ):
        assert (await refusal(issuer, token)).status == 401


async def test_the_public_key_signs_nothing(issuer: Issuer, server: FakeIssuer) -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = {
        "iss": server.url,
        "aud": AUDIENCE,
        "sub": "eve",
        "exp": int(time.time()) + 60,
        "scope": "twin:admin",
    }
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{head}.{body}".encode(), pem
    )
    hmac_token = f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    none_token = jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"})  # type: ignore[arg-type]

    for token in (hmac_token, none_token):
        assert "algorithm is not allowed" in str(await refusal(issuer, token))


async def test_a_key_signs_as_it_says(issuer: Issuer, server: FakeIssuer) -> None:
    free, curve = rsa_key(), ec_key(ec.SECP384R1())
    server.keys += [public_jwk(free, "free"), public_jwk(curve, "curve")]

    for kid, key, algorithm in (("free", free, "PS256"), ("free", free, "RS512"), ("curve", curve, "ES384")):
        token = make_token(server.url, key, kid, algorithm)
        assert (await issuer.principal(token)).name == "oidc:alice"
    for kid, key, algorithm in (("k1", KEY, "PS256"), ("k1", KEY, "RS512")):
        assert "not that of its key" in str(
            await refusal(issuer, make_token(server.url, key, kid, algorithm))
        )


async def test_keys_that_are_for_something_else_are_left_out(issuer: Issuer, server: FakeIssuer) -> None:
    server.keys = [
        public_jwk(OTHER, "enc", use="enc"),
        public_jwk(OTHER, "hs", alg="HS256"),
        {"kty": "oct", "kid": "oct", "k": "AAAA"},
        {"kty": "RSA", "kid": "half", "n": "AQAB"},
        {"kty": "EC", "kid": "k256", "crv": "secp256k1", "x": "AA", "y": "AA"},
        7,  # type: ignore[list-item]
        public_jwk(KEY, "k1"),
    ]

    assert (await issuer.principal(make_token(server.url, KEY))).name == "oidc:alice"
    for kid in ("enc", "hs"):
        assert (await refusal(issuer, make_token(server.url, OTHER, kid))).status == 401


async def test_a_key_without_a_name_is_the_only_one(issuer: Issuer, server: FakeIssuer, clock: Clock) -> None:
    assert (await issuer.principal(make_token(server.url, KEY, None))).name == "oidc:alice"
    server.keys.append(public_jwk(OTHER, "k2"))
    clock.now_s += AGAIN_S
    await issuer.principal(make_token(server.url, OTHER, "k2"))

    assert (await refusal(issuer, make_token(server.url, KEY, None))).status == 401


async def test_a_short_key_is_refused(issuer: Issuer, server: FakeIssuer) -> None:
    short = rsa_key(1024)
    server.keys = [public_jwk(short, "k1")]

    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = make_token(server.url, short)
    assert (await refusal(issuer, token)).status == 401


@pytest.mark.parametrize(
    "token",
    ["a.b.c", "x" * (MAX_TOKEN + 1), "..", "ü.ü.ü", "e30.e30.e30", "W10.W10.W10", "eyJhbGciOltdfQ.e30.e30"],
)
async def test_what_is_no_token_is_401_and_asks_nobody(
    issuer: Issuer, server: FakeIssuer, token: str
) -> None:
    assert (await refusal(issuer, token)).status == 401
    assert server.asked == 0


async def test_a_new_key_is_looked_for_once_a_minute(
    issuer: Issuer, server: FakeIssuer, clock: Clock
) -> None:
    await issuer.principal(make_token(server.url, KEY))
    server.keys = [public_jwk(OTHER, "k2")]
    new = make_token(server.url, OTHER, "k2")

    for _ in range(5):
        assert (await refusal(issuer, new)).status == 401
    assert server.asked == 1
    clock.now_s += AGAIN_S
    assert (await issuer.principal(new)).name == "oidc:alice"
    assert (await refusal(issuer, make_token(server.url, KEY))).status == 401
    assert server.asked == 2


async def test_an_old_set_is_renewed_while_it_is_used(
    issuer: Issuer, server: FakeIssuer, clock: Clock
) -> None:
    token = make_token(server.url, KEY)
    await issuer.principal(token)
    server.keys = [public_jwk(OTHER, "k2")]
    server.hangs = True
    clock.now_s += KEPT_S + 1

    assert (await issuer.principal(token)).name == "oidc:alice"  # nobody waits for the issuer
    await until(lambda: server.asked == 2)
    server.hangs = False
    clock.now_s += AGAIN_S
    assert (await issuer.principal(token)).name == "oidc:alice"
    await until(lambda: server.asked == 3)
    await until(lambda: "k2" in issuer._keys)
    assert (await refusal(issuer, token)).status == 401


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 302},
        {"body": b"{"},
        {"body": b"[]"},
        {"body": b'{"keys": 7}'},
        {"body": b'{"keys": []}'},
        {"body": b"[" * 100_000},
        {"body": b"{" + b" " * (2 << 20) + b"}"},
        {"about": {"issuer": "https://evil.example"}},
        {"about": {"jwks_uri": "http://evil.example/keys"}},
        {"about": {"jwks_uri": 7}},
        {"hangs": True},
    ],
)
async def test_without_keys_nobody_is_judged(
    issuer: Issuer, server: FakeIssuer, trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.web.access.oidc, "TIMEOUT_S", 0.5 if "hangs" in trouble else 5.0)
    vars(server).update(trouble)

    error = await refusal(issuer, make_token(server.url, KEY))

    assert (error.status, error.document["type"]) == (503, "urn:decice-twin:issuer-away")
    assert (error.headers or {})["Retry-After"] == "60"


async def test_an_issuer_that_is_away_locks_nobody_out(
    issuer: Issuer, server: FakeIssuer, clock: Clock
) -> None:
    token = make_token(server.url, KEY)
    await issuer.principal(token)
    server.status = 500
    clock.now_s += KEPT_S + 1

    assert (await issuer.principal(token)).name == "oidc:alice"
    await until(lambda: server.asked == 2)
    assert (await issuer.principal(token)).name == "oidc:alice"
