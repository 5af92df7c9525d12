"""The history of the API over a DuckDB file; no Kafka is there."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from streams.history.pool import QUEUE, HistoryPool
from streams.settings import Settings
from streams.stores import Store
from tests.history_model import ODD_ID, STEP_MS, TICKS
from tests.historyfile import fill
from tests.waiting import DEADLINE_S, until
from tests.webclient import Answer, Client, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST_MS = int(time.time() * 1000 - 1_800_000) // 60_000 * 60_000
"""[ms since the epoch] The first tick of the load, half an hour ago."""

END_MS = FIRST_MS + TICKS * STEP_MS

RANGE = {"start": str(FIRST_MS), "end": str(END_MS)}

ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the load."""
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    fill(path, FIRST_MS)
    return path


def settings_of(url: str | None) -> Settings:
    return Settings(
        kafka_bootstrap_servers="127.0.0.1:9", kafka_security_protocol="PLAINTEXT", history_url=url
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(file: Path) -> AsyncIterator[Client]:
    """Asks a web role that has history, and no state."""
    async with serving(settings_of(f"duckdb://{quote(str(file))}")) as client:
        yield client


async def ask(client: Client, path: str = "/twin/v1/history", **params: str | list[str]) -> Answer:
    wanted = [
        (name, one)
        for name, value in params.items()
        for one in ([value] if isinstance(value, str) else value)
    ]
    return await client.get(path, "history", params=wanted)


async def test_values_as_they_were(client: Client) -> None:
    answer = await ask(client, kind="node", ids="n.1", metrics="cpu_usage_percent", **RANGE)

    assert answer.status == 200, answer
    [series] = answer.json["series"]
    assert series["times_ms"] == list(range(FIRST_MS, END_MS, STEP_MS))
    assert (series["id"], series["nodepool"], series["unit"]) == ("n.1", "pool two", "%")
    assert answer.json["resolution_ms"] == STEP_MS
    assert answer.json["next"] is None
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_windows_groups_and_attributes(client: Client) -> None:
    answer = await ask(
        client, metrics="power_watts", every="30s", fn="max", group_by="kind", kind="nodepool,node", **RANGE
    )
    labelled = await ask(client, labels=["nodepool=1"], metrics="cpu_usage_percent,power_watts", **RANGE)

    assert [(one["kind"], one["entities"]) for one in answer.json["series"]] == [("node", 1), ("nodepool", 1)]
    assert answer.json["series"][1]["values"] == [5.0, 11.0, 17.0, 23.0, 24.0]
    assert {one["id"] for one in labelled.json["series"]} == {"n.1", "1"}


async def test_one_entity_whatever_its_id(client: Client) -> None:
    plain = await ask(client, "/twin/v1/entities/node/n.1/history", metrics="power_watts", **RANGE)
    odd = await ask(client, f"/twin/v1/entities/node/{quote(ODD_ID, safe='')}/history", every="1m", **RANGE)
    inner = await ask(client, "/twin/v1/entities/device/cam%2Fhistory/history", **RANGE)
    entity = await client.get("/twin/v1/entities/device/cam%2Fhistory")

    assert [one["metric"] for one in plain.json["series"]] == ["power_watts"]
    assert {one["id"] for one in odd.json["series"]} == {ODD_ID}
    assert inner.json["points"] == 1
    assert entity.status == 503, "its record is asked for, not the history of cam"


async def test_csv_is_the_same(client: Client) -> None:
    params = {"kind": "node", "metrics": "load1", "every": "1m"} | RANGE
    document = (await ask(client, **params)).json
    answer = await client.get("/twin/v1/history", params=params, headers={"Accept": "text/csv, */*;q=0.1"})

    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(row["id"], int(row["time_ms"]), float(row["value"])) for row in rows] == [
        (one["id"], *point)
        for one in document["series"]
        for point in zip(one["times_ms"], one["values"], strict=True)
    ]
    moment = datetime.fromisoformat(rows[0]["time"])
    assert moment.tzinfo is UTC or moment.utcoffset() is not None
    assert moment.timestamp() * 1000 == int(rows[0]["time_ms"])
    assert answer.headers["Twin-Resolution-Ms"] == "60000"


async def test_arrow_is_the_same(client: Client) -> None:
    pa = pytest.importorskip("pyarrow")
    params = {"kind": "node", "metrics": "load1"} | RANGE
    document = (await ask(client, **params)).json
    answer = await client.get("/twin/v1/history", params=params, headers={"Accept": ARROW})

    table = pa.ipc.open_stream(answer.body).read_all()
    assert answer.headers["Content-Type"] == ARROW
    assert table["value"].to_pylist() == [value for one in document["series"] for value in one["values"]]


async def test_without_its_package_arrow_is_refused_and_told_how_to_have_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.history.formats.find_spec", lambda _: None)

    answer = await client.get("/twin/v1/history", headers={"Accept": ARROW})

    assert answer.status == 406
    assert "pip install" in answer.json["detail"]


@pytest.mark.parametrize(
    ("accept", "status", "form"),
    [
        ("", 200, "application/json"),
        ("*/*", 200, "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200, "application/json"),
        ("text/*", 200, "text/csv"),
        ("application/json;q=0.5, text/csv;q=0.9", 200, "text/csv"),
        ("text/csv;q=0, application/json", 200, "application/json"),
        ("text/csv;q=high", 406, "application/problem+json"),
        ("image/png", 406, "application/problem+json"),
    ],
)
async def test_the_format_is_that_which_the_client_likes_best(
    client: Client, accept: str, status: int, form: str
) -> None:
    answer = await client.get(
        "/twin/v1/history", params={"metrics": "load1"} | RANGE, headers={"Accept": accept}
    )

    assert answer.status == status
    assert answer.headers["Content-Type"].split(";")[0] == form


async def test_pages(client: Client) -> None:
    whole = (await ask(client, kind="node", **RANGE)).json
    values: list[float] = []
    cursor = ""
    while True:
        page = (await ask(client, kind="node", limit="40", cursor=cursor, **RANGE)).json
        values += [value for one in page["series"] for value in one["values"]]
        if page["next"] is None:
            break
        assert page["points"] == 40
        cursor = page["next"]
    assert values == [value for one in whole["series"] for value in one["values"]]


@pytest.mark.parametrize(
    ("query", "status", "field", "text"),
    [
        ("start=yesterday", 422, "start", "ISO 8601"),
        ("start=2026-11-24T03:12:00", 422, "start", "zone"),
        ("start=-5M", 422, "start", "months"),
        ("end=-2h", 422, "start", "before end"),
        ("every=5", 422, "every", "30s"),
        ("every=1s", 422, "every", "5000 ms"),
        ("fn=avg&every=5m", 422, "fn", "mean"),
        ("group_by=pool", 422, "group_by", "nodepool"),
        ("group_by=kind", 422, "fn", "needs fn"),
        ("limit=0", 422, "limit", "1"),
        ("limit=100001", 422, "limit", "100000"),
        ("labels=nodepool", 422, "labels", "name=value"),
        ("labels==1", 422, "labels", "name=value"),
        ("kind=", 422, "kind", "node"),
        ("metric=load1", 422, "metric", "no such parameter"),
        ("metrics=cpu_usage", 422, "metrics", "cpu_usage_percent"),
        ("cursor=x", 422, "cursor", "none that an answer had"),
        ("ids=a&ids=b&every=5s&start=-40d", 422, None, "larger every"),
    ],
)
async def test_errors_name_the_field(
    client: Client, query: str, status: int, field: str | None, text: str
) -> None:
    answer = await client.get(f"/twin/v1/history?{query}")

    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json.get("field") == field
    assert text in answer.json["detail"]


async def test_near_names_are_offered(client: Client) -> None:
    assert (await client.get("/twin/v1/history?metrics=cpu_usage")).json["near"][0] == "cpu_usage_percent"


async def test_nothing_is_an_answer_with_a_note(client: Client) -> None:
    answer = await ask(client, ids="n.2\r\nSet-Cookie: x", **RANGE)
    text = await client.get(
        "/twin/v1/history", params={"ids": "n.2\r\nX: y"} | RANGE, headers={"Accept": "text/csv"}
    )

    assert answer.json["series"] == []
    assert "History knows no n.2" in answer.json["note"]
    assert text.status == 200
    assert "X" not in text.headers


async def test_the_past_may_be_kept_for_a_while(client: Client) -> None:
    answer = await ask(client, start="-3h", end="-2h")

    assert answer.headers["Cache-Control"] == "private, max-age=60"


async def test_the_api_is_described_with_its_formats(client: Client) -> None:
    openapi = (await client.get("/openapi.json")).json
    route = openapi["paths"]["/twin/v1/history"]["get"]

    assert set(route["responses"]["200"]["content"]) == {"application/json", "text/csv", ARROW}
    assert "/twin/v1/entities/{kind}/{id}/history" in openapi["paths"]
    assert {"start", "end", "every", "fn", "labels", "cursor"} <= {one["name"] for one in route["parameters"]}


async def test_without_a_store_the_variable_is_named() -> None:
    async with serving(settings_of(None)) as client:
        answer = await client.get("/twin/v1/history")

    assert answer.status == 503
    assert answer.json["type"] == "urn:decice-twin:no-history"
    assert "TWIN_HISTORY_URL" in answer.json["detail"]


async def test_a_store_that_is_away_or_wrong_is_a_503(tmp_path: Path) -> None:
    for url, text in (
        (f"duckdb://{tmp_path}/none.duckdb", "not there yet"),
        ("mysql://x", "TWIN_HISTORY_URL"),
    ):
        async with serving(settings_of(url)) as client:
            answer = await client.get("/twin/v1/history")

        assert answer.status == 503
        assert text in answer.json["detail"]
        assert url == "mysql://x" or int(answer.headers["Retry-After"]) >= 1


async def slow(_store: Store, go: Path) -> None:
    """Until it may end."""
    await until(go.exists)


async def test_who_comes_when_all_places_are_taken_hears_when_to_come_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[HistoryPool] = []

    def remember(*args: object) -> HistoryPool:
        pools.append(HistoryPool(*args))  # type: ignore[arg-type]
        return pools[-1]

    monkeypatch.setattr("streams.web.parts.HistoryPool", remember)
    async with serving(settings_of(f"duckdb://{file}")) as client:
        [pool] = pools
        tasks = [asyncio.create_task(pool.run(slow, tmp_path / "go")) for _ in range(QUEUE + 2)]
        await until(lambda: len(pool._queue) == QUEUE)

        began = time.monotonic()
        answer = await client.get("/twin/v1/history")
        live = await client.get("/twin/v1/schemas")

        assert time.monotonic() - began < DEADLINE_S / 2
        assert answer.status == 503
        assert answer.json["type"] == "urn:decice-twin:history-busy"
        assert int(answer.headers["Retry-After"]) >= 1
        assert live.status == 200
        (tmp_path / "go").touch()
        await asyncio.gather(*tasks)
        assert (await client.get("/twin/v1/history")).status == 200
