"""What the twin holds after a document was imported, without Kafka: events, scrapes, observations, views."""

import json
from typing import Any

from streams.domain.harmonize import Harmonizer
from streams.domain.imports import scrape_of
from streams.events.models import Import, Imported
from streams.rulebook import load_rulebook
from streams.web.reading import Format, Source, read_import

BOOK = load_rulebook()


def import_bodies_of(body: bytes, form: Format, now_ms: int, source: str = "test") -> list[dict[str, Any]]:
    """Bodies of the events of a document, each one checked as an event."""
    _, _, bodies = read_import(body, form, Source(source), now_ms)
    for text in bodies:
        Imported(
            id="", world="live", at_ms=0, sender=source, type="import", body=Import.model_validate_json(text)
        )
    return [json.loads(text) for text in bodies]


def views_of(bodies: list[dict[str, Any]], now_ms: int) -> list[dict[str, Any]]:
    """Entity views as the twin would show them; nothing may be rejected or unmapped."""
    harmonizer = Harmonizer(BOOK.packs, BOOK.catalogue, 4)
    views: dict[tuple[str, str], dict[str, Any]] = {}
    for number, body in enumerate(bodies):
        record = {"id": "e", "type": "import", "world": "live", "at_ms": now_ms, "sender": "", "body": ""}
        scrape = scrape_of(record, body)  # type: ignore[arg-type]
        found = harmonizer.harmonize(scrape, partition=0, offset=number, at_ms=now_ms)
        assert found.rejected == []
        assert set(found.unmapped) <= {"decice_cluster"}  # what is known of it, where nothing is
        for _, observation in found.observations:
            place = 0
            for kind, id, size, attributes in zip(
                *(observation[name] for name in ("kinds", "ids", "sizes", "attributes")),  # type: ignore[literal-required]
                strict=True,
            ):
                view = views.setdefault((kind, id), _view(kind, id, now_ms))
                view["attributes"] |= attributes
                for sample in range(place, place + size):
                    name = observation["names"][observation["metrics"][sample]]
                    view["metrics"][name] = {
                        "value": observation["values"][sample],
                        "observed_at_ms": observation["times_ms"][sample],
                        "quality": "measured",
                        "source": observation["source"],
                    }
                place += size
    return list(views.values())


def _view(kind: str, id: str, now_ms: int) -> dict[str, Any]:
    return {
        "world": "live",
        "kind": kind,
        "id": id,
        "simulated": False,
        "status": "up",
        "status_reason": "",
        "seen_ms": now_ms,
        "attributes": {},
        "metrics": {},
        "features": {},
    }
