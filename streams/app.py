"""The Faust pipeline of the worker on one screen, in flow order."""

import asyncio
import contextlib
from typing import Any

import structlog

from streams import metrics
from streams.agents import harmonize, twin
from streams.domain.twin import Partition
from streams.engine.faust_app import new_app
from streams.engine.table import new_table
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.topics import topics_of

log = structlog.get_logger(__name__)


def create_app(settings: Settings, rulebook: RuleBook) -> Any:
    """scrape, event -> harmonize -> observation -> twin -> tick, state."""
    app = new_app(settings, "worker")
    topics = topics_of(settings)
    ceilings, limits = rulebook.catalogue.ceilings(), rulebook.catalogue.limits()

    def new_partition(number: int) -> Partition:
        return Partition(
            number,
            settings.step_ms,
            settings.remove_after_ms,
            ceilings,
            limits=limits,
            partitions=settings.partitions,
        )

    async def guard(error: Exception) -> None:
        """End the process: what was not acknowledged is delivered again to the next one."""
        log.error("the worker ends", reason=repr(error), exc_info=error)
        await app.crash(error)
        await asyncio.Event().wait()

    sends_to = (topics["observation"], topics["tick"], topics["state"], topics["deadletter"])
    table = new_table(app, settings, topics["state"], sends_to, new_partition)
    progress = harmonize.attach(app, topics, harmonize.Harmonizing(rulebook, settings.partitions), guard)
    twin.attach(app, topics, table, progress.clock_ms, guard)
    app.twin_table = table
    return app


async def serve_metrics(settings: Settings, app: Any, stop: asyncio.Event) -> None:
    """Serve /metrics and /health of a worker until `stop` is set."""
    progress = metrics.Progress("worker")

    def ready() -> tuple[bool, dict[str, Any]]:
        if not app.delivery.is_open:
            return False, {"reason": "waiting for partitions, or restoring them"}
        return progress.ready()

    server = await metrics.serve(settings, ready)
    try:
        while not stop.is_set():
            if app.delivery.is_open:
                _note_progress(app, progress)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=1.0)
    finally:
        await server.close()


def _note_progress(app: Any, progress: metrics.Progress) -> None:
    state = app.twin_table.changelog_topic.get_topic_name()
    ours = {tp for tp in app.consumer.assignment() if tp.topic != state}
    for topic, partition in progress.known() - {(tp.topic, tp.partition) for tp in ours}:
        progress.forget(topic, partition)
    for tp in ours:
        # What the agents took, not what was fetched: a stage that stands still has to show.
        next_offset = app.delivery.next_offset(tp)
        if next_offset is not None:
            progress.set_position(tp.topic, tp.partition, next_offset)
        progress.set_end(tp.topic, tp.partition, app.consumer.highwater(tp) or 0)
