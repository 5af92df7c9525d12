"""Structured logs: readable on a terminal, JSON elsewhere."""

import logging
import sys

import structlog

from streams.settings import Settings

NOISY = (
    *("aiokafka", "faust", "mode", "kafka", "asyncio", "aiohttp.access", "uvicorn.access"),
    "streams.engine",  # Faust logs under the modules of our subclasses of it
)
"""Libraries that log per request or per rebalance step; they are heard from WARNING on."""


def configure_logs(settings: Settings) -> None:
    """Send our logs and the libraries' to stderr, in one format."""
    console = sys.stderr.isatty() if settings.log_format == "auto" else settings.log_format == "console"
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=True) if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
