import asyncio
from typing import Any

import pytest

import streams.web.posting
from streams.encoding import encode_json
from streams.events.models import Imported
from streams.web.posting import ImportQuery, Posting
from tests.waiting import until

NODES = 500
"""[1] Three events: each holds up to 200 nodes."""

BODY = encode_json({"vertexpools": [{"id": "1", "nodes": [{"id": f"N{number}"} for number in range(NODES)]}]})


class Outbox:
    """Remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[Imported] = []

    async def send(self, events: list[Imported]) -> None:
        self.sent += events


class Live:
    """A world in which all records are new ones after `apply`."""

    def __init__(self) -> None:
        self.record: object = object()

    def apply(self) -> None:
        self.record = object()

    def find(self, kind: str, id: str) -> tuple[bytes, object]:
        assert (kind, id[0]) == ("node", "n")
        return b"", self.record


def make(outbox: Any, live: Any) -> Posting:
    return Posting(outbox, live)


async def test_an_event_is_sent_when_the_one_before_is_in_the_state() -> None:
    outbox, live = Outbox(), Live()

    posting = asyncio.create_task(make(outbox, live).take(BODY, "decice-v2", ImportQuery()))
    for count in (1, 2, 3):
        await until(lambda count=count: len(outbox.sent) == count)  # type: ignore[misc]
        await asyncio.sleep(0.05)
        assert len(outbox.sent) == count
        live.apply()

    await posting


async def test_a_worker_that_is_away_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.web.posting, "APPLIED_S", 0.3)
    outbox = Outbox()

    async with asyncio.timeout(20):
        await make(outbox, Live()).take(BODY, "decice-v2", ImportQuery())

    assert len(outbox.sent) == 3
    assert len({text for event in outbox.sent for text in event.body.series if "node=" in text}) == NODES


async def test_sources_do_not_wait_for_each_other() -> None:
    outbox, live = Outbox(), Live()
    posting = make(outbox, live)

    slow = asyncio.create_task(posting.take(BODY, "decice-v2", ImportQuery(source="slow")))
    await until(lambda: len(outbox.sent) == 1)
    async with asyncio.timeout(3):
        await posting.take(b"{}", "decice-v2", ImportQuery(source="other"))

    assert outbox.sent[-1].sender == "other"
    slow.cancel()


async def test_only_so_many_sources_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.web.posting, "SOURCES_MAX", 2)
    outbox = Outbox()
    posting = make(outbox, Live())

    for time_s, source in enumerate(["a", "b", "c", "a", "c"], start=100):
        body = encode_json({"lastUpdated": time_s})
        await posting.take(body, "decice-v2", ImportQuery(source=source))

    assert [event.body.interval_ms for event in outbox.sent] == [60_000, 60_000, 60_000, 60_000, 5_000]
