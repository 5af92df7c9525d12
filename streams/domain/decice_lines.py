"""A tick as the measurements that DECICE's own twin wrote into InfluxDB, for the dashboards that read them.

`node` (tags name, vertexpool_id), `device` (the same), `vertexpools` (vertexpool_id), `link`
(vertexpool_a_id, vertexpool_b_id) and `cluster_info`. They cannot say whose world a value is of, nor that it
is simulated: only what is real in the live world is written. The name is the id: a row knows no other.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from streams.domain.decice import UNASSIGNED, part_of
from streams.domain.decice_fields import Fields
from streams.domain.jsontext import read_dict
from streams.domain.rows import changes_of, rows_of
from streams.domain.sink import escape_key, escape_string
from streams.records import Tick

LIVE = "live"
"""The only world that they can tell of."""

CLUSTER = "cluster"
"""Id of the only cluster that they can tell of."""

Field = float | bool | str


class DeciceLines:
    """Turns ticks into such lines: a row has the values, a change of the entity its labels and attributes."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def to_lines(self, tick: Tick) -> list[str]:
        """The lines of a tick whose columns fit together."""
        if tick["world"] != LIVE:
            return []
        return [line for line in (*self._of_rows(tick), *self._of_changes(tick)) if line]

    def _of_rows(self, tick: Tick) -> Iterable[str]:
        for kind, id, pool, tick_ms, simulated, _, values, places, _ in rows_of(tick):
            if not simulated:
                names = [tick["names"][place] for place in places]
                metrics = dict(zip(names, values, strict=True))
                yield self._line(kind, id, pool, tick_ms, metrics, {}, None)

    def _of_changes(self, tick: Tick) -> Iterable[str]:
        for change in changes_of(tick):
            if not change.simulated and not change.removed:
                attributes = read_dict(change.attributes) or {}
                yield self._line(
                    change.kind, change.id, change.pool, change.at_ms, {}, attributes, change.status
                )

    def _line(
        self,
        kind: str,
        id: str,
        pool: str,
        at_ms: int,
        values: Mapping[str, float],
        attributes: Mapping[str, Any],
        status: str | None,
    ) -> str:
        """`status`: None in a row, which does not know it."""
        view = {
            "kind": kind,
            "id": id,
            "simulated": False,
            "status": status or "",
            "status_reason": "",
            "attributes": attributes,
            "metrics": {name: {"value": value, "observed_at_ms": at_ms} for name, value in values.items()},
        }
        part = part_of(view, self._fields)
        if part is None or (kind == "cluster" and id != CLUSTER):
            return ""
        item = part.item
        tags: dict[str, str] = {}
        fields: dict[str, Field] = {}
        if kind in ("node", "device"):
            tags = {"name": id, "vertexpool_id": pool or UNASSIGNED}
            fields = _of_vertex(kind, item, status)
        elif kind == "nodepool":
            tags = {"vertexpool_id": id}
            fields = (
                {"vertexpool_labels": _json(item["vertexpool_labels"] or {})} if status is not None else {}
            )
        elif kind == "link":
            tags = {name: item[name] for name in ("vertexpool_a_id", "vertexpool_b_id")}
            delay = item["network_delay_ms"]
            fields = {} if delay is None else {"network_delay_ms": float(delay)}
        elif kind == "cluster":
            fields = {name: _flat(value) for name, value in item.items()}
        return _written(MEASUREMENTS.get(kind, ""), tags, fields, at_ms)


MEASUREMENTS = {
    "node": "node",
    "device": "device",
    "nodepool": "vertexpools",
    "link": "link",
    "cluster": "cluster_info",
}
"""Measurement of each kind; a job has none."""


def _of_vertex(kind: str, item: Mapping[str, Any], status: str | None) -> dict[str, Field]:
    info = {
        name: value
        for name, value in item[f"{kind}_info"].items()
        if name != "status_reason" and (name != "status" or status is not None)
    }
    fields: dict[str, Field] = {"id": item["id"]}
    if kind == "node":
        metrics = item["metrics"].items()
        fields |= {name: float(value) for name, value in metrics if value is not None}
    elif status is not None:
        fields |= {"up": status != "down", "labels": _json(item["labels"] or {})}
    if info:
        fields[f"{kind}_info"] = _json(info)
    return fields


def _flat(value: Any) -> Field:
    if isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _written(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Field], at_ms: int) -> str:
    parts = [f"{escape_key(name)}={_field(value)}" for name, value in fields.items() if value != ""]
    if not parts:
        return ""
    keys = "".join(f",{name}={escape_key(value)}" for name, value in tags.items() if value)
    return f"{measurement}{keys} {','.join(parts)} {at_ms}"


def _field(value: Field) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{escape_string(value)}"' if isinstance(value, str) else repr(value)
