"""`twin record` and `twin replay` on the embedded broker."""

import asyncio
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from streams.domain.times import moment_text
from streams.history.recording import opened_recording
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.tools import replay
from tests.services.load import Fleet, send_observations
from tests.worlds import deadletters

pytestmark = pytest.mark.timeout(180)

CLOSED_MS = 25_000
"""[ms] Longer than any tick of the load waits for a source of 4 s at a step of 5 s."""


async def invoke(command: click.Command, settings: Settings, *words: str) -> Result:
    # In a thread of its own: the command runs an event loop, and so does the test.
    return await asyncio.to_thread(CliRunner().invoke, command, words, obj=settings)


@pytest.mark.usefixtures("worker")
async def test_a_part_of_live_is_recorded_and_played_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(replay, "CLOSED_MS", CLOSED_MS)
    stop = asyncio.Event()
    flow = asyncio.create_task(send_observations(Fleet(settings, 20, 1_000, seed=3), stop, 120))
    try:
        begun_ms = int(time.time() * 1000)
        await asyncio.sleep(45)
    finally:
        stop.set()
        await flow
    span = ("--from", moment_text(begun_ms), "--to", moment_text(begun_ms + 16_000))
    file = tmp_path / "part.twin"

    recorded = await invoke(replay.record, settings, str(file), *span)
    played = await invoke(replay.replay, settings, *span, "--world", "r1")
    of_file = await invoke(replay.replay, settings, "--file", str(file))
    again = await invoke(replay.replay, settings, *span, "--world", "r1")

    assert recorded.exit_code == 0, (recorded.output, recorded.exception)
    assert played.exit_code == 0, (played.output, played.exception)
    assert of_file.exit_code == 0, (of_file.output, of_file.exception)
    assert recorded.stdout == played.stdout == of_file.stdout
    assert "there is a world 'r1'" in str(again.exception)
    assert await deadletters(settings) == []
    with opened_recording(file) as (about, messages):
        assert (about.from_ms, about.partitions) == (begun_ms, settings.partitions)
        assert {message["world"] for message in messages} == {"live"}
    async with TwinReplica(settings, "r1") as twin:
        await twin.ready(30)
        assert {entity["id"] for entity in twin.entities("node")} >= {f"n{n}" for n in range(1, 10)}
        assert all(entity["simulated"] for entity in twin.entities("node"))


async def test_a_range_that_cannot_be_played_says_why(settings: Settings, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.twin"
    damaged.write_bytes(b"Obj\x01")

    future = await invoke(replay.replay, settings, "--from", "-1m", "--to", "now")
    wrong = await invoke(replay.replay, settings, "--from", "-5m", "--to", "-10m")
    nothing = await invoke(replay.replay, settings, "--from", "-5m", "--to", "-3m")
    missing = await invoke(replay.replay, settings)
    both = await invoke(replay.replay, settings, "--file", str(damaged), "--from", "-5m")
    broken = await invoke(replay.replay, settings, "--file", str(damaged))
    month = await invoke(replay.replay, settings, "--from", "-5M")

    assert "may not be closed yet" in str(future.exception)
    assert "is after the end" in str(wrong.exception)
    assert "the log does not reach back to --from" in str(nothing.exception)
    assert "--from is missing" in missing.output
    assert "--file has its own range" in both.output
    assert "is no recording of `twin record`" in str(broken.exception)
    assert "months and years differ in length" in month.output
