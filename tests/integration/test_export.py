"""`twin export`: what is in history comes out as a file."""

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from streams import stores
from streams.errors import StoreError, TooMuchError
from streams.settings import load_settings
from streams.stores import Selection, Series
from streams.stores.columnfile import ColumnFile
from streams.stores.duckdb import DuckStore
from streams.tools.export import LONGEST_PART_MS, export, export_parts
from tests.history_model import ODD_ID, Model, load

FIRST_MS = 1_764_000_000_000
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command on a DuckDB store that holds the load of the history suite in world w."""
    path = tmp_path / "history.duckdb"

    async def write() -> None:
        store = DuckStore(path, retention_d=0)
        await store.write([item for tick in load("w", FIRST_MS) for item in store.convert(tick)])
        await store.close()

    asyncio.run(write())
    settings = load_settings(history_url=f"duckdb://{path}")

    def invoke(*arguments: str) -> Result:
        begin = ("--from", str(FIRST_MS), "--to", str(FIRST_MS + 60_000), "--world", "w")
        return CliRunner().invoke(export, [*begin, *arguments], obj=settings)

    return invoke


def expected(**some: Any) -> list[tuple[Any, ...]]:
    """World, kind, id, metric, time and value of each value in the range."""
    series = Model(load("w", FIRST_MS)).read(Selection(FIRST_MS, FIRST_MS + 60_000, "w", **some))
    return sorted(
        ("w", one.kind, one.id, one.metric, at_ms, value)
        for one in series
        for at_ms, value in zip(one.times_ms, one.values, strict=True)
    )


COLUMNS = "world, kind, id, metric, epoch_ms(time), value"


@pytest.mark.parametrize("limit", [1_000_000, 20])
def test_parquet_has_every_value_once_in_order_of_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(stores, "MAX_POINTS", limit)
    file = tmp_path / "out.parquet"

    result = run("--output", str(file))

    assert result.exit_code == 0, result.output
    rows = duckdb.sql(f"SELECT {COLUMNS} FROM '{file}'").fetchall()  # a file of this test
    assert sorted(rows) == expected()
    assert [row[4] for row in rows] == sorted(row[4] for row in rows)
    types = {name: kind for name, kind, *_ in duckdb.sql(f"DESCRIBE FROM '{file}'").fetchall()}
    assert list(types) == [
        *("world", "kind", "id", "nodepool", "simulated", "time", "metric", "unit", "value")
    ]
    assert (types["time"], types["value"]) == ("TIMESTAMP WITH TIME ZONE", "DOUBLE")
    assert f"{len(rows)} values" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("history.duckdb", "history.duckdb.turn", "out.parquet")
    ]


def test_csv_has_units_and_times_with_a_zone(run: Run, tmp_path: Path) -> None:
    result = run("--format", "csv", "--output", str(tmp_path / "out.txt"), "--metric", "power_watts")

    assert result.exit_code == 0, result.output
    with (tmp_path / "out.txt").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["unit"] for row in rows} == {"W"}
    assert rows[0]["time"] == "2025-11-24T16:00:00.000Z"
    assert len(rows) == len(expected(metrics=("power_watts",)))
    assert {(row["nodepool"], row["simulated"]) for row in rows} == {("1", "false")}


def test_only_what_is_asked_for_is_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"

    result = run("--output", str(file), "--kind", "node", "--kind", "link", "--id", ODD_ID)

    assert result.exit_code == 0, result.output
    rows = duckdb.sql(f"SELECT {COLUMNS} FROM '{file}'").fetchall()  # a file of this test
    assert sorted(rows) == expected(kinds=("node", "link"), ids=(ODD_ID,))


def test_nothing_found_is_an_empty_file_and_a_hint(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"

    result = run("--output", str(file), "--world", "live")

    assert result.exit_code == 0
    assert "0 values" in result.output
    assert "look at --from, --to and --world" in result.output
    assert file.read_text(encoding="utf-8").startswith(
        "world,kind,id,nodepool,simulated,time,metric,unit,value"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--output", "x.xlsx"], "does not end in .parquet or .csv"),
        (["--output", "x.csv", "--to", str(FIRST_MS)], "--to must be after --from"),
        (["--output", "none/x.csv"], "there is no folder none"),
        (["--output", "x.csv", "--from", "yesterday"], "is no moment"),
    ],
)
def test_wrong_options_say_what_is_wrong(run: Run, arguments: list[str], text: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert text in result.output


async def test_a_store_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("old", encoding="utf-8")
    store = Holder({FIRST_MS: 1}, fails_at_ms=FIRST_MS + LONGEST_PART_MS)

    with pytest.raises(StoreError), ColumnFile(file, "csv", {}) as out:
        await export_parts(store, Selection(FIRST_MS, FIRST_MS + 10 * LONGEST_PART_MS), out)

    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == [file]
    assert file.read_text(encoding="utf-8") == "old"


async def test_parts_shrink_where_there_is_much_and_grow_where_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_POINTS", 100)
    counts = {FIRST_MS + number: 10 for number in range(50)} | {0: 1}
    store = Holder(counts)

    with ColumnFile(tmp_path / "out.parquet", "parquet", {}) as out:
        count = await export_parts(store, Selection(0, FIRST_MS + 10 * LONGEST_PART_MS), out)

    assert count == 501
    assert store.asked < 400


async def test_a_millisecond_with_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MAX_POINTS", 9)

    with pytest.raises(TooMuchError), ColumnFile(tmp_path / "out.parquet", "parquet", {}) as out:
        await export_parts(Holder({FIRST_MS: 10}), Selection(FIRST_MS, FIRST_MS + 60_000), out)

    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240  # a test


class Holder:
    """Not a store, but reads as one: so many values at some times."""

    def __init__(self, counts: dict[int, int], fails_at_ms: int | None = None) -> None:
        self._counts, self._fails_at_ms = counts, fails_at_ms
        self.asked = 0

    async def read(self, selection: Selection) -> list[Series]:
        """A series for each of the values at a time."""
        self.asked += 1
        if self._fails_at_ms is not None and selection.end_ms > self._fails_at_ms:
            raise StoreError("away")
        found = {
            at_ms: count
            for at_ms, count in self._counts.items()
            if selection.start_ms <= at_ms < selection.end_ms
        }
        if sum(found.values()) > stores.MAX_POINTS:
            raise TooMuchError("too much")
        return [
            Series("node", f"n{number}", "", False, "load1", [at_ms], [1.0])
            for at_ms, count in found.items()
            for number in range(count)
        ]
