"""Parts of access control, each by itself."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from starlette.datastructures import Headers

from streams.errors import SettingsError
from streams.events import parse_event
from streams.rulebook import load_rulebook
from streams.settings import load_settings
from streams.web.access.address import check_address
from streams.web.access.config import AccessConfig, KeyConfig, RateConfig, hash_of, is_loopback, load_access
from streams.web.access.keys import Keyring
from streams.web.access.origin import check_host, check_origin
from streams.web.access.paths import place_of
from streams.web.access.principal import LOCAL, Principal
from streams.web.access.rate import KEPT, Buckets, bucket_of
from streams.web.access.require import check_scope
from streams.web.access.session import LASTS_S, make_session, read_session, set_cookie
from streams.web.access.targets import check_targets
from streams.web.problems import ProblemError

NOW_S = 1_795_000_000.0
CATALOGUE = load_rulebook().catalogue


def a_key(name: str = "ops", text: str = "geheim", **more: Any) -> KeyConfig:
    return KeyConfig.model_validate({"name": name, "sha256": hash_of(text), "scopes": ["read"], **more})


def ring(*keys: KeyConfig) -> Keyring:
    return Keyring(keys, lambda: NOW_S)


def written(folder: Path, access: Any) -> Any:
    path = folder / "twin.yaml"
    path.write_text(yaml.safe_dump({"access": access}))
    return load_settings(config=path)


def faults(folder: Path, access: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_access(written(folder, access))
    return str(caught.value)


# -- who sees what


def test_patterns_are_those_of_file_names() -> None:
    who = Principal("a", frozenset({"read"}), ("live~*", "w?"), ("node", "*pool"))

    assert [who.sees_world(name) for name in ("live~x", "live", "w1", "w12", "LIVE~x")] == [
        *(True, False, True, False, False)
    ]
    assert [who.sees_kind(kind) for kind in ("node", "nodepool", "link")] == [True, True, False]
    assert not who.sees_all_worlds
    assert not who.sees_all_kinds
    assert LOCAL.sees_all_kinds


def test_no_scope_includes_another() -> None:
    admin = Principal("a", frozenset({"admin"}))

    check_scope(admin, "admin")
    for scope in ("read", "events"):
        with pytest.raises(ProblemError, match="it has admin"):
            check_scope(admin, scope)


# -- the section `access`


def test_without_a_section_all_is_open() -> None:
    rules = load_access(load_settings())

    assert rules.is_open
    assert rules.anonymous == []


def test_a_whole_section_is_read(tmp_path: Path) -> None:
    rules = load_access(
        written(
            tmp_path,
            {
                "anonymous": ["read"],
                "keys": [
                    a_key().model_dump(exclude_none=True) | {"expires": "2027-01-01", "kinds": ["node"]}
                ],
                "oidc": {"issuer": "https://id.example.org/r", "audience": "twin"},
                "rate": {"per_s": 5, "burst": 7},
                "webhook_hosts": ["hooks.example.org"],
            },
        )
    )

    assert not rules.is_open
    assert rules.keys[0].expires_s == 1_798_761_600.0
    assert (rules.keys[0].worlds, rules.keys[0].kinds) == (["*"], ["node"])
    assert rules.oidc is not None
    assert (rules.oidc.scope_claim, rules.oidc.scope_prefix) == ("scope", "twin:")
    assert rules.webhook_hosts == ["hooks.example.org"]


def test_the_internal_key_is_one_more(tmp_path: Path) -> None:
    settings = written(tmp_path, {"keys": [a_key().model_dump(exclude_none=True)]})

    rules = load_access(settings.model_copy(update={"internal_api_key": SecretStr("intern")}))

    assert [(key.name, set(key.scopes)) for key in rules.keys] == [
        ("ops", {"read"}),
        ("internal", {"read", "events"}),
    ]
    assert ring(*rules.keys).principal("intern", "it").name == "internal"


@pytest.mark.parametrize(
    ("access", "fault"),
    [
        ("geheim", "access: "),
        ([], None),
        (["geheim"], "access: "),
        (
            {"keys": [{"name": "a", "sha256": "geheim", "scopes": ["read"]}]},
            "access.keys[0].sha256: must be 64",
        ),
        ({"keys": [{"name": "a b", "sha256": "0" * 64, "scopes": ["read"]}]}, "access.keys[0].name: "),
        ({"keys": [{"name": "a", "sha256": "0" * 64, "scopes": ["write"]}]}, "access.keys[0].scopes[0]: "),
        ({"keys": [{"name": "a", "sha256": "0" * 64, "scopes": []}]}, "access.keys[0].scopes: "),
        ({"keys": [{"name": "a", "sha256": "0" * 64}]}, "access.keys[0].scopes: "),
        ({"keys": [{"name": "a", "key": "geheim", "scopes": ["read"]}]}, "access.keys[0].key: is no setting"),
        (
            {"keys": [{"name": "a", "sha256": "0" * 64, "scopes": ["read"], "expires": "soon"}]},
            "access.keys[0].expires: ",
        ),
        (
            {"keys": [{"name": "a", "sha256": "0" * 64, "scopes": ["read"], "worlds": []}]},
            "access.keys[0].worlds",
        ),
        ({"keys": [{"name": "local", "sha256": "0" * 64, "scopes": ["read"]}]}, "the name local is taken"),
        ({"keys": [{"name": "a", "sha256": "0" * 64, "scopes": ["read"]}] * 2}, "two have the name a"),
        (
            {"keys": [{"name": name, "sha256": hash_of("x"), "scopes": ["read"]} for name in "ab"]},
            "a has the sha256 of another",
        ),
        ({"anonymous": ["read"]}, "access.anonymous: nobody has a key"),
        (
            {"oidc": {"issuer": "http://id.example.org", "audience": "t"}},
            "access.oidc.issuer: must begin with https",
        ),
        ({"oidc": {"issuer": "https://a@id.example.org", "audience": "t"}}, "access.oidc.issuer: "),
        ({"oidc": {"issuer": "https://id.example.org"}}, "access.oidc.audience: "),
        ({"rate": {"per_s": 0}}, "access.rate.per_s: "),
        ({"key": []}, "access.key: is no setting of access"),
    ],
)
def test_faults_are_named_by_place_and_say_no_secret(tmp_path: Path, access: Any, fault: str | None) -> None:
    if fault is None:
        assert load_access(written(tmp_path, access)).is_open
        return
    text = faults(tmp_path, access)

    assert fault in text
    assert "geheim" not in text


def test_a_misspelt_section_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "twin.yaml"
    path.write_text("acces: {keys: []}\n")

    with pytest.raises(SettingsError, match="is 'access' meant"):
        load_access(load_settings(config=path))


@pytest.mark.parametrize("text", ["\n", "a\nb", "geheimé"])
def test_an_internal_key_that_no_header_can_hold_is_a_fault(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)

    with pytest.raises(SettingsError, match="TWIN_INTERNAL_API_KEY: no header can hold it"):
        load_access(load_settings(internal_api_key_file=path))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "LOCALHOST.", "a.localhost"]
)
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_what_others_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_only_loopback_is_served(host: str) -> None:
    settings = load_settings(web_host=host)

    with pytest.raises(SettingsError, match=r"TWIN_WEB_HOST: .* `twin key NAME` makes one"):
        check_address(settings)
    check_address(settings.model_copy(update={"internal_api_key": SecretStr("x")}))
    check_address(settings.model_copy(update={"web_host": "127.0.0.1"}))


# -- keys and cookies


def test_a_key_is_known_by_its_hash() -> None:
    keys = ring(a_key("a", "eins"), a_key("b", "zwei", worlds=["w1"], scopes=["events"]))

    who = keys.principal("zwei", "it")

    assert (who.name, who.scopes, who.worlds, who.way) == ("b", {"events"}, ("w1",), "key")
    for wrong in ("", "Zwei", "zwei ", hash_of("zwei"), "zwéi", "\ud800"):
        with pytest.raises(ProblemError) as caught:
            keys.principal(wrong, "it")
        assert (caught.value.status, wrong in str(caught.value)) == (401, wrong == "")


def test_an_expired_key_opens_nothing() -> None:
    keys = ring(a_key(expires="2026-11-18"), a_key("b", "zwei", expires="2026-11-19T00:00:00Z"))

    with pytest.raises(ProblemError, match="the key ops expired at 2026-11-18T00:00:00"):
        keys.principal("geheim", "it")
    assert keys.principal("zwei", "it").name == "b"


def test_a_cookie_is_who_logged_in() -> None:
    key = a_key("a.b")
    cookie = make_session(key, "geheim", NOW_S)

    who = read_session(cookie, ring(a_key("c", "x"), key), NOW_S + LASTS_S - 1)

    assert who is not None
    assert (who.name, who.way, who.until_s) == ("a.b", "session", NOW_S + LASTS_S)
    assert "geheim" not in cookie


def test_a_cookie_ends() -> None:
    key = a_key()
    cookie = make_session(key, "geheim", NOW_S)

    assert read_session(cookie, ring(key), NOW_S + LASTS_S + 1) is None
    assert read_session(cookie, ring(), NOW_S) is None
    assert read_session(cookie, ring(a_key(text="neu")), NOW_S) is None
    assert read_session(cookie, ring(a_key(expires="2020-01-01")), NOW_S) is None


@pytest.mark.parametrize(
    "cookie", ["", ".", "ops", "ops.", "ops.x", "ops." + "A" * 200, "ops.ü", "x" * 5_000]
)
def test_a_cookie_that_is_none_is_nobody(cookie: str) -> None:
    assert read_session(cookie, ring(a_key()), NOW_S) is None


def test_who_knows_the_hash_alone_can_make_no_cookie() -> None:
    key = a_key()

    assert read_session(make_session(key, key.sha256, NOW_S), ring(key), NOW_S) is None


def test_a_cookie_is_kept_from_scripts_and_other_sites() -> None:
    header = set_cookie("v", is_secure=True)

    assert {part.strip() for part in header.split(";")} == {
        *("twin_session=v", "HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Lax", "Secure")
    }
    assert "Secure" not in set_cookie("v", is_secure=False)
    assert "Max-Age=0" in set_cookie("", is_secure=False)


# -- how often


def test_a_bucket_runs_empty_and_fills_again() -> None:
    clock = [0.0]
    buckets = Buckets(RateConfig(per_s=2, burst=3), lambda: clock[0])

    for _ in range(3):
        buckets.take("a")
    with pytest.raises(ProblemError) as caught:
        buckets.take("a")
    buckets.take("b")

    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
    clock[0] = 0.5
    buckets.take("a")
    with pytest.raises(ProblemError):
        buckets.take("a")
    clock[0] = 1e6
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(ProblemError):
        buckets.take("a")


def test_who_waits_as_long_as_told_is_let_through() -> None:
    clock = [0.0]
    buckets = Buckets(RateConfig(per_s=0.1, burst=1), lambda: clock[0])
    buckets.take("a")
    with pytest.raises(ProblemError) as caught:
        buckets.take("a")

    clock[0] = float((caught.value.headers or {})["Retry-After"])

    buckets.take("a")


def test_buckets_never_fill_memory() -> None:
    buckets = Buckets(RateConfig(per_s=0.001, burst=1), lambda: 0.0)

    for number in range(KEPT + 10):
        buckets.take(str(number))

    assert len(buckets._left) == KEPT


def test_addresses_of_one_network_share_a_bucket() -> None:
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8::ffff:1") == "2001:db8::"
    assert bucket_of("2001:db8:0:1::1") != bucket_of("2001:db8::1")
    assert bucket_of("::ffff:192.0.2.1") == bucket_of("192.0.2.1") == "192.0.2.1"
    assert bucket_of("") == ""


# -- by which name, and from which page


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8010", "localhost", "[::1]:8010", "twinbox:8010", "x.localhost:1"]
)
def test_own_names_are_taken(host: str) -> None:
    check_host(Headers({"host": host}), "twinbox")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8010", "", "[::1", "10.0.0.1", "a@localhost.b"]
)
def test_other_names_are_refused(host: str) -> None:
    with pytest.raises(ProblemError, match="twin key"):
        check_host(Headers({"host": host}), "127.0.0.1")


@pytest.mark.parametrize("origin", ["https://twin.example:8010", "http://TWIN.example:8010"])
def test_the_own_page_may_send(origin: str) -> None:
    check_origin(Headers({"host": "twin.example:8010", "origin": origin}), is_needed=True)


@pytest.mark.parametrize(
    "origin", ["null", "", "https://evil.example", "https://twin.example", "http://[", "file://"]
)
def test_other_pages_may_not(origin: str) -> None:
    with pytest.raises(ProblemError) as caught:
        check_origin(Headers({"host": "twin.example:8010", "origin": origin}), is_needed=False)

    assert (caught.value.status, caught.value.document["field"]) == (403, "Origin")


def test_without_an_origin_it_depends() -> None:
    check_origin(Headers({"host": "a"}), is_needed=False)
    with pytest.raises(ProblemError, match="Origin is missing"):
        check_origin(Headers({"host": "a"}), is_needed=True)


# -- paths


@pytest.mark.parametrize(
    ("path", "is_public", "is_limited", "is_api", "mib"),
    [
        ("/health/live", True, False, False, 1),
        ("/metrics", True, False, False, 1),
        ("/metricsx", False, True, False, 1),
        ("/login", True, True, False, 1),
        ("/static/docs/x.js", True, False, False, 1),
        ("/static/pages/x.js", False, False, False, 1),
        ("/_nicegui/3.18/static/x.js", False, False, False, 1),
        ("/_nicegui_ws/socket.io", False, True, False, 1),
        ("/", False, True, False, 1),
        ("/docs", False, True, False, 1),
        ("/twin/v1/state", False, True, True, 1),
        ("/twin/v1/events", False, True, True, 8),
        ("/api/v2/model_core/", False, True, True, 64),
        ("/api/timeseries/write_record", False, True, True, 8),
        ("/pool", False, True, True, 1),
        ("/pool/", False, True, True, 1),
        ("/config", False, True, True, 1),
        ("/configs", False, True, False, 1),
    ],
)
def test_a_path_says_what_is_behind_it(
    path: str, is_public: bool, is_limited: bool, is_api: bool, mib: int
) -> None:
    place = place_of(path)

    assert (place.is_public, place.is_limited, place.is_api, place.body_bytes >> 20) == (
        *(is_public, is_limited, is_api, mib),
    )


# -- what events are aimed at


def event(type: str, world: str, **body: Any) -> Any:
    body |= {"owner": "me"} if type == "world.create" else {}
    return parse_event({"type": type, "world": world, "body": body}, CATALOGUE)


FAULT = {"kind": "node_down", "selector": {"kind": "node"}}
NODE = {"entities": [{"kind": "node", "id": "a"}]}


@pytest.mark.parametrize(
    ("worlds", "kinds", "sent"),
    [
        (["w1"], ["*"], event("world.create", "w2")),
        (["w1"], ["*"], event("world.create", "w1", base="live")),
        (["w1"], ["*"], event("world.load", "w1", from_ms=1)),
        (["w1"], ["*"], event("collect.now", "live", sources=[])),
        (["*"], ["link"], event("fault.start", "live~a", **FAULT)),
        (["*"], ["link"], event("entity.set", "w1", **NODE)),
        (["*"], ["link"], event("entity.remove", "w1", **NODE)),
        (["*"], ["node"], event("world.drop", "w1")),
        (["*"], ["node"], event("world.create", "w1")),
        (["*"], ["node"], event("world.advance", "w1", by_ms=1)),
    ],
)
def test_events_for_what_is_not_seen_are_refused(worlds: list[str], kinds: list[str], sent: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        check_targets(Principal("a", worlds=tuple(worlds), kinds=tuple(kinds)), [sent])

    assert caught.value.status == 403


def test_events_for_what_is_seen_are_taken() -> None:
    who = Principal("a", worlds=("w*", "live~a*"), kinds=("*",))
    nodes = Principal("b", worlds=("*",), kinds=("node",))

    check_targets(
        who, [event("world.create", "w1"), event("world.create", "live~ab"), event("world.drop", "w1")]
    )
    check_targets(nodes, [event("fault.start", "live~a", **FAULT), event("entity.set", "w1", **NODE)])


def test_rules_without_keys_are_open_and_with_an_issuer_are_not() -> None:
    assert AccessConfig().is_open
    assert not AccessConfig.model_validate({"oidc": {"issuer": "https://a.example", "audience": "t"}}).is_open
