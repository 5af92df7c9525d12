"""History in a DuckDB file, read back."""

import asyncio
import fcntl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


READING = (
    "import sys; from pathlib import Path; from streams.stores.duckdb.file import read_file\n"
    "with read_file(Path(sys.argv[1])):\n"
    "    print('open', flush=True); sys.stdin.read()"
)
"""Another process that reads until its input ends."""


@asynccontextmanager
async def another_reads(path: Path) -> AsyncIterator[None]:
    """While another process reads the file."""
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", READING, str(path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert await other.stdout.readline() == b"open\n"
    try:
        yield
    finally:
        other.stdin.close()
        await other.wait()


async def test_a_writer_that_waits_goes_before_readers_that_come_later(
    store: DuckStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare()
    monkeypatch.setattr(duckdb_file, "LOCK_WAIT_S", 30.0)
    path = tmp_path / "history.duckdb"
    async with another_reads(path):
        writing = asyncio.create_task(store.write(store.convert(tick_of("live", [ROW]))))
        await waits_for(path)

        with pytest.raises(BlockingIOError), duckdb_file.read_file(path, wait_s=0.1):
            pass

    assert await writing == []
    assert len(await store.read(EVERYTHING)) == 1


async def test_processes_read_at_a_time(store: DuckStore, tmp_path: Path) -> None:
    await store.write(store.convert(tick_of("live", [ROW])))

    async with another_reads(tmp_path / "history.duckdb"):
        assert len(await store.read(EVERYTHING)) == 1


async def test_a_second_read_of_a_process_waits_for_the_first_but_not_for_ever(
    store: DuckStore, tmp_path: Path
) -> None:
    await store.prepare()
    path = tmp_path / "history.duckdb"
    with duckdb_file.read_file(path):
        reading = asyncio.create_task(store.read(EVERYTHING))

        with pytest.raises(BlockingIOError, match="another read"), duckdb_file.read_file(path, wait_s=0.1):
            pass

    assert await reading == []


async def test_a_file_in_a_folder_with_a_quote_is_read(tmp_path: Path) -> None:
    store = DuckStore(tmp_path / "it's" / "history.duckdb", retention_d=0)
    await store.write(store.convert(tick_of("live", [ROW])))

    assert len(await store.read(EVERYTHING)) == 1

    await store.close()


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
