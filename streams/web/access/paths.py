"""What is behind a path: who may reach it at all, how often, and with how much."""

from dataclasses import dataclass

MIB = 1 << 20
"""[B]"""

DOCUMENT_BYTES = 64 * MIB
"""[B] Snapshots that are posted: some 150,000 nodes."""

BATCH_BYTES = 8 * MIB
"""[B] Batches of events, and of points."""

PUBLIC = ("/health/", "/metrics", "/login", "/logout", "/static/docs/")
"""For everybody: probes, Prometheus, the way in, and what anybody can download with the twin."""

UNLIMITED = ("/health/", "/metrics", "/static/", "/_nicegui/")
"""Never too often: a page asks for its files all at once, and who watches the twin must get through."""

API = ("/twin/v1/", "/api/", "/pool", "/subjects", "/schemas/", "/config")
"""Whose routes say themselves which scope they need; what is elsewhere is for people, and needs `read`."""

DOCUMENTS = ("/model_core", "/documents/appendix-a", "/documents/decice-v2")
"""Ends of paths that take whole snapshots."""

BATCHES = ("/events", "/timeseries/write_record")
"""Ends of paths that take many things at once."""


@dataclass(frozen=True)
class Place:
    """What is behind a path."""

    is_public: bool
    is_limited: bool
    is_api: bool
    body_bytes: int


def place_of(path: str) -> Place:
    """What is behind a path."""
    end = path.rstrip("/")
    if end.endswith(DOCUMENTS):
        body_bytes = DOCUMENT_BYTES
    elif end.endswith(BATCHES):
        body_bytes = BATCH_BYTES
    else:
        body_bytes = MIB
    return Place(_is_in(path, PUBLIC), not _is_in(path, UNLIMITED), _is_in(path, API), body_bytes)


def _is_in(path: str, places: tuple[str, ...]) -> bool:
    # A place that ends with a slash holds all below it, others are one path, or what is below that.
    return any(
        path.startswith(place) if place.endswith("/") else path == place or path.startswith(f"{place}/")
        for place in places
    )
