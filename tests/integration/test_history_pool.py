"""History is read in processes of their own: what becomes of a busy pool, a hanging store, a dead child."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from streams.errors import SettingsError, StoreError, TooMuchError
from streams.history.pool import PROCESSES, QUEUE, HistoryBusyError, HistoryPool
from streams.settings import Settings
from streams.stores import Store
from tests.waiting import DEADLINE_S, until


async def process_id(_store: Store) -> int:
    return os.getpid()


async def store_id(store: Store) -> tuple[int, int]:
    return os.getpid(), id(store)


async def niceness(_store: Store) -> int:
    return os.nice(0)


async def until_there(_store: Store, started: Path, path: Path) -> int:
    """An answer that waits, but lets the loop go on."""
    started.touch()  # noqa: ASYNC240
    await until(path.exists)
    return os.getpid()


async def hang(_store: Store, started: Path) -> None:
    """A driver that never gives the loop back."""
    started.touch()  # noqa: ASYNC240
    time.sleep(600)  # noqa: ASYNC251


async def sleep_long(_store: Store) -> None:
    await asyncio.sleep(600)


async def die(_store: Store) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def refuse(_store: Store) -> None:
    raise StoreError("too early", 7.5)


async def too_much(_store: Store) -> None:
    raise TooMuchError("1,000,001 values")


class OddError(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


async def odd(_store: Store) -> None:
    raise OddError("this", "that")


@asynccontextmanager
async def pooled(url: str = "duckdb:///nowhere/x.duckdb", **limits: float) -> AsyncIterator[HistoryPool]:
    pool = HistoryPool(Settings(history_url=url), {}, **limits)
    try:
        yield pool
    finally:
        await pool.close()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in _command(child)]


def _command(child: psutil.Process) -> str:
    try:
        return " ".join(child.cmdline())
    except psutil.ZombieProcess:  # it ended, and was not waited for yet
        return ""


async def test_nothing_is_started_before_the_first_read_and_nothing_is_left_after_the_last() -> None:
    async with pooled() as pool:
        assert children() == []

        assert await pool.run(process_id) != os.getpid()
        assert len(children()) == 1

    assert children() == []


async def test_the_store_is_opened_once_in_a_process_that_yields_to_others() -> None:
    async with pooled() as pool:
        first, second = await pool.run(store_id), await pool.run(store_id)

        assert first == second
        assert await pool.run(niceness) >= 10


async def test_errors_come_back_as_they_were_raised() -> None:
    async with pooled() as pool:
        with pytest.raises(StoreError, match="too early") as caught:
            await pool.run(refuse)
        assert caught.value.retry_after_s == 7.5
        with pytest.raises(TooMuchError, match="1,000,001"):
            await pool.run(too_much)
        with pytest.raises(RuntimeError, match="this and that"):  # it cannot be pickled
            await pool.run(odd)
        assert len(children()) == 1


async def test_a_url_that_cannot_be_used_is_said() -> None:
    async with pooled("mysql://host") as pool:
        with pytest.raises(SettingsError, match="TWIN_HISTORY_URL"):
            await pool.run(process_id)


async def _fill(pool: HistoryPool, tmp_path: Path) -> tuple[list[asyncio.Task[int]], Path]:
    """As many reads as run at a time and may wait, and the file for which they wait."""
    started, go = tmp_path / "started", tmp_path / "go"
    running = [asyncio.create_task(pool.run(until_there, started, go)) for _ in range(PROCESSES)]
    await until(started.exists)
    waiting = [asyncio.create_task(pool.run(until_there, started, go)) for _ in range(QUEUE)]
    await until(lambda: len(pool._queue) == QUEUE)
    return running + waiting, go


async def test_one_more_than_may_wait_is_told_so_at_once_and_the_others_are_answered(tmp_path: Path) -> None:
    async with pooled() as pool:
        tasks, go = await _fill(pool, tmp_path)

        with pytest.raises(HistoryBusyError, match="32"):
            await pool.run(process_id)
        go.touch()
        async with asyncio.timeout(DEADLINE_S):
            assert len(set(await asyncio.gather(*tasks))) == PROCESSES
        assert await pool.run(process_id)


async def test_who_waits_too_long_is_told_so(tmp_path: Path) -> None:
    async with pooled(wait_s=0.1) as pool:
        go = tmp_path / "go"
        running = [asyncio.create_task(pool.run(until_there, tmp_path / "on", go)) for _ in range(PROCESSES)]
        await asyncio.sleep(0)

        with pytest.raises(HistoryBusyError, match=r"0\.1 s"):
            await pool.run(process_id)
        go.touch()
        await asyncio.gather(*running)
        assert await pool.run(process_id)


async def test_who_gives_up_waiting_leaves_no_hole(tmp_path: Path) -> None:
    async with pooled() as pool:
        tasks, go = await _fill(pool, tmp_path)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        go.touch()

        async with asyncio.timeout(DEADLINE_S):
            assert await pool.run(process_id)
        await until(lambda: len(pool._free) == PROCESSES)


async def test_a_store_that_does_not_answer_is_given_up() -> None:
    async with pooled(limit_s=0.2) as pool:
        before = await pool.run(process_id)

        with pytest.raises(StoreError, match=r"did not answer within 0\.2 s"):
            await pool.run(sleep_long)
        assert await pool.run(process_id) == before


@pytest.mark.parametrize("how", [hang, die])
async def test_a_process_that_hangs_or_dies_is_replaced_and_the_other_goes_on(
    how: Callable[..., Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.history.pool.KILL_S", 0.3)
    async with pooled(limit_s=DEADLINE_S if how is die else 1.0) as pool:
        go = tmp_path / "go"
        if how is die:
            other = asyncio.create_task(pool.run(until_there, tmp_path / "on", go))
            await until((tmp_path / "on").exists)
        with pytest.raises(StoreError):
            await pool.run(how, *([tmp_path / "hangs"] if how is hang else []))
        go.touch()

        if how is die:
            assert await other != os.getpid()
        assert await pool.run(process_id) in {child.pid for child in children()}
        await until(lambda: len(pool._free) == PROCESSES)


async def test_a_process_that_died_while_idle_costs_no_read() -> None:
    async with pooled() as pool:
        first = await pool.run(process_id)
        os.kill(first, signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(first) or not children())
        await until(lambda: pool._free[-1]._executor._broken)  # type: ignore[union-attr]

        assert await pool.run(process_id) != first


async def test_a_starter_that_is_killed_leaves_no_process() -> None:
    source = (
        "import asyncio\n"
        "from tests.integration.test_history_pool import pooled, process_id\n"
        "async def main():\n"
        "    async with pooled() as pool:\n"
        "        print(await pool.run(process_id), flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert starter.stdout is not None
        child = psutil.Process(int(await starter.stdout.readline()))
    finally:
        starter.kill()
        await starter.wait()

    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_closing_does_not_wait_for_a_hanging_store(tmp_path: Path) -> None:
    async with pooled() as pool:
        on = tmp_path / "on"
        tasks = [asyncio.create_task(pool.run(hang, on)) for _ in range(PROCESSES + 3)]
        await until(on.exists)

        began = time.monotonic()
        await pool.close()

        assert time.monotonic() - began < DEADLINE_S / 2
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, StoreError) for outcome in outcomes)
        assert children() == []
        with pytest.raises(StoreError, match="stopped"):
            await pool.run(process_id)
