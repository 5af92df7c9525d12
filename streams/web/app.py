"""The web role as an ASGI application."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from streams.history.pool import HistoryPool
from streams.rulebook import RuleBook, load_rulebook
from streams.settings import Settings
from streams.web import (
    decice,
    decice_history,
    diff,
    documents,
    events,
    health,
    history,
    latency,
    observe,
    pool,
    registry,
    state,
    timeseries,
    why,
    worlds,
)
from streams.web.encoded import EncodedStates
from streams.web.live import LiveTwin
from streams.web.loading import Loads
from streams.web.moment import Moments
from streams.web.outbox import Outbox
from streams.web.posting import Posting
from streams.web.problems import add_problem_handlers
from streams.web.twindocument import TwinDocuments

ABOUT = """The state of the digital twin, read from its Kafka topic. Times are UTC in milliseconds since the
epoch, names carry their unit, and errors are problem documents (RFC 9457) that name the wrong field."""

INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>DECICE twin</title></head>
<body><h1>DECICE twin</h1>
<ul>
<li><a href="/twin/v1/state">/twin/v1/state</a>: all entities</li>
<li><a href="/twin/v1/worlds">/twin/v1/worlds</a>: what-if copies of it, and worlds of their own</li>
<li><a href="/twin/v1/freshness">/twin/v1/freshness</a>: how old they are</li>
<li><a href="/twin/v1/ledger">/twin/v1/ledger</a>: what became of every sample</li>
<li><a href="/subjects">/subjects</a>: schemas of the Kafka topics</li>
<li><a href="/docs">/docs</a>: the whole API</li>
<li><a href="/health/ready">/health/ready</a>, <a href="/metrics">/metrics</a>: for operators</li>
</ul>
</body></html>
"""


Stop = Callable[[], Awaitable[None]]
"""Ends what runs beside the application."""


def create_web(settings: Settings, rulebook: RuleBook | None = None) -> FastAPI:
    """The application; its replica runs from start-up to shut-down.

    Args:
        settings: where Kafka is.
        rulebook: the metrics that events may name; None: those that come with the twin.
    """
    twin = LiveTwin(settings)
    outbox = Outbox(settings)
    rulebook = rulebook or load_rulebook()
    fields = rulebook.catalogue.fields()
    past = HistoryPool(settings, fields) if settings.history_url else None
    loads = Loads(twin, outbox, past, rulebook.catalogue)
    stops = [twin.stop, outbox.stop, *([past.close] if past else []), loads.stop]

    app = FastAPI(
        title="DECICE twin",
        version=version("decice-twin-stream"),
        description=ABOUT,
        lifespan=_running(twin, stops),
        docs_url=None,
        redoc_url=None,
    )
    app.state.twin = twin
    app.state.states = EncodedStates()
    app.state.past_states = EncodedStates()
    app.state.moments = Moments()
    app.state.sender = outbox
    app.state.rulebook = rulebook
    app.state.history = past
    app.state.loads = loads
    app.state.posting = Posting(outbox, twin.replica)
    app.state.documents = TwinDocuments(app.state.rulebook.catalogue, settings.decice_mem_unit)
    app.state.past_documents = TwinDocuments(app.state.rulebook.catalogue, settings.decice_mem_unit)
    add_problem_handlers(app)
    for routes in (
        # `state` last of these: its route of an entity takes all that is below one.
        *(history, why, state, diff, worlds, events, latency, documents, decice, decice_history, timeseries),
        *(pool, observe, registry, health),
    ):
        app.include_router(routes.router)
    _describe_events(app)
    _add_pages(app)
    return app


def _running(twin: LiveTwin, stops: Iterable[Stop]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What runs beside the application; `stops` end it, the last first."""

    @asynccontextmanager
    async def run(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for stop in stops:
                stack.push_async_callback(stop)
            await twin.start()
            yield

    return run


def _describe_events(app: FastAPI) -> None:
    # The route reads its body itself, to name wrong fields by place, so FastAPI does not know its shape.
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = describe()
        if is_new:
            document["components"]["schemas"] |= events.event_components()
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI has it extended


def _add_pages(app: FastAPI) -> None:
    # FastAPI's own page loads Swagger UI from a CDN; this one works without a network.
    app.mount("/static/docs", StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"))

    @app.get("/docs", include_in_schema=False)
    async def get_docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/static/docs/swagger-ui-bundle.js",
            swagger_css_url="/static/docs/swagger-ui.css",
            swagger_favicon_url="/static/docs/favicon.png",
        )

    @app.get("/", include_in_schema=False)
    async def get_index() -> HTMLResponse:
        return HTMLResponse(INDEX)
