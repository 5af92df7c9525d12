"""What the twin was told, played again: live's own ticks, from Kafka, from a file, in a world, with kills."""

import asyncio
import random
import signal
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from streams.domain.times import moment_text
from streams.settings import Settings
from streams.tools import replay
from tests.services.conftest import MakeSettings, StartRole
from tests.services.load import Fleet, send_observations
from tests.services.roles import Role
from tests.worlds import deadletters

pytestmark = pytest.mark.timeout(300)

CLOSED_MS = 8_000
"""[ms] Longer than the slowest source of the load is waited for."""


async def invoke(command: click.Command, settings: Settings, *words: str) -> Result:
    # In a thread of its own: the command runs an event loop, and so does the test.
    return await asyncio.to_thread(CliRunner().invoke, command, words, obj=settings)


async def test_a_replay_has_the_hash_of_live_whoever_was_killed_when(
    make_settings: MakeSettings, role: StartRole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(replay, "CLOSED_MS", CLOSED_MS)
    settings = await make_settings(partitions=6, step_ms=500, remove_after_s=12.0)
    workers = [await role("worker", settings, supervised=True) for _ in range(2)]
    fleet = Fleet(settings, entities=120, interval_ms=500, seed=random.randrange(1_000))
    stop = asyncio.Event()
    flow = asyncio.create_task(send_observations(fleet, stop, 120))
    try:
        begun_ms = int(time.time() * 1000)
        await _kill_twice(workers, 20)
        await asyncio.sleep(20)
    finally:
        stop.set()
        await flow
    await asyncio.sleep(CLOSED_MS / 1000)
    span = ("--from", moment_text(begun_ms + 14_000), "--to", moment_text(begun_ms + 36_000))
    file = tmp_path / "part.twin"

    here = await invoke(replay.replay, settings, *span)
    recorded = await invoke(replay.record, settings, str(file), *span)
    of_file = await invoke(replay.replay, settings, "--file", str(file))
    watched = asyncio.create_task(invoke(replay.replay, settings, *span, "--world", "r1", "--speed", "4x"))
    await _kill_twice(workers, 5)
    in_world = await watched

    results = [here, recorded, of_file, in_world]
    assert [result.exit_code for result in results] == [0] * 4, [
        (result.output, result.exception) for result in results
    ]
    hashes = {result.stdout.strip() for result in results}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64
    assert "the same as live's" in in_world.stderr
    assert [letter["reason"] for letter in await deadletters(settings)] == []
    kills = [code for one in workers for code in one.exit_codes]
    assert kills.count(-signal.SIGKILL) == 4, kills


async def _kill_twice(workers: list[Role], within_s: float) -> None:
    for _ in range(2):
        await asyncio.sleep(within_s / 2)
        await random.choice(workers).kill()
