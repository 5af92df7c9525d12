"""`twin agents`: what each agent does, as its docstring says."""

import asyncio
import inspect
import json
from collections.abc import Iterator
from typing import Any

import click

from streams.app import create_app
from streams.collect.config import rulebook_of
from streams.settings import Settings
from streams.stores import open_store
from streams.tools.sink import create_sink_app

NOWHERE = {"kafka_bootstrap_servers": "127.0.0.1:9092", "history_url": "duckdb:///twin.duckdb"}
"""Stand for what is not configured; nothing connects to them."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def agents(settings: Settings, as_json: bool) -> None:
    """Say what each agent does, which topics it reads, and in which consumer group."""
    found = asyncio.run(describe_agents(settings))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for agent in found:
        click.echo(
            click.style(agent["name"], bold=True) + f"  (twin {agent['role']}, group {agent['group']})"
        )
        click.echo(f"  reads {', '.join(agent['topics'])}")
        click.echo("".join(f"  {line}".rstrip() + "\n" for line in agent["help"].splitlines()))


async def describe_agents(settings: Settings) -> list[dict[str, Any]]:
    """Name, role, group, topics and docstring of each agent, in flow order; nothing is contacted."""
    missing = {name: value for name, value in NOWHERE.items() if not getattr(settings, name)}
    settings = settings.model_copy(update=missing)
    store = open_store(settings, {})
    try:
        worker = create_app(settings, rulebook_of(settings))
        sink, _ = create_sink_app(settings, store)
        return [*_agents_of(worker, "worker"), *_agents_of(sink, "sink")]
    finally:
        await store.close()


def _agents_of(app: Any, role: str) -> Iterator[dict[str, Any]]:
    for name, agent in app.agents.items():
        yield {
            "name": name,
            "role": role,
            "group": app.conf.id,
            "topics": list(agent.channel.topics),
            "help": inspect.getdoc(agent.fun) or "",
        }
