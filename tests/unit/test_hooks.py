"""Webhooks without a network: where they may go, how they are signed, when they are tried again."""

import hashlib
import hmac
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from streams.errors import SettingsError
from streams.settings import load_settings
from streams.web.access.access import Access
from streams.web.access.config import AccessConfig, hash_of
from streams.web.app import create_web
from streams.web.hooks.batch import MAX_BYTES, MAX_CHANGES, Batch
from streams.web.hooks.book import Book, content_of
from streams.web.hooks.delivery import Outcome, backoff_s, sign
from streams.web.hooks.hosts import HostList, read_url
from streams.web.hooks.models import GIVE_UP_MS, Owner, Progress, Subscribe, Subscription, Wanted
from streams.web.hooks.owner import current

LIST = HostList(
    ["hooks.example.org", "*.wild.example", "10.1.0.0/16", "hook.internal", "localhost", "fd00:1::/64"]
)


def test_a_signature_is_what_python_makes_of_the_documented_parts() -> None:
    expected = hmac.new("päss word".encode(), b'17.{"a":1}', hashlib.sha256).hexdigest()

    assert sign("päss word", 17, b'{"a":1}') == f"t=17,v1={expected}"


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_waits_grow_from_a_second_to_five_minutes(chance: float) -> None:
    waits = [backoff_s(failures, chance) for failures in (1, 2, 3, 8, 9, 50, 10_000)]

    assert waits == sorted(waits)
    assert all(1.0 <= wait <= 300.0 for wait in waits)
    assert waits[-1] >= 150.0
    assert backoff_s(9, 0.1) != backoff_s(9, 0.9)


@pytest.mark.parametrize(
    ("host", "address", "may"),
    [
        ("hooks.example.org", "93.184.216.34", True),
        ("HOOKS.example.org.", "2606:2800:220:1::1", True),
        ("other.example.org", "93.184.216.34", False),
        ("a.wild.example", "93.184.216.34", True),
        ("a.wild.example", "10.1.2.3", True),  # the network is named
        ("a.wild.example", "10.2.0.1", False),
        ("a.wild.example", "100.64.0.1", False),
        ("a.wild.example", "fd00:2::1", False),
        ("hook.internal", "10.2.0.1", True),  # the host is named
        ("hook.internal", "192.168.7.7", True),
        ("hook.internal", "fd00:2::1", True),
        ("hook.internal", "127.0.0.1", False),
        ("hook.internal", "::1", False),
        ("hook.internal", "169.254.169.254", False),
        ("hook.internal", "fe80::1%eth0", False),
        ("hook.internal", "0.0.0.0", False),
        ("hook.internal", "::", False),
        ("hook.internal", "224.0.0.1", False),
        ("hook.internal", "ff02::1", False),
        ("hook.internal", "255.255.255.255", False),
        ("hook.internal", "240.0.0.1", False),
        ("hook.internal", "192.0.2.1", False),
        ("hook.internal", "::ffff:127.0.0.1", False),
        ("hook.internal", "::ffff:169.254.169.254", False),
        ("hook.internal", "64:ff9b::7f00:1", False),
        ("hook.internal", "2002:7f00:1::", False),
        ("hook.internal", "no address", False),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "169.254.169.254", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.2.0.1", "10.2.0.1", False),
        ("fd00:1::7", "fd00:1::7", True),
    ],
)
def test_addresses_that_may_be_connected_to(host: str, address: str, may: bool) -> None:
    assert LIST.may_connect(host, address) is may


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("hooks.example.org", True),
        ("Hooks.Example.org", True),
        ("hooks.example.org.evil.example", False),
        ("evilhooks.example.org", False),
        ("wild.example", False),
        ("10.1.255.255", True),
        ("10.2.0.0", False),
        ("127.0.0.1", False),
        ("::ffff:10.1.0.1", True),
        ("2130706433", False),
        ("", False),
    ],
)
def test_hosts_that_may_stand_in_a_url(host: str, may: bool) -> None:
    assert LIST.may_send_to(host) is may


def test_everything_allowed_by_a_star_is_public_all_the_same() -> None:
    star = HostList(["*"])

    assert star.may_connect("any.example", "93.184.216.34")
    assert star.may_send_to("93.184.216.34")
    assert not any(star.may_send_to(host) for host in ("127.0.0.1", "10.0.0.1", "::1", "169.254.169.254"))
    assert not star.may_connect("localhost", "127.0.0.1")
    assert HostList([]).is_empty


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.org/",
        "file:///etc/passwd",
        "hooks.example.org",
        "//hooks.example.org/",
        "http://",
        "http://user@hooks.example.org/",
        "http://u:p@hooks.example.org/",
        "http://:p@hooks.example.org/",
        "http://hooks.example.org:99999/",
        "http://[::1/",
        "http://hooks.example.org/#part",
        "",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|user|fragment"):
        read_url(url)


def test_the_host_that_is_checked_is_the_one_that_is_connected_to() -> None:
    assert read_url("https://HOOKS.example.org:8443/a?b=c").raw_host == "hooks.example.org"
    assert read_url("http://hooks.example.org%2e.evil.example/").raw_host != "hooks.example.org"
    assert read_url("http://[::ffff:7f00:1]/").raw_host == "::ffff:7f00:1"


def failed(status: int | None) -> Outcome:
    return Outcome(status, "no")


def test_three_refusals_in_a_row_disable() -> None:
    progress = Progress(position="p")
    for outcome in (failed(404), failed(410), Outcome(200, None), failed(400), failed(401), failed(503)):
        progress.note(outcome, 1)
    assert progress.disabled is None

    for status in (400, 403, 404):
        assert progress.disabled is None
        progress.note(failed(status), 2)

    assert (progress.disabled or "").startswith("refused")
    assert (progress.delivered, progress.failed) == (1, 8)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 302, None])
def test_what_may_pass_is_tried_for_a_day(status: int | None) -> None:
    progress = Progress(position="p")
    for now_ms in (1_000, 2_000, 3_000, 1_000 + GIVE_UP_MS - 1):
        progress.note(failed(status), now_ms)
    assert progress.disabled is None

    progress.note(failed(status), 1_000 + GIVE_UP_MS)

    assert (progress.disabled or "").startswith("unreachable")


def message(event: str, id: str, at: str = "p", **more: Any) -> bytes:
    return json.dumps({"event": event, "id": at, "data": {"kind": "node", "id": id} | more}).encode()


def test_a_batch_has_the_newest_of_each_entity() -> None:
    batch = Batch(["entity", "gone"])
    batch.take(message("entity", "a", version=1))
    batch.take(message("entity", "b"))
    batch.take(message("entity", "a", version=2))
    batch.take(message("gone", "b", at="q", reason="removed"))

    told = json.loads(batch.body("s", "live", 7))

    assert told == {
        "subscription": "s",
        "sequence": 7,
        "world": "live",
        "position": "q",
        "snapshot": False,
        "changes": [
            {"event": "entity", "data": {"kind": "node", "id": "a", "version": 2}},
            {"event": "gone", "data": {"kind": "node", "id": "b", "reason": "removed"}},
        ],
    }


def test_events_that_are_not_wanted_only_move_the_position() -> None:
    batch = Batch(["gone"])
    batch.take(message("entity", "a", at="q"))
    batch.take(json.dumps({"event": "heartbeat", "id": "r", "data": {}}).encode())

    assert not batch.is_news
    assert batch.position == "r"


def test_a_snapshot_forgets_what_was_told_before() -> None:
    batch = Batch(["entity", "gone"])
    batch.take(message("entity", "a"))
    batch.take(json.dumps({"event": "snapshot", "id": "-", "data": {}}).encode())

    assert (len(batch), batch.is_snapshot, batch.is_news) == (0, True, True)


def test_a_batch_ends_at_200_entities_or_256_kib() -> None:
    many = Batch(["entity"])
    large = Batch(["entity"])
    for number in range(10_000):
        if many.fits(one := message("entity", f"{number}")):
            many.take(one)
        if large.fits(one := message("entity", f"{number}", text="x" * 5_000)):
            large.take(one)

    assert len(many) == MAX_CHANGES
    assert 40 <= len(large) <= MAX_BYTES / 5_000
    assert len(large.body("s" * 16, "w" * 200, 1)) <= MAX_BYTES
    assert Batch(["entity"]).fits(b"x" * 10_000_000)


def make_subscription(way: Any = "key", name: str = "ops") -> Subscription:
    return Subscription(
        id="0123",
        url="https://hooks.example.org/",
        secret=SecretStr("swordfish"),
        wanted=Wanted(),
        owner=Owner(name=name, way=way, scopes=["read", "events"], worlds=["*"], kinds=["node"]),
        created_ms=1,
        progress=Progress(position="p"),
    )


def test_the_file_gives_back_what_was_kept_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "subscriptions.json"
    path.write_text('{"subscriptions": []}')
    path.chmod(0o644)
    book = Book(path)

    book.write(content_of([make_subscription()]))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert book.read() == [make_subscription()]
    with pytest.raises(SettingsError, match="another twin web"):
        Book(path)
    book.close()
    Book(path).close()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"subscriptions": 1}', '{"subscriptions": [{"secret": "swordfish"}]}']
)
def test_a_file_that_is_none_of_subscriptions_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)

    with pytest.raises(SettingsError, match="TWIN_SUBSCRIPTIONS_FILE") as caught:
        Book(path).read()

    assert "swordfish" not in str(caught.value)
    with pytest.raises(SettingsError, match="TWIN_SUBSCRIPTIONS_FILE"):
        create_web(load_settings(kafka_bootstrap_servers="127.0.0.1:1", subscriptions_file=path))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TWIN_SUBSCRIPTIONS_FILE"):
        Book(tmp_path / "no" / "s.json")


def test_a_secret_is_shown_by_nothing() -> None:
    one = make_subscription()
    with pytest.raises(ValidationError) as caught:
        Subscribe.model_validate({"url": "http://x/", "secret": "short1"})

    assert "swordfish" not in f"{one!r} {one} {one.model_dump_json()}"
    assert "short1" not in str(caught.value)


def make_access(**config: Any) -> Access:
    return Access(AccessConfig.model_validate(config), "127.0.0.1", lambda: 1_795_000_000.0)


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ({"scopes": ["read", "events"], "kinds": ["device"]}, ("device",)),
        ({"scopes": ["events"]}, None),
        ({"scopes": ["read"]}, None),
        ({"scopes": ["read", "events"], "expires": "2020-01-01"}, None),
        ({"scopes": ["read", "events"], "name": "another"}, None),
    ],
)
def test_what_is_delivered_is_what_the_key_may_see_now(
    key: dict[str, Any], kinds: tuple[str, ...] | None
) -> None:
    access = make_access(keys=[{"name": "ops", "sha256": hash_of("k")} | key])

    who = current(make_subscription().owner, access)

    assert (who.kinds if who else None) == kinds


def test_who_needed_no_key_is_not_served_once_there_are_keys() -> None:
    keys = [{"name": "ops", "sha256": hash_of("k"), "scopes": ["read"]}]
    local = make_subscription("local", "local").owner
    anonymous = make_subscription("anonymous", "anonymous").owner
    oidc = make_subscription("oidc", "oidc:x").owner

    assert current(local, make_access()) is not None
    assert current(local, make_access(keys=keys)) is None
    assert current(anonymous, make_access(keys=keys, anonymous=["read"])) is None
    assert current(anonymous, make_access(keys=keys, anonymous=["read", "events"])) is not None
    assert current(oidc, make_access(keys=keys)) is None
    assert current(make_subscription().owner, make_access()) is None
