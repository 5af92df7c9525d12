"""Why a value is what it is: from the scrape to the answer, on the embedded broker."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from streams.domain.keys import entity_key, partition_of
from streams.history.why.look import LogLook
from streams.records import State
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.why import why
from streams.web import why as web_why
from tests.factories import NOW_MS, make_state
from tests.reference.messages import values as observation_of
from tests.services.load import send_scrapes
from tests.services.topiclog import send
from tests.services.waiting import until
from tests.statewriter import StateWriter
from tests.waiting import DEADLINE_S
from tests.webclient import Client, eventually, ready, serving
from tests.worlds import event, fault, series, told, values, views

pytestmark = pytest.mark.timeout(180)


async def invoke(settings: Settings, *words: str) -> Result:
    # In a thread of its own: the command runs an event loop, and so does the test.
    return await asyncio.to_thread(CliRunner().invoke, why, words, obj=settings)


async def asked(settings: Settings, *words: str) -> dict[str, Any]:
    result = await invoke(settings, *words, "--json")
    assert result.stdout, result
    document: dict[str, Any] = json.loads(result.stdout)
    return document


async def scraped(settings: Settings, ticks: int = 2) -> str:
    """Scrape two nodes each second until one has closed some ticks with a rate; its id."""
    stop = asyncio.Event()
    feeding = asyncio.create_task(send_scrapes(settings, 1, 2, 1_000, stop, 120))
    try:

        async def closed() -> str:
            for view in (await views(settings, "live")).values():
                rows = await series(settings, "live", "node", view["id"])
                if sum("network_receive_bytes_per_s" in row for row in rows.values()) >= ticks:
                    return str(view["id"])
            return ""

        return await until(closed, 90, "ticks with rates", every_s=0.5)
    finally:
        stop.set()
        await feeding


@pytest.mark.usefixtures("worker")
async def test_values_are_traced_to_their_series_rules_and_places(settings: Settings) -> None:
    node = await scraped(settings)

    gauge = await asked(settings, f"node/{node}", "load1")
    counter = await asked(settings, f"node/{node}", "network_receive_bytes_per_s")
    ratio = await asked(settings, f"node/{node}", "mem_usage_percent")

    assert (gauge["found"], gauge["missing"]) == ("log", [])
    (sample,) = gauge["samples"]
    assert sample["value"] == gauge["value"]
    assert sample["observation"]["topic"] == f"{settings.topic_prefix}.observation.v1"
    assert sample["origin"]["topic"] == f"{settings.topic_prefix}.scrape.v1"
    mapping = sample["origin"]["mapping"]
    assert mapping["rule"].startswith("streams/rules/node_exporter.yaml:")
    assert [one["series"].partition("{")[0] for one in mapping["series"]] == ["node_load1"]
    assert (mapping["value"], gauge["sources"][0]["used"]) == (sample["value"], True)

    first, second = counter["samples"]
    grown, length_ms = second["value"] - first["value"], second["time_ms"] - first["time_ms"]
    assert counter["value"] == grown / length_ms * 1000.0
    assert "grew by" in counter["rule"]

    assert len(ratio["samples"][0]["origin"]["mapping"]["series"]) >= 2
    assert ratio["samples"][0]["origin"]["mapping"]["formula"].startswith("100 * (1 - ")

    # Of the past: what the topic of ticks says, from the samples around each.
    rows = await series(settings, "live", "node", node)
    for tick_ms, row in list(rows.items())[-2:]:
        for metric in ("load1", "network_receive_bytes_per_s"):
            then = await asked(settings, f"node/{node}", metric, "--at", str(tick_ms + 10))
            assert (then["tick_ms"], then["value"]) == (tick_ms, row[metric])
            assert (then["found"], then["missing"]) == ("log", [])
            assert then["quality"] in ("interpolated", "measured", "held")
    printed = (await invoke(settings, f"node/{node}", "load1", "--at", "now")).stdout
    assert "at the tick" in printed
    assert f"{settings.topic_prefix}.scrape.v1/0@" in printed


@pytest.mark.usefixtures("worker")
async def test_a_fault_of_an_overlay_is_a_step_after_live(settings: Settings) -> None:
    node = await scraped(settings)
    more = {"metrics": ["load1"], "amount": 3.0}
    await told(
        settings,
        event("world.create", "live~o", owner="tests"),
        fault("live~o", "hot", "metric_offset", node, **more),
    )

    live, shown = [await asked(settings, f"node/{node}", "load1", "--world", w) for w in ("live", "live~o")]
    assert shown["value"] == live["value"] + 3
    assert [(one["fault"], one["before"], one["after"]) for one in shown["changes"]] == [
        ("hot", live["value"], live["value"] + 3)
    ]
    assert (live["changes"], shown["missing"], shown["simulated"]) == ([], [], True)
    tick_ms = min(await series(settings, "live", "node", node))
    before = await asked(settings, f"node/{node}", "load1", "--world", "live~o", "--at", str(tick_ms))
    assert (before["changes"], before["missing"]) == ([], []), "the fault came after that tick had closed"


@pytest.mark.usefixtures("worker")
async def test_an_isolated_world_names_the_event_that_set_the_value(settings: Settings) -> None:
    clock_ms = 1_750_000_000_000
    await told(
        settings,
        event("world.create", "w1", owner="tests", clock_ms=clock_ms, step_ms=1_000),
        values("w1", n1={"load1": 1.0}),
        event(
            "entity.set", "w1", "the-one", entities=[{"kind": "node", "id": "n1", "metrics": {"load1": 4.0}}]
        ),
        event("world.advance", "w1", by_ms=3_000),
        fault("w1", "f1", "metric_offset", "n1", metrics=["load1"], amount=2.0),
        event("world.advance", "w1", by_ms=3_000),
    )

    now = await asked(settings, "node/n1", "load1", "--world", "w1")
    before = await asked(settings, "node/n1", "load1", "--world", "w1", "--at", str(clock_ms + 2_000))
    after = await asked(settings, "node/n1", "load1", "--world", "w1", "--at", str(clock_ms + 5_000))

    for answer, value in ((now, 6.0), (before, 4.0), (after, 6.0)):
        assert (answer["value"], answer["missing"], answer["simulated"]) == (value, [], True)
        assert answer["samples"][-1]["value"] == 4.0
        assert answer["samples"][-1]["origin"]["event"]["id"] == "the-one"
        assert answer["samples"][-1]["origin"]["event"]["type"] == "entity.set"
    assert (before["rule"], before["changes"]) == (after["rule"], [])
    assert [one["fault"] for one in after["changes"]] == ["f1"]


async def test_what_the_topics_do_not_have_is_said_to_be_gone(settings: Settings) -> None:
    async with StateWriter(settings) as writer:
        await writer.put(make_state())

    now = await asked(settings, "node/ws01", "cpu_usage_percent")
    tick = await asked(settings, "node/ws01", "cpu_usage_percent", "--at", str(NOW_MS))
    older = await invoke(settings, "node/ws01", "cpu_usage_percent", "--at", str(NOW_MS - 60_000))

    assert (now["value"], now["found"], now["samples"]) == (31.2, "record", [])
    assert "is gone" in now["missing"][0]
    assert (tick["value"], tick["quality"], tick["found"]) == (30.9, "interpolated", "record")
    assert "is gone" in tick["missing"][0]
    assert older.exit_code == 1
    assert "has no value" in older.stdout
    assert "TWIN_HISTORY_URL" in older.stdout


async def test_a_scrape_that_is_gone_leaves_the_sample(settings: Settings) -> None:
    state = make_state(version=1, head_names=["load1"], head_sources=[0], head_forms=[0])
    state["head_values"], state["head_times_ms"] = [2.0], [NOW_MS - 237]
    state["head_rates"], state["head_sums"] = [float("nan")], [float("nan")]
    readings = {("node", "ws01"): [("load1", 2.0, NOW_MS - 237)]}
    message = observation_of(NOW_MS, "node_exporter", (3, 11), readings)
    message["origin_topic"] = "scrape"
    await put_observations(settings, state, [load_codec("observation").encode(message)])

    found = await asked(settings, "node/ws01", "load1")

    assert found["found"] == "log"
    assert [sample["value"] for sample in found["samples"]] == [2.0]
    assert found["samples"][0]["origin"]["missing"] == (
        "the scrape is gone: the topic does not keep it any longer"
    )
    assert found["missing"] == ["the scrape is gone: the topic does not keep it any longer"]


async def put_observations(settings: Settings, state: State, messages: list[bytes]) -> None:
    home = partition_of(entity_key("live", state["kind"], state["id"]), settings.partitions)
    await send(settings, "observation", [(home, None, message) for message in messages])
    async with StateWriter(settings) as writer:
        await writer.put(state)


async def test_a_look_into_the_log_keeps_to_its_bounds(settings: Settings) -> None:
    await send(settings, "observation", [(0, None, bytes([n % 256]) * 1_000) for n in range(50)])

    async with LogLook(settings, bytes_max=10_000) as log:
        assert await log.bounds("observation", 0) == (0, 50)
        found = [one.offset async for one in log.messages("observation", 0, 5, 12)]
        assert (found, log.is_spent) == (list(range(5, 12)), False)
        one = await log.message("observation", 0, 49)
        assert one is not None
        assert one.offset == 49
        assert await log.message("observation", 0, 50) is None
        assert await log.message("observation", 99, 0) is None
        many = [one.offset async for one in log.messages("observation", 0, 0, 50)]
        assert log.is_spent
        assert len(many) < 50

    async with LogLook(settings, seconds_max=0) as late:
        assert [one async for one in late.messages("observation", 0, 0, 50)] == []
        assert late.is_spent


async def test_the_place_of_a_time_is_found(settings: Settings) -> None:
    times: list[int] = []
    for _ in range(6):
        times.append(int(time.time() * 1000))
        await send(settings, "observation", [(0, None, b"x")] * 100)
        await asyncio.sleep(0.05)

    async with LogLook(settings) as log:
        for number, time_ms in enumerate(times):
            place = await log.offset_at("observation", 0, time_ms)
            assert 100 * (number - 1) <= place <= 100 * number
        assert await log.offset_at("observation", 0, times[-1] + 3_600_000) == 600
        assert await log.offset_at("observation", 0, 0) == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("node/ws1", "load1"), "did you mean ws01?"),
        (("node/ws01", "lod1"), "did you mean load1"),
        (("node/ws01", "load1", "--world", "w"), "there is no world 'w'"),
    ],
)
async def test_wrong_names_are_answered_with_near_ones(
    settings: Settings, words: tuple[str, ...], text: str
) -> None:
    async with StateWriter(settings) as writer:
        await writer.put(make_state())

    result = await invoke(settings, *words)

    assert result.exit_code == 1
    assert text in str(result.exception)


async def test_an_entity_is_named_by_kind_and_id(settings: Settings) -> None:
    result = await invoke(settings, "ws01", "load1")

    assert result.exit_code == 2
    assert "node/ws01" in result.output


async def test_the_route(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/twin/v1/entities/node/ws01/why"
    async with StateWriter(settings) as writer, serving(settings) as client:
        await writer.put(make_state(), make_state(id="a/why"), make_state(id="b c", kind="device"))
        await ready(client)
        await eventually(client, "/twin/v1/entities/device/b%20c", lambda answer: answer.status == 200)

        answer = await client.get(f"{path}?metric=cpu_usage_percent", "why")
        assert (answer.status, answer.json["value"], answer.json["found"]) == (200, 31.2, "record")
        spaced = await client.get(
            f"/twin/v1/entities/device/{quote('b c')}/why?metric=mem_total_bytes", "why"
        )
        assert spaced.json["id"] == "b c"
        at = await client.get(f"{path}?metric=cpu_usage_percent&at={NOW_MS}", "why")
        assert (at.status, at.json["tick_ms"], at.json["value"]) == (200, NOW_MS - 5_000, 30.9)

        await check_problems(client, path)
        await check_bounds(client, path, monkeypatch)


async def check_problems(client: Client, path: str) -> None:
    entity = await client.get("/twin/v1/entities/node/a%2Fwhy", "entity")
    assert entity.json["id"] == "a/why", "an id may end in /why"
    for query, status, field in (
        (f"{path}?metric=lod1", 404, "metric"),
        (path, 422, "metric"),
        (f"{path}?metric=load1&at=soon", 422, "at"),
        (f"{path}?metric=load1&world=mars", 404, "world"),
        (f"{path}?metric=load1&x=1", 422, "x"),
        ("/twin/v1/entities/node/ws1/why?metric=load1", 404, "id"),
        ("/twin/v1/entities/node/ws1/why?metric=load1&at=-1m", 404, "id"),
        ("/twin/v1/entities/nodes/ws01/why?metric=load1", 404, "kind"),
    ):
        answer = await client.get(query)
        assert (answer.status, answer.json["field"]) == (status, field), answer


async def check_bounds(client: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait_long(*_arguments: Any) -> Any:
        started.release()
        await go_on.wait()
        raise TimeoutError

    monkeypatch.setattr(web_why, "explain", wait_long)
    asking = [asyncio.create_task(client.get(f"{path}?metric=load1")) for _ in range(web_why.AT_A_TIME)]
    async with asyncio.timeout(DEADLINE_S):
        for _ in asking:
            await started.acquire()

    refused = await client.get(f"{path}?metric=load1")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    go_on.set()
    assert [answer.status for answer in await asyncio.gather(*asking)] == [503] * web_why.AT_A_TIME
    again = await client.get(f"{path}?metric=load1")
    assert "did not answer within" in again.json["detail"], "there is room again"
