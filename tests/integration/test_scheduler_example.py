import asyncio
import subprocess
import sys
from pathlib import Path

from streams.settings import Settings
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.waiting import DEADLINE_S

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "scheduler.py"


async def test_the_example_runs_as_it_stands(settings: Settings) -> None:
    loads = {"a": 90.0, "b": 10.0, "c": 50.0, "d": 30.0}
    async with StateWriter(settings) as writer:
        for name, load in loads.items():
            await writer.put(make_state(id=name, head_values=[load, 1.0, 1.0]))
        await writer.put(make_state(id="e", head_values=[0.0, 1.0, 1.0], status="down"))

    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, EXAMPLE],
        env={
            "TWIN_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers or "",
            "TWIN_TOPIC_PREFIX": settings.topic_prefix,
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert result.stderr == ""
    assert result.stdout.splitlines() == ["b: 10.0 % busy", "d: 30.0 % busy", "c: 50.0 % busy"]
