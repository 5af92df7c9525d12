import asyncio
import secrets
import time

import pytest

from streams.cursor import Cursor
from streams.errors import SettingsError, TwinError
from streams.replica import TwinReplica
from streams.settings import Settings
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.waiting import DEADLINE_S, until


async def test_it_is_a_mapping_of_what_was_written(settings: Settings) -> None:
    async with StateWriter(settings) as writer:
        await writer.put(
            make_state(id="ws01"),
            make_state(id="cam/1", kind="device"),
            make_state(kind="_ledger", id="0"),
            make_state(id="ws01", world="live~what-if"),
        )

        async with TwinReplica(settings) as twin:
            await twin.ready(DEADLINE_S)

            assert twin["node", "ws01"]["metrics"]["cpu_usage_percent"]["value"] == 31.2
            assert ("device", "cam/1") in twin
            assert ("node", "ws02") not in twin
            assert sorted(twin) == [("device", "cam/1"), ("node", "ws01")]
            assert [entity["id"] for entity in twin.entities("node")] == ["ws01"]
            assert twin.full("node", "ws01")["sources"]["node_exporter"]["priority"] == 10
            assert twin.stamp()["entities"] == len(twin) == 2
            assert sum(twin.offsets().values()) == 4
            assert list(twin.holdings.hidden) == [b"live/_ledger/0"]
            with pytest.raises(KeyError):
                twin["node", "ws02"]


async def test_an_empty_topic_is_ready_at_once(settings: Settings) -> None:
    async with TwinReplica(settings) as twin:
        await twin.ready(DEADLINE_S)

        assert len(twin) == 0
        assert twin.stamp()["tick_ms"] is None


async def test_changes_are_followed_and_removals_have_no_entity(settings: Settings) -> None:
    async with StateWriter(settings) as writer, TwinReplica(settings) as twin:
        await twin.ready(DEADLINE_S)
        changes = twin.changes()

        async with asyncio.timeout(DEADLINE_S):
            await writer.put(make_state(version=1))
            first = await anext(changes)
            await writer.put(make_state(version=2, status="down"))
            second = await anext(changes)
            await writer.remove("live", "node", "ws01")
            third = await anext(changes)

        assert first.entity is not None
        assert first.entity["version"] == 1
        assert second.entity is not None
        assert second.entity["status"] == "down"
        assert (third.kind, third.id, third.entity) == ("node", "ws01", None)
        assert len(twin) == 0


async def test_following_ends_with_the_replica(settings: Settings) -> None:
    async with TwinReplica(settings) as twin:
        changes = twin.changes()

    assert [change async for change in changes] == []
    assert [change async for change in twin.changes()] == []


async def test_poison_and_old_records_change_nothing(settings: Settings) -> None:
    async with StateWriter(settings) as writer, TwinReplica(settings) as twin:
        await writer.put(make_state(epoch=4, version=10))
        await writer.put(make_state(epoch=3, version=99, status="down"))
        await writer.send(b"live/node/ws01", b"rubbish", 0)
        await writer.send(None, b"rubbish", 1)
        await writer.send(b"no-key-of-ours", b"", 2)
        await writer.flush()

        await until(lambda: twin.holdings.poisoned and sum(twin.offsets().values()) == 5)

        assert twin["node", "ws01"]["version"] == 10
        assert twin.holdings.poisoned == {"framing": 1}


async def test_the_time_from_scrape_to_here_is_told_of_new_records_only(settings: Settings) -> None:
    delays: list[int] = []
    async with StateWriter(settings) as writer:
        await writer.put(make_state(version=1))
        async with TwinReplica(settings, on_seen=delays.append) as twin:
            await twin.ready(DEADLINE_S)
            assert delays == []

            await writer.put(make_state(version=2, seen_ms=int(time.time() * 1000)))
            await until(lambda: delays)

    assert 0 <= delays[0] < 1000 * DEADLINE_S


async def test_a_replica_is_fresh_within_a_fetch(settings: Settings) -> None:
    delays: list[int] = []
    async with StateWriter(settings) as writer, TwinReplica(settings, on_seen=delays.append) as twin:
        await twin.ready(DEADLINE_S)
        for version in range(20):
            await writer.put(make_state(version=version, seen_ms=int(time.time() * 1000)))
            await asyncio.sleep(0.02)
        await until(lambda: len(delays) == 20)

    assert sorted(delays)[10] < 500


async def test_thousands_are_read_whole_on_the_embedded_broker(settings: Settings) -> None:
    async with StateWriter(settings) as writer:
        await writer.put(*(make_state(id=f"n{number}") for number in range(5_000)))

    for _ in range(3):
        async with TwinReplica(settings) as twin:
            await twin.ready(DEADLINE_S)
            assert len(twin) == 5_000


async def test_the_partitions_are_those_of_kafka_not_of_the_settings(settings: Settings) -> None:
    async with StateWriter(settings) as writer:
        await writer.put(*(make_state(id=f"n{number}") for number in range(20)))

    async with TwinReplica(settings.model_copy(update={"partitions": 1})) as twin:
        await twin.ready(DEADLINE_S)

        assert len(twin) == 20


async def test_a_missing_topic_says_what_to_do(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"topic_prefix": f"none-{secrets.token_hex(4)}"})

    with pytest.raises(
        TwinError, match=r"topic none-\w+\.state\.v1 does not exist: run `twin topics create`"
    ):
        async with TwinReplica(elsewhere):
            pass


async def test_a_broker_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(
        TwinError, match=r"Kafka at 127\.0\.0\.1:1 does not answer: .*TWIN_KAFKA_BOOTSTRAP_SERVERS"
    ):
        async with TwinReplica(Settings(kafka_bootstrap_servers="127.0.0.1:1")):
            pass


async def test_no_broker_configured_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match="TWIN_KAFKA_BOOTSTRAP_SERVERS is not set"):
        async with TwinReplica(Settings()):
            pass


async def test_waiting_for_what_does_not_run_is_an_error(settings: Settings) -> None:
    with pytest.raises(TwinError, match="async with"):
        await TwinReplica(settings).ready()


async def test_a_time_out_names_the_partitions_that_lag(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cursor, "observe", lambda *_: None)
    async with StateWriter(settings) as writer:
        await writer.put(*(make_state(id=f"n{number}") for number in range(100)))

    async with TwinReplica(settings) as twin:
        with pytest.raises(TwinError, match=r"was not read to its end within 0.1 s: partition 0 at 0 of \d+"):
            await twin.ready(0.1)
