"""Which series of VictoriaMetrics or Prometheus a selection means, and which entities and kinds there are."""

import asyncio
from collections.abc import Iterable, Iterator

from streams.stores import Selection
from streams.stores.promql.api import PromApi, seconds
from streams.stores.promql.names import Entity, match, matches, quote, selector


class PromSelect:
    """Asks one server for its labels."""

    def __init__(self, api: PromApi) -> None:
        self._api = api

    async def targets(self, selection: Selection) -> list[str]:
        """Matchers that together select the entities that are asked for; none without such kinds."""
        world = match("world", (selection.world,))
        if not selection.kinds and not selection.ids:
            return [world]
        return [f"{world},{matcher}" for _, matcher in await self._by_kind(selection)]

    async def targets_of(self, selection: Selection, entities: Iterable[Entity]) -> list[str]:
        """Matchers that together select these entities."""
        ids: dict[str, list[str]] = {}
        for entity in sorted(entities):
            ids.setdefault(entity.kind, []).append(entity.id)
        known, world = await self._kinds(selection), match("world", (selection.world,))
        return [
            f"{world},{matcher}" for kind, some in ids.items() for matcher in _matchers(kind, some, known)
        ]

    async def entities(self, selection: Selection, name: str) -> set[Entity]:
        """Those that may have something in the selection, and perhaps others."""
        asked = await self._by_kind(selection)
        answers = await asyncio.gather(
            *(self._values(f"{kind}_id", selection, f"{name},{matcher}") for kind, matcher in asked)
        )
        return {Entity(kind, id) for (kind, _), ids in zip(asked, answers, strict=True) for id in ids}

    async def series_names(self, selection: Selection, name: str, targets: list[str]) -> list[str]:
        """Names of the series of the targets."""
        answers = await asyncio.gather(
            *(self._values("__name__", selection, f"{name},{target}") for target in targets)
        )
        return sorted({found for names in answers for found in names})

    async def _by_kind(self, selection: Selection) -> list[tuple[str, str]]:
        known = await self._kinds(selection)
        # A kind that no label has is not asked for: nothing of it is there, and it may be no word.
        kinds = [kind for kind in dict.fromkeys(selection.kinds) if kind in known] or sorted(known)
        if selection.kinds and not known.intersection(selection.kinds):
            return []
        return [(kind, matcher) for kind in kinds for matcher in _matchers(kind, selection.ids, known)]

    async def _kinds(self, selection: Selection) -> set[str]:
        data = await self._api.ask("/api/v1/labels", _form(selection, ""))
        return {label[:-3] for label in map(str, data) if label.endswith("_id") and label != "_id"}

    async def _values(self, label: str, selection: Selection, matcher: str) -> list[str]:
        data = await self._api.ask(f"/api/v1/label/{label}/values", _form(selection, matcher), get=True)
        return [str(value) for value in data]


def _form(selection: Selection, matcher: str) -> dict[str, str]:
    world = match("world", (selection.world,))
    return {
        "match[]": selector(*filter(None, (world, matcher))),
        "start": seconds(selection.start_ms),
        "end": seconds(selection.end_ms),
    }


def _matchers(kind: str, ids: Iterable[str], known: set[str]) -> Iterator[str]:
    label, some = f"{kind}_id", list(ids)
    # Every kind has the label of its nodepool; a nodepool has no other.
    others = "".join(f',{other}_id=""' for other in sorted(known - {kind})) if kind == "nodepool" else ""
    for matcher in matches(label, some) if some else (f"{label}!={quote('')}",):
        yield matcher + others
