"""`twin web`: the REST API and the pages as a process."""

import asyncio

import click

from streams.collect.config import rulebook_of
from streams.pages.site import add_pages
from streams.settings import Settings
from streams.web.run import run_web


@click.command()
@click.pass_obj
def web(settings: Settings) -> None:
    """Serve the pages and the REST API on TWIN_WEB_HOST and TWIN_WEB_PORT; 0 is any free port."""
    asyncio.run(run_web(settings, rulebook_of(settings), add_pages))
