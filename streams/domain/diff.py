"""What differs between a world at one moment and at another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

RATIO = 0.1
"""[1] By how much of its former value a metric must have changed, if no threshold of its own is given."""

View = Mapping[str, Any]
"""An entity record as JSON (DESIGN)."""


@dataclass(frozen=True)
class Thresholds:
    """By how much a metric must have changed to be told.

    Args:
        beyond: [unit of the metric] by metric: by more than this.
        ratio: [1] of all others: by more than this part of the former value; from 0 any change is beyond.
    """

    beyond: Mapping[str, float] = field(default_factory=dict)
    ratio: float = RATIO

    def passes(self, name: str, before: float, after: float) -> bool:
        """Whether a metric's change is beyond its threshold."""
        limit = self.beyond.get(name)
        if limit is None:
            limit = self.ratio * abs(before)
        return abs(after - before) > limit


@dataclass
class Difference:
    """What differs, in the order in which entities were compared."""

    added: list[dict[str, Any]] = field(default_factory=list)
    removed: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def compare(self, before: View | None, after: View | None, thresholds: Thresholds) -> None:
        """Add what differs of an entity; None: it was not there, or is not any more."""
        if before is not None and after is not None:
            self._statuses(before, after)
            self._attributes(before, after)
            self._metrics(before, after, thresholds)
        elif after is not None:
            self.added.append(_named(after) | _status(after) | {"attributes": dict(after["attributes"])})
        elif before is not None:
            self.removed.append(_named(before) | _status(before) | {"attributes": dict(before["attributes"])})

    def _statuses(self, before: View, after: View) -> None:
        if before["status"] != after["status"]:
            self.statuses.append(
                _named(after)
                | {"before": _status(before), "after": _status(after), "since_ms": after["status_since_ms"]}
            )

    def _attributes(self, before: View, after: View) -> None:
        old, new = before["attributes"], after["attributes"]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                change = {"name": name, "before": old.get(name), "after": new.get(name)}
                self.attributes.append(_named(after) | change)

    def _metrics(self, before: View, after: View, thresholds: Thresholds) -> None:
        old, new = before["metrics"], after["metrics"]
        for name in sorted(old.keys() | new.keys()):
            was, now = old.get(name), new.get(name)
            difference = now["value"] - was["value"] if was and now else None
            if was and now and not thresholds.passes(name, was["value"], now["value"]):
                continue
            self.metrics.append(
                _named(after)
                | {
                    "metric": name,
                    "before": was and was["value"],
                    "after": now and now["value"],
                    "difference": difference,
                    "before_at_ms": was and was["observed_at_ms"],
                    "after_at_ms": now and now["observed_at_ms"],
                }
            )


def parse_beyond(texts: Iterable[str]) -> dict[str, float]:
    """Thresholds by metric, from texts such as `cpu_usage_percent:10,power_watts:50`.

    Raises:
        ValueError: naming the part that is wrong.
    """
    beyond: dict[str, float] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, colon, number = part.rpartition(":")
        try:
            limit = float(number)
        except ValueError:
            limit = float("nan")
        if not colon or not name or not isfinite(limit) or limit < 0:
            raise ValueError(
                f"{part!r} is no threshold: write METRIC:NUMBER, at least 0 in the metric's unit, such as"
                " cpu_usage_percent:10"
            )
        beyond[name] = limit
    return beyond


def _named(view: View) -> dict[str, Any]:
    return {"kind": view["kind"], "id": view["id"]}


def _status(view: View) -> dict[str, Any]:
    return {"status": view["status"], "reason": view["status_reason"]}
