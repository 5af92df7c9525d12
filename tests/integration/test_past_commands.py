"""`twin state --at` and `twin diff`, on a DuckDB file and the embedded broker."""

import json

import pytest

from streams.settings import Settings
from streams.tools.diff import diff
from streams.tools.state import state
from tests.factories import make_state
from tests.integration.test_asof import history, t0
from tests.integration.test_read_tools import invoke
from tests.statewriter import StateWriter

__all__ = ["history", "t0"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_state_as_of_a_moment_is_a_table_with_ages_of_then(history: Settings, t0: int) -> None:
    result = await invoke(state, history, "--at", str(t0 + 12_000), "--kind", "node")

    assert result.exit_code == 0, result.output
    assert "node (2): 2 up" in result.stdout
    assert "2.0s" in result.stdout
    assert "12.0=" in result.stdout


async def test_state_as_of_a_moment_is_filtered_and_stamped(history: Settings, t0: int) -> None:
    result = await invoke(state, history, "--at", str(t0 + 41_000), "--json", "--where", "status=down")

    answer = json.loads(result.stdout)
    assert [entity["id"] for entity in answer["entities"]] == ["ws01"]
    assert answer["stamp"]["clock_ms"] == t0 + 41_000


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--at", "1000000000"], 1, "History has no entities of world live as of then"),
        (["--at", "2999-01-01T00:00:00Z"], 1, "is to come"),
        (["--at", "-5M"], 1, "months"),
        (["--at", "-1m", "--world", "w9"], 1, "has a time of its own"),
        (["--at", "1751552585000", "--world", "w9"], 1, "knows nothing of a world w9"),
        (["--at", "-1m", "--watch"], 2, "--watch is of now"),
    ],
)
async def test_what_there_is_nothing_of_is_said(
    history: Settings, arguments: list[str], code: int, text: str
) -> None:
    result = await invoke(state, history, *arguments)

    assert result.exit_code == code
    assert text in (result.stderr + str(result.exception))


async def test_diff_is_a_table(history: Settings, t0: int) -> None:
    beyond = ("--beyond", "cpu_usage_percent:5")
    result = await invoke(diff, history, "--from", str(t0 + 15_000), "--to", str(t0 + 45_000), *beyond)

    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "removed (1) status why node/ws02 up" in words
    assert "status (1) before after why node/ws01 up down silent" in words
    assert "node/ws01 arch arm -" in words
    assert "node/ws01 cpu_usage_percent 13.0 19.0 +6.0 %" in words


async def test_diff_with_now_is_json_too(history: Settings, t0: int) -> None:
    async with StateWriter(history) as writer:
        await writer.put(make_state(id="ws01", attributes={"arch": "arm", "nodepool": "1"}))
    result = await invoke(diff, history, "--from", str(t0), "--kind", "node", "--json")

    answer = json.loads(result.stdout)
    assert [one["id"] for one in answer["removed"]] == ["ws02"]
    assert answer["attributes"] == []
    assert answer["metrics"][0]["after"] == 31.2


async def test_nothing_that_differs_is_said(history: Settings, t0: int) -> None:
    result = await invoke(diff, history, "--from", str(t0), "--to", str(t0))

    assert "Nothing differs" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--from", "-1m", "--to", "-2m"], "is later than"),
        (["--from", "now", "--to", "2999-01-01T00:00:00Z"], "is to come"),
        (["--from", "-1m", "--beyond", "cpu"], "is no threshold"),
    ],
)
async def test_a_wrong_question_is_refused(history: Settings, arguments: list[str], text: str) -> None:
    result = await invoke(diff, history, *arguments)

    assert result.exit_code != 0
    assert text in (result.stderr + str(result.exception))
