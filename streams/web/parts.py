"""The parts of the web role: made once, reached by the routes as `request.app.state.<part>`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from streams.history.pool import HistoryPool
from streams.rulebook import RuleBook
from streams.settings import Settings
from streams.web.access.access import Access
from streams.web.access.config import load_access
from streams.web.deadletters.desk import LetterDesk
from streams.web.encoded import EncodedStates
from streams.web.hooks.desk import HookDesk
from streams.web.live import LiveTwin
from streams.web.loading import Loads
from streams.web.moment import Moments
from streams.web.outbox import Outbox
from streams.web.pipeline.desk import PipelineDesk
from streams.web.posting import Posting
from streams.web.rows import row_of
from streams.web.stream.desk import StreamDesk
from streams.web.twindocument import TwinDocuments


def furnish(app: FastAPI, settings: Settings, rulebook: RuleBook) -> None:
    """Give the application its parts; `beside` starts and ends those that run.

    Raises:
        SettingsError: the section `access` of TWIN_CONFIG, or TWIN_SUBSCRIPTIONS_FILE, cannot be used.
    """
    parts, catalogue = app.state, rulebook.catalogue
    parts.rulebook = rulebook
    parts.access = Access(load_access(settings), settings.web_host)
    parts.twin = LiveTwin(settings)
    parts.sender = Outbox(settings)
    parts.history = HistoryPool(settings, catalogue.fields()) if settings.history_url else None
    parts.loads = Loads(parts.twin, parts.sender, parts.history, catalogue)
    parts.posting = Posting(parts.sender, parts.twin.replica)
    parts.moments = Moments()
    # The past has caches of its own, so that it takes no room of what is live.
    parts.states, parts.past_states = EncodedStates(), EncodedStates()
    parts.rows, parts.past_rows = EncodedStates(row_of), EncodedStates(row_of)
    parts.documents = TwinDocuments(catalogue, settings.decice_mem_unit)
    parts.past_documents = TwinDocuments(catalogue, settings.decice_mem_unit)
    parts.streams = StreamDesk(parts.twin, parts.states, parts.rows)
    parts.hooks = HookDesk(settings, parts.access, parts.twin, parts.streams)
    parts.pipeline = PipelineDesk(settings, parts.twin)
    parts.letters = LetterDesk(settings)


@asynccontextmanager
async def beside(app: FastAPI) -> AsyncIterator[None]:
    """What runs beside the application, from its start to its end; what was first ends last."""
    parts = app.state
    async with AsyncExitStack() as stack:
        stack.push_async_callback(parts.twin.stop)
        stack.push_async_callback(parts.sender.stop)
        if parts.history is not None:
            stack.push_async_callback(parts.history.close)
        for part in (parts.loads, parts.pipeline, parts.streams, parts.hooks):
            stack.push_async_callback(part.stop)
        await parts.twin.start()
        await parts.hooks.start()
        yield
