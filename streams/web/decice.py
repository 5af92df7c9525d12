"""DECICE's own API under /api/v2, /api/v1 and /api: the whole twin, its parts, and posted snapshots."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from streams.domain.commands import follows_clock
from streams.replica.past import PastView
from streams.settings import Settings
from streams.web.access.principal import Scope, principal_of
from streams.web.access.require import check_sees_all, require
from streams.web.live import world_view
from streams.web.moment import view_at
from streams.web.openapi import DOCUMENTS, ETAG, gives, merged, ref, sends, takes
from streams.web.posting import ImportQuery, take_document
from streams.web.state import ERRORS, MomentQuery, WorldQuery
from streams.web.twindocument import Body, TwinDocument, TwinDocuments

PREFIXES = ("/api/v2", "/api/v1", "/api")
"""Where it is: the last is the same as v1."""

TWIN = DOCUMENTS["decice-v2"]

AGED = merged(ETAG, sends("Age"))
"""For `openapi_extra`: what `answer` adds to a body."""

WHOLE = merged(gives(ref(TWIN), "The document"), AGED)
"""The same: the whole twin."""

SNAPSHOT = {
    "lastUpdated": 1795490000.5,
    "vertexpools": [
        {"id": "1", "nodes": [{"id": "ws01", "name": "ws01", "metrics": {"util": 31.5, "cpu_cores": 8}}]}
    ],
    "links": [{"vertexpool_a_id": "1", "vertexpool_b_id": "2", "network_delay_ms": 0.9}],
}
"""A snapshot as DECICE's PromQL wrapper posts it."""

POSTED = merged(takes("decice-v2", {"snapshot": SNAPSHOT}), gives({"const": 201}, "It was taken", 201))
"""For `openapi_extra`: a snapshot, and what DECICE's twin answers."""

SETTINGS = {
    "type": "object",
    "required": ["host", "port", "scheduler_controller", "promql_wrapper", "influxdb"],
    "properties": {
        "host": {"type": "string"},
        "port": {"type": "integer"},
        "scheduler_controller": {"type": "object"},
        "promql_wrapper": {"type": "object"},
        "influxdb": {"type": "object", "description": "Null where history is in no InfluxDB"},
    },
}
"""What settings/ answers."""

router = APIRouter(tags=["DECICE"], responses=ERRORS)

Route = Callable[..., Awaitable[Response]]


class NodesQuery(MomentQuery):
    """Parameters of nodes/."""

    include_vertexpool_id: bool = Field(False, description="vertexpool_id in node_info")


async def document_of(request: Request, world: str, at: str | None = None) -> TwinDocument:
    """The document of a world: as it is now or was 250 ms ago, or as of a moment."""
    check_sees_all(principal_of(request), "a DECICE document", worlds=False)
    view = await view_at(request, world, at)
    is_past = isinstance(view, PastView)
    documents: TwinDocuments = request.app.state.past_documents if is_past else request.app.state.documents
    return await documents.of(view)


async def get_twin_v2(request: Request, query: Annotated[MomentQuery, Query()]) -> Response:
    """The whole twin (v2). `Age` is that of its newest value; If-None-Match is answered with 304."""
    document = await document_of(request, query.world, query.at)
    return answer(request, document, document.v2)


async def get_twin_v1(request: Request, query: Annotated[MomentQuery, Query()]) -> Response:
    """The whole twin (v1: without cluster_info)."""
    document = await document_of(request, query.world, query.at)
    return answer(request, document, document.v1)


async def get_nodes(request: Request, query: Annotated[NodesQuery, Query()]) -> Response:
    """All nodes."""
    document = await document_of(request, query.world, query.at)
    return answer(
        request, document, document.nodes_with_pools if query.include_vertexpool_id else document.nodes
    )


async def get_links(request: Request, query: Annotated[MomentQuery, Query()]) -> Response:
    """All links that have a delay."""
    document = await document_of(request, query.world, query.at)
    return answer(request, document, document.links)


async def get_jobs(request: Request, query: Annotated[MomentQuery, Query()]) -> Response:
    """All jobs."""
    document = await document_of(request, query.world, query.at)
    return answer(request, document, document.jobs)


async def get_settings(request: Request, query: Annotated[WorldQuery, Query()]) -> dict[str, Any]:
    """Where the twin and its neighbours are, as far as it knows; no secrets."""
    world_view(request, query.world)
    settings: Settings = request.app.state.twin.settings
    host, port = request.scope.get("server") or (settings.web_host, settings.web_port)
    return {
        "host": host,
        "port": port,
        "scheduler_controller": {"port": None, "service": None},
        "promql_wrapper": {"host": host, "port": port},
        "influxdb": influxdb_of(settings.history_url or ""),
    }


async def post_twin(request: Request, query: Annotated[ImportQuery, Query()]) -> Response:
    """Take a snapshot: its values become import events at the time `lastUpdated`; the answer is 201."""
    return await take_document(request, "decice-v2", query)


def answer(request: Request, document: TwinDocument, body: Body) -> Response:
    """A body with its ETag and the age of the newest value [s], or 304 when the client has it."""
    headers = {"ETag": body.tag, "Cache-Control": "no-cache"} | age_header(document)
    wanted = request.headers.get("If-None-Match", "")
    tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
    if wanted.strip() == "*" or body.tag in tags:
        return Response(status_code=304, headers=headers)
    return Response(body.content, media_type="application/json", headers=headers)


def age_header(document: TwinDocument) -> dict[str, str]:
    """`Age`: [s] since the newest value; none where there is no value, or the world has its own time."""
    if not document.updated_ms or not follows_clock(document.stamp["world"]):
        return {}
    return {"Age": str(max(0, int(time.time() - document.updated_ms / 1000)))}


def influxdb_of(url: str) -> dict[str, str | None]:
    """Address, bucket and organisation of a history URL, without secrets; None if it is no InfluxDB's."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("influxdb+"):
        return {"url": None, "bucket": None, "org": None}
    # Neither user nor password, should the address have them.
    address = f"{parts.scheme.removeprefix('influxdb+')}://{parts.netloc.rpartition('@')[2]}"
    org, _, bucket = parts.path.strip("/").partition("/")
    return {"url": address, "bucket": bucket, "org": org}


def add_route(
    router: APIRouter,
    path: str,
    route: Route,
    method: str = "GET",
    status: int = 200,
    scope: Scope = "read",
    *,
    summary: str,
    extra: dict[str, Any],
) -> None:
    """A route with and without a slash at the end; the first is the one that DECICE's own twin has."""
    for place, form in enumerate((path + "/", path)):
        router.add_api_route(
            form,
            route,
            methods=[method],
            status_code=status,
            dependencies=[Depends(require(scope))],
            include_in_schema=place == 0,
            response_model=None,
            operation_id="_".join(
                (method.lower(), *form.replace("{", "").replace("}", "").strip("/").split("/"))
            ),
            summary=summary,
            openapi_extra=extra,
        )


NODES = gives(ref(f"{TWIN}/properties/vertexpools/items/properties/nodes"), "Nodes")
LINKS = gives(ref(f"{TWIN}/properties/links"), "Links")
JOBS = gives(ref(f"{TWIN}/properties/jobs"), "Jobs")

for _prefix in PREFIXES:
    _get_twin = get_twin_v2 if _prefix == "/api/v2" else get_twin_v1
    add_route(router, f"{_prefix}/model_core", _get_twin, summary="The whole twin", extra=WHOLE)
    add_route(
        router,
        f"{_prefix}/model_core",
        post_twin,
        "POST",
        201,
        "events",
        summary="Post a snapshot",
        extra=POSTED,
    )
    add_route(router, f"{_prefix}/nodes", get_nodes, summary="All nodes", extra=merged(NODES, AGED))
    add_route(router, f"{_prefix}/links", get_links, summary="All links", extra=merged(LINKS, AGED))
    add_route(router, f"{_prefix}/jobs", get_jobs, summary="All jobs", extra=merged(JOBS, AGED))
    add_route(
        router,
        f"{_prefix}/settings",
        get_settings,  # type: ignore[arg-type]  # FastAPI answers with it
        summary="Where the twin and its neighbours are",
        extra=gives(SETTINGS, "Addresses"),
    )
