"""/health/live, /health/ready and /metrics of the web role."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.web.live import LiveTwin
from streams.web.models import Health

router = APIRouter(tags=["operation"])

FAILED: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "It does not, and why"}}


class Metrics(PlainTextResponse):
    """Text as Prometheus reads it."""

    media_type = CONTENT_TYPE_LATEST.partition(";")[0]


@router.get("/health/live", response_model=Health, responses=FAILED, summary="Whether the process works")
async def get_live(request: Request) -> Response:
    """Whether the process works; restart it when not. It does while Kafka is away."""
    twin: LiveTwin = request.app.state.twin
    if twin.is_alive():
        return JSONResponse({"status": "live"})
    return JSONResponse({"status": "dead", "reason": "reading ended by a bug; the log has its trace"}, 503)


@router.get("/health/ready", response_model=Health, responses=FAILED, summary="Whether answers are whole")
async def get_ready(request: Request) -> Response:
    """Whether answers are whole and up to date; with the reason when not."""
    twin: LiveTwin = request.app.state.twin
    is_ready, details = twin.ready()
    return JSONResponse(
        {"status": "ready" if is_ready else "not ready"} | details, status_code=200 if is_ready else 503
    )


@router.get("/metrics", response_class=Metrics, summary="Metrics for Prometheus")
async def get_metrics(request: Request) -> Response:
    """State, lag, requests and stores of this process, in the text format of Prometheus."""
    twin: LiveTwin = request.app.state.twin
    twin.export()
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
