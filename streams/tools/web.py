"""`twin web`: the REST API as a process."""

import asyncio

import click

from streams.collect.config import load_config
from streams.rulebook import load_rulebook
from streams.settings import Settings
from streams.web.run import run_web


@click.command()
@click.pass_obj
def web(settings: Settings) -> None:
    """Serve the REST API on TWIN_WEB_HOST and TWIN_WEB_PORT; 0 is any free port."""
    asyncio.run(run_web(settings, load_rulebook(load_config(settings.config).rule_packs)))
