"""The web role as an ASGI application."""

from importlib.metadata import version
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

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
    openapi,
    pool,
    registry,
    rows,
    state,
    timeseries,
    why,
    worlds,
)
from streams.web.access import login
from streams.web.access.middleware import AccessMiddleware
from streams.web.deadletters import routes as deadletters
from streams.web.hooks import routes as hooks
from streams.web.parts import beside, furnish
from streams.web.pipeline import routes as pipeline
from streams.web.problems import add_problem_handlers
from streams.web.stream import routes as stream

ABOUT = """The state of the digital twin, read from its Kafka topic. Times are UTC in milliseconds since the
epoch, names carry their unit, and errors are problem documents (RFC 9457) that name the wrong field."""


def create_web(settings: Settings, rulebook: RuleBook | None = None) -> FastAPI:
    """The application; its replica runs from start-up to shut-down.

    Args:
        settings: where Kafka is.
        rulebook: the metrics that events may name; None: those that come with the twin.

    Raises:
        SettingsError: the section `access` of TWIN_CONFIG, or TWIN_SUBSCRIPTIONS_FILE, cannot be used.
    """
    app = FastAPI(
        title="DECICE twin",
        version=version("decice-twin-stream"),
        description=ABOUT,
        lifespan=beside,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    furnish(app, settings, rulebook or load_rulebook())
    app.add_middleware(AccessMiddleware, access=app.state.access)
    add_problem_handlers(app)
    _add_routes(app)
    openapi.described(app, events.event_components())
    _add_pages(app)
    return app


def _add_routes(app: FastAPI) -> None:
    app.include_router(login.router)
    for routes in (
        # `state` last of these: its route of an entity takes all that is below one.
        *(history, why, state, diff, worlds, events, latency, documents, decice, decice_history, timeseries),
        *(rows, stream, hooks, pool, observe, pipeline, deadletters, registry, health),
    ):
        app.include_router(routes.router)


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
