"""Ticks in a DuckDB file."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams.domain.rows import check_columns
from streams.errors import InvalidMessageError, SettingsError, StoreError
from streams.records import Tick
from streams.stores import Selection
from streams.stores.duckdb import DuckStore, parse_path
from streams.stores.duckdb import file as duckdb_file
from streams.stores.duckdb import tables as duckdb_tables
from streams.stores.duckdb.file import read_file


def tick_of(values: dict[str, float], *, id: str = "ws01", at_ms: int = 5_000, changes: int = 0) -> Tick:
    """A tick of one row, and as many changes."""
    size = len(values)
    tick: Any = {column: [] for column in Tick.__annotations__}
    tick |= {"world": "live", "epoch": 1, "kinds": ["node"], "ids": [id], "pools": ["1"], "ticks_ms": [at_ms]}
    tick |= {
        "complete": [True],
        "simulated": [False],
        "versions": [1],
        "sizes": [size],
        "names": list(values),
    }
    tick |= {"metrics": list(range(size)), "values": list(values.values()), "qualities": [1] * size}
    for number in range(changes):
        change = {"kinds": "node", "ids": id, "pools": "1", "at_ms": at_ms + number, "simulated": False}
        change |= {"versions": 1, "statuses": "up", "reasons": "", "attributes": "{}", "removed": False}
        for column, value in change.items():
            tick[f"change_{column}"].append(value)
    check_columns(tick)
    return tick  # type: ignore[no-any-return]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckStore]:
    """A store on a file in a folder that is not there yet."""
    store = DuckStore(tmp_path / "new" / "history.duckdb", retention_d=0)
    yield store
    await store.close()


def rows_of(tmp_path: Path, query: str) -> list[Any]:
    """What a reader of the file gets."""
    with read_file(tmp_path / "new" / "history.duckdb") as connection:
        return connection.execute(query).fetchall()


async def test_values_and_changes_are_rows(store: DuckStore, tmp_path: Path) -> None:
    await store.prepare()

    refusals = await store.write(store.convert(tick_of({"load1": 0.5, "power_watts": 90.0}, changes=1)))

    assert refusals == []
    assert rows_of(tmp_path, "SELECT * FROM tick ORDER BY metric") == [
        ("live", "node", "ws01", "1", 5_000, "load1", 0.5, 1, False, True),
        ("live", "node", "ws01", "1", 5_000, "power_watts", 90.0, 1, False, True),
    ]
    assert rows_of(tmp_path, "SELECT * FROM entity_state") == [
        ("live", "node", "ws01", "1", 5_000, "up", "", "{}", False, False)
    ]


async def test_what_is_written_twice_is_there_once_and_the_newest(store: DuckStore, tmp_path: Path) -> None:
    items = [
        *store.convert(tick_of({"load1": 0.5}, changes=2)),
        *store.convert(tick_of({"load1": 0.5}, at_ms=10_000)),
    ]
    await store.write(items)

    await store.write([*items, *items])
    await store.write(store.convert(tick_of({"load1": 0.75}, changes=1)))

    assert rows_of(tmp_path, "SELECT tick_ms, value FROM tick ORDER BY 1") == [(5_000, 0.75), (10_000, 0.5)]
    assert rows_of(tmp_path, "SELECT at_ms FROM entity_state ORDER BY 1") == [(5_000,), (5_001,)]


async def test_a_value_that_is_no_number_is_left_out(store: DuckStore, tmp_path: Path) -> None:
    rows = store.convert(tick_of({"load1": float("nan"), "load5": 2.0}))
    await store.write(rows + store.convert(tick_of({"load1": float("inf")}, id="ws02")))

    assert rows_of(tmp_path, "SELECT id, metric FROM tick") == [("ws01", "load5")]


async def test_rows_move_on_sorted_by_entity_and_are_still_replaced(
    store: DuckStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = ((duckdb_tables.NEW, 3, duckdb_tables.PART), (duckdb_tables.PART, 8, duckdb_tables.SORTED))
    monkeypatch.setattr(duckdb_tables, "LEVELS", levels)
    for turn in range(7):
        items = [store.convert(tick_of({"load1": turn}, id=id, at_ms=turn * 5_000)) for id in ("b", "a")]
        await store.write(items[0] + items[1])

    await store.write(store.convert(tick_of({"load1": 9.0}, id="a", at_ms=0)))

    assert rows_of(tmp_path, "SELECT id, tick_ms // 5_000 FROM tick_sorted") == [
        *(("a", turn) for turn in (1, 2, 3)),
        *(("b", turn) for turn in (0, 1, 2, 3)),
    ]
    assert rows_of(tmp_path, "SELECT id, tick_ms // 5_000 FROM tick_part") == [
        *(("a", 4), ("a", 5), ("b", 4), ("b", 5)),
        *(("a", 0), ("a", 6), ("b", 6)),
    ]
    assert rows_of(tmp_path, "SELECT value FROM tick WHERE id = 'a' AND tick_ms = 0") == [(9.0,)]
    assert rows_of(tmp_path, "SELECT count(*) FROM tick") == [(14,)]


async def test_a_file_of_an_earlier_version_is_converted(store: DuckStore, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with duckdb.connect(str(tmp_path / "new" / "history.duckdb")) as old:
        old.execute(
            "CREATE TABLE tick (world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR, tick_ms BIGINT,"
            " metric VARCHAR, value DOUBLE, quality UTINYINT, simulated BOOLEAN)"
        )
        old.execute(
            "CREATE TABLE entity_state (world VARCHAR, kind VARCHAR, id VARCHAR, nodepool VARCHAR,"
            " at_ms BIGINT, status VARCHAR, reason VARCHAR, attributes VARCHAR, removed BOOLEAN,"
            " simulated BOOLEAN)"
        )
        old.execute("INSERT INTO entity_state VALUES ('live','node','a','1',1,'up','','{}',false,false)")
        for metric, place in (("load5", 5), ("load1", 1)):
            old.execute(
                "INSERT INTO tick SELECT 'live', 'node', 'a', '1', number * 3_600_000, $1, number + $2 / 10,"
                " number % 3, false FROM range(30) numbers(number) WHERE number < 20 OR $1 = 'load1'",
                [metric, place],
            )
        before = old.execute("SELECT * FROM tick ORDER BY tick_ms, metric").fetchall()

    await store.prepare()
    await store.prepare()

    after = rows_of(tmp_path, "SELECT * FROM tick ORDER BY tick_ms, metric")
    assert after == [(*row, None) for row in before]
    assert rows_of(tmp_path, "SELECT count(*) FROM shape") == [(2,)]
    assert [len(one.values) for one in await store.read(Selection(0, 10**9))] == [30, 20]
    assert [tick.complete for tick in await store.read_ticks(Selection(0, 10**9))] == [None]
    assert len(await store.read_changes(Selection(0, 10), newest=True)) == 1


async def test_names_that_are_not_there_are_refused(store: DuckStore) -> None:
    tick = tick_of({"load1": 1.0})
    tick["metrics"] = [3]

    with pytest.raises(InvalidMessageError):
        store.convert(tick)


async def test_rows_past_the_retention_are_deleted_but_the_change_that_is_in_force(tmp_path: Path) -> None:
    now_s = 10 * 86_400.0
    store = DuckStore(tmp_path / "new" / "history.duckdb", retention_d=1, wall_s=lambda: now_s)
    for age_d in (3.0, 2.0, 0.5):
        at_ms = int((10 - age_d) * 86_400_000)
        await store.write(store.convert(tick_of({"load1": age_d}, at_ms=at_ms, changes=1)))
    gone = tick_of({"load1": 3.0}, id="ws02", at_ms=7 * 86_400_000, changes=1)
    gone["change_removed"] = [True]
    await store.write(store.convert(gone))
    now_s += 3_601

    await store.write(store.convert(tick_of({"load1": 0.0}, at_ms=int(now_s * 1000))))

    await store.close()
    assert rows_of(tmp_path, "SELECT value FROM tick ORDER BY 1") == [(0.0,), (0.5,)]
    assert rows_of(tmp_path, "SELECT id, 10 - at_ms / 86_400_000 FROM entity_state ORDER BY at_ms") == [
        ("ws01", 2.0),
        ("ws01", 0.5),
    ]


async def test_another_process_reads_between_two_writes(store: DuckStore, tmp_path: Path) -> None:
    await store.write(store.convert(tick_of({"load1": 0.5})))
    script = (
        "import sys; from pathlib import Path; from streams.stores.duckdb.file import read_file\n"
        "with read_file(Path(sys.argv[1])) as connection:\n"
        "    print(connection.execute('SELECT value FROM tick').fetchall())"
    )
    writing = asyncio.create_task(_write_for(store, 20))

    answer = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, str(tmp_path / "new" / "history.duckdb")],
        capture_output=True,
        text=True,
        check=False,
    )

    await writing
    assert answer.stdout.strip() == "[(0.5,)]", answer.stderr


async def _write_for(store: DuckStore, times: int) -> None:
    for _ in range(times):
        await store.write(store.convert(tick_of({"load1": 0.5})))
        await asyncio.sleep(0.02)


async def test_a_file_that_is_kept_open_is_a_store_that_is_away(
    store: DuckStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare()
    monkeypatch.setattr(duckdb_file, "LOCK_WAIT_S", 0.1)
    script = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1])\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path / "new" / "history.duckdb")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    await holder.stdout.readline()

    with pytest.raises(StoreError, match="a process that keeps it open"):
        await store.write(store.convert(tick_of({"load1": 0.5})))

    holder.stdin.close()
    await holder.wait()
    assert await store.write(store.convert(tick_of({"load1": 0.5}))) == []


def test_a_file_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error), read_file(tmp_path / "none.duckdb", wait_s=0.1):
        pass

    assert not (tmp_path / "none.duckdb").exists()


def test_an_item_can_be_shown(tmp_path: Path) -> None:
    store = DuckStore(tmp_path / "history.duckdb", retention_d=0)

    assert b"ws01" in store.show(store.convert(tick_of({"load1": 0.5}))[0])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("duckdb:///var/lib/twin/history.duckdb", "/var/lib/twin/history.duckdb"),
        ("duckdb:history.duckdb", "history.duckdb"),
        ("duckdb:///with%20space/h.duckdb", "/with space/h.duckdb"),
    ],
)
def test_paths_are_read_from_the_url(url: str, path: str) -> None:
    assert parse_path(url) == Path(path)


@pytest.mark.parametrize("url", ["duckdb://host/history.duckdb", "duckdb://", "duckdb:///"])
def test_a_url_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="TWIN_HISTORY_URL"):
        parse_path(url)
