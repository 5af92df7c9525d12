"""Who may what: each route that there is, with the scope that it needs."""

from collections.abc import Iterator
from typing import Any

import pytest

from streams.settings import load_settings
from streams.web.access.paths import place_of
from streams.web.app import create_web

DECICE = ("/api", "/api/v1", "/api/v2")
READS = ("model_core", "nodes", "links", "jobs", "settings", "past_snapshots", "past_snapshots/{ts}")

PUBLIC = "public"
"""Needs nothing: probes, Prometheus, and the way in."""

PEOPLE = "people"
"""Needs `read`, which the middleware asks for: what is not below a path of the API, and all websockets."""

TABLE: dict[str, str] = {
    "GET /health/live": PUBLIC,
    "GET /health/ready": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /login": PUBLIC,
    "POST /login": PUBLIC,
    "POST /logout": PUBLIC,
    "MOUNT /static/docs": PUBLIC,
    "GET /docs": PEOPLE,
    "GET /openapi.json": PEOPLE,
    "GET /twin/v1/state": "read",
    "GET /twin/v1/rows": "read",
    "GET /twin/v1/stream": "read",
    "WEBSOCKET /twin/v1/stream": PEOPLE,
    "GET /twin/v1/entities/{kind}/{id:path}": "read",
    "GET /twin/v1/entities/{kind}/{id:path}/history": "read",
    "GET /twin/v1/entities/{kind}/{id:path}/why": "read",
    "GET /twin/v1/history": "read",
    "GET /twin/v1/diff": "read",
    "GET /twin/v1/latency": "read",
    "GET /twin/v1/worlds": "read",
    "GET /twin/v1/freshness": "read",
    "GET /twin/v1/ledger": "read",
    "GET /twin/v1/schemas": "read",
    "GET /twin/v1/pipeline": "read",
    "GET /twin/v1/sources": "read",
    "GET /twin/v1/deadletters": "admin",
    "GET /twin/v1/deadletters/{partition}/{offset}": "admin",
    "POST /twin/v1/deadletters/redrive": "admin",
    "POST /twin/v1/events": "events",
    "POST /twin/v1/subscriptions": "events",
    "GET /twin/v1/subscriptions": "events",
    "GET /twin/v1/subscriptions/{id}": "events",
    "DELETE /twin/v1/subscriptions/{id}": "events",
    "GET /twin/v1/documents/appendix-a": "read",
    "POST /twin/v1/documents/appendix-a": "events",
    "GET /twin/v1/documents/decice-v2": "read",
    "POST /twin/v1/documents/decice-v2": "events",
    "POST /pool": "events",
    "POST /pool/": "events",
    "GET /subjects": "read",
    "GET /subjects/{subject}/versions": "read",
    "GET /subjects/{subject}/versions/{version}": "read",
    "GET /schemas/ids/{id}": "read",
    "GET /schemas/ids/{id}/versions": "read",
    "GET /schemas/types": "read",
    "GET /config": "read",
    **{f"GET {prefix}/{name}{slash}": "read" for prefix in DECICE for name in READS for slash in ("", "/")},
    **{f"POST {prefix}/model_core{slash}": "events" for prefix in DECICE for slash in ("", "/")},
    **{f"POST {prefix}/timeseries/write_record{s}": "events" for prefix in DECICE for s in ("", "/")},
    **{f"POST {prefix}/timeseries/read_record{s}": "read" for prefix in DECICE for s in ("", "/")},
}
"""A route that is new belongs in here, with what it needs; some of these may be still to come."""


SOCKETS = {name for name in TABLE if name.startswith("WEBSOCKET")}


def routes_of(routes: list[Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Method and path of each route, its path, and the scopes that its dependencies ask for."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner.routes)
            continue
        scopes = [
            scope
            for depends in getattr(route, "dependencies", [])
            if (scope := getattr(depends.dependency, "scope", None)) is not None
        ]
        kind = type(route).__name__
        methods = {"Mount": ["MOUNT"], "APIWebSocketRoute": ["WEBSOCKET"]}.get(
            kind, sorted(set(getattr(route, "methods", None) or ()) - {"HEAD"})
        )
        for method in methods:
            yield f"{method} {route.path}", route.path, scopes


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str, list[str]]]:
    return list(routes_of(create_web(load_settings(kafka_bootstrap_servers="127.0.0.1:1")).routes))


def test_each_route_is_in_the_table(routes: list[tuple[str, str, list[str]]]) -> None:
    assert len(routes) > 70
    assert [name for name, _, _ in routes if name not in TABLE] == []


def test_each_route_needs_the_scope_that_the_table_says(routes: list[tuple[str, str, list[str]]]) -> None:
    needed = {
        name: scopes[0] if scopes else PUBLIC if place_of(f"{path}/").is_public else PEOPLE
        for name, path, scopes in routes
    }

    assert needed == {name: TABLE[name] for name in needed}
    assert all(len(scopes) <= 1 for _, _, scopes in routes)


def test_a_path_of_the_api_leaves_nothing_to_the_middleware(
    routes: list[tuple[str, str, list[str]]],
) -> None:
    # The middleware lets a key with any scope through to these: each has to say which it needs.
    unsaid = [
        name for name, path, scopes in routes if place_of(path).is_api and not scopes and name not in SOCKETS
    ]

    assert unsaid == []


def test_what_changes_something_is_never_public(routes: list[tuple[str, str, list[str]]]) -> None:
    public = {
        name for name, _, _ in routes if TABLE[name] == PUBLIC and not name.startswith(("GET", "MOUNT"))
    }

    assert public == {"POST /login", "POST /logout"}


def test_the_openapi_document_says_what_each_route_needs() -> None:
    document = create_web(load_settings(kafka_bootstrap_servers="127.0.0.1:1")).openapi()

    assert set(document["components"]["securitySchemes"]) == {"bearer", "key", "session"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            is_public = (
                TABLE[f"{method.upper()} {path}"] == PUBLIC
                if path.startswith(("/health", "/metrics"))
                else False
            )
            assert ("security" in operation) is not is_public, (method, path)
