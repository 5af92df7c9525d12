"""`twin sink`: closed ticks to the history store."""

import asyncio
from typing import Any

import click
import structlog

from streams import metrics
from streams.agents import sink as agent
from streams.agents.sink import SinkStage
from streams.collect.config import rulebook_of
from streams.domain.decice_fields import Fields
from streams.engine.faust_app import new_app, run_app
from streams.errors import StoreError
from streams.settings import Settings
from streams.stores import Store, open_store
from streams.topics import check_topics, topics_of

log = structlog.get_logger(__name__)


def create_sink_app(settings: Settings, store: Store) -> tuple[Any, SinkStage]:
    """tick -> sink -> history store; a group of its own, so that an outage there does not touch the twin."""
    app = new_app(settings, "sink")

    async def guard(error: BaseException) -> None:
        """End the process: what was not acknowledged is delivered again to the next one."""
        log.error("the sink ends", reason=repr(error), exc_info=error)
        await app.crash(error)
        await asyncio.Event().wait()

    return app, agent.attach(app, topics_of(settings), store, guard)


@click.command()
@click.pass_obj
def sink(settings: Settings) -> None:
    """Write closed ticks to the history store, until it is stopped."""
    catalogue = rulebook_of(settings).catalogue
    store = open_store(
        settings,
        catalogue.fields(),
        Fields(catalogue, settings.decice_mem_unit),
    )
    asyncio.run(check_topics(settings))
    app, stage = create_sink_app(settings, store)
    run_app(app, lambda stop: _beside(settings, stage, store, stop))


async def _beside(settings: Settings, stage: SinkStage, store: Store, stop: asyncio.Event) -> None:
    server = await metrics.serve(settings, stage.ready)
    early = asyncio.create_task(_prepare(store))
    try:
        await stop.wait()
    finally:
        early.cancel()
        await stage.close()
        await server.close()


async def _prepare(store: Store) -> None:
    """Find a wrong address or token, and make what readers look for, before the first tick comes."""
    try:
        await store.prepare()
    except StoreError as error:
        log.warning("history store away: it is prepared before the first ticks are written", error=str(error))
