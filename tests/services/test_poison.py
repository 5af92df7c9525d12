"""Messages that no stage can take: the processes live, each gets its dead letter, all others are applied."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.domain.entity import REJECTED
from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import new_observation
from streams.records import Observation
from streams.schemas import HEADER, load_codec
from streams.settings import Settings
from tests.factories import make_state
from tests.services import roles
from tests.services.conftest import MakeSettings, StartRole
from tests.services.load import SAMPLES_OF_A_NODE, send_scrapes
from tests.services.replaying import recorded_samples
from tests.services.topiclog import Message, newest_states, read_topic, send
from tests.services.waiting import until

pytestmark = pytest.mark.timeout(240)

GARBAGE = b"\xff\xfe\xfd this is no Avro \x80\x81"

KEY = entity_key("live", "node", "poisoned")

Poison = tuple[str, int, bytes | None, bytes, str]
"""Record, partition, key, value, and the reason that its dead letter must have."""


def poisons(settings: Settings) -> list[Poison]:
    """What is wrong in every topic in the same way, and in its own way."""
    found: list[Poison] = []
    for record in ("scrape", "event", "observation", "state", "tick"):
        header = HEADER.pack(0, load_codec(record).schema_id)
        home = partition_of(KEY, settings.partitions)
        key = KEY.encode() if record == "state" else None
        found += [
            (record, home, key, GARBAGE, "framing"),
            (record, home, key, header + GARBAGE, "avro"),
            (record, home, key, HEADER.pack(0, 7) + b"\x00" * 40, "schema_id"),
            (record, home, key, b"\x00", "framing"),
        ]
    whole = load_codec("state").encode(make_state(id="cut"))
    cut = entity_key("live", "node", "cut")
    found += [
        ("scrape", 1, None, load_codec("scrape").encode(_scrape(pack="no such pack")), "unknown_pack"),
        ("event", 1, None, load_codec("event").encode(_event("no.such.type")), "event"),
        ("observation", 1, None, load_codec("observation").encode(_observation(type="odd")), "type"),
        ("observation", 1, None, load_codec("observation").encode(_observation(sizes=[9])), "arrays"),
        ("state", 1, b"\xff\xfe", whole, "key"),
        ("state", 1, b"no entity", whole, "key"),
        # Its beginning is in order, and is all that is read of it when it is restored.
        ("state", partition_of(cut, settings.partitions), cut.encode(), whole[:-20], "avro"),
    ]
    return found


async def test_poisoned_messages_end_in_the_dead_letters_and_nothing_else_is_lost(
    make_settings: MakeSettings, influx: dict[str, Any], role: StartRole
) -> None:
    settings = await make_settings(**influx, step_ms=1_000)
    sent = poisons(settings)
    # Nobody reads the dead letters but people, whose tools must bear this too.
    await send(settings, "deadletter", [(1, None, GARBAGE)])
    await _send(settings, [poison for poison in sent if poison[0] == "state"])
    workers = [await role("worker", settings) for _ in range(2)]
    others = [await role(name, settings) for name in ("sink", "web")]
    pids = [started.pid for started in [*workers, *others]]

    async with _flow(settings) as samples:
        await asyncio.sleep(2)  # into the flow
        await _send(settings, [poison for poison in sent if poison[0] != "state"])
        await asyncio.sleep(3)  # the flow after it
    wanted = Counter((record, reason) for record, _, _, _, reason in sent)
    letters = await until(lambda: _letters(settings, len(sent)), 30, f"{len(sent)} dead letters", 0.5)

    assert Counter((letter["topic"].split(".")[1], letter["reason"]) for letter in letters) == wanted
    for letter in letters:
        assert letter["error"]
        assert letter["value"] in [value for _, _, _, value, _ in sent]
    await until(lambda: _applied(settings, samples[0]), 30, "every other sample is applied", 0.5)
    assert [started.pid for started in [*workers, *others]] == pids
    assert all([await started.is_ready() for started in [*workers, *others]])
    await _assert_balanced(settings)
    assert len(await _letters(settings, 0)) == len(sent), "each has one"
    code, out, err = await roles.run(
        ["tap", "deadletter", "--from-start", "--max", str(len(sent) + 1)], settings
    )
    assert (code, len(out.splitlines())) == (0, len(sent) + 1), err


async def test_record_that_grows_too_large_keeps_what_it_had(
    make_settings: MakeSettings, role: StartRole
) -> None:
    # Its samples are of 1970, and the clock is not to remove what they are of.
    settings = await make_settings(remove_after_s=4e9)
    worker = await role("worker", settings)
    home = partition_of(KEY, settings.partitions)
    small = _observation(origin_offset=1, ids=["poisoned"], attributes=[{"rack": "r1"}])
    big = {f"label{number}": "x" * 1_000 for number in range(300)}
    large = _observation(origin_offset=2, ids=["poisoned"], attributes=[big], values=[2.0])
    later = _observation(origin_offset=3, ids=["poisoned", "other"], sizes=[1, 1], kinds=["node"] * 2)
    later |= {"attributes": [{}, big], "metrics": [0, 0], "values": [3.0, 1.0], "times_ms": [3_000, 3_000]}
    encode = load_codec("observation").encode

    await send(settings, "observation", [(home, None, encode(small))])
    await until(lambda: _states(settings, 1), 30, "the record is there")
    await send(settings, "observation", [(home, None, encode(large))])
    (letter,) = await until(lambda: _letters(settings, 1), 30, "its dead letter", 0.5)
    await send(settings, "observation", [(home, None, encode(later))])
    states = await until(lambda: _states(settings, 2, KEY, 3.0), 30, "later samples are applied", 0.5)

    assert (letter["stage"], letter["reason"]) == ("twin", "too_large")
    assert KEY in letter["error"]
    assert states[KEY]["attributes"] == {"rack": "r1"}
    assert states[KEY]["head_values"] == [3.0]
    assert states[KEY]["source_counts"][REJECTED] == 1
    assert sum(recorded_samples(states).values()) == 4
    assert worker.runs
    await worker.kill()  # what is in Kafka can be restored
    await worker.start()
    await worker.ready()
    await _assert_balanced(settings)


@contextlib.asynccontextmanager
async def _flow(settings: Settings) -> AsyncIterator[list[int]]:
    """A steady flow of scrapes; afterwards the list has the number of their samples."""
    stop, samples = asyncio.Event(), list[int]()
    flow = asyncio.create_task(send_scrapes(settings, 8, 5, 500, stop, 60))
    try:
        yield samples
        stop.set()
        samples.append((await flow)[0])
        assert samples[0] % SAMPLES_OF_A_NODE == 0
    finally:
        flow.cancel()


async def _send(settings: Settings, poison: list[Poison]) -> None:
    for record, partition, key, value, _ in poison:
        await send(settings, record, [(partition, key, value)])


async def _letters(settings: Settings, least: int) -> list[Any]:
    """The dead letters, once there are enough."""
    letters = [
        message.decoded("deadletter")
        for message in await read_topic(settings, "deadletter")
        if message.value != GARBAGE
    ]
    return letters if len(letters) >= least else []


async def _states(
    settings: Settings, least: int, key: str = "", value: float | None = None
) -> dict[str, Any]:
    states = newest_states(await read_topic(settings, "state"))
    done = len(states) >= least and (not key or states[key]["head_values"] == [value])
    return states if done else {}


async def _applied(settings: Settings, samples: int) -> bool:
    messages: list[Message] = []
    for message in await read_topic(settings, "state"):
        with contextlib.suppress(Exception):
            if message.value is not None:
                message.decoded("state")
            messages.append(message)
    return recorded_samples(newest_states(messages)) == Counter(prom=samples)


async def _assert_balanced(settings: Settings) -> None:
    code, out, err = await roles.run(["ledger", "--json"], settings)
    assert code == 0, out + err
    assert json.loads(out)["balanced"]


def _scrape(**fields: Any) -> Any:
    scrape: dict[str, Any] = {
        "source": "s",
        "target": "t",
        "pack": "node_exporter",
        "interval_ms": 1_000,
        "scraped_at_ms": 1_000,
        "ok": True,
        "error": "",
        "simulated": False,
        "series": [],
        "values": [],
        "times_ms": [],
        "dropped": {},
    }
    return scrape | fields


def _event(type: str) -> Any:
    return {"id": "1", "type": type, "world": "live", "at_ms": 1_000, "sender": "test", "body": "{}"}


def _observation(**fields: Any) -> Observation:
    observation: Any = new_observation("clock", 10_000) | {
        "type": "values",
        "source": "test",
        "target": "http://test",
        "interval_ms": 1_000,
        "scraped_at_ms": 1_000 * fields.get("origin_offset", 1),
        "origin_topic": "scrape",
        "origin_partition": 0,
        "origin_offset": 1,
        "kinds": ["node"],
        "ids": ["n1"],
        "sizes": [1],
        "attributes": [{}],
        "names": ["load1"],
        "forms": [0],
        "metrics": [0],
        "values": [1.0],
        "times_ms": [1_000 * fields.get("origin_offset", 1)],
    }
    return observation | fields  # type: ignore[no-any-return]
