"""`twin agents`."""

import json

from click.testing import CliRunner

from streams.settings import load_settings
from streams.tools.agents import agents


def test_every_agent_says_what_it_does_and_what_it_reads() -> None:
    outcome = CliRunner().invoke(agents, ["--json"], obj=load_settings(topic_prefix="mine"))

    found = {agent["name"]: agent for agent in json.loads(outcome.output)}
    assert {name: (agent["role"], agent["group"]) for name, agent in found.items()} == {
        "harmonize": ("worker", "mine-worker"),
        "twin": ("worker", "mine-worker"),
        "sink": ("sink", "mine-sink"),
    }
    assert found["harmonize"]["topics"] == ["mine.scrape.v1", "mine.event.v1"]
    assert all("Reads: " in agent["help"] for agent in found.values())


def test_people_read_the_docstrings() -> None:
    outcome = CliRunner().invoke(agents, obj=load_settings())

    assert outcome.exit_code == 0
    assert "twin  (twin worker, group twin-worker)\n  reads twin.observation.v1\n" in outcome.output
