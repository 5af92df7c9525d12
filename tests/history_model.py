"""What history must answer, computed slowly from what was written; and ticks that are worth asking for."""

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

import numpy as np

from streams.records import Tick
from streams.stores import PastChange, PastTick, Selection, Series, Window

ODD_ID = "a b/ü,\"=\\'{}"
"""A space, a slash, a letter beyond ASCII, and what line protocol, PromQL, Flux, SQL, JSON take as theirs."""

STEP_MS = 5_000
"""[ms] Between two ticks."""

TICKS = 25
"""[1] In the load: two minutes."""

TEXT = 'rack "7" \\ näher, a=b {$1} %s'
"""An attribute and a reason that no language of queries may take as its own."""


class Row(NamedTuple):
    """A closed tick of an entity."""

    kind: str
    id: str
    nodepool: str
    tick_ms: int
    values: dict[str, float]
    quality: int = 0
    complete: bool = True
    simulated: bool = False


def change_of(kind: str, id: str, at_ms: int, **more: Any) -> PastChange:
    """A change that only says that the entity is up, but for what is given."""
    fields: dict[str, Any] = {
        "nodepool": "",
        "simulated": False,
        "status": "up",
        "reason": "",
        "attributes": "{}",
        "removed": False,
    }
    return PastChange(kind=kind, id=id, at_ms=at_ms, **(fields | more))


def tick_of(world: str, rows: Iterable[Row] = (), changes: Iterable[PastChange] = ()) -> Tick:
    """A message of the topic `tick`."""
    rows, changes = list(rows), list(changes)
    names = sorted({name for row in rows for name in row.values})
    # Two rows of the same metrics have other qualities, and so have two metrics of a row.
    qualities = [(row.quality + place) % 3 for row in rows for place in range(len(row.values))]
    return Tick(
        world=world,
        epoch=1,
        kinds=[row.kind for row in rows],
        ids=[row.id for row in rows],
        pools=[row.nodepool for row in rows],
        ticks_ms=[row.tick_ms for row in rows],
        complete=[row.complete for row in rows],
        simulated=[row.simulated for row in rows],
        versions=[1] * len(rows),
        sizes=[len(row.values) for row in rows],
        names=names,
        metrics=[names.index(name) for row in rows for name in row.values],
        values=[value for row in rows for value in row.values.values()],
        qualities=qualities,
        change_kinds=[change.kind for change in changes],
        change_ids=[change.id for change in changes],
        change_pools=[change.nodepool for change in changes],
        change_at_ms=[change.at_ms for change in changes],
        change_simulated=[change.simulated for change in changes],
        change_versions=[1] * len(changes),
        change_statuses=[change.status for change in changes],
        change_reasons=[change.reason for change in changes],
        change_attributes=[change.attributes for change in changes],
        change_removed=[change.removed for change in changes],
    )


def load(world: str, first_ms: int) -> list[Tick]:
    """Two minutes of a small cluster in the order of time, one message for each tick.

    Node n.1 changes its pool, n+1 loses a metric and then falls silent, nx1 begins late and is not complete;
    two metrics share a measurement, and one is not of the catalogue.
    """
    chance = Random(7)
    ticks = []
    for number in range(TICKS):
        at_ms = first_ms + number * STEP_MS
        node = {"cpu_usage_percent": round(chance.uniform(0, 100), 3), "power_watts": chance.gauss(0, 1e3)}
        rows = [
            Row("node", "n.1", "1" if number < 12 else "pool two", at_ms, node, quality=number),
            Row(
                "node", ODD_ID, "1", at_ms, {"mem_total_bytes": 2.0**36 + number, "beard_cm": chance.random()}
            ),
            Row("nodepool", "1", "1", at_ms, {"power_watts": float(number)}),
            Row("link", "1~2", "", at_ms, {"network_delay_ms": chance.expovariate(1)}),
            Row("device", "n.1", "1", at_ms, {"temperature_celsius": -1e-3 * number, "beard_cm": 0.0}),
        ]
        if number < 15:
            some = {"load1": chance.random(), "load5": chance.random()}
            rows.append(Row("node", "n+1", "1", at_ms, some if number < 9 else {"load1": some["load1"]}))
        if number >= 10:
            late = {"cpu_usage_percent": 1e-9 * number, "load1": 1e15 + number}
            rows.append(Row("node", "nx1", "2", at_ms, late, complete=number % 2 == 0, quality=2))
        ticks.append(tick_of(world, rows))
    return ticks


def changes(world: str, first_ms: int) -> list[Tick]:
    """Changes of three entities in the order of time: text, a removal, a comeback, a change of the pool."""
    attributes = {"nodepool": "1", "text": TEXT, "lines": "one\ntwo\r\n\tthree", "greek": "λ–😀", '"': "\\"}
    text = json.dumps(attributes, ensure_ascii=False, sort_keys=True)
    moments = [
        change_of("node", "n.1", first_ms, nodepool="1", attributes=text, reason=TEXT),
        change_of("node", ODD_ID, first_ms + 1, nodepool="1", status="unknown"),
        change_of("link", "1~2", first_ms + 1_000, attributes='{"a": "1", "b": "2"}'),
        change_of("node", "n.1", first_ms + 5_000, nodepool="1", status="degraded", reason="load1 is stale"),
        change_of("node", ODD_ID, first_ms + 7_000, nodepool="1", status="", removed=True),
        change_of("node", "n.1", first_ms + 9_999, nodepool="pool two", status="down", attributes=text),
        change_of("nodepool", "1", first_ms + 20_000, nodepool="1"),
        change_of("link", "1~2", first_ms + 20_000, status="", attributes='{"a": "1"}', removed=True),
        change_of("link", "1~2", first_ms + 25_000, attributes='{"a": "9"}'),
    ]
    return [tick_of(world, changes=[change]) for change in moments]


class Model:
    """The same answers as a store, from a list of ticks and nothing else."""

    def __init__(self, ticks: Iterable[Tick]) -> None:
        self._rows: dict[tuple[str, str, str, int], tuple[Row, dict[str, int]]] = {}
        self._changes: dict[tuple[str, str, str, int], PastChange] = {}
        for tick in ticks:
            self._add(tick)

    def _add(self, tick: Tick) -> None:
        end = 0
        for place, size in enumerate(tick["sizes"]):
            start, end = end, end + size
            names = [tick["names"][metric] for metric in tick["metrics"][start:end]]
            values = dict(zip(names, tick["values"][start:end], strict=True))
            values = {name: value for name, value in values.items() if np.isfinite(value)}
            row = Row(
                tick["kinds"][place],
                tick["ids"][place],
                tick["pools"][place],
                tick["ticks_ms"][place],
                values,
                complete=tick["complete"][place],
                simulated=tick["simulated"][place],
            )
            if values:
                qualities = dict(zip(names, tick["qualities"][start:end], strict=True))
                self._rows[tick["world"], row.kind, row.id, row.tick_ms] = (row, qualities)
        for place in range(len(tick["change_ids"])):
            change = PastChange(
                tick["change_kinds"][place],
                tick["change_ids"][place],
                tick["change_pools"][place],
                tick["change_simulated"][place],
                tick["change_at_ms"][place],
                tick["change_statuses"][place],
                tick["change_reasons"][place],
                tick["change_attributes"][place],
                tick["change_removed"][place],
            )
            self._changes[tick["world"], change.kind, change.id, change.at_ms] = change

    def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """As `Store.read`."""
        found: dict[tuple[str, str, str], list[tuple[Row, float]]] = {}
        for row, _ in self._selected(selection):
            for metric, value in row.values.items():
                if not selection.metrics or metric in selection.metrics:
                    found.setdefault((row.kind, row.id, metric), []).append((row, value))
        series = []
        for (kind, id, metric), points in sorted(found.items()):
            times = [row.tick_ms for row, _ in points]
            values = [value for _, value in points]
            if window is not None:
                times, values = _windows(times, values, window)
            newest = points[-1][0]
            series.append(Series(kind, id, newest.nodepool, newest.simulated, metric, times, values))
        return series

    def read_ticks(self, selection: Selection, *, quality: bool) -> list[PastTick]:
        """As `Store.read_ticks`, names in order."""
        newest = {(row.kind, row.id): (row, marks) for row, marks in self._selected(selection)}
        answer = []
        for (kind, id), (row, marks) in sorted(newest.items()):
            names = sorted(row.values)
            answer.append(
                PastTick(
                    kind,
                    id,
                    row.nodepool,
                    row.simulated,
                    row.tick_ms,
                    row.complete if quality else None,
                    names,
                    [row.values[name] for name in names],
                    [marks[name] for name in names] if quality else None,
                )
            )
        return answer

    def read_changes(self, selection: Selection, *, newest: bool, text: bool) -> list[PastChange]:
        """As `Store.read_changes`."""
        found = [
            change
            for (world, kind, id, at_ms), change in sorted(self._changes.items(), key=lambda item: item[0])
            if _matches(selection, world, kind, id, at_ms)
        ]
        if newest:
            found = list({(change.kind, change.id): change for change in found}.values())
        return found if text else [change._replace(reason="", attributes="{}") for change in found]

    def _selected(self, selection: Selection) -> list[tuple[Row, dict[str, int]]]:
        return [
            item
            for (world, kind, id, tick_ms), item in sorted(self._rows.items(), key=lambda item: item[0])
            if _matches(selection, world, kind, id, tick_ms)
        ]


def _matches(selection: Selection, world: str, kind: str, id: str, at_ms: int) -> bool:
    return (
        world == selection.world
        and selection.start_ms <= at_ms < selection.end_ms
        and (not selection.kinds or kind in selection.kinds)
        and (not selection.ids or id in selection.ids)
    )


_FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda values: float(np.mean(values)),
    "min": min,
    "max": max,
    "last": lambda values: values[-1],
    "sum": lambda values: float(np.sum(values)),
    "count": lambda values: float(len(values)),
    "p50": lambda values: float(np.percentile(values, 50)),
    "p95": lambda values: float(np.percentile(values, 95)),
    "p99": lambda values: float(np.percentile(values, 99)),
}


def _windows(times: list[int], values: list[float], window: Window) -> tuple[list[int], list[float]]:
    parts: dict[int, list[float]] = {}
    for at_ms, value in zip(times, values, strict=True):
        parts.setdefault(at_ms // window.every_ms * window.every_ms, []).append(value)
    return list(parts), [_FUNCTIONS[window.fn](part) for part in parts.values()]
