"""`twin vte` on the embedded broker with a real worker; and the same scenario in the environment."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.domain.worldhash import world_hash
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.tools.events import events
from streams.tools.vte import vte
from streams.tools.worldscan import read_rows
from streams.vte import TwinEnv
from streams.vte.formats import read
from streams.vte.simulation import first_fit
from tests.services.waiting import until
from tests.worlds import deadletters

pytestmark = pytest.mark.timeout(180)

EXAMPLE = Path(__file__).parents[2] / "docs/examples/scenario.yaml"


async def invoke(command: object, settings: Settings, *words: str) -> Result:
    # In a thread of its own: the command runs an event loop, and so does the test.
    return await asyncio.to_thread(CliRunner().invoke, command, words, obj=settings)  # type: ignore[arg-type]


async def reached(settings: Settings, world: str, clock_ms: int) -> None:
    def clock() -> str:
        record = twin.get(("world", world))
        return record["attributes"]["clock_ms"] if record else ""

    async with TwinReplica(settings, world) as twin:
        await until(lambda: clock() == str(clock_ms), 60, f"the clock of {world} is {clock_ms}")


@pytest.mark.usefixtures("worker")
async def test_a_scenario_is_loaded_run_on_and_exported_again(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "w1.json"

    loaded = await invoke(vte, settings, "load", str(EXAMPLE), "--world", "w1")
    ran = await invoke(vte, settings, "run", str(EXAMPLE), "--world", "w1", "--steps", "30", "--seed", "3")
    await reached(settings, "w1", 1_735_689_600_000 + 150_000)
    refused = await invoke(vte, settings, "export", "--world", "w1", "--at", "2025-01-01T00:00:00Z")
    exported = await invoke(vte, settings, "export", "--world", "w1", "--output", str(file))

    assert "loaded 2 pools, 5 nodes, 1 devices, 2 links, 1 jobs (read as scenario" in loaded.stdout
    assert "step 30 of 30" in ran.stdout, ran.output
    assert refused.exit_code == 1
    assert "TWIN_HISTORY_URL is not set" in str(refused.exception)
    assert exported.exit_code == 0, exported.output
    # In that minute a rack is down: a scheduler would take its nodes for idle.
    assert "left out as they are down: cloud-1, cloud-2" in exported.stderr
    document = json.loads(file.read_text())
    assert document["tasks"] == document["workloads"]
    assert len(document["cluster"]["links"]) == 2
    again = read(file)
    assert (again.format, again.scenario.counts()["nodes"]) == ("decice-vte", 3)
    assert again.scenario.start == 1_735_689_600_000 + 150_000


@pytest.mark.usefixtures("worker")
async def test_a_world_in_kafka_and_in_the_environment_has_the_same_hash(
    settings: Settings, tmp_path: Path
) -> None:
    env = TwinEnv(EXAMPLE, tasks=20, world="w2")
    env.reset(seed=3)
    ids = list(env.simulation.nodes)
    for _ in range(60):
        pending, placements = env.simulation.queue.pending, first_fit(env.simulation)
        places = [ids.index(placements[job.id]) if job.id in placements else len(ids) for job in pending]
        env.step((places + [len(ids)] * 20)[:20])
    file = tmp_path / "env.jsonl"
    file.write_text("".join(json.dumps(document) + "\n" for document in env.events))

    ran = await invoke(vte, settings, "run", str(EXAMPLE), "--world", "w1", "--steps", "60", "--seed", "3")
    assert ran.exit_code == 0, ran.output
    for _ in range(2):  # the second time changes nothing
        sent = await invoke(events, settings, "send", str(file))
        assert sent.exit_code == 0, sent.output
    for world in ("w1", "w2"):
        await reached(settings, world, env.simulation.now_ms)

    for world in ("w1", "w2"):
        assert world_hash(await read_rows(settings, world)) == env.hash()
    assert await deadletters(settings) == []
