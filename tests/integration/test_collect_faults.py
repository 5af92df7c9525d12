"""Every way in which an exporter misbehaves is a record with a clear reason, and the next scrape goes on."""

import asyncio
import gzip
import os
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from streams.collect.fetch import Fetcher
from streams.collect.run import build_source
from streams.collect.schedule import Schedule
from streams.collect.scrape import Scraper
from streams.collect.target import Caps, Target
from streams.records import Scrape
from tests.integration.misbehaving import (
    GARBAGE,
    PACKS,
    TEXT,
    answering,
    make_target,
    scrape,
    sending,
    serving,
    talking,
    unused_port,
)

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
GOOD = b"# TYPE node_load1 gauge\nnode_load1 0.5\nnode_other 1\n"


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher()
    yield fetcher
    await fetcher.close()


PROSE = b"lorem ipsum dolor sit amet, " * (10 * 1024 * 1024 // 28)

BAD_ANSWERS = {
    "not found": (
        answering(b"no such page", "text/html", 404),
        "http_status: HTTP 404 Not Found: no such page",
    ),
    "error": (answering(b"", TEXT, 503), "http_status: HTTP 503 Service Unavailable"),
    "unauthorised": (
        answering(b"who are you?", TEXT, 401),
        "http_status: HTTP 401 Unauthorized: who are you?",
    ),
    "html": (
        answering(b"<html>Welcome</html>", "text/html"),
        "content_type: content type 'text/html' is no exposition",
    ),
    "json": (answering(b"{}", "application/json"), "content_type: content type 'application/json'"),
    "html as text": (
        answering(b"<html>Welcome</html>\n"),
        "parse: line 1 is not a sample: '<html>Welcome</html>'",
    ),
    "error text in a 200": (answering(b"node_load1 1\nError: no disk\n"), "parse: line 2 is not a sample"),
    "garbage": (answering(GARBAGE), "utf8: line 1: byte 0x"),
    "prose": (answering(PROSE), "parse: line 1 is not a sample: 'lorem ipsum"),
    "invalid utf-8": (
        answering(b'node_load1 1\na{b="\xe4"} 1\n'),
        "utf8: line 2: byte 0xe4 at 18 is not UTF-8",
    ),
    "above the cap": (
        answering(b"a 1\n" * 6_000_000),
        "too_large: the answer is longer than caps.body_bytes, 16777216",
    ),
    "empty": (answering(b""), "empty: the answer is empty"),
    "comments alone": (answering(b"# HELP a b\n"), "empty: the answer has no sample"),
    "no gzip": (answering(b"node_load1 1\n", Content_Encoding="gzip"), "encoding: the body is not gzip"),
    "half gzip": (answering(gzip.compress(GOOD)[:-9], Content_Encoding="gzip"), "incomplete: the gzip body"),
    "gzip bomb": (answering(gzip.compress(b"a 1\n" * 50_000_000, 1), Content_Encoding="gzip"), "too_large: "),
    "brotli": (
        answering(GOOD, Content_Encoding="br"),
        "encoding: content encoding 'br' is neither gzip nor identity",
    ),
    "no end mark": (
        answering(GOOD, OPENMETRICS),
        "incomplete: the OpenMetrics answer does not end with # EOF",
    ),
    "protobuf": (answering(b"\0", "application/vnd.google.protobuf"), "content_type: "),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_bad_answers_of_an_exporter(name: str, fetcher: Fetcher) -> None:
    handler, error = BAD_ANSWERS[name]

    async with serving(handler) as url:
        record = await scrape(make_target(url, timeout_s=10.0), fetcher, times=2)

    assert not record["ok"]
    assert record["error"].startswith(error)
    assert len(record["error"]) < 400
    assert record["series"] == []
    assert record["target"] == "the target"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

BAD_CONNECTIONS = {
    "closed without an answer": (sending(b""), "incomplete: the connection was closed without an answer"),
    "half a head": (sending(b"HTTP/1.1 200 O"), "incomplete: "),
    "half a body": (
        sending(HEAD + b"Content-Length: 99\r\n\r\nnode_load1 1\n"),
        "incomplete: the connection was closed in",
    ),
    "half a chunk": (
        sending(HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nnode_load1 1\n"),
        "incomplete: ",
    ),
    "half a line": (
        sending(HEAD + b"Connection: close\r\n\r\nnode_load1 1\nnode_load5 1"),
        "incomplete: the answer ends in",
    ),
    "no HTTP": (sending(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol: the answer is not HTTP"),
}


@pytest.mark.parametrize("name", BAD_CONNECTIONS)
async def test_bad_connections(name: str, fetcher: Fetcher) -> None:
    raw, error = BAD_CONNECTIONS[name]

    async with talking(raw) as url:
        record = await scrape(make_target(url), fetcher, times=2)

    assert not record["ok"]
    assert record["error"].startswith(error)


async def test_nobody_listens(fetcher: Fetcher) -> None:
    port = unused_port()

    record = await scrape(make_target(f"http://127.0.0.1:{port}/metrics"), fetcher)

    assert record["error"] == f"connect: cannot connect to 127.0.0.1:{port}: Connection refused"


async def test_a_name_that_does_not_exist(fetcher: Fetcher) -> None:
    record = await scrape(make_target("http://node.invalid/metrics", timeout_s=10.0), fetcher)

    assert record["error"].startswith(("dns: host node.invalid cannot be found", "timeout: no connection"))


async def test_no_answer_in_time(fetcher: Fetcher) -> None:
    async def sleep(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with serving(sleep) as url:
        began = time.monotonic()
        record = await scrape(make_target(url), fetcher)

    assert record["error"] == "timeout: no answer within 0.5 s"
    assert time.monotonic() - began < 10


async def test_a_body_that_drips(fetcher: Fetcher) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with talking(drip) as url:
        record = await scrape(make_target(url), fetcher)

    assert record["error"].startswith("timeout: the answer was not whole within 0.5 s: ")


async def test_a_listener_that_accepts_nothing(fetcher: Fetcher) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        record = await scrape(make_target(f"http://127.0.0.1:{full.getsockname()[1]}/metrics"), fetcher)
        for filler in fillers:
            filler.close()

    assert record["error"].startswith("timeout: no ")


async def test_a_loop_of_redirects(fetcher: Fetcher) -> None:
    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound("/metrics")

    async with serving(redirect) as url:
        record = await scrape(make_target(url), fetcher)

    assert record["error"] == "redirect: more than 5 redirects: a loop?"


async def test_a_redirect_is_followed_but_takes_no_secret_elsewhere(fetcher: Fetcher) -> None:
    seen: list[str | None] = []

    async def there(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Key"))
        return await answering(GOOD)(request)

    async with serving(there) as other:

        async def here(request: web.Request) -> web.Response:
            raise web.HTTPFound(other)

        async with serving(here) as url:
            plain = await scrape(make_target(url), fetcher)
            guarded = await scrape(make_target(url, headers={"X-Key": SecretStr("geheim")}), fetcher)

    assert plain["ok"]
    assert guarded["error"].startswith("redirect: redirected to http://127.0.0.1:")
    assert seen == [None]


async def test_an_untrusted_certificate_and_the_ca_that_makes_it_trusted(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    command += [
        "-days",
        "2",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async with serving(answering(GOOD), tls) as url:
        untrusted = await scrape(make_target(url, timeout_s=5.0), fetcher)
        trusted = await scrape(make_target(url, timeout_s=5.0, ca_file=certificate), fetcher)
        other_name = await scrape(
            make_target(url.replace("localhost", "127.0.0.1"), timeout_s=5.0, ca_file=certificate), fetcher
        )
        no_ca = await scrape(make_target(url, ca_file=tmp_path / "none.pem"), fetcher)

    assert untrusted["error"].startswith("tls: TLS: self")
    assert trusted["ok"]
    assert other_name["error"].startswith("tls: TLS: IP address mismatch")
    assert "none.pem cannot be used: No such file" in no_ca["error"]


async def test_a_target_that_echoes_its_secrets(fetcher: Fetcher, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("geheim-token")

    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=403, text=f"no: {dict(request.headers)} {request.query_string}")

    async with serving(echo) as url:
        target = make_target(
            f"{url}?token=geheim-query", headers={"X-Key": SecretStr("geheim-key")}, bearer_token_file=token
        )
        record = await scrape(target, fetcher)

    assert record["error"].startswith("http_status: HTTP 403 Forbidden: no: ")
    assert "geheim" not in record["error"]


async def test_a_token_that_cannot_be_read(fetcher: Fetcher, tmp_path: Path) -> None:
    record = await scrape(make_target("http://127.0.0.1:9", bearer_token_file=tmp_path / "none"), fetcher)

    assert record["error"].startswith("credentials: cannot read bearer_token_file ")


async def test_what_is_good_is_taken_and_the_rest_counted(fetcher: Fetcher) -> None:
    body = (
        b"node_load1 0.5\nnode_load1 0.7\nnode_load5 NaN\nnode_boot_time_seconds 1.7e9 1700000000123\n"
        b'node_other{a="1"} 1\nnode_other{a="2"} 1\n'
    )

    async with serving(answering(gzip.compress(body), Content_Encoding="gzip")) as url:
        record = await scrape(make_target(url), fetcher)

    assert record["ok"]
    assert record["series"] == ["node_load1", "node_boot_time_seconds"]
    assert record["values"] == [0.5, 1.7e9]
    assert record["times_ms"] == [record["scraped_at_ms"], 1_700_000_000_123]
    assert record["dropped"] == {"nan": 1, "duplicate": 1, "unmapped": 2}


async def test_caps_of_samples_and_labels(fetcher: Fetcher) -> None:
    labels = ",".join(f'l{number}="x"' for number in range(70))
    many = "".join(f'node_cpu_seconds_total{{cpu="{number}",mode="idle"}} 1\n' for number in range(100))
    body = f"node_load1{{{labels}}} 1\n{many}".encode()

    async with serving(answering(body)) as url:
        record = await scrape(make_target(url, caps=Caps(samples=60)), fetcher)

    assert len(record["series"]) == 60
    assert record["dropped"] == {"too_many_labels": 1, "over_cap": 40}


async def test_an_openmetrics_answer(fetcher: Fetcher) -> None:
    body = b"# TYPE node_load1 gauge\nnode_load1 0.5 1700000000.5\n# EOF\n"

    async with serving(answering(body, OPENMETRICS)) as url:
        record = await scrape(make_target(url), fetcher)

    assert record["times_ms"] == [1_700_000_000_500]


async def test_a_fault_of_ours_ends_no_loop(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError("geheim")

    monkeypatch.setattr("streams.collect.exposition.parse_exposition", stumble)

    async with serving(answering(GOOD)) as url:
        record = await scrape(make_target(url), fetcher, times=3)

    assert record["error"] == "internal: ZeroDivisionError, a fault of the collector: see its log"


async def test_slow_and_dead_targets_delay_no_good_one(fetcher: Fetcher) -> None:
    good_at: list[float] = []

    async def ship(records: list[Scrape]) -> None:
        if records[0]["ok"]:
            good_at.append(asyncio.get_running_loop().time())

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(hang) as slow, serving(answering(GOOD)) as good:
        targets = [
            Target(
                "exposition", "s", f"slow {number}", PACKS["node_exporter"], 1.0, 0.5, url=f"{slow}/{number}"
            )
            for number in range(50)
        ]
        targets.append(Target("exposition", "s", "good", PACKS["node_exporter"], 1.0, 0.5, url=good))
        scrapers = {target.key: Scraper(build_source(target, fetcher), ship) for target in targets}
        schedule = Schedule(targets, lambda target: scrapers[target.key].scrape())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await schedule.run(time.time())

    assert len(good_at) >= 3
    assert max(later - earlier for earlier, later in pairwise(good_at)) < 2.5


async def test_garbage_of_every_length_is_refused_or_taken_but_never_raised(fetcher: Fetcher) -> None:
    bodies = [os.urandom(number) for number in range(40)] + [GOOD[:number] for number in range(len(GOOD))]
    place = 0

    async def next_body(request: web.Request) -> web.Response:
        return await answering(bodies[place])(request)

    async with serving(next_body) as url:
        for number in range(len(bodies)):
            place = number
            record = await scrape(make_target(url), fetcher)
            assert record["ok"] or not record["error"].startswith("internal")
