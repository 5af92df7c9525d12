"""`twin document`, from and to Kafka."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams.events import read_event
from streams.events.models import Imported
from streams.reader import TopicReader
from streams.rulebook import load_rulebook
from streams.settings import Settings
from streams.tools.document import document
from streams.topics import topics_of
from tests.decice_model import TwinV2
from tests.factories import make_state
from tests.statewriter import StateWriter
from tests.waiting import until

APPENDIX_A = Path(__file__).parent.parent / "cases" / "documents" / "appendix-a.json"
APPENDIX_A_SERIES = 38


async def run(settings: Settings, *words: str, content: bytes | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, document, words, obj=settings, input=content)


async def test_the_twin_is_written_in_both_formats(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "twin.json"
    async with StateWriter(settings) as writer:
        await writer.put(make_state(id="ws01"))

    snapshot = await run(settings, "export", "--format", "decice-v2")
    written = await run(settings, "export", "--format", "appendix-a", "--output", str(file))

    assert TwinV2.model_validate_json(snapshot.stdout).vertexpools[0].nodes[0].metrics.util == 31.2
    assert (written.exit_code, written.output) == (0, "")
    (pool,) = json.loads(file.read_text())["nodepools"]
    assert pool["nodepool"]["nodes"][0]["node"]["id"] == "ws01"


async def test_a_document_is_read_into_events(settings: Settings) -> None:
    result = await run(settings, "import", "--format", "appendix-a", "--source", "d22", str(APPENDIX_A))
    again = await run(
        settings, "import", "--format", "decice-v2", "--simulated", "-", content=b'{"lastUpdated": 9}'
    )

    assert result.output == f"sent {APPENDIX_A_SERIES} samples of source d22 in 1 events\n"
    assert again.exit_code == 0
    found = {event.body.source: event.body for event in await imports(settings, 2)}
    assert len(found["d22"].series) == APPENDIX_A_SERIES
    assert (found["decice"].taken_at_ms, found["decice"].simulated) == (9_000, True)


@pytest.mark.parametrize(
    ("words", "content", "text"),
    [
        (["import", "--format", "decice-v2", "-"], b"{", "not JSON"),
        (["import", "--format", "appendix-a", "-"], b'{"pools":[]}', "'pools' was unexpected"),
        (["import", "--format", "decice-v2", "--source", "a b", "-"], b"{}", "'a b' must match"),
        (["import", "--format", "xml", "-"], b"{}", "'xml' is not one of 'decice-v2', 'appendix-a'"),
        (["export", "--format", "decice-v2", "--world", "nowhere"], None, "no entities in world nowhere"),
        (["export", "--format", "decice-v2", "--output", "/proc/no/such"], None, "/proc/no/such"),
    ],
)
async def test_what_is_wrong_is_said(settings: Settings, words: list[str], content: Any, text: str) -> None:
    result = await run(settings, *words, content=content)

    assert result.exit_code != 0
    assert text in result.output + str(result.exception)


async def imports(settings: Settings, count: int) -> list[Imported]:
    catalogue = load_rulebook().catalogue
    records: list[Any] = []
    reader = TopicReader(settings, topics_of(settings)["event"], records.extend, lambda _: None)
    await reader.start()
    try:
        await until(lambda: len(records) >= count)
    finally:
        await reader.stop()
    events = [read_event(record.value, catalogue) for record in records]
    return [event for event in events if isinstance(event, Imported)]
