"""`twin worker`: the Faust pipeline as a process."""

import asyncio

import click

from streams.app import create_app, serve_metrics
from streams.collect.config import rulebook_of
from streams.engine.faust_app import run_app
from streams.settings import Settings
from streams.topics import check_topics


@click.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Harmonise scrapes and events and keep the twin, until it is stopped."""
    rulebook = rulebook_of(settings)
    asyncio.run(check_topics(settings))
    app = create_app(settings, rulebook)
    run_app(app, lambda stop: serve_metrics(settings, app, stop))
