"""History in a DuckDB file, read back."""

import asyncio
import fcntl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
import pytest_asyncio

from streams import stores
from streams.errors import StoreError
from streams.stores import Selection
from streams.stores.duckdb import DuckStore, tables
from streams.stores.duckdb import file as duckdb_file
from streams.stores.duckdb import read as duckdb_read
from tests.history_model import Row, change_of, tick_of
from tests.history_suite import HistorySuite

EVERYTHING = Selection(0, 10**14)

ENDLESS = "AND (SELECT sum(a.range + b.range) FROM range(10000000) a, range(10000000) b) > 0"
"""Takes years."""

ROW = Row("node", "n1", "1", 5_000, {"load1": 1.0})


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckStore]:
    """A store on a file that is not there yet."""
    store = DuckStore(tmp_path / "history.duckdb", retention_d=0)
    yield store
    await store.close()


class TestDuckStore(HistorySuite):
    """The suite on a file whose rows are where most of a file's rows are: in all three tables."""

    @pytest.fixture(autouse=True)
    def small_levels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows move on after a few of them."""
        small = ((tables.NEW, 20, tables.PART), (tables.PART, 60, tables.SORTED))
        monkeypatch.setattr(tables, "LEVELS", small)


async def test_a_file_that_is_not_there_says_who_makes_it(store: DuckStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not there yet: `twin sink` or `twin up` makes it"):
        await store.read(EVERYTHING)

    assert not (tmp_path / "history.duckdb").exists()


async def test_a_file_that_is_none_says_what_to_do(store: DuckStore, tmp_path: Path) -> None:
    (tmp_path / "history.duckdb").write_bytes(b"PK\3\4" * 4_096)

    with pytest.raises(StoreError, match="move a damaged file away"):
        await store.read_ticks(EVERYTHING)


async def test_a_file_of_an_earlier_version_is_not_read_before_it_is_converted(
    store: DuckStore, tmp_path: Path
) -> None:
    duckdb.connect(str(tmp_path / "history.duckdb")).close()

    with pytest.raises(StoreError, match="start `twin sink`"):
        await store.read_changes(EVERYTHING, newest=True)


async def test_a_file_that_another_keeps_open_is_given_up(
    store: DuckStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare()
    monkeypatch.setattr(duckdb_file, "READ_WAIT_S", 0.1)
    script = (
        "import duckdb, sys; file = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path / "history.duckdb")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    await holder.stdout.readline()

    with pytest.raises(StoreError, match="a process that keeps it open"):
        await store.read(EVERYTHING)

    holder.stdin.close()
    await holder.wait()
    assert await store.read(EVERYTHING) == []


async def test_a_read_that_takes_too_long_is_ended(store: DuckStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row("node", f"n{number}", "1", 5_000, {"load1": 1.0}) for number in range(500)]
    await store.write(store.convert(tick_of("live", rows)))
    monkeypatch.setattr(duckdb_read, "NEWEST_CHANGES", ENDLESS)
    monkeypatch.setattr(stores, "READ_TIMEOUT_S", 0.3)

    with pytest.raises(StoreError, match=r"did not answer within 0\.3 s"):
        await store.read_changes(EVERYTHING, newest=True)

    monkeypatch.undo()
    assert len(await store.read_ticks(EVERYTHING)) == 500


async def test_a_writer_that_waits_goes_before_readers_that_come_later(
    store: DuckStore, tmp_path: Path
) -> None:
    await store.prepare()
    path = tmp_path / "history.duckdb"
    with duckdb_file.read_file(path):
        writing = asyncio.create_task(store.write(store.convert(tick_of("live", [ROW]))))
        await waits_for(path)

        with pytest.raises(BlockingIOError), duckdb_file.read_file(path, wait_s=0.1):
            pass

    assert await writing == []
    assert len(await store.read(EVERYTHING)) == 1


async def test_reads_and_writes_at_a_time_all_come_through(store: DuckStore) -> None:
    await store.prepare()

    async def read() -> list[int]:
        return [sum(len(one.values) for one in await store.read(EVERYTHING)) for _ in range(8)]

    async def write() -> None:
        for number in range(8):
            await store.write(store.convert(tick_of("live", [ROW._replace(tick_ms=5_000 * number)])))

    counts, _ = await asyncio.gather(read(), write())

    assert counts == sorted(counts)
    assert len((await store.read(EVERYTHING))[0].values) == 8


async def waits_for(path: Path) -> None:
    """Until a writer has the turn."""
    async with asyncio.timeout(10):
        while True:
            with (path.parent / f"{path.name}.turn").open() as turn:
                try:
                    fcntl.flock(turn, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
            await asyncio.sleep(0.01)


async def test_closing_ends_a_read_that_is_under_way(
    store: DuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare()
    await store.write(store.convert(tick_of("live", [ROW], [change_of("node", "n1", 5_000)])))
    monkeypatch.setattr(duckdb_read, "NEWEST_CHANGES", ENDLESS)
    reading = asyncio.create_task(store.read_changes(EVERYTHING, newest=True))
    await asyncio.sleep(0.2)

    async with asyncio.timeout(10):
        while not reading.done():
            await store.close()
            await asyncio.sleep(0.05)

    with pytest.raises(StoreError, match="did not answer"):
        await reading
